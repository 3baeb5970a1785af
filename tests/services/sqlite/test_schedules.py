"""Schedules on a file: what happens when it is full, and how many runs are looked at."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from tests.services.sqlite.stores import store_in

from sedano.contracts import Change, Run, Schedules, Tick
from sedano.exceptions import StoreFull
from sedano.testing.contracts.messages import outgoing

MIB = 1 << 20
DUE = 1_800_000_000.1


def tick(schedules: Schedules, name: str, *, body: bytes = b"") -> Tick:
    """The entry's moment, sent to "q"."""
    entry = schedules.entry(name)
    assert entry is not None
    assert entry.due is not None
    run = Run(name, entry.due, entry.due, name)
    return Tick(name, entry.revision, entry.due, entry.due + 1, b"stepped", (run,), (outgoing("q", name, body=body),))


def test_given_a_store_that_is_full_when_ticks_are_written_then_nothing_of_them_is_there(tmp_path: Path) -> None:
    with store_in(tmp_path, query=f"?max_bytes={MIB}") as store:
        schedules, slot = store.schedules(), store.slot()
        schedules.put([Change("a", b"", DUE), Change("b", b"", DUE)])
        before = schedules.entries()
        ticks = [tick(schedules, "a"), tick(schedules, "b", body=b"x" * MIB)]
        with pytest.raises(StoreFull, match="max_bytes"):
            schedules.fire(ticks, None)
        with pytest.raises(StoreFull):
            schedules.note(Run("a", DUE, DUE, "t", manual=True), ticks[1].messages)
        with pytest.raises(StoreFull):
            schedules.put([Change("c", b"", DUE), Change("d", b"x" * MIB, DUE)])
        assert schedules.entries() == before
        assert schedules.runs() == []
        assert slot.depth("q").ready == 0
        assert schedules.fire(ticks[:1], None) == [True]


def test_given_many_runs_when_one_more_is_written_then_those_that_are_too_many_leave_the_file(tmp_path: Path) -> None:
    with store_in(tmp_path) as store:
        schedules = store.schedules()
        schedules.put([Change("a", b"", DUE), Change("b", b"", DUE)])
        for keep in (5, 5, 5, 5, 5, 5, 5, 2):
            assert schedules.fire([tick(schedules, "a"), tick(schedules, "b")], None, keep=keep) == [True, True]
        database = sqlite3.connect(tmp_path / "store.db")
        rows = database.execute("SELECT number FROM schedule_runs ORDER BY entry, number").fetchall()
        assert rows == [(7,), (8,), (7,), (8,)]
        schedules.remove(["a", "b"])
        assert database.execute("SELECT count(*) FROM schedule_runs").fetchone() == (0,)
        database.close()
