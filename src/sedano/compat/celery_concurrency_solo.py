"""`celery.concurrency.solo`: a pool that runs each target where it is called, as a base for pools of the user's own."""

from __future__ import annotations

from typing import Any

from sedano.worker.pools.custom import BasePool, apply_target


class TaskPool(BasePool):
    """Runs one target after the other."""

    body_can_be_buffer = True

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.limit = 1

    def on_apply(self, target: Any, args: Any = (), kwargs: Any = None, **options: Any) -> None:
        apply_target(target, args, kwargs, **options)


__all__ = ["TaskPool"]
