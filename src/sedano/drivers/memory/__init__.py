"""The memory store: one process, lives as long as it does.

It is the model of the life of a delivery: the plainest code that keeps every promise of `sedano.contracts`, with which the
other drivers must agree (`tests/properties/test_drivers_agree.py`). `memory://` and `memory://<name>` name a store; everybody
in the process who opens the same URL shares it. `cache+memory://` is Celery's name for results kept in memory.
"""

from __future__ import annotations

from sedano.contracts import Broker, Bus, Coordination, OpenOptions, Results, Schedules
from sedano.drivers.memory.broker import MemoryBroker
from sedano.drivers.memory.bus import MemoryBus
from sedano.drivers.memory.coordination import MemoryCoordination
from sedano.drivers.memory.results import MemoryResults
from sedano.drivers.memory.schedules import MemorySchedules
from sedano.drivers.memory.store import SCHEMES, forget_store, store_at

__all__ = [
    "SCHEMES",
    "forget_store",
    "open_broker",
    "open_bus",
    "open_coordination",
    "open_results",
    "open_schedules",
    "shares_store",
]


def open_broker(url: str, options: OpenOptions) -> Broker:
    shared = options.results_url is not None and shares_store(url, options.results_url)
    return MemoryBroker(store_at(url), options.clock, writes_results=shared)


def open_results(url: str, options: OpenOptions) -> Results:
    return MemoryResults(store_at(url), options.clock)


def open_coordination(url: str, options: OpenOptions) -> Coordination:
    return MemoryCoordination(store_at(url), options.clock)


def open_bus(url: str, options: OpenOptions) -> Bus:
    return MemoryBus(store_at(url), options.control_exchange, options.event_exchange)


def open_schedules(url: str, options: OpenOptions, space: str) -> Schedules:
    return MemorySchedules(store_at(url), options.clock, space)


def shares_store(broker_url: str, results_url: str) -> bool:
    """Whether both URLs name the same store; False for a `results_url` of another driver."""
    if results_url.partition("://")[0] not in SCHEMES:
        return False
    return store_at(broker_url) is store_at(results_url)
