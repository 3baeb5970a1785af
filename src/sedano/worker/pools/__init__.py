"""How slots run: in processes of their own, or in the supervisor's process (solo)."""

from __future__ import annotations

from sedano.exceptions import ImproperlyConfigured

POOLS = {"processes": "processes", "prefork": "processes", "solo": "solo"}
COMING = ("threads", "asyncio", "gevent", "eventlet", "custom")


def pool_name(wanted: str) -> str:
    """The pool that `wanted` (`-P`, `worker_pool`) means. Raises ImproperlyConfigured, naming those that there are."""
    found = POOLS.get(wanted.rpartition(":")[0].rpartition(".")[2] if ":" in wanted else wanted)
    if found is None:
        later = f"the pool {wanted!r} comes in a later version" if wanted in COMING else f"there is no pool {wanted!r}"
        raise ImproperlyConfigured(f"{later}: use prefork (= processes) or solo (-P, worker_pool)")
    return found


__all__ = ["COMING", "POOLS", "pool_name"]
