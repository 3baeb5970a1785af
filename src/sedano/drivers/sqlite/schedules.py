"""Schedules on SQLite. Keeps the promises of `contracts/schedules.py`; what is written at once is one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sedano.contracts import Change, Entry, Fence, Look, Outgoing, Run, Tick
from sedano.crashpoints import reach
from sedano.drivers.sqlite import backlog, workflows
from sedano.drivers.sqlite.backlog import entry_of
from sedano.drivers.sqlite.coordination import lock_of
from sedano.drivers.sqlite.queries import load
from sedano.drivers.sqlite.store import Step, Store, storable
from sedano.exceptions import LeadershipLost

_SQL = load("schedules")


class SqliteSchedules:
    def __init__(self, store: Store, space: str) -> None:
        self._store = store
        self._space = storable(space)

    # -- entries ------------------------------------------------------------------------------------------------------

    def put(self, changes: Sequence[Change]) -> list[int | None]:
        written: list[int | None] = []
        with self._store.step() as step:
            space, revision = self._open_space(step)
            for change in changes:
                is_written = _put(step, space, change, revision + 1)
                revision += is_written
                written.append(revision if is_written else None)
            step.db.execute(_SQL["set-revision"], (space, revision))
        return written

    def remove(self, names: Sequence[str]) -> list[str]:
        removed: list[str] = []
        with self._store.step() as step:
            space, revision = self._open_space(step)
            for name in names:
                row = step.db.execute(_SQL["remove"], (space, storable(name))).fetchone()
                if row is not None:
                    step.db.execute(_SQL["remove-runs"], row)
                    removed.append(name)
            step.db.execute(_SQL["set-revision"], (space, revision + len(removed)))
        return removed

    def entry(self, name: str) -> Entry | None:
        rows = self._store.query(_SQL["entry"], (self._space, storable(name)))
        return Entry(*rows[0]) if rows else None

    def entries(self, *, after: str = "", limit: int = 1000) -> list[Entry]:
        return [Entry(*row) for row in self._store.query(_SQL["entries"], (self._space, storable(after), limit))]

    def revision(self) -> int:
        rows = self._store.query(_SQL["space"], (self._space,))
        return int(rows[0][1]) if rows else 0

    # -- ticks --------------------------------------------------------------------------------------------------------

    def look(self, until: float, *, limit: int = 1000) -> Look:
        rows = self._store.query(_SQL["look"], (self._space, until, limit))
        if not rows:
            return Look((), None, 0)
        revision, next_due = rows[0][:2]
        return Look(tuple(Entry(*row[2:]) for row in rows if row[2] is not None), next_due, revision)

    def fire(self, ticks: Sequence[Tick], fence: Fence | None, *, keep: int = 100) -> list[bool]:
        entries = [[entry_of(message) for message in tick.messages] for tick in ticks]
        written: list[bool] = []
        with self._store.step() as step:
            now = self._store.clock.wall()
            if fence is not None and lock_of(step, fence.lock, now) != (fence.owner, fence.term):
                raise LeadershipLost(fence.owner, fence.term)
            space, _ = self._open_space(step)
            runs = _Runs(step, space, keep)
            for tick in ticks:
                given = (space, storable(tick.name), tick.revision, tick.due, tick.next_due, tick.state, len(tick.runs))
                row = step.db.execute(_SQL["step"], given).fetchone()
                if row is not None:
                    runs.add(row, tick.runs)
                written.append(row is not None)
            runs.write()
            reach("schedules.fire.stepped")
            sent = [number for number, is_written in enumerate(written) if is_written]
            backlog.put(step, [entry for number in sent for entry in entries[number]], now)
            workflows.keep(step, [message for number in sent for message in ticks[number].messages], now)
            reach("schedules.fire.before")
        reach("schedules.fire.after")
        return written

    def note(self, run: Run, messages: Sequence[Outgoing] = (), *, keep: int = 100) -> bool:
        entries = [entry_of(message) for message in messages]
        with self._store.step() as step:
            now = self._store.clock.wall()
            space, _ = self._open_space(step)
            row = step.db.execute(_SQL["count-run"], (space, storable(run.name))).fetchone()
            if row is None:
                return False
            runs = _Runs(step, space, keep)
            runs.add(row, (run,))
            runs.write()
            backlog.put(step, entries, now)
            workflows.keep(step, messages, now)
            return True

    def runs(self, name: str | None = None, *, limit: int = 100) -> list[Run]:
        if name is None:
            rows = self._store.query(_SQL["all-runs"], (self._space, limit))
        else:
            rows = self._store.query(_SQL["runs"], (self._space, storable(name), limit))
        return [_run(*row) for row in rows]

    # -- connection ---------------------------------------------------------------------------------------------------

    def reconnect(self) -> None:
        self._store.close()

    def close(self) -> None:
        self._store.close()

    # -- parts --------------------------------------------------------------------------------------------------------

    def _open_space(self, step: Step) -> tuple[int, int]:
        """(id, revision), of a space that nobody knew until now too."""
        row: tuple[int, int] | None = step.db.execute(_SQL["space"], (self._space,)).fetchone()
        if row is None:
            row = step.db.execute(_SQL["make-space"], (self._space,)).fetchone()
            assert row is not None
        return row


class _Runs:
    """The runs that one step writes. Of each entry the last `keep` stay."""

    def __init__(self, step: Step, space: int, keep: int) -> None:
        self._step = step
        self._space = space
        self._keep = keep
        self._rows: list[tuple[Any, ...]] = []
        self._over: list[tuple[int, int]] = []

    def add(self, entry_and_count: tuple[int, int], runs: Sequence[Run]) -> None:
        """Of the entry with this id, which has had so many with these."""
        entry, count = entry_and_count
        for number, run in enumerate(runs, count - len(runs) + 1):
            task_id = None if run.task_id is None else storable(run.task_id)
            told = (run.due, run.at, task_id, storable(run.reason), int(run.manual))
            self._rows.append((self._space, entry, number, *told))
        if runs and count > self._keep:
            self._over.append((entry, count - self._keep))

    def write(self) -> None:
        self._step.db.executemany(_SQL["put-run"], self._rows)
        self._step.db.executemany(_SQL["drop-runs"], self._over)


def _put(step: Step, space: int, change: Change, revision: int) -> bool:
    given: tuple[Any, ...] = (space, storable(change.name), change.definition, change.due, change.state, revision)
    if change.expects is None:
        rows = step.db.execute(_SQL["put"], given)
    elif change.expects == 0:
        rows = step.db.execute(_SQL["put-new"], given)
    else:
        rows = step.db.execute(_SQL["put-expected"], (*given, change.expects))
    return rows.fetchone() is not None


def _run(name: str, due: float, at: float, task_id: str | None, reason: str, manual: int) -> Run:
    return Run(name, due, at, task_id, reason, bool(manual))
