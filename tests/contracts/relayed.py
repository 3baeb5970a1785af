"""A driver for tests: the memory store of this process behind relays, so that other processes can use it, too.

`relay:///folder/name` stands for two relays of one memory store: one whose broker writes results itself, one whose broker
does not.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sedano.contracts import Broker, Bus, Coordination, OpenOptions, Results, Schedules
from sedano.drivers import memory
from sedano.drivers.memory.store import put_raw as put_raw_into_memory
from sedano.exceptions import ImproperlyConfigured
from sedano.worker.relay.client import RelayBroker
from sedano.worker.relay.server import Relay
from sedano.worker.relay.watch import Watch

SCHEMES: Sequence[str] = ("relay",)


def open_broker(url: str, options: OpenOptions) -> Broker:
    return RelayBroker(_path(url, shares=options.results_url is not None and shares_store(url, options.results_url)))


def open_results(url: str, options: OpenOptions) -> Results:
    return memory.open_results(_memory(url), options)


def open_coordination(url: str, options: OpenOptions) -> Coordination:
    return memory.open_coordination(_coordination(url), options)


def open_bus(url: str, options: OpenOptions) -> Bus:
    return memory.open_bus(_memory(url), options)


def open_schedules(url: str, options: OpenOptions, space: str) -> Schedules:
    return memory.open_schedules(_memory(url), options, space)


def shares_store(broker_url: str, results_url: str) -> bool:
    return broker_url == results_url


def put_raw(url: str, queue: str, raw: bytes) -> None:
    put_raw_into_memory(_memory(url), queue, raw)


_apart: set[str] = set()  # URLs whose revokes and pauses lie in another store than their messages


@contextmanager
def relays(folder: Path, options: OpenOptions, *, apart: bool = False) -> Generator[str]:
    """The URL of a store that is served while the block runs. `apart`: its broker knows neither revokes nor pauses."""
    url = f"relay://{folder}/{threading.get_native_id()}"
    if apart:
        _apart.add(url)

    def watch() -> Watch | None:
        return Watch(lambda: open_coordination(url, options), fresh_s=0.0) if apart else None

    def opened(results_url: str | None) -> Broker:
        given = OpenOptions(results_url=results_url, clock=options.clock)
        return memory.open_broker(_memory(url), given)

    servers = [
        Relay(_path(url, shares=True), lambda: opened(_memory(url)), watch()),
        Relay(_path(url, shares=False), lambda: opened(None), watch()),
    ]
    try:
        for server in servers:
            server.start()
        yield url
    finally:
        for server in servers:
            server.stop()
        for server in servers:
            assert server.join(10.0)
        for name in {_memory(url), _coordination(url)}:
            memory.forget_store(name)
        _apart.discard(url)


def _path(url: str, *, shares: bool) -> str:
    scheme, separator, path = url.partition("://")
    if scheme != "relay" or not separator:
        raise ImproperlyConfigured(f"{url!r} is no URL of a relay")
    return path + ("" if shares else "-apart")


def _memory(url: str) -> str:
    return "memory:/" + _path(url, shares=True)


def _coordination(url: str) -> str:
    return _memory(url) + ("-agreed" if url in _apart else "")
