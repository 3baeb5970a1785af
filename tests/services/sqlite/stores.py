"""Stores for the tests of this driver."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from sedano.contracts import OpenOptions
from sedano.drivers import sqlite
from sedano.testing.clock import FakeClock
from sedano.testing.contracts import StoreUnderTest


class PollingStore(StoreUnderTest):
    """Nobody can be rung: everybody looks now and then."""

    def options(self, *, writes_results: bool = True) -> OpenOptions:
        return replace(super().options(writes_results=writes_results), accept_polling=True)


def store_in(folder: Path, *, polls: bool = False, query: str = "") -> StoreUnderTest:
    path = folder / "store.db"
    kind = PollingStore if polls else StoreUnderTest
    return kind(sqlite, f"sqlite:///{path}{query}", put_raw=raw_putter(path), clock=FakeClock())


def raw_putter(path: Path) -> Callable[[str, bytes], None]:
    """Stores bytes at the tail of a queue as a stranger would."""

    def put_raw(queue: str, raw: bytes) -> None:
        db = sqlite3.connect(path)
        with db:
            db.execute("INSERT OR IGNORE INTO queues (name) VALUES (?)", (queue,))
            db.execute("INSERT INTO messages (queue, state, priority) SELECT id, 0, 0 FROM queues WHERE name = ?", (queue,))
            db.execute("INSERT INTO bodies SELECT max(id), ? FROM messages", (raw,))
        db.close()

    return put_raw
