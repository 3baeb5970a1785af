"""Schedules on memory. Keeps the promises of `contracts/schedules.py`."""

from __future__ import annotations

from collections.abc import Sequence

from sedano.clock import Clock
from sedano.contracts import Change, Entry, Fence, Look, Outgoing, Run, Tick
from sedano.drivers.memory.store import Store
from sedano.exceptions import LeadershipLost


class MemorySchedules:
    def __init__(self, store: Store, clock: Clock, space: str) -> None:
        self._store = store
        self._clock = clock
        self._book = store.book(space)

    def put(self, changes: Sequence[Change]) -> list[int | None]:
        with self._store.lock:
            return [self._book.put(change) for change in changes]

    def remove(self, names: Sequence[str]) -> list[str]:
        with self._store.lock:
            return [name for name in names if self._book.remove(name)]

    def entry(self, name: str) -> Entry | None:
        with self._store.lock:
            return self._book.get(name)

    def entries(self, *, after: str = "", limit: int = 1000) -> list[Entry]:
        with self._store.lock:
            return self._book.after(after, limit)

    def revision(self) -> int:
        with self._store.lock:
            return self._book.revision

    def look(self, until: float, *, limit: int = 1000) -> Look:
        with self._store.lock:
            return self._book.look(until, limit)

    def fire(self, ticks: Sequence[Tick], fence: Fence | None, *, keep: int = 100) -> list[bool]:
        with self._store.lock:
            if fence is not None:
                lock = self._store.agreements.lock(fence.lock, self._clock.monotonic())
                if lock is None or (lock.owner, lock.term) != (fence.owner, fence.term):
                    raise LeadershipLost(fence.owner, fence.term)
            good = [self._book.holds(tick) for tick in ticks]
            written = [tick for tick, is_good in zip(ticks, good, strict=True) if is_good]
            self._store.publish([message for tick in written for message in tick.messages], self._clock.wall())
            for tick in written:
                self._book.step(tick, keep)
            return good

    def note(self, run: Run, messages: Sequence[Outgoing] = (), *, keep: int = 100) -> bool:
        with self._store.lock:
            if self._book.get(run.name) is None:
                return False
            self._store.publish(messages, self._clock.wall())
            self._book.note(run, keep)
            return True

    def runs(self, name: str | None = None, *, limit: int = 100) -> list[Run]:
        with self._store.lock:
            return list(self._book.runs(name, limit))

    def reconnect(self) -> None:
        pass

    def close(self) -> None:
        pass
