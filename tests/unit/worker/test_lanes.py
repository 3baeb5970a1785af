"""The parts of pools that run many calls in one process: the board, interruptions, limits, what is taken out of the stash."""

from __future__ import annotations

import dataclasses
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any, cast

import pytest
from tests.unit.worker.test_stash import TERMS

from sedano.contracts import Delivery
from sedano.exceptions import ImproperlyConfigured, SoftTimeLimitExceeded
from sedano.protocol.call import Call
from sedano.worker.board import LANE_BYTES, Order
from sedano.worker.held import Held
from sedano.worker.lanecall import LaneCall, LaneCode, LaneEnded
from sedano.worker.lanelimits import LaneLimits
from sedano.worker.laneturns import LaneStash
from sedano.worker.pools import pool_name
from sedano.worker.table import CallNote, CallStatus, Cause, SharedTable


@pytest.fixture
def table() -> Iterator[SharedTable]:
    table = SharedTable.create(1, lanes=3)
    yield table
    table.close()


def note(number: int, hard_s: float | None = None) -> CallNote:
    return CallNote(f"tag{number}", "celery", f"id{number}", "app.add", True, hard_s=hard_s)


def board_of(table: SharedTable) -> Any:
    return table.boards[0]


# -- the board ---------------------------------------------------------------------------------------------------------


def test_given_lanes_that_run_have_finished_or_are_free_when_the_process_dies_then_the_snapshot_tells_each(
    table: SharedTable,
) -> None:
    board = board_of(table)
    serials = [board.start(k, note(k), 1.0) for k in range(3)]
    assert board.finish(1, b"settlement")
    board.free(2)
    board.condemn(0, serials[0], Cause.HARD_LIMIT)
    view = SharedTable.attach(table.fd, 1, 3).snapshot(0)
    assert [each.tag for each in view.notes] == ["tag0", "tag1"]
    assert view.statuses == (CallStatus.STARTED, CallStatus.FINISHED)
    assert view.settlements == {"tag1": b"settlement"}
    assert view.causes == {"tag0": Cause.HARD_LIMIT}
    table.reset(0)
    assert table.snapshot(0).notes == ()


def test_given_a_lane_whose_call_has_changed_when_asked_about_the_old_one_then_it_says_nothing(table: SharedTable) -> None:
    board = board_of(table)
    old = board.start(0, note(1), 1.0)
    board.condemn(0, old, Cause.HARD_LIMIT)
    new = board.start(0, note(2), 2.0)
    assert board.note(0, old) is None
    assert board.note(0, new).tag == "tag2"
    assert table.snapshot(0).causes == {}
    assert board.running() == [(0, new, 2.0)]


def test_given_hard_limits_when_time_goes_by_then_those_are_overdue_that_still_run(table: SharedTable) -> None:
    board = board_of(table)
    serials = [board.start(k, note(k, hard_s), 10.0) for k, hard_s in enumerate((5.0, 6.0, None))]
    board.finish(1, b"s")
    assert board.overdue(14.9) == []
    assert board.overdue(1000.0) == [(0, serials[0])]


def test_given_orders_when_they_are_taken_then_each_comes_once(table: SharedTable) -> None:
    board = board_of(table)
    serial = board.start(2, note(1), 1.0)
    before = board.orders_given
    board.order(2, serial, Order.END, signal.SIGKILL)
    assert board.orders_given != before
    assert list(board.orders()) == [(2, serial, Order.END, 9)]
    assert list(board.orders()) == []


def test_given_a_settlement_without_room_when_it_is_to_be_kept_then_the_call_still_counts_as_running(
    table: SharedTable,
) -> None:
    board = board_of(table)
    board.start(0, note(1), 1.0)
    assert not board.finish(0, bytes(LANE_BYTES))
    assert table.snapshot(0).statuses == (CallStatus.STARTED,)


def test_given_a_call_with_an_endless_name_when_it_starts_then_its_note_is_cut(table: SharedTable) -> None:
    board = board_of(table)
    serial = board.start(0, CallNote("tag", "celery", "i" * 100_000, "t" * 100_000, True), 1.0)
    assert len(board.note(0, serial).task) == 200


# -- interruptions -----------------------------------------------------------------------------------------------------


def test_given_an_interruption_before_during_and_after_the_code_when_it_runs_then_it_meets_only_the_code() -> None:
    thrown: list[type[BaseException]] = []
    early, running, late = LaneCode(), LaneCode(), LaneCode()
    early.interrupt(SoftTimeLimitExceeded)
    with pytest.raises(SoftTimeLimitExceeded):
        early.begin()
    running.throw = late.throw = thrown.append
    running.begin()
    running.interrupt(LaneEnded)
    late.begin()
    late.over()
    late.interrupt(LaneEnded)
    assert thrown == [LaneEnded]


class Crew:
    """Hears nothing, and gives calls up at once."""

    grace_s = 0.0
    stuck = 0

    def abandon(self, call: LaneCall) -> bool:
        call.lost = True
        return True


def call_of(number: int, deliveries: int = 0) -> LaneCall:
    held = Held(Delivery(f"tag{number}", "celery", b"", None, deliveries=deliveries), Call("t", "id"), TERMS, None)
    return LaneCall(held, number, 1, LaneCode(), cast("Any", None))


def test_given_a_soft_and_a_hard_limit_when_they_are_over_then_the_call_is_interrupted_ended_and_given_up() -> None:
    heard: list[type[BaseException]] = []
    gone = threading.Event()
    given_up: list[LaneCall] = []

    def give_up(call: LaneCall) -> None:
        given_up.append(call)
        gone.set()

    limits = LaneLimits(cast("Any", Crew()), give_up)
    call = call_of(0)
    call.code.throw = heard.append
    call.code.begin()
    limits.watch(call, CallNote("t", "q", "i", "n", True, soft_s=1e-9, hard_s=0.05), time.monotonic())
    assert gone.wait(60)
    limits.close()
    assert heard == [SoftTimeLimitExceeded, LaneEnded]
    assert given_up == [call]
    assert call.cause is Cause.HARD_LIMIT


def test_given_a_limit_of_endless_time_when_another_is_over_then_that_call_is_interrupted_all_the_same() -> None:
    limits = LaneLimits(cast("Any", Crew()), lambda _call: None)
    limits.watch(call_of(0), CallNote("t", "q", "i", "n", True, hard_s=1e300), time.monotonic())
    heard = threading.Event()
    call = call_of(1)
    call.code.throw = lambda _kind: heard.set()
    call.code.begin()
    limits.watch(call, CallNote("t", "q", "i", "n", True, soft_s=0.05), time.monotonic())
    assert heard.wait(60)
    limits.close()


@pytest.mark.parametrize("limit", [-5, -0.0, float("nan"), float("-inf")])
def test_given_a_message_with_a_limit_that_is_no_length_of_time_then_the_tasks_own_holds(limit: float) -> None:
    call = Call("t", "id", timelimit=(limit, limit))
    terms = dataclasses.replace(TERMS, hard_s=20.0, soft_s=None)
    note = Held(Delivery("tag", "celery", b"", None), call, terms, None).note()
    assert (note.hard_s, note.soft_s) == (20.0, None)


# -- the stash ---------------------------------------------------------------------------------------------------------


def test_given_calls_that_were_lost_twice_when_lanes_are_free_then_one_of_them_runs_and_the_others_wait() -> None:
    stash = LaneStash()
    for number, deliveries in enumerate((0, 2, 3, 1, 0)):
        stash.add(call_of(number, deliveries).held)
    assert [held.tag for held in stash.take_lanes(10, suspects=1)] == ["tag0", "tag1", "tag3", "tag4"]
    assert [held.tag for held in stash.take_lanes(10, suspects=0)] == []
    assert [held.tag for held in stash.take_lanes(10, suspects=1)] == ["tag2"]
    assert stash.ready == 0


# -- names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "pool"),
    [
        ("prefork", "processes"),
        ("celery.concurrency.prefork:TaskPool", "processes"),
        ("celery.concurrency.thread:TaskPool", "threads"),
        ("celery.concurrency.gevent:TaskPool", "gevent"),
        ("eventlet", "eventlet"),
        ("own.pools:TaskPool", "own.pools:TaskPool"),
        ("own.pools.TaskPool", "own.pools:TaskPool"),
    ],
)
def test_given_a_word_for_a_pool_then_it_means_that_pool(wanted: str, pool: str) -> None:
    assert pool_name(wanted) == pool


def test_given_the_word_custom_when_a_class_is_named_then_it_means_that_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CELERY_CUSTOM_WORKER_POOL", raising=False)
    with pytest.raises(ImproperlyConfigured, match="CELERY_CUSTOM_WORKER_POOL"):
        pool_name("custom")
    monkeypatch.setenv("CELERY_CUSTOM_WORKER_POOL", "own:Pool")
    assert pool_name("custom") == "own:Pool"


def test_given_a_misspelt_pool_then_those_that_there_are_are_named() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"no pool 'thraeds'.*asyncio"):
        pool_name("thraeds")
