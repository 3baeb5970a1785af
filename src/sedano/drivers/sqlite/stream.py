"""Hearing of results: what is watched stands in the store, and whoever writes such a result says so to our ear.

Rings carry ids only; the records are fetched here, in one query, and so are never older than what a reader fetches. A ring that
finds our ear full is made up for: the row's `missed` grows, and then everything that is watched is looked at.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence

import msgspec

from sedano.drivers.sqlite.listening import Listener
from sedano.drivers.sqlite.queries import load
from sedano.drivers.sqlite.store import EVERYTHING, Store, as_json, storable
from sedano.exceptions import ResultsUnavailable

_MANY_RINGS = 8  # who has so many in hand may have been full in between: kernels keep at least ten

_RESULTS, _LISTENERS = load("results"), load("listeners")
_FETCH, _WATCH, _UNWATCH = _RESULTS["fetch"], _LISTENERS["watch"], _LISTENERS["unwatch"]

_ids_of = msgspec.msgpack.Decoder(list[str]).decode


class SqliteResultStream:
    """`polls`: no socket. Not usable after fork: open a new one."""

    def __init__(self, store: Store, *, polls: bool) -> None:
        self._store = store
        self._listener = Listener(store, "results", polls=polls)
        self._reported: dict[str, int | None] = {}  # watched id -> hash of the record last reported
        self._dropped: list[str] = []  # not watched any more; their rows go with the next step
        self._missed = 0

    def watch(self, task_ids: Sequence[str], drop: Sequence[str] = (), *, look: bool = True) -> list[tuple[str, bytes | None]]:
        self._check_process()
        self.unwatch(drop)
        names = list(dict.fromkeys(map(storable, task_ids)))
        new = [name for name in names if name not in self._reported]
        if new:
            self._enlist(new)
        self._reported |= dict.fromkeys(new)
        return self._fetched(names) if look else []

    def unwatch(self, task_ids: Sequence[str]) -> None:
        for name in map(storable, task_ids):
            if name in self._reported:
                del self._reported[name]
                self._dropped.append(name)

    def wait(self, timeout_s: float, fds: Sequence[int] = ()) -> list[tuple[str, bytes | None]]:
        self._check_process()
        deadline = time.monotonic() + max(0.0, timeout_s)
        while True:
            heard = self._listener.sleep(deadline, fds)
            news = self._news(heard.rung, look=heard.look)
            if news or heard.over:
                return news

    def close(self) -> None:
        self._listener.close()
        self._store.close()

    # -- parts --------------------------------------------------------------------------------------------------------

    def _check_process(self) -> None:
        if self._listener.is_inherited:
            raise ResultsUnavailable(f"a result stream does not outlive a fork (now in process {os.getpid()}): open a new one")

    def _enlist(self, task_ids: Iterable[str]) -> None:
        """Have these ids watched; all of them when our row is new."""
        with self._store.step() as step:
            if self._listener.enlist(step):
                self._missed = 0
                task_ids = dict.fromkeys([*self._reported, *task_ids])
            elif self._dropped:
                gone = [task_id for task_id in self._dropped if task_id not in self._reported]
                step.db.executemany(_UNWATCH, [(task_id, self._listener.id) for task_id in gone])
            step.db.executemany(_WATCH, [(task_id, self._listener.id) for task_id in task_ids])
        self._dropped = []

    def _news(self, rung: Sequence[bytes], *, look: bool) -> list[tuple[str, bytes | None]]:
        if not (self._reported and (rung or look)):
            return []
        if look or EVERYTHING in rung or len(rung) >= _MANY_RINGS:
            is_enlisted = self._listener.is_enlisted()
            if not is_enlisted:
                self._enlist(())
            if not is_enlisted or self._listener.missed != self._missed:
                self._missed = self._listener.missed
                return self._unreported()
        return self._fetched([id_ for what in rung if what != EVERYTHING for id_ in _ids_of(what) if id_ in self._reported])

    def _fetched(self, task_ids: Sequence[str]) -> list[tuple[str, bytes | None]]:
        if not task_ids:
            return []
        rows = self._store.query(_FETCH, (as_json(list(dict.fromkeys(task_ids))), self._store.clock.wall()))
        self._reported |= {task_id: hash(payload) for task_id, payload in rows}
        return [(task_id, payload) for task_id, payload in rows]

    def _unreported(self) -> list[tuple[str, bytes | None]]:
        """Of everything watched, what differs from what was reported."""
        known = dict(self._reported)
        return [(task_id, payload) for task_id, payload in self._fetched(list(known)) if known[task_id] != hash(payload)]
