"""What `import celery` gives while the alias is on. Version numbers are those of the Celery whose API this follows (5.7)."""

from __future__ import annotations

from typing import NamedTuple

import sedano.compat.celery_app as app
import sedano.compat.celery_canvas as canvas
import sedano.compat.celery_utils as utils
from sedano import exceptions, result, schedules, signals, states
from sedano.app.base import Celery
from sedano.app.shared import current_app, current_task, shared_task
from sedano.app.task import Task
from sedano.canvas import Signature, chain, chord, chunks, group, maybe_signature, signature, subtask, xmap, xstarmap
from sedano.compat.celery_app import bugreport
from sedano.compat.later import children_of
from sedano.protocol.ids import new_id as uuid


class version_info_t(NamedTuple):  # noqa: N801 - Celery's name
    major: int
    minor: int
    micro: int
    releaselevel: str
    serial: str


__version__ = "5.7.0"
VERSION = version_info = version_info_t(5, 7, 0, "", "")
VERSION_BANNER = f"{__version__} (sedano)"
SERIES = "sedano"

# The import system looks for submodules only where there is a path; the finder of `as_celery` answers for them.
__path__: list[str] = []

__getattr__ = children_of("celery")

__all__ = [
    "SERIES",
    "VERSION",
    "VERSION_BANNER",
    "Celery",
    "Signature",
    "Task",
    "app",
    "bugreport",
    "canvas",
    "chain",
    "chord",
    "chunks",
    "current_app",
    "current_task",
    "exceptions",
    "group",
    "maybe_signature",
    "result",
    "schedules",
    "shared_task",
    "signals",
    "signature",
    "states",
    "subtask",
    "utils",
    "uuid",
    "version_info",
    "xmap",
    "xstarmap",
]
