"""The pool classes of `celery.concurrency` by the names that `-P` takes, and `celery.concurrency.asynpool`."""

from __future__ import annotations

from typing import Any

from sedano.compat import (
    celery_concurrency_eventlet,
    celery_concurrency_gevent,
    celery_concurrency_prefork,
    celery_concurrency_solo,
    celery_concurrency_thread,
)


class AsynPool(celery_concurrency_prefork.TaskPool):
    """Celery's pool of processes below `prefork`, for its name."""


BY_NAME: dict[str, Any] = {
    "eventlet": celery_concurrency_eventlet.TaskPool,
    "gevent": celery_concurrency_gevent.TaskPool,
    "prefork": celery_concurrency_prefork.TaskPool,
    "processes": celery_concurrency_prefork.TaskPool,
    "solo": celery_concurrency_solo.TaskPool,
    "thread": celery_concurrency_thread.TaskPool,
    "threads": celery_concurrency_thread.TaskPool,
}

__all__ = ["BY_NAME", "AsynPool"]
