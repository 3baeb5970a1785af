"""Sedano: a distributed task queue with Celery's face and an engine of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sedano.version import __version__

if TYPE_CHECKING:
    from sedano.app.base import Celery, Sedano
    from sedano.app.shared import current_app, current_task, shared_task
    from sedano.app.task import Context, Task
    from sedano.canvas import (  # type: ignore[no-redef]  # mypy takes the modules of these names for them, too
        Signature,
        chain,
        chord,
        chunks,
        group,
        maybe_signature,
        signature,
        subtask,
        xmap,
        xstarmap,
    )
    from sedano.protocol.ids import new_id as uuid
    from sedano.result import AsyncResult, EagerResult

__all__ = [
    "AsyncResult",
    "Celery",
    "Context",
    "EagerResult",
    "Sedano",
    "Signature",
    "Task",
    "__version__",
    "chain",
    "chord",
    "chunks",
    "current_app",
    "current_task",
    "group",
    "maybe_signature",
    "shared_task",
    "signature",
    "subtask",
    "uuid",
    "xmap",
    "xstarmap",
]

# The names are put here when the first of them is used. Plain imports would be better to read; but this module is executed
# before every other one of the package, and the command (its help, its completion at every press of the tab key, a probe that a
# container asks every few seconds) waited three times as long for parts that it does not use.
_HOMES = {
    "sedano.app.base": ("Celery", "Sedano"),
    "sedano.app.shared": ("current_app", "current_task", "shared_task"),
    "sedano.app.task": ("Context", "Task"),
    "sedano.canvas": (
        "Signature",
        "chain",
        "chord",
        "chunks",
        "group",
        "maybe_signature",
        "signature",
        "subtask",
        "xmap",
        "xstarmap",
    ),
    "sedano.result": ("AsyncResult", "EagerResult"),
}
# Rooms that are there without an import of their own, as they are for those who use the names above.
_ROOMS = (
    "app",
    "canvas",
    "clock",
    "contracts",
    "crashpoints",
    "current",
    "exceptions",
    "log",
    "nearest",
    "protocol",
    "result",
    "rules",
    "settings",
    "signals",
    "states",
)

if not TYPE_CHECKING:  # for a type checker any name would be here
    import importlib as _importlib

    def __getattr__(name: str) -> object:
        if name in _ROOMS:
            return _importlib.import_module(f"sedano.{name}")
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
        found = {each: getattr(_importlib.import_module(home), each) for home, names in _HOMES.items() for each in names}
        globals().update(found, uuid=_importlib.import_module("sedano.protocol.ids").new_id)
        return globals()[name]

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__, *_ROOMS})
