"""How a name of Celery's that we do not have yet says so."""

from __future__ import annotations

from collections.abc import Mapping


def comes_later(module: str, name: str, reasons: Mapping[str, str]) -> AttributeError:
    """The error for `name` of `module`: with the reason when it is planned, else as Python says it.

    An AttributeError, so that `hasattr` and `from celery import name` behave as Python users expect.
    """
    reason = reasons.get(name)
    if reason is None:
        return AttributeError(f"module {module!r} has no attribute {name!r}")
    return AttributeError(f"{module}.{name} is not in this version of Sedano: {reason}")
