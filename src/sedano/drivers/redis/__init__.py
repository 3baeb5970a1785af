"""Redis and Valkey: Celery's layout, our leases beside it. Start with `keys.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sedano.drivers.redis.address import SCHEMES
from sedano.drivers.redis.address import is_same_server as shares_store

if TYPE_CHECKING:
    from sedano.drivers.redis.bus import open_bus
    from sedano.drivers.redis.opening import open_broker, open_coordination, open_results, open_schedules

__all__ = ["SCHEMES", "open_broker", "open_bus", "open_coordination", "open_results", "open_schedules", "shares_store"]

# Who only asks the nodes (a probe, every few seconds) opens the bus and nothing else, and need not wait for the rest.
_HOMES = {
    "open_broker": "opening",
    "open_bus": "bus",
    "open_coordination": "opening",
    "open_results": "opening",
    "open_schedules": "opening",
}

if not TYPE_CHECKING:  # for a type checker any name would be here
    import importlib as _importlib

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
        found = getattr(_importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = found
        return found
