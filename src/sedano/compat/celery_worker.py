"""`celery.worker` and `celery.worker.control`: the decorators for remote control commands of the user's own."""

from __future__ import annotations

from sedano.app.panel import Panel, control_command, inspect_command

__path__: list[str] = []  # `celery.worker.control` is this very module

__all__ = ["Panel", "control_command", "inspect_command"]
