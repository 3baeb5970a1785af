"""Sedano: a distributed task queue with Celery's face and an engine of its own."""

from __future__ import annotations

__version__ = "0.1.0"

from sedano.app.base import Celery, Sedano
from sedano.app.shared import current_app, current_task, shared_task
from sedano.app.task import Context, Task
from sedano.canvas import (
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
