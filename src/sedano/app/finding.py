"""From names to objects: `-A NAME` to an app, a dotted path to what it names."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any

from sedano import current
from sedano.dotted import parts_of
from sedano.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from sedano.app.base import Celery


@contextmanager
def cwd_in_path() -> Generator[None]:
    """Within it, modules of the current directory can be imported; afterwards only if they could before."""
    here = os.getcwd()
    if here in sys.path or "" in sys.path:
        yield
        return
    sys.path.insert(0, here)
    try:
        yield
    finally:
        if here in sys.path:
            sys.path.remove(here)


def import_from_cwd(name: str) -> ModuleType:
    """Import a module that may stand in the current directory."""
    with cwd_in_path():
        return importlib.import_module(name)


def symbol_by_name(name: Any) -> Any:
    """What a dotted path names: `package.module:attribute` or `package.module.attribute`; anything but text is returned as is.

    Raises ImportError or AttributeError when it leads nowhere.
    """
    if not isinstance(name, str):
        return name
    module, attribute = parts_of(name)
    if not module:
        return import_from_cwd(attribute)
    found: Any = import_from_cwd(module)
    for part in attribute.split(".") if attribute else ():
        found = getattr(found, part)
    return found


def find_app(name: str) -> Celery:
    """The app that `name` means: `module:attribute`, `package.module.attribute`, `module`, `package`.

    In a module: its attribute `app`, then `celery` (neither may be a module), then for a package its module `celery`
    searched the same way, then the first app among its variables. The current directory is importable. Errors inside the
    user's module come through as they are; a name that leads nowhere raises ImproperlyConfigured saying what was tried.
    """
    tried: list[str] = []
    with cwd_in_path():
        module_name, separator, attribute = name.partition(":")
        if separator:
            module = _import(module_name, tried)
            if module is not None and attribute:
                found = _attribute(module, attribute, tried)
                return _as_app(found, name, tried)
        else:
            parent_name, _, attribute = name.rpartition(".")
            parent = _import(parent_name, tried) if parent_name else None
            found = getattr(parent, attribute, None)
            if found is not None and not isinstance(found, ModuleType):
                return _as_app(found, name, tried)
            module = _import(name, tried)
        found = _search(module, tried) if module is not None else None
    return _as_app(found, name, tried)


def _import(name: str, tried: list[str]) -> ModuleType | None:
    """The module, or None when there is none of this name; its own errors come through."""
    tried.append(f"module {name}")
    if name in sys.modules:
        return sys.modules[name]
    try:
        spec = find_spec(name)
    except (ModuleNotFoundError, ValueError) as exc:
        # Importing the parents of a dotted name: only a missing parent means "no such module".
        missing = getattr(exc, "name", None)
        if isinstance(exc, ModuleNotFoundError) and missing is not None and not f"{name}.".startswith(f"{missing}."):
            raise
        return None
    return importlib.import_module(name) if spec is not None else None


def _attribute(module: Any, path: str, tried: list[str]) -> Any:
    found = module
    for part in path.split("."):
        tried.append(f"{getattr(found, '__name__', found)}.{part}")
        found = getattr(found, part, None)
        if found is None:
            return None
    if isinstance(found, ModuleType):
        return _search(found, tried)
    return found


def _search(module: ModuleType, tried: list[str]) -> Any:
    for attribute in ("app", "celery"):
        tried.append(f"{module.__name__}.{attribute}")
        found = getattr(module, attribute, None)
        if found is not None and not isinstance(found, ModuleType):
            return found
    if hasattr(module, "__path__"):
        inner = _import(f"{module.__name__}.celery", tried)
        if inner is not None:
            return _search(inner, tried)
    tried.append(f"an app among the variables of {module.__name__}")
    return next((value for value in vars(module).values() if _is_app(value)), None)


def _is_app(value: Any) -> bool:
    return value is not None and any(value is app for app in current.live_apps())


def _as_app(found: Any, name: str, tried: list[str]) -> Celery:
    # An app of another library (the real Celery's) has neither our stores nor our sender.
    if found is None or not hasattr(type(found), "stores"):
        what = "" if found is None else f" What it names is {type(found).__module__}.{type(found).__qualname__}, not an app."
        if type(found).__module__.startswith("celery."):
            what += (
                " That is the installed Celery's: leave --no-alias out, or import sedano.as_celery before anything imports"
                " celery, and `from celery import Celery` means Sedano."
            )
        raise ImproperlyConfigured(
            f"-A {name}: no app found.{what} Tried: {', '.join(tried)}. Current directory: {os.getcwd()}."
            " Name the module that holds your app, or module:attribute."
        )
    app: Celery = found
    return app
