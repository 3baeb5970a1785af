"""`celery.concurrency` and its modules: what a pool class of the user's own is made of.

`-P module:Class` runs it. `thread.TaskPool` and `solo.TaskPool` work as a base; the other pools are parts
of the engine, and their classes are names only.
"""

from __future__ import annotations

from typing import Any

from sedano.compat.celery_concurrency_pools import BY_NAME
from sedano.compat.later import children_of
from sedano.worker.pools import POOLS
from sedano.worker.pools.custom import BasePool, apply_target, find_pool

__path__: list[str] = []  # the modules below it are this very module, or stand beside it


def get_available_pool_names() -> tuple[str, ...]:
    """The words that `-P` takes."""
    return (*POOLS, "custom")


def get_implementation(cls: Any) -> Any:
    """The class of a pool by its name, or by `module:Class`; a class as it is. Raises KeyError for a name that there is not."""
    if not isinstance(cls, str):
        return cls
    if ":" in cls:
        return find_pool(cls)
    return BY_NAME[cls]


__getattr__ = children_of("celery.concurrency")

__all__ = ["BasePool", "apply_target", "get_available_pool_names", "get_implementation"]
