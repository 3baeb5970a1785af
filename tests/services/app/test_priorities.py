"""Which waiting call comes first, and what a purge takes, on each store."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.apps import MakeApp

from sedano import Celery
from sedano.clock import SYSTEM_CLOCK
from sedano.contracts import Begin, Delay, Outgoing, QueueSpec
from sedano.protocol.queues import Queue
from sedano.testing.contracts.messages import message

StoreApp = Callable[..., Celery]
LATER_S = 3600.0


def in_order(app: Celery, queues: Sequence[str] = ("celery",)) -> list[tuple[str, Any]]:
    """Queue and number of the calls that wait, as a worker takes them."""
    with closing(app.stores.open_broker()) as broker:
        lease = broker.register(uuid.uuid4().hex, "test")
        taken = broker.turn(lease, reserve=100, queues=list(queues)).reserved
        broker.retire(lease)
    assert all(delivery.message is not None for delivery in taken)
    return [(each.queue, each.message.headers.get("shadow")) for each in taken if each.message is not None]


def send(app: Celery, name: str, **options: Any) -> None:
    app.send_task("t", shadow=name, **options)


def test_given_calls_of_several_priorities_then_lower_steps_come_first_and_each_in_the_order_of_sending(
    store_app: StoreApp,
) -> None:
    app = store_app()
    for priority in (9, 8, 6, 5, 3, 2, 0, 9, 4, 1):
        send(app, str(priority), priority=priority)
    assert [name for _, name in in_order(app)] == ["2", "0", "1", "5", "3", "4", "8", "6", "9", "9"]


def test_given_a_default_priority_and_a_queue_with_a_highest_one_then_calls_line_up(store_app: StoreApp) -> None:
    queues = [Queue("celery", queue_arguments={"x-max-priority": 10}), Queue("mail", max_priority=5)]
    app = store_app(task_queues=queues, task_default_priority=6, task_queue_max_priority=10)

    @app.task(name="t")
    def task() -> None: ...

    task.apply_async(shadow="default")
    send(app, "first", priority=0)
    send(app, "last", priority=9)
    send(app, "mail", queue="mail", priority=3)
    assert [name for _, name in in_order(app)] == ["first", "default", "last"]
    assert in_order(app, ["mail"]) == [("mail", "mail")]


def test_given_two_queues_then_the_one_that_is_named_first_is_emptied_first(store_app: StoreApp) -> None:
    app = store_app()
    for number in range(2):
        send(app, f"a{number}", queue="a")
        send(app, f"b{number}", queue="b")
    assert [name for _, name in in_order(app, ["b", "a"])] == ["b0", "b1", "a0", "a1"]


def test_given_steps_of_ones_own_on_redis_then_every_priority_has_its_list(make_app: Any, redis_server: Any) -> None:
    redis_server.command("FLUSHALL")
    steps = {"priority_steps": list(range(10)), "sep": ":", "global_keyprefix": "p-"}
    app = make_app(broker=redis_server.url, backend="disabled://", broker_transport_options=steps)
    for priority in (2, 0, 1):
        send(app, str(priority), priority=priority)
    assert {key: redis_server.command("LLEN", key) for key in ("p-celery", "p-celery:1", "p-celery:2")} == {
        "p-celery": 1,
        "p-celery:1": 1,
        "p-celery:2": 1,
    }
    assert [name for _, name in in_order(app)] == ["0", "1", "2"]


def test_given_waiting_delayed_parked_and_running_calls_then_purge_takes_those_that_wait_and_counts_them(
    store_app: StoreApp,
) -> None:
    app = store_app()
    with closing(app.stores.open_broker()) as broker:
        lease = broker.register("w", "test")
        for name in ("delayed", "running", "reserved"):
            send(app, name)
        delayed, running, _ = broker.turn(lease, reserve=3, queues=["celery"]).reserved
        later = SYSTEM_CLOCK.wall() + LATER_S
        broker.turn(lease, delay=[Delay(delayed.tag, later)], begin=[Begin(running.tag, early=False)])
        broker.publish([Outgoing(message("parked"), "celery", due=later, parked="t")])
        for priority in (0, 5, 9, 9):
            send(app, "waits", priority=priority)
        broker.declare([QueueSpec("other", "other", "direct", "other")])
        broker.publish([Outgoing(message("elsewhere", queue="other"), "other")])

        assert app.control.purge() == 4
        assert app.control.purge() == 0

        (depth, other) = broker.depth(["celery", "other"])
        assert (depth.ready, depth.delayed, depth.parked, depth.reserved, depth.begun) == (0, 1, 1, 1, 1)
        assert other.ready == 1


@pytest.mark.parametrize("count", [0, 3])
def test_given_a_queue_that_nobody_knows_then_purge_finds_nothing_in_it(store_app: StoreApp, count: int) -> None:
    app = store_app(task_queues=[Queue("never"), Queue("celery")])
    for _ in range(count):
        send(app, "waits")
    assert app.control.purge() == count


def test_given_the_page_about_priorities_then_its_calls_line_up_as_it_says(make_app: MakeApp) -> None:
    text = (Path(__file__).resolve().parents[3] / "docs/how-to/priorities.md").read_text()
    (example,) = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    app = make_app()

    @app.task
    def report(day: str) -> None: ...

    @app.task
    def charge(order: str) -> None: ...

    report.apply_async(("today",), priority=5, shadow="between")
    exec(
        example.replace("kombu", "sedano.protocol.queues"),
        {"app": app, "charge": charge, "report": report, "order": 1, "day": 2},
    )
    assert [name for _, name in in_order(app)] == [None, "between", None]
