"""RabbitMQ: Celery's topology on an AMQP 0-9-1 of our own. Start with `connection.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sedano.drivers.rabbitmq.address import SCHEMES
from sedano.drivers.rabbitmq.address import is_same_server as shares_store

if TYPE_CHECKING:
    from sedano.drivers.rabbitmq.bus import open_bus
    from sedano.drivers.rabbitmq.opening import open_broker, open_server
    from sedano.drivers.rabbitmq.rpc import open_results
    from sedano.drivers.rabbitmq.stored import fill

__all__ = ["SCHEMES", "fill", "open_broker", "open_bus", "open_results", "open_server", "shares_store"]

# Who only asks the nodes (a probe, every few seconds) opens the bus and nothing else, and need not wait for the rest.
_HOMES = {
    "fill": "stored",
    "open_broker": "opening",
    "open_bus": "bus",
    "open_results": "rpc",
    "open_server": "opening",
}

if not TYPE_CHECKING:  # for a type checker any name would be here
    import importlib as _importlib

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
        found = getattr(_importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = found
        return found
