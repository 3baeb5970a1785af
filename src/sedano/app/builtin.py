"""The tasks that every app has. Celery's workflow tasks (`celery.chord_unlock` and so on) come with canvas."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sedano.app.base import Celery


def register_builtin(app: Celery) -> None:
    """Add `celery.backend_cleanup` to `app`."""

    @app.task(name="celery.backend_cleanup", shared=False)
    def backend_cleanup() -> None:
        """Delete results that are past their time."""
        app.backend.cleanup()
