"""`celery.concurrency.prefork`: the pool's class, for its name. The pool itself is `-P prefork`."""

from __future__ import annotations

from sedano.worker.pools.custom import BasePool


class TaskPool(BasePool):
    """Cannot run anything by itself. Raises NotImplementedError when it is started."""

    def on_start(self) -> None:
        raise NotImplementedError(
            "the pool prefork is a part of the engine (-P prefork) and no base for a class of your own: use "
            "celery.concurrency.base.BasePool or celery.concurrency.thread.TaskPool"
        )


__all__ = ["TaskPool"]
