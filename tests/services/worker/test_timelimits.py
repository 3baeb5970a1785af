"""The supervisor's look at the table, with a row in this process and a pool that only writes down what it is told."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from sedano.contracts import Lease
from sedano.worker.pools.events import PoolEvent
from sedano.worker.table import CallNote, Cause, Phase, Row, SharedTable
from sedano.worker.timelimits import TableWatch


class WrittenPool:
    name = "written"

    def __init__(self, *, ends_calls: bool = True) -> None:
        self.ends_calls = ends_calls
        self.sent: list[tuple[int, int]] = []

    def start(self) -> None: ...
    def order(self, index: int) -> None: ...
    def wake(self, index: int) -> None: ...
    def signal(self, index: int, signum: int) -> bool:
        self.sent.append((index, signum))
        return True

    def fileno(self) -> int:
        return -1

    def events(self) -> list[PoolEvent]:
        return []

    def reap_orphans(self) -> None: ...
    def close(self) -> None: ...


class Bench:
    def __init__(self, *, ends_calls: bool = True) -> None:
        self.table = SharedTable.create(1)
        self.row: Row = self.table.row(0)
        self.row.hold("node/0/1/a", 7, now=0.0)
        self.pool = WrittenPool(ends_calls=ends_calls)
        self.given: list[tuple[Lease, list[str], bool]] = []
        self.watch = TableWatch(self.table, self.pool, lambda *order: self.given.append(order), long_s=0.05)

    def run(self, *notes: CallNote, at: float = 100.0) -> None:
        self.row.open_window(notes)
        self.row.phase = Phase.BUSY
        self.row.start(0, at)


def note(tag: str, soft_s: float | None = None, hard_s: float | None = None) -> CallNote:
    return CallNote(tag, "q", f"id-{tag}", "tests.add", True, soft_s=soft_s, hard_s=hard_s)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.table.close()


def test_given_a_call_over_50_ms_when_it_is_looked_at_then_what_waits_behind_it_is_given_back_once(bench: Bench) -> None:
    bench.run(note("a"), note("b"), note("c"))
    bench.row.stash = 4
    bench.watch.look(100.04)
    assert bench.given == []
    bench.watch.look(100.06)
    bench.watch.look(100.09)
    assert bench.given == [(Lease("node/0/1/a", 7), ["b", "c"], True)]


def test_given_a_long_call_with_nothing_behind_it_when_it_is_looked_at_then_the_store_is_left_alone(bench: Bench) -> None:
    bench.run(note("a"))
    bench.watch.look(100.5)
    assert bench.given == []


def test_given_a_soft_limit_when_it_is_over_then_the_slot_is_told_once_with_the_log_line(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.run(note("a", soft_s=1.0, hard_s=9.0))
    bench.watch.look(100.9)
    assert bench.pool.sent == []
    bench.watch.look(101.01)
    bench.watch.look(101.03)
    assert bench.pool.sent == [(0, signal.SIGUSR1)]
    assert bench.row.soft_limit_due()
    assert "Soft time limit (1s) exceeded for tests.add[id-a]" in caplog.messages


def test_given_a_hard_limit_when_it_is_over_then_the_slot_is_condemned_and_killed(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.run(note("a", hard_s=2.0))
    bench.watch.look(102.01)
    bench.watch.look(102.04)  # a big process takes its time to die
    assert bench.pool.sent == [(0, signal.SIGKILL)]
    assert bench.row.condemned is Cause.HARD_LIMIT
    assert caplog.messages.count("Hard time limit (2s) exceeded for tests.add[id-a]") == 1


def test_given_a_call_that_is_being_terminated_when_its_limits_are_over_too_then_the_first_cause_stands(bench: Bench) -> None:
    bench.run(note("a", soft_s=1.0, hard_s=2.0))
    assert bench.row.condemn(bench.row.window, 0, Cause.TERMINATED)
    bench.watch.look(101.5)
    bench.watch.look(102.5)
    assert bench.pool.sent == []
    assert bench.row.condemned is Cause.TERMINATED


def test_given_the_next_call_when_the_limit_of_the_last_one_would_be_over_then_it_has_its_own_time(bench: Bench) -> None:
    bench.run(note("a", hard_s=2.0), note("b", hard_s=2.0))
    bench.watch.look(101.9)
    bench.row.finish(0, b"")
    bench.run(note("b", hard_s=2.0), at=101.95)
    bench.watch.look(103.0)
    assert bench.pool.sent == []
    bench.watch.look(104.0)
    assert bench.pool.sent == [(0, signal.SIGKILL)]


def test_given_a_pool_that_cannot_end_calls_when_a_limit_is_over_then_nothing_is_sent() -> None:
    bench = Bench(ends_calls=False)
    bench.run(note("a", soft_s=0.5, hard_s=1.0), note("b"))
    bench.watch.look(200.0)
    assert bench.pool.sent == []
    assert bench.given == [(Lease("node/0/1/a", 7), ["b"], False)]
    bench.table.close()


def test_given_idle_slots_when_they_are_looked_at_then_the_watch_ends_and_slots_must_notify(bench: Bench) -> None:
    bench.run(note("a"))
    assert bench.watch.look(100.0)
    assert bench.table.supervisor_watches
    bench.row.close_window()
    bench.row.phase = Phase.IDLE
    assert not bench.watch.look(100.1)
    assert not bench.table.supervisor_watches
