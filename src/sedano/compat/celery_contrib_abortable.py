"""`celery.contrib.abortable`: tasks that look, while they run, whether somebody wants them to end."""

from __future__ import annotations

from typing import Any

from sedano.app.task import Task
from sedano.result import AsyncResult

ABORTED = "ABORTED"
"""The state of a call that is to end."""


class AbortableAsyncResult(AsyncResult[Any]):
    """The result of a call that can be asked to end."""

    def is_aborted(self) -> bool:
        """Whether `abort` was called."""
        return self.state == ABORTED

    def abort(self) -> Any:
        """Ask the call to end. It does when its task looks, if it does."""
        return self.backend.store_result(self.id, None, ABORTED)


class AbortableTask(Task[..., Any]):
    """`self.is_aborted()` tells a running call whether it is to end. Each look reads the result store."""

    abstract = True

    def AsyncResult(self, task_id: str, **kwargs: Any) -> AbortableAsyncResult:  # noqa: N802 - Celery's name
        return AbortableAsyncResult(task_id, backend=self.backend, app=self.app, **kwargs)

    def is_aborted(self, **kwargs: Any) -> bool:
        """Whether the running call, or that of `task_id`, is to end."""
        return self.AsyncResult(str(kwargs.get("task_id", self.request.id))).is_aborted()


__all__ = ["ABORTED", "AbortableAsyncResult", "AbortableTask"]
