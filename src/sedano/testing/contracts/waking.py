"""Waiting for work: cheap while there is none, over at once when there is some."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

import pytest

from sedano.contracts import Delivery, Outgoing
from sedano.testing.contracts.harness import LONG_WAIT_S, PROMPT_S, Slot, StoreUnderTest, only_with, unique
from sedano.testing.contracts.messages import batch, outgoing, requeue, settlement, task_ids
from sedano.testing.contracts.processes import PUBLISH, outside

HEAD_START_S = 0.05
"""Lets the waiter fall asleep in most rounds. Nothing depends on it: work that comes earlier must wake it as well."""


class WakingContract:
    def test_given_a_sleeping_slot_when_another_connection_publishes_then_it_has_the_call_at_once(
        self, store: StoreUnderTest
    ) -> None:
        slot = store.slot()
        for number in range(5):
            with meanwhile(store, publishing(batch("q", [f"call-{number}"]))):
                assert task_ids(next_of(slot, "q")) == [f"call-{number}"]

    def test_given_a_slot_of_many_queues_when_the_last_of_them_gets_work_in_any_step_then_it_wakes(
        self, store: StoreUnderTest
    ) -> None:
        slot = store.slot()
        for priority in (0, 3, 6, 9):
            work = [outgoing("q3", f"call-{priority}", priority=priority)]
            with meanwhile(store, publishing(work)):
                assert task_ids(next_of(slot, "q1", "q2", "q3")) == [f"call-{priority}"]

    def test_given_work_published_between_turn_and_wait_when_it_waits_then_it_does_not_sleep_through_it(
        self, store: StoreUnderTest
    ) -> None:
        slot, producer = store.slot(), store.broker()
        for number in range(5):
            assert slot.reserve("q") == []
            producer.publish(batch("q", [f"call-{number}"]))
            began = time.monotonic()
            slot.broker.wait(["q"], LONG_WAIT_S)
            assert time.monotonic() - began < PROMPT_S
            assert task_ids(next_of(slot, "q")) == [f"call-{number}"]

    def test_given_two_sleeping_slots_when_two_calls_come_then_both_are_taken_at_once(self, store: StoreUnderTest) -> None:
        received: list[str] = []

        def sleeper() -> None:
            slot = _opened(store)
            received.extend(task_ids(next_of(slot, "q", limit=1)))
            slot.broker.close()

        with meanwhile(store, lambda _: sleeper(), head_start_s=0), meanwhile(store, lambda _: sleeper(), head_start_s=0):
            store.broker().publish(batch("q", "ab"))
        assert sorted(received) == ["a", "b"]

    @pytest.mark.parametrize("way", ["release", "release all", "unbegin", "requeue", "retire", "messages out"])
    def test_given_a_sleeping_slot_when_another_owner_gives_something_back_then_it_wakes(
        self, store: StoreUnderTest, way: str
    ) -> None:
        slot, owner = store.slot(), store.slot("owner")
        owner.broker.publish(batch("q", "a"))
        held = owner.reserve("q")
        if way in ("unbegin", "requeue"):
            owner.begin(held)

        def give_back(other: Slot) -> None:
            actions: dict[str, Callable[[], object]] = {
                "release": lambda: other.broker.release(owner.lease, [held[0].tag]),
                "release all": lambda: other.broker.release(owner.lease, None),
                "unbegin": lambda: other.broker.unbegin(owner.lease, [held[0].tag]),
                "requeue": lambda: other.broker.turn(owner.lease, settle=[requeue(held[0])]),
                "retire": lambda: other.broker.retire(owner.lease),
                "messages out": lambda: other.broker.turn(
                    owner.lease, settle=[settlement(held[0], messages_out=(outgoing("q", "a"),))]
                ),
            }
            actions[way]()

        with meanwhile(store, give_back):
            assert task_ids(next_of(slot, "q")) == ["a"]

    def test_given_no_work_when_it_waits_then_it_returns_after_the_timeout_and_does_not_spin(
        self, store: StoreUnderTest
    ) -> None:
        slot = store.slot()
        assert slot.reserve("q") == []
        began, returns = time.monotonic(), 0
        while time.monotonic() - began < 1.0:
            slot.broker.wait(["q"], 0.5)
            returns += 1
        assert returns <= 20
        assert time.monotonic() - began < PROMPT_S

    def test_given_a_timeout_of_zero_when_it_waits_then_it_returns_at_once(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        slot.reserve("q")
        began = time.monotonic()
        for _ in range(10):
            slot.broker.wait(["q"], 0.0)
        assert time.monotonic() - began < PROMPT_S

    def test_given_no_queue_when_it_waits_then_the_timeout_ends_it(self, store: StoreUnderTest) -> None:
        """A slot that was told to consume nothing still waits for orders."""
        store.slot().broker.wait([], 0.05)

    def test_given_a_connection_that_was_opened_anew_when_work_comes_then_it_wakes(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        assert slot.reserve("q") == []
        slot.broker.wait(["q"], 0.01)
        slot.broker.reconnect()
        with meanwhile(store, publishing(batch("q", "a"))):
            assert task_ids(next_of(slot, "q")) == ["a"]


@only_with("schedule")
class WakingByScheduleContract:
    def test_given_a_sleeping_slot_when_a_delayed_call_is_promoted_then_it_wakes(self, store: StoreUnderTest) -> None:
        slot, now = store.slot(), store.now()
        slot.broker.publish([outgoing("q", "a", due=now + 10)])
        with meanwhile(store, lambda other: other.broker.promote(["q"], now + 10)):
            assert task_ids(next_of(slot, "q")) == ["a"]

    def test_given_a_sleeping_slot_when_delayed_calls_are_handed_back_then_it_wakes(self, store: StoreUnderTest) -> None:
        slot, now = store.slot(), store.now()
        slot.broker.publish([outgoing("q", "a", due=now + 1000)])
        with meanwhile(store, lambda other: other.broker.handback(["q"])):
            assert task_ids(next_of(slot, "q")) == ["a"]


@only_with("many_processes")
class WakingByProcessContract:
    def test_given_a_sleeping_slot_when_another_process_publishes_then_it_wakes(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        with outside(store, PUBLISH, "from-outside") as publisher:
            assert task_ids(next_of(slot, "q", prompt_s=LONG_WAIT_S / 2)) == ["from-outside"]
            assert publisher.wait(LONG_WAIT_S) == 0


@only_with("wait_fds")
class WaitFdsContract:
    """Only where `capabilities.wait_fds`: the wait watches the caller's own file descriptors too."""

    def test_given_another_descriptor_when_it_becomes_readable_then_the_wait_is_over(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        with pipe() as (readable, writable):
            assert slot.reserve("q") == []
            with meanwhile(store, lambda _: os.write(writable, b"!")):
                began = time.monotonic()
                while not readable_now(readable) and time.monotonic() - began < PROMPT_S:
                    slot.broker.wait(["q"], LONG_WAIT_S, [readable])
                assert time.monotonic() - began < PROMPT_S

    def test_given_a_descriptor_that_is_readable_already_when_it_waits_then_it_returns_at_once_each_time(
        self, store: StoreUnderTest
    ) -> None:
        slot = store.slot()
        with pipe() as (readable, writable):
            os.write(writable, b"!")
            slot.reserve("q")
            began = time.monotonic()
            for _ in range(3):
                slot.broker.wait(["q"], LONG_WAIT_S, [readable])
            assert time.monotonic() - began < PROMPT_S
            assert os.read(readable, 10) == b"!"

    def test_given_quiet_descriptors_when_work_comes_then_the_wait_is_over_too(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        with (
            pipe() as (readable, _),
            meanwhile(store, publishing(batch("q", "a"))),
        ):
            assert task_ids(next_of(slot, "q", fds=(readable,))) == ["a"]


def publishing(work: list[Outgoing]) -> Callable[[Slot], object]:
    return lambda other: other.broker.publish(work)


def next_of(slot: Slot, *queues: str, limit: int = 10, fds: tuple[int, ...] = (), prompt_s: float = PROMPT_S) -> list[Delivery]:
    """What a slot does that has nothing: reserve, wait, reserve. Fails when it takes longer than `prompt_s`."""
    began = time.monotonic()
    while not (deliveries := slot.reserve(*queues, limit=limit)):
        assert time.monotonic() - began < prompt_s, "the wait slept through the work"
        slot.broker.wait(queues, LONG_WAIT_S, fds)
    assert time.monotonic() - began < prompt_s, "the wait slept through the work"
    return deliveries


@contextmanager
def meanwhile(
    store: StoreUnderTest, action: Callable[[Slot], object], *, head_start_s: float = HEAD_START_S
) -> Generator[None]:
    """Run `action` in another thread, with a connection of its own, while the block runs; its error comes out here."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            other = _opened(store)
            threading.Event().wait(head_start_s)
            action(other)
            other.broker.close()
        except BaseException as error:  # shown in the test's own thread
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield
    thread.join(LONG_WAIT_S)
    assert not thread.is_alive()
    if errors:
        raise errors[0]


@contextmanager
def pipe() -> Generator[tuple[int, int]]:
    readable, writable = os.pipe()
    try:
        yield readable, writable
    finally:
        os.close(readable)
        os.close(writable)


def readable_now(fd: int) -> bool:
    os.set_blocking(fd, False)
    try:
        return bool(os.read(fd, 1))
    except BlockingIOError:
        return False


def _opened(store: StoreUnderTest) -> Slot:
    broker = store.driver.open_broker(store.url, store.options())
    return Slot(broker, broker.register(unique("other"), "celery@test"))
