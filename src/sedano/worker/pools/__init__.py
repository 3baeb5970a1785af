"""How calls run: in processes with one slot each, many in one process (*lanes*), or in the supervisor's process (solo)."""

from __future__ import annotations

import importlib.util
import os

from sedano.exceptions import ImproperlyConfigured

POOLS = {
    "processes": "processes",
    "prefork": "processes",
    "solo": "solo",
    "threads": "threads",
    "thread": "threads",
    "asyncio": "asyncio",
    "gevent": "gevent",
    "eventlet": "eventlet",
}
LANES = ("threads", "asyncio", "gevent", "eventlet")
PATCHES = {
    "eventlet": "import eventlet; eventlet.monkey_patch()",
    "gevent": "from gevent import monkey; monkey.patch_all()",
}
"""What a process of greenlets executes before it imports anything else."""
CUSTOM = "CELERY_CUSTOM_WORKER_POOL"
_CELERYS = ("celery.concurrency.", "sedano.worker.pools.")


def pool_name(wanted: str) -> str:
    """The pool that `wanted` (`-P`, `worker_pool`) means: a name of ours, or `module:Class` for one of the user's own.

    Raises ImproperlyConfigured, naming those that there are, or the package that is missing.
    """
    if wanted == "custom":
        wanted = os.environ.get(CUSTOM, "")
        if not wanted:
            raise ImproperlyConfigured(f"the pool custom is the class that {CUSTOM} names as module:Class, and it is not set")
    ours = wanted
    if wanted.startswith(_CELERYS):
        ours = wanted.partition(":")[0].rpartition(".")[2]
    elif ":" in wanted or "." in wanted:
        return wanted if ":" in wanted else ":".join(wanted.rsplit(".", 1))
    found = POOLS.get(ours)
    if found is None:
        raise ImproperlyConfigured(
            f"there is no pool {wanted!r}: use prefork (= processes), threads, asyncio, gevent, eventlet, solo, "
            "or module:Class of your own (-P, worker_pool)"
        )
    if found in PATCHES and not _is_installed(found):
        raise ImproperlyConfigured(f"the pool {found} needs the package {found}: pip install 'sedano[{found}]'")
    return found


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ImportError:
        return False


__all__ = ["CUSTOM", "LANES", "PATCHES", "POOLS", "pool_name"]
