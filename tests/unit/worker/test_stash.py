"""What a slot holds reserved, and the order of its queues."""

from __future__ import annotations

from sedano.contracts import Delivery
from sedano.protocol.call import Call
from sedano.rules.window import MEASURED_AFTER, RunTimes
from sedano.worker.held import Held
from sedano.worker.stash import QueueOrder, Stash
from sedano.worker.terms import TaskTerms

TERMS = TaskTerms(
    task=None,
    name="t",
    early=True,
    soft_s=None,
    hard_s=None,
    ignore_result=False,
    store_errors=False,
    track_started=False,
    acks_on_timeout=True,
    reject_on_worker_lost=None,
    retry_on_worker_lost=False,
    throws=(),
    repr_length=1024,
    skip_successful=False,
)


def held(task: str, *, redelivered: bool = False, tag: str = "tag") -> Held:
    return Held(Delivery(tag, "celery", b"", None, redelivered=redelivered), Call(task, "id"), TERMS, None)


def stash_of(times: RunTimes, *calls: Held) -> Stash:
    stash = Stash(times, 0.0205)
    for call in calls:
        stash.add(call)
    return stash


def measured(*tasks: str, seconds: float = 0.001) -> RunTimes:
    times = RunTimes()
    for task in tasks:
        for _ in range(MEASURED_AFTER):
            times.observe(task, seconds)
    return times


def test_given_tasks_never_measured_when_a_window_is_taken_then_it_has_one_call() -> None:
    stash = stash_of(RunTimes(), *[held("new") for _ in range(5)])

    assert len(stash.take_window(100)) == 1
    assert len(stash) == 4


def test_given_steady_tasks_when_a_window_is_taken_then_it_fills_the_windows_time() -> None:
    stash = stash_of(measured("quick"), *[held("quick") for _ in range(50)])

    assert len(stash.take_window(100)) == 20


def test_given_a_redelivery_among_steady_calls_then_it_is_alone_in_its_window() -> None:
    calls = [held("quick"), held("quick"), held("quick", redelivered=True), held("quick")]
    stash = stash_of(measured("quick"), *calls)

    windows = [stash.take_window(100) for _ in range(3)]

    assert windows == [calls[:2], calls[2:3], calls[3:]]


def test_given_few_calls_left_of_max_tasks_then_the_window_is_no_bigger() -> None:
    stash = stash_of(measured("quick"), *[held("quick") for _ in range(10)])

    assert len(stash.take_window(3)) == 3
    assert stash.take_window(0) == []


def test_given_a_store_without_schedule_then_what_is_not_due_waits_in_the_stash_until_it_is() -> None:
    stash = stash_of(RunTimes())
    late, early = Delivery("late", "q", b"", None), Delivery("early", "q", b"", None)
    stash.add_later(20.0, late)
    stash.add_later(10.0, early)

    assert stash.next_due() == 10.0
    assert stash.due(9.9) == []
    assert stash.due(20.0) == [early, late]
    assert stash.tags() == []


def test_round_robin_moves_the_queue_that_gave_behind_the_others() -> None:
    order = QueueOrder(("a", "b", "c"), "round_robin")

    order.gave(["a", "a"])

    assert order.names == ("b", "c", "a")


def test_priority_keeps_the_order_given_and_sorted_sorts() -> None:
    priority, by_name = QueueOrder(("b", "a"), "priority"), QueueOrder(("b", "a"), "sorted")
    for order in (priority, by_name):
        order.gave(["b"])

    assert (priority.names, by_name.names) == (("b", "a"), ("a", "b"))
