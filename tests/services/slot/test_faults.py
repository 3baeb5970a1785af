"""What a slot does when its lease is lost, its broker goes away, its store is full, its supervisor takes calls back."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.services.slot.breakable import Breakages
from tests.services.slot.world import NODE, PATIENCE_S, Gate, World, standings

from sedano import signals
from sedano.contracts import Outcome, Settlement, Standing, decode_settlement
from sedano.exceptions import BrokerUnavailable, MessageTooLarge, SoftTimeLimitExceeded, StoreFull
from sedano.rules.window import MEASURED_AFTER
from sedano.testing import FakeClock
from sedano.worker.context import SlotContext, SlotOptions
from sedano.worker.slot import run_slot
from sedano.worker.table import CallStatus, Phase, SharedTable


def warm_up(world: World, task: str) -> None:
    """Have `task` measured, so that its calls share windows from now on."""
    ids = [world.call(task) for _ in range(MEASURED_AFTER + 1)]
    world.wait_for(*[(task_id, "SUCCESS") for task_id in ids])


# -- ack modes and fences ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("acks_late", "standing"), [(False, Standing.BEGUN_EARLY), (True, Standing.BEGUN_LATE)])
def test_given_a_running_call_when_its_owner_is_taken_for_dead_then_it_stands_as_its_ack_mode_says(
    world: World, acks_late: bool, standing: Standing
) -> None:
    gate = Gate()

    @world.task(name="slow", acks_late=acks_late)
    def slow() -> None:
        gate.pass_through()

    slot = world.start()
    world.call("slow")
    gate.wait()

    taken = world.take_over(slot)
    gate.opened.set()

    assert standings(taken.deliveries) == [standing]


def test_given_a_lease_that_was_taken_over_then_the_late_settlement_is_refused_and_the_slot_goes_on_under_a_new_one(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate()

    @world.task(name="slow")
    def slow() -> str:
        gate.pass_through()
        return "too late"

    @world.task(name="quick")
    def quick() -> None: ...

    slot = world.start()
    late = world.call("slow")
    gate.wait()
    first = slot.lease
    world.take_over(slot)
    gate.opened.set()
    after = world.call("quick")
    world.wait_for((after, "SUCCESS"))

    assert world.state(late) == "PENDING"
    assert f"SUCCESS of task {late} (attempt 0) comes too late and is refused" in caplog.text
    assert slot.lease.owner != first.owner


def test_given_a_lease_lost_in_mid_window_then_the_rest_of_the_window_is_not_run(world: World) -> None:
    gate, ran = Gate(), list[str]()

    @world.task(name="quick", bind=True)
    def quick(self: Any) -> None:
        ran.append(self.request.id)
        if self.request.id == "stops":
            gate.pass_through()

    slot = world.start(window_s=1.0)
    warm_up(world, "quick")
    with_gate(world, gate)
    taken = world.take_over(slot)
    slot.row.lost = True  # what the keeper writes when a renew is refused
    gate.opened.set()
    last = world.call("quick", id="last")
    world.wait_for((last, "SUCCESS"))

    begun = [delivery for delivery in taken.deliveries if delivery.standing is Standing.BEGUN_EARLY]
    assert len(begun) > 1
    assert not {"behind0", "behind1", "behind2"} & set(ran)


def with_gate(world: World, gate: Gate) -> None:
    """Bring the slot into a window of four calls, in the first of which it stops. Its windows must be long enough."""
    block = Gate()

    @world.task(name="block")
    def blocking() -> None:
        block.pass_through()

    world.call("block")
    block.wait()
    world.call("quick")  # with empty hands the first is begun alone
    world.call("quick", id="stops")
    for n in range(3):
        world.call("quick", id=f"behind{n}")
    block.opened.set()
    gate.wait()


def until(claim: Callable[[], bool]) -> None:
    """Wait for what nobody tells of."""
    deadline = time.monotonic() + PATIENCE_S
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@contextlib.contextmanager
def warning_of_a_stale_lease() -> Iterator[threading.Event]:
    """An event that is set when the slot says that it begins nothing."""
    warned = threading.Event()

    class Warned(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "beginning nothing until it is" in record.getMessage():
                warned.set()

    logger, handler = logging.getLogger("celery.worker.consumer.consumer"), Warned()
    logger.addHandler(handler)
    try:
        yield warned
    finally:
        logger.removeHandler(handler)


def test_given_a_soft_limit_that_is_over_before_the_tasks_own_code_runs_then_that_code_does_not_run(world: World) -> None:
    gate, ran = Gate(), list[str]()

    @world.task(name="quick")
    def quick() -> None:
        ran.append("quick")

    def dawdle(**_: Any) -> None:
        gate.pass_through()

    signals.task_received.connect(dawdle, weak=False)
    try:
        slot = world.start()
        task_id = world.call("quick")
        gate.wait()
        assert slot.row.mark_soft(slot.row.window, 0)
        gate.opened.set()
        world.wait_for((task_id, "FAILURE"))
    finally:
        signals.task_received.disconnect(dawdle)

    assert ran == []
    assert isinstance(world.record(task_id)["result"], SoftTimeLimitExceeded)


# -- windows and stopping --------------------------------------------------------------------------------------------------


def test_given_an_unmeasured_task_then_windows_have_one_call_and_grow_when_it_is_steady(
    world: World, breakages: Breakages
) -> None:
    @world.task(name="quick")
    def quick() -> None: ...

    ids = [world.call("quick") for _ in range(200)]
    world.start()
    world.wait_for(*[(task_id, "SUCCESS") for task_id in ids])

    windows = [count for turn in breakages.turns if (count := begun_in(turn))]
    assert windows[:MEASURED_AFTER] == [1] * MEASURED_AFTER
    assert max(windows) > 10
    assert sum(windows) == 200


def begun_in(turn: dict[str, Any]) -> int:
    return len(turn["begin"]) + sum(each.standing is not Standing.RESERVED for each in turn["reply"].reserved)


@pytest.mark.parametrize("late", [False, True])
def test_given_empty_hands_then_a_call_is_begun_in_the_turn_that_reserves_it_and_settled_in_the_next(
    world: World, breakages: Breakages, late: bool
) -> None:
    @world.task(name="single", acks_late=late)
    def single() -> None: ...

    world.start()
    breakages.waiting.wait(PATIENCE_S)
    before = len(breakages.turns)
    world.wait_for((world.call("single"), "SUCCESS"))

    turns = breakages.turns[before:]
    (first,) = [turn for turn in turns if begun_in(turn)]
    assert [turn["begin"] for turn in turns if turn["begin"]] == []
    (delivery,) = first["reply"].reserved
    assert delivery.standing is (Standing.BEGUN_LATE if late else Standing.BEGUN_EARLY)


def test_given_the_answer_is_lost_to_the_turn_that_began_the_first_then_it_runs_once(
    world: World, breakages: Breakages
) -> None:
    ran: list[str] = []

    @world.task(name="quick", bind=True)
    def quick(self: Any) -> None:
        ran.append(self.request.id)

    breakages.firsts_to_lose = 2
    ids = [world.call("quick") for _ in range(5)]
    world.start()
    world.wait_for(*[(task_id, "SUCCESS") for task_id in ids])

    assert breakages.firsts_to_lose == 0
    assert sorted(ran) == sorted(ids)
    assert world.broker.depth(["celery"])[0].begun == 0


def test_given_a_call_that_the_store_took_for_another_task_then_it_runs_by_its_own_terms(
    world: World, breakages: Breakages
) -> None:
    @world.task(name="quick")
    def quick() -> None: ...

    @world.task(name="careful", acks_late=True)
    def careful() -> None: ...

    breakages.mistakes_for = Standing.BEGUN_EARLY
    task_id = world.call("careful")
    world.start()
    world.wait_for((task_id, "SUCCESS"))

    begun = [begin for turn in breakages.turns for begin in turn["begin"]]
    assert [begin.early for begin in begun] == [False]
    assert world.broker.depth(["celery"])[0].begun == 0


def test_given_an_unknown_and_a_delayed_call_at_the_head_then_they_are_settled_and_delayed_though_begun(
    world: World, breakages: Breakages
) -> None:
    @world.task(name="quick")
    def quick() -> None: ...

    world.start(unknown_timeout_s=0.0)
    unknown = world.call("nobody.knows")
    world.wait_for((unknown, "FAILURE"))
    world.call("quick", eta="2999-01-01T00:00:00+00:00")
    world.wait_for((world.call("quick"), "SUCCESS"))

    (depth,) = world.broker.depth(["celery"])
    assert (depth.delayed, depth.dead, depth.begun, depth.reserved) == (1, 1, 0, 0)


def test_given_a_slot_that_is_to_stop_in_mid_window_then_it_finishes_the_running_call_and_hands_back_the_rest(
    world: World,
) -> None:
    gate, ran = Gate(), list[str]()

    @world.task(name="quick", bind=True)
    def quick(self: Any) -> None:
        ran.append(self.request.id)
        if self.request.id == "stops":
            gate.pass_through()

    slot = world.start(window_s=1.0)
    warm_up(world, "quick")
    with_gate(world, gate)
    slot.row.stop = 1
    gate.opened.set()

    assert slot.join() == 0
    assert world.state("stops") == "SUCCESS"
    assert not {"behind0", "behind1", "behind2"} & set(ran)
    depth = world.depth()
    assert (depth.ready, depth.reserved, depth.begun) == (3, 0, 0)
    assert world.broker.leases() == []


def test_given_calls_that_the_supervisor_took_back_then_the_slot_does_not_run_them(world: World) -> None:
    gate, ran = Gate(), list[str]()

    @world.task(name="quick", bind=True)
    def quick(self: Any) -> None:
        ran.append(self.request.id)
        if self.request.id == "stops":
            gate.pass_through()

    slot = world.start(window_s=1.0)
    warm_up(world, "quick")
    with_gate(world, gate)
    taken = [note.tag for note in slot.row.take_back()]
    assert len(taken) == 3
    assert world.broker.unbegin(slot.lease, taken) == 3
    gate.opened.set()
    world.wait_for(*[(f"behind{n}", "SUCCESS") for n in range(3)])

    assert [task_id for task_id in ran if task_id.startswith("behind")] == ["behind0", "behind1", "behind2"]


def test_given_calls_taken_back_behind_one_whose_settlement_does_not_fit_then_the_slot_does_not_run_them(world: World) -> None:
    gate, ran = Gate(), list[str]()

    @world.task(name="quick", bind=True)
    def quick(self: Any) -> str:
        ran.append(self.request.id)
        if self.request.id != "stops":
            return ""
        gate.pass_through()
        return "x" * 300_000

    slot = world.start(window_s=1.0)
    warm_up(world, "quick")
    with_gate(world, gate)
    taken = [note.tag for note in slot.row.take_back()]
    world.broker.unbegin(slot.lease, taken)
    other = world.broker.register("other", "w2@test")
    given_to_another = world.broker.turn(other, reserve=3, queues=["celery"]).reserved
    gate.opened.set()
    world.wait_for(("stops", "SUCCESS"))
    last = world.call("quick", id="last")
    world.wait_for((last, "SUCCESS"))

    assert len(given_to_another) == 3
    assert not [task_id for task_id in ran if task_id.startswith("behind")]


def test_given_calls_taken_back_then_the_slot_gives_them_back_too_when_the_supervisor_has_not_yet(world: World) -> None:
    gate = Gate()

    @world.task(name="quick", bind=True)
    def quick(self: Any) -> None:
        if self.request.id == "stops":
            gate.pass_through()

    slot = world.start(window_s=1.0)
    warm_up(world, "quick")
    with_gate(world, gate)
    assert len(slot.row.take_back()) == 3
    gate.opened.set()
    world.wait_for(*[(f"behind{n}", "SUCCESS") for n in range(3)])

    slot.stop()
    assert world.broker.leases() == []


def test_given_a_revoke_that_is_first_heard_of_in_the_turn_that_begins_its_call_then_the_call_does_not_run(
    world: World,
) -> None:
    gate, block, ran = Gate(), Gate(), list[str]()

    @world.task(name="quick", bind=True)
    def quick(self: Any) -> None:
        if self.request.id == "stops":
            gate.pass_through()

    @world.task(name="other", bind=True)
    def other(self: Any) -> None:
        ran.append(self.request.id)

    @world.task(name="block")
    def blocking() -> None:
        block.pass_through()

    slot = world.start(window_s=1.0)
    warm_up(world, "quick")
    world.call("block")
    block.wait()
    world.call("quick", id="stops")
    world.call("other", id="victim")  # never measured: it waits in hand for a window of its own
    block.opened.set()
    gate.wait()
    assert slot.row.stash == 1
    world.revoke("victim")
    gate.opened.set()
    world.wait_for(("victim", "REVOKED"))

    assert ran == []
    assert slot.row.processed == MEASURED_AFTER + 3


def test_given_settlements_that_do_not_fit_into_the_table_then_they_go_to_the_store_before_the_next_call(
    world: World, breakages: Breakages
) -> None:
    @world.task(name="quick", bind=True)
    def quick(self: Any) -> str:
        return "x" * (100_000 if self.request.id.startswith("big") else 1)

    for _ in range(MEASURED_AFTER + 1):
        world.call("quick")
    ids = [world.call("quick", id=f"big{n}") for n in range(10)]
    world.start(window_s=10.0)
    world.wait_for(*[(task_id, "SUCCESS") for task_id in ids])

    assert max(len(turn["begin"]) for turn in breakages.turns) > 3
    flushes = [turn for turn in breakages.turns if turn["settle"] and not turn["begin"] and not turn["reserve"]]
    assert len(flushes) >= 3


def test_given_a_window_that_took_too_long_then_what_waited_behind_it_is_given_back_uncounted(
    world: World, breakages: Breakages
) -> None:
    clock = FakeClock()

    @world.task(name="quick", bind=True)
    def quick(self: Any) -> None:
        if self.request.id == "long":
            clock.advance(1.0)

    for _ in range(MEASURED_AFTER + 1):
        world.call("quick")

    @world.task(name="other")
    def other() -> None: ...

    world.call("quick", id="long")
    ids = [world.call("other"), *(world.call("quick") for _ in range(100))]  # an unmeasured task ends the window before it
    world.start(clock=clock)
    world.wait_for(*[(task_id, "SUCCESS") for task_id in ids])

    reserved = sum(len(turn["reply"].reserved) for turn in breakages.turns)
    assert reserved > len(ids) + MEASURED_AFTER + 2  # some were reserved twice
    assert not any(delivery.redelivered for turn in breakages.turns for delivery in turn["reply"].reserved)


def test_given_max_tasks_then_the_slot_ends_after_them_and_holds_nothing(world: World) -> None:
    @world.task(name="quick")
    def quick() -> None: ...

    ids = [world.call("quick") for _ in range(20)]
    slot = world.start(max_tasks=7)

    assert slot.join() == 0
    assert [world.state(task_id) for task_id in ids] == ["SUCCESS"] * 7 + ["PENDING"] * 13
    assert world.depth().ready == 13
    assert slot.row.processed == 7


def test_given_a_prefetch_cap_then_the_slot_never_holds_more(world: World, breakages: Breakages) -> None:
    @world.task(name="quick")
    def quick() -> None: ...

    ids = [world.call("quick") for _ in range(30)]
    world.start(prefetch_cap=2)
    world.wait_for(*[(task_id, "SUCCESS") for task_id in ids])

    for turn in breakages.turns:
        assert len(turn["begin"]) + turn["reserve"] <= 2


def test_given_a_lease_that_is_not_renewed_then_nothing_is_begun_until_it_is(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate()

    @world.task(name="quick")
    def quick() -> None:
        gate.pass_through()

    slot = world.start()
    world.call("quick")
    gate.wait()
    with warning_of_a_stale_lease() as warned:
        slot.row.renewed_at -= 15.0  # of 20
        gate.opened.set()
        assert warned.wait(20)

    task_id = world.call("quick")
    slot.wake()
    assert world.depth().ready == 1
    slot.row.renewed_at += 15.0
    slot.wake()
    world.wait_for((task_id, "SUCCESS"))


def test_given_a_lease_that_is_lost_because_nobody_renewed_it_then_the_next_one_is_not_begun_on_until_it_is_renewed(
    world: World,
) -> None:
    gate = Gate()

    @world.task(name="quick")
    def quick() -> None:
        gate.pass_through()

    slot = world.start()
    world.call("quick")
    gate.wait()
    first = slot.lease
    with warning_of_a_stale_lease() as warned:
        slot.row.renewed_at -= 25.0  # of 20: the supervisor stands still
        world.take_over(slot)
        gate.opened.set()
        assert warned.wait(20)
    until(lambda: slot.lease.owner not in ("", first.owner))

    task_id = world.call("quick")
    slot.wake()
    assert world.depth().ready == 1
    slot.row.renewed_at += 25.0
    slot.wake()
    world.wait_for((task_id, "SUCCESS"))


def test_given_an_idle_slot_when_a_call_comes_then_the_supervisor_is_told_unless_it_watches(
    world: World, breakages: Breakages
) -> None:
    gate = Gate()

    @world.task(name="quick")
    def quick() -> None:
        gate.pass_through()

    slot = world.start()
    assert breakages.waiting.wait(20)
    world.call("quick")
    gate.wait()

    assert os.read(slot.notify_read, 10) == b"!"
    assert slot.row.phase is Phase.BUSY
    gate.opened.set()


# -- stores that fail ------------------------------------------------------------------------------------------------------


def test_given_a_lost_answer_when_the_turn_is_repeated_then_the_call_ran_once_and_is_settled_once(
    world: World, breakages: Breakages, caplog: pytest.LogCaptureFixture
) -> None:
    ran: list[str] = []

    @world.task(name="quick", bind=True)
    def quick(self: Any) -> None:
        ran.append(self.request.id)

    breakages.answers_to_lose = 3
    ids = [world.call("quick") for _ in range(20)]
    world.start()
    world.wait_for(*[(task_id, "SUCCESS") for task_id in ids])

    assert sorted(ran) == sorted(ids)
    assert breakages.answers_to_lose == 0
    assert "holds no delivery" not in caplog.text


def test_given_a_broker_that_goes_away_during_a_call_then_its_result_is_stored_when_it_is_back(
    world: World, breakages: Breakages, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate()

    @world.task(name="slow")
    def slow() -> str:
        gate.pass_through()
        return "kept"

    world.start()
    task_id = world.call("slow")
    gate.wait()
    breakages.away = True
    gate.opened.set()
    world.wait_for((task_id, "SUCCESS"))

    assert world.record(task_id)["result"] == "kept"
    assert "consumer: Connection to broker lost. Trying to re-establish the connection..." in caplog.text


def test_given_a_broker_that_goes_away_while_the_slot_waits_then_it_consumes_again(world: World, breakages: Breakages) -> None:
    @world.task(name="quick")
    def quick() -> None: ...

    slot = world.start()
    assert breakages.waiting.wait(20)
    breakages.away = True
    breakages.reconnects_to_fail = 1
    slot.wake()
    slot.wake()  # the pause between two tries ends at once, too
    task_id = world.call("quick")
    world.wait_for((task_id, "SUCCESS"))


def test_given_an_idle_slot_whose_broker_is_away_when_it_is_to_stop_then_it_ends_at_once(
    world: World, breakages: Breakages
) -> None:
    slot = world.start()
    assert breakages.waiting.wait(20)
    breakages.away = True
    breakages.reconnects_to_fail = 1_000

    assert slot.stop() == 0


def test_given_a_slot_that_is_to_stop_when_its_broker_stays_away_then_the_table_keeps_what_it_could_not_settle(
    world: World, breakages: Breakages
) -> None:
    gate = Gate()

    @world.task(name="slow")
    def slow() -> None:
        gate.pass_through()

    clock = FakeClock()
    slot = world.start(lease_s=2.0, clock=clock)
    task_id = world.call("slow")
    gate.wait()
    breakages.away = True
    breakages.at_reconnect = lambda: clock.advance(3.0)
    breakages.reconnects_to_fail = 1_000
    slot.row.stop = 1
    gate.opened.set()

    assert slot.join() == 1
    view = slot.row.snapshot()
    assert view.statuses == (CallStatus.FINISHED,)
    (settlement,) = (decode_settlement(data) for data in view.settlements.values())
    assert (settlement.task_id, settlement.outcome) == (task_id, Outcome.SUCCESS)


def test_given_a_full_store_then_the_result_is_given_up_and_the_call_settled(
    world: World, breakages: Breakages, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sedano.worker.turns.FULL_WAIT_S", 0.0)
    monkeypatch.setattr("sedano.worker.turns.FULL_PATIENCE_S", 0.0)

    @world.task(name="quick")
    def quick() -> None: ...

    breakages.full_for = 2
    world.start()
    first = world.call("quick")
    second = world.call("quick")
    world.wait_for((second, "SUCCESS"))

    assert world.state(first) == "PENDING"
    assert world.depth().begun == 0
    assert f"the result of task {first} is not stored: no room" in caplog.text


def test_given_one_result_that_does_not_fit_then_the_others_of_its_window_are_stored_and_it_is_kept_until_there_is_room(
    world: World, breakages: Breakages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sedano.worker.turns.FULL_WAIT_S", 0.0)
    gate, refused = Gate(), list[str]()

    @world.task(name="quick", bind=True)
    def quick(self: Any) -> None:
        if self.request.id == "stops":
            gate.pass_through()

    def refuses(settlement: Settlement) -> StoreFull | None:
        if settlement.task_id != "behind0" or len(refused) > 20:
            return None
        refused.append(settlement.task_id)
        return StoreFull("no room, with a result or without")

    world.start(window_s=1.0)
    warm_up(world, "quick")
    breakages.refuses = refuses
    with_gate(world, gate)
    gate.opened.set()

    world.wait_for(("behind1", "SUCCESS"), ("behind2", "SUCCESS"), ("behind0", "SUCCESS"))
    assert len(refused) > 20


def test_given_a_settlement_over_which_the_connection_always_breaks_then_it_alone_becomes_a_failure(
    world: World, breakages: Breakages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sedano.worker.turns.BREAK_WAIT_S", 0.0)

    @world.task(name="quick")
    def quick(size: int) -> str:
        return "x" * size

    def too_long_for_the_server(settlement: Any) -> Exception | None:
        too_long = settlement.result is not None and len(settlement.result.payload) > 10_000
        return BrokerUnavailable("Connection reset by peer") if too_long else None

    breakages.refuses = too_long_for_the_server
    world.start()
    bad, good = world.call("quick", 20_000), world.call("quick", 1)
    world.wait_for((bad, "FAILURE"), (good, "SUCCESS"))

    assert "Connection reset by peer" in str(world.record(bad)["result"])
    assert [letter.note.task_id for letter in world.dead()] == [bad]


def test_given_a_settlement_that_the_store_refuses_then_it_alone_becomes_a_failure(
    world: World, breakages: Breakages, caplog: pytest.LogCaptureFixture
) -> None:
    def too_large(settlement: Any) -> Exception | None:
        if settlement.task_id == "big" and settlement.outcome is Outcome.SUCCESS:
            return MessageTooLarge("over 512 MB")
        return None

    @world.task(name="quick")
    def quick() -> None: ...

    breakages.refuses = too_large
    world.start()
    ids = [world.call("quick", id=name) for name in ("before", "big", "after")]
    world.wait_for(("before", "SUCCESS"), ("big", "FAILURE"), ("after", "SUCCESS"))

    assert len(ids) == 3
    assert [letter.note.task_id for letter in world.dead()] == ["big"]
    assert "success of task big cannot be stored" in caplog.text


# -- two stores ------------------------------------------------------------------------------------------------------------


def test_given_two_stores_then_results_go_to_the_second_and_no_pending_is_left(make_world: Callable[..., World]) -> None:
    world = make_world(two_stores=True)

    @world.task(name="quick")
    def quick() -> int:
        return 7

    slot = world.start()
    ids = [world.call("quick") for _ in range(10)]
    world.wait_for(*[(task_id, "SUCCESS") for task_id in ids])
    assert slot.stop() == 0

    assert world.broker.leases() == []  # an owner with pendings would still be there


def test_given_a_result_store_that_is_away_then_calls_go_on_and_results_come_later(
    make_world: Callable[..., World], breakages: Breakages
) -> None:
    world = make_world(two_stores=True)
    done = threading.Event()

    @world.task(name="quick", bind=True)
    def quick(self: Any) -> None:
        if self.request.id == "last":
            done.set()

    breakages.results_away = True
    world.start()
    ids = [world.call("quick") for _ in range(5)] + [world.call("quick", id="last")]
    assert done.wait(20)
    assert {world.state(task_id) for task_id in ids} == {"PENDING"}
    breakages.results_away = False
    world.wait_for(*[(task_id, "SUCCESS") for task_id in ids])


def test_given_a_result_store_that_stays_away_when_the_slot_ends_then_the_pendings_are_left_to_a_reaper(
    make_world: Callable[..., World], breakages: Breakages
) -> None:
    world = make_world(two_stores=True)
    gate = Gate()

    @world.task(name="quick")
    def quick() -> None:
        gate.pass_through()

    breakages.results_away = True
    slot = world.start()
    task_id = world.call("quick")
    gate.wait()
    lease = slot.lease
    slot.row.stop = 1
    gate.opened.set()
    assert slot.join() == 0

    (record,) = world.broker.leases()
    assert record.owner == lease.owner
    reaper = world.broker.register("reaper", "n")
    taken = world.broker.take_over(record, reaper, limit=10)
    assert [pending.key for pending in taken.pendings] == [f"{task_id}:0"]
    world.results.store([pending.result for pending in taken.pendings if pending.result is not None])
    assert world.state(task_id) == "SUCCESS"


# -- the process's own signals ---------------------------------------------------------------------------------------------


def test_given_a_call_over_its_soft_limit_when_the_signal_comes_then_the_task_sees_it(world: World) -> None:
    table = SharedTable.create(1)
    row = table.row(0)
    seen: list[str] = []

    @world.task(name="hangs", soft_time_limit=1)
    def hangs() -> str:
        window, k, _ = row.running() or (0, 0, 0.0)
        note = row.note(window, k)
        assert note is not None
        assert note.soft_s == 1
        os.kill(os.getpid(), signal.SIGUSR1)  # not marked: meant for another call
        assert row.mark_soft(window, k)
        try:
            os.kill(os.getpid(), signal.SIGUSR1)
            threading.Event().wait(20)
        except SoftTimeLimitExceeded as exc:
            seen.append(str(exc))
            row.stop = 1
            raise
        return "never"

    wake, _ = os.pipe()
    _, notify = os.pipe()
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # as a pool process does
    task_id = world.call("hangs")
    try:
        context = SlotContext(world.app, 0, "slot", NODE, table, SlotOptions(queues=("celery",)), wake, notify)
        assert run_slot(context) == 0
    finally:
        signal.signal(signal.SIGUSR1, before)

    assert seen == ["SoftTimeLimitExceeded()"]
    assert world.state(task_id) == "FAILURE"
    assert type(world.record(task_id)["result"]).__name__ == "SoftTimeLimitExceeded"


def test_given_a_task_that_asks_the_process_to_end_then_the_table_shows_the_call_as_started(world: World) -> None:
    @world.task(name="leaves")
    def leaves() -> None:
        raise SystemExit(3)

    slot = world.start()
    world.call("leaves")
    with pytest.raises(SystemExit) as ended:
        slot.join()

    assert ended.value.code == 3
    view = slot.row.snapshot()
    assert view.statuses == (CallStatus.STARTED,)
    slot.error = None


def test_given_a_settlement_that_the_table_cannot_write_then_it_goes_to_the_store_at_once(world: World) -> None:
    @world.task(name="again", bind=True, default_retry_delay=0)
    def again(self: Any) -> int:
        if not self.request.retries:
            raise self.retry()
        return int(self.request.headers["huge"] == 10**30)

    world.start()
    task_id = world.call("again", headers={"huge": 10**30})
    world.wait_for((task_id, "SUCCESS"))

    assert world.record(task_id)["result"] == 1
