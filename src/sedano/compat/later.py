"""How a module of Celery's finds the modules below it, and how a name that we do not have says so."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def comes_later(module: str, name: str, reasons: Mapping[str, str]) -> AttributeError:
    """The error for `name` of `module`: with the reason when it is planned, else as Python says it.

    An AttributeError, so that `hasattr` and `from celery import name` behave as Python users expect.
    """
    reason = reasons.get(name)
    if reason is None:
        return AttributeError(f"module {module!r} has no attribute {name!r}")
    return AttributeError(f"{module}.{name} is not in this version of Sedano: {reason}")


def children_of(parent: str) -> Callable[[str], Any]:
    """The `__getattr__` of a module that is `parent` while the alias is on: `from celery import bootsteps` asks it."""

    def find(name: str) -> Any:
        alias = sys.modules.get("sedano.as_celery")
        full = f"{parent}.{name}"
        if alias is not None and (full in alias.CELERY or full in alias.KOMBU):
            return importlib.import_module(full)
        raise AttributeError(f"module {parent!r} has no attribute {name!r}")

    return find
