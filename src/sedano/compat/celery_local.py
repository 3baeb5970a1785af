"""`celery.local`: stand-ins for objects that are found when they are used."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any


class Proxy:
    """Stands for what `local(*args, **kwargs)` returns each time it is used."""

    __slots__ = ("_Proxy__args", "_Proxy__kwargs", "_Proxy__local")

    def __init__(self, local: Callable[..., Any], args: Any = None, kwargs: Any = None, name: str | None = None) -> None:
        del name
        object.__setattr__(self, "_Proxy__local", local)
        object.__setattr__(self, "_Proxy__args", args or ())
        object.__setattr__(self, "_Proxy__kwargs", kwargs or {})

    def _get_current_object(self) -> Any:
        local = object.__getattribute__(self, "_Proxy__local")
        return local(*object.__getattribute__(self, "_Proxy__args"), **object.__getattribute__(self, "_Proxy__kwargs"))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._get_current_object(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._get_current_object(), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._get_current_object(), name)

    def __getitem__(self, key: Any) -> Any:
        return self._get_current_object()[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self._get_current_object()[key] = value

    def __delitem__(self, key: Any) -> None:
        del self._get_current_object()[key]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._get_current_object()(*args, **kwargs)

    def __contains__(self, item: Any) -> bool:
        return item in self._get_current_object()

    def __iter__(self) -> Any:
        return iter(self._get_current_object())

    def __len__(self) -> int:
        return len(self._get_current_object())

    def __bool__(self) -> bool:
        return bool(self._get_current_object())

    def __eq__(self, other: object) -> bool:
        return bool(self._get_current_object() == other)

    def __hash__(self) -> int:
        return hash(self._get_current_object())

    def __dir__(self) -> list[str]:
        return dir(self._get_current_object())

    def __str__(self) -> str:
        return str(self._get_current_object())

    def __repr__(self) -> str:
        return repr(self._get_current_object())


class PromiseProxy(Proxy):
    """Looks once, and stands for that from then on."""

    __slots__ = ("_found",)

    def __maybe_evaluate__(self) -> Any:
        return self._get_current_object()

    def __evaluated__(self) -> bool:
        try:
            object.__getattribute__(self, "_found")
        except AttributeError:
            return False
        return True

    def _get_current_object(self) -> Any:
        if not self.__evaluated__():
            object.__setattr__(self, "_found", super()._get_current_object())
        return object.__getattribute__(self, "_found")


def maybe_evaluate(obj: Any) -> Any:
    """What a `PromiseProxy` stands for; anything else as it is."""
    return obj.__maybe_evaluate__() if isinstance(obj, PromiseProxy) else obj


def try_import(module: str, default: Any = None) -> ModuleType | Any:
    """The module, `default` where there is none."""
    try:
        return importlib.import_module(module)
    except ImportError:
        return default


__all__ = ["PromiseProxy", "Proxy", "maybe_evaluate", "try_import"]
