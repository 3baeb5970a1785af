"""The embedded store: one machine, many processes, no server; a file.

- the file: `location` (URLs, where a store may lie), `opening`, `schema` and `migrations/`, `failures` (errors in our words)
- the connection: `connection` (transactions, patience), `checkpoints`, `forks`
- steps on the tables: `store` (a step, and whom it wakes), `backlog`, `turns`, `owners`, `records`, `deadletters`; `sql/`
- sleeping: `wakeup` (sockets), `listening`, `waiting` (slots), `stream` (results), `bus` (mailboxes)
"""

from __future__ import annotations

from sedano.contracts import Broker, Bus, Coordination, OpenOptions, Results, Schedules
from sedano.drivers.sqlite.broker import SqliteBroker
from sedano.drivers.sqlite.bus import SqliteBus
from sedano.drivers.sqlite.coordination import SqliteCoordination
from sedano.drivers.sqlite.location import SCHEMES, locate
from sedano.drivers.sqlite.results import SqliteResults
from sedano.drivers.sqlite.schedules import SqliteSchedules
from sedano.drivers.sqlite.store import Store
from sedano.exceptions import BrokerUnavailable, OperationalError, ResultsUnavailable

__all__ = [
    "SCHEMES",
    "open_broker",
    "open_bus",
    "open_coordination",
    "open_results",
    "open_schedules",
    "shares_store",
]


def open_broker(url: str, options: OpenOptions) -> Broker:
    shared = options.results_url is not None and shares_store(url, options.results_url)
    return SqliteBroker(_store(url, options, BrokerUnavailable), writes_results=shared, polls=options.accept_polling)


def open_results(url: str, options: OpenOptions) -> Results:
    return SqliteResults(_store(url, options, ResultsUnavailable), polls=options.accept_polling)


def open_coordination(url: str, options: OpenOptions) -> Coordination:
    return SqliteCoordination(_store(url, options, BrokerUnavailable))


def open_bus(url: str, options: OpenOptions) -> Bus:
    store = _store(url, options, BrokerUnavailable)
    return SqliteBus(store, options.control_exchange, options.event_exchange, polls=options.accept_polling)


def open_schedules(url: str, options: OpenOptions, space: str) -> Schedules:
    return SqliteSchedules(_store(url, options, BrokerUnavailable), space)


def shares_store(broker_url: str, results_url: str) -> bool:
    """Whether both URLs name the same file; False for a `results_url` of another driver."""
    if results_url.partition("://")[0].lower() not in SCHEMES:
        return False
    return locate(broker_url).path == locate(results_url).path


def _store(url: str, options: OpenOptions, unavailable: type[OperationalError]) -> Store:
    location = locate(url)
    location.check()
    return Store(location, options.clock, unavailable)
