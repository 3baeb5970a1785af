"""`celery.concurrency` and `celery.concurrency.base`: what a pool class of the user's own is made of."""

from __future__ import annotations

from sedano.worker.pools import POOLS
from sedano.worker.pools.custom import BasePool, apply_target

__path__: list[str] = []  # `celery.concurrency.base` is this very module


def get_available_pool_names() -> tuple[str, ...]:
    """The words that `-P` takes."""
    return (*POOLS, "custom")


__all__ = ["BasePool", "apply_target", "get_available_pool_names"]
