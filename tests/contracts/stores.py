"""A fresh, empty store of each driver, for the suites and for the agreement test."""

from __future__ import annotations

import importlib
import sqlite3
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from tests.servers import RedisServer

from sedano.clock import SYSTEM_CLOCK
from sedano.drivers import memory
from sedano.drivers.memory.store import put_raw
from sedano.testing.clock import FakeClock
from sedano.testing.contracts import StoreUnderTest
from sedano.testing.contracts.messages import outgoing

OpenStore = Callable[[], AbstractContextManager[StoreUnderTest]]

_numbers = count(1)


@contextmanager
def memory_store() -> Generator[StoreUnderTest]:
    url = f"memory://test-{next(_numbers)}"
    try:
        with StoreUnderTest(memory, url, put_raw=lambda queue, raw: put_raw(url, queue, raw), clock=FakeClock()) as store:
            yield store
    finally:
        memory.forget_store(url)


@contextmanager
def sqlite_store(folder: Path) -> Generator[StoreUnderTest]:
    path = folder / f"store-{next(_numbers)}.db"
    url = f"sqlite:///{path}"

    def spoil(queue: str, raw: bytes) -> None:
        """Publish something readable, then overwrite the stored bytes behind the driver's back."""
        marker = f"to be spoiled {next(_numbers)}"
        broker = store.driver.open_broker(url, store.options())
        broker.publish([outgoing(queue, marker)])
        broker.close()
        database = sqlite3.connect(path)
        with database:
            spoiled = database.execute("UPDATE bodies SET raw = ? WHERE instr(raw, ?)", (raw, marker.encode())).rowcount
        database.close()
        assert spoiled == 1

    with StoreUnderTest(driver("sqlite"), url, put_raw=spoil, clock=FakeClock()) as store:
        yield store


@contextmanager
def redis_store(server: RedisServer) -> Generator[StoreUnderTest]:
    """Redis has its own clock."""
    server.command("FLUSHALL")
    with StoreUnderTest(
        driver("redis"),
        server.url,
        put_raw=lambda queue, raw: server.command("LPUSH", queue, raw),
        clock=SYSTEM_CLOCK,
    ) as store:
        yield store


def driver(name: str) -> Any:
    """The driver package; a driver that is not written yet skips the test."""
    package = importlib.import_module(f"sedano.drivers.{name}")
    if not hasattr(package, "open_broker"):
        pytest.skip(f"the {name} driver has no broker yet")
    return package


__all__ = ["OpenStore", "driver", "memory_store", "redis_store", "sqlite_store"]
