"""`celery.app`."""

from __future__ import annotations

from typing import Any

from sedano import current
from sedano.app import base, control, registry, task
from sedano.app.base import Celery
from sedano.app.shared import current_app as default_app
from sedano.app.shared import shared_task
from sedano.compat.later import children_of


def app_or_default(app: Any = None) -> Any:
    """`app`, or the current one, or a new plain one."""
    if app is not None:
        return app
    found = current.get_app()
    return found if found is not None else Celery("default")


def bugreport(app: Celery | None = None) -> str:
    """What a bug report should hold, as text."""
    return str(app_or_default(app).bugreport())


def push_current_task(running: Any) -> Any:
    """Note that `running` runs from here on; `pop_current_task` undoes it."""
    return current.push_task(running)


def pop_current_task(token: Any) -> None:
    current.pop_task(token)


# The import system looks for submodules only where there is a path; the finder of `as_celery` answers for them.
__path__: list[str] = []

__getattr__ = children_of("celery.app")

__all__ = [
    "Celery",
    "app_or_default",
    "base",
    "bugreport",
    "control",
    "default_app",
    "pop_current_task",
    "push_current_task",
    "registry",
    "shared_task",
    "task",
]
