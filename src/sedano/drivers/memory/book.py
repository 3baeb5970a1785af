"""The entries of one space, and their runs."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Sequence
from itertools import islice, takewhile

import msgspec

from sedano.contracts import Change, Entry, Look, Run, Tick


class Book:
    def __init__(self) -> None:
        self.revision = 0
        self._entries: dict[str, Entry] = {}
        self._by_due: list[tuple[float, str]] = []
        self._runs: dict[str, deque[tuple[int, Run]]] = {}
        self._decided = 0

    def get(self, name: str) -> Entry | None:
        return self._entries.get(name)

    def put(self, change: Change) -> int | None:
        """The entry's new revision; None when `expects` does not hold."""
        known = self._entries.get(change.name)
        if change.expects is not None and change.expects != (known.revision if known else 0):
            return None
        self.revision += 1
        state = change.state if change.state is not None else known.state if known else b""
        self._set(Entry(change.name, change.definition, state, change.due, self.revision))
        return self.revision

    def remove(self, name: str) -> bool:
        known = self._entries.pop(name, None)
        if known is None:
            return False
        self._forget_due(known)
        self._runs.pop(name, None)
        self.revision += 1
        return True

    def after(self, name: str, limit: int) -> list[Entry]:
        return [self._entries[each] for each in islice((each for each in sorted(self._entries) if each > name), limit)]

    def look(self, until: float, limit: int) -> Look:
        due = takewhile(lambda pair: pair[0] <= until, self._by_due)
        entries = tuple(self._entries[name] for _, name in islice(due, limit))
        return Look(entries, self._by_due[0][0] if self._by_due else None, self.revision)

    def holds(self, tick: Tick) -> bool:
        """Whether the entry is as the tick expects it."""
        known = self._entries.get(tick.name)
        return known is not None and (known.revision, known.due) == (tick.revision, tick.due)

    def step(self, tick: Tick, keep: int) -> None:
        self._set(msgspec.structs.replace(self._entries[tick.name], state=tick.state, due=tick.next_due))
        for run in tick.runs:
            self.note(run, keep)

    def note(self, run: Run, keep: int) -> None:
        self._decided += 1
        runs = deque(self._runs.get(run.name, ()), maxlen=keep)
        runs.appendleft((self._decided, run))
        self._runs[run.name] = runs

    def runs(self, name: str | None, limit: int) -> Sequence[Run]:
        found = self._runs.get(name, ()) if name is not None else (run for runs in self._runs.values() for run in runs)
        return [run for _, run in sorted(found, key=lambda numbered: -numbered[0])[:limit]]

    def _set(self, entry: Entry) -> None:
        known = self._entries.get(entry.name)
        if known is not None:
            self._forget_due(known)
        self._entries[entry.name] = entry
        if entry.due is not None:
            insort(self._by_due, (entry.due, entry.name))

    def _forget_due(self, entry: Entry) -> None:
        if entry.due is not None:
            del self._by_due[bisect_left(self._by_due, (entry.due, entry.name))]
