"""`celery.concurrency.thread`: a pool of threads, as a base for pools of the user's own."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from sedano.worker.pools.custom import BasePool, apply_target


class ApplyResult:
    """What `apply_async` returns."""

    def __init__(self, future: Future[None]) -> None:
        self.f = future

    def get(self, timeout: float | None = None) -> None:
        """Wait; raises what the target raised."""
        self.f.result(timeout)

    def wait(self, timeout: float | None = None) -> None:
        """Wait, whatever comes of it."""
        self.f.exception(timeout)


class TaskPool(BasePool):
    """Runs targets in `limit` threads."""

    body_can_be_buffer = True
    signal_safe = False

    def on_start(self) -> None:
        self.executor = ThreadPoolExecutor(max_workers=self.limit)

    def on_stop(self) -> None:
        self.executor.shutdown()

    def on_apply(
        self,
        target: Callable[..., Any],
        args: Any = (),
        kwargs: Any = None,
        callback: Any = None,
        accept_callback: Any = None,
        **_options: Any,
    ) -> ApplyResult:
        return ApplyResult(self.executor.submit(apply_target, target, args, kwargs, callback, accept_callback))


__all__ = ["ApplyResult", "TaskPool"]
