"""`celery.utils.imports`: finding things by their dotted names."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Generator
from types import ModuleType
from typing import Any

from sedano.app.finding import import_from_cwd, symbol_by_name


def qualname(obj: Any) -> str:
    """`module.Name` of a class, of an object's class, or of a function."""
    named = obj if hasattr(obj, "__name__") else type(obj)
    name = getattr(named, "__qualname__", named.__name__)
    return name if "." in named.__name__ else f"{named.__module__}.{name}"


def instantiate(name: Any, *args: Any, **kwargs: Any) -> Any:
    """An object of the class that `name` names (`package.module:Class`), or of `name` itself."""
    return symbol_by_name(name)(*args, **kwargs)


@contextlib.contextmanager
def cwd_in_path() -> Generator[None]:
    """With the working directory among the places where modules are looked for."""
    here = os.getcwd()
    added = here not in sys.path
    if added:
        sys.path.insert(0, here)
    try:
        yield
    finally:
        if added:
            with contextlib.suppress(ValueError):
                sys.path.remove(here)


def reload_from_cwd(module: ModuleType, reloader: Any = None) -> Any:
    """Load a module anew."""
    with cwd_in_path():
        return (reloader or importlib.reload)(module)


def module_file(module: ModuleType) -> str | None:
    """The source file of a module."""
    name = module.__file__
    return name[:-1] if name is not None and name.endswith(".pyc") else name


def gen_task_name(app: Any, name: str, module_name: str) -> str:
    """The name of a task that was given none."""
    return str(app.gen_task_name(name, module_name))


__all__ = [
    "cwd_in_path",
    "gen_task_name",
    "import_from_cwd",
    "instantiate",
    "module_file",
    "qualname",
    "reload_from_cwd",
    "symbol_by_name",
]
