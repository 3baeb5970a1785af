"""`celery.worker` and `celery.worker.control`: the class of a node, and the decorators for commands of the user's own."""

from __future__ import annotations

from sedano.app.panel import Panel, control_command, inspect_command
from sedano.compat.later import children_of
from sedano.worker.controller import WorkController

__path__: list[str] = []  # `celery.worker.control` is this very module

__getattr__ = children_of("celery.worker")

__all__ = ["Panel", "WorkController", "control_command", "inspect_command"]
