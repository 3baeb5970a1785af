"""The sender: threads that share a round trip, forks, a broker that goes away, messages that are refused."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from tests.apps import MakeApp, sent
from tests.servers import RedisServer

from sedano import AsyncResult, Celery
from sedano.app.sending import Sender, Waiting
from sedano.contracts import Outgoing, QueueSpec
from sedano.exceptions import BrokerUnavailable, MessageTooLarge, OperationalError, SoftTimeLimitExceeded
from sedano.protocol.call import build

StoreApp = Callable[..., Celery]


def outgoing(name: str) -> Outgoing:
    return Outgoing(build("t", name), "celery")


class Wire:
    """Stands where a driver stands: records what each publish was given, and does what the test says meanwhile.

    A stand-in because the test must hold a publish in the middle, which no real store lets it do.
    """

    def __init__(self) -> None:
        self.published: list[list[str]] = []
        self.declared: list[str] = []
        self.reconnects = 0
        self.entered = threading.Semaphore(0)
        self.go_on = threading.Event()
        self.go_on.set()
        self.errors: list[Exception] = []
        self.refused: set[str] = set()

    def publish(self, messages: Sequence[Outgoing]) -> None:
        self.entered.release()
        self.go_on.wait(60)
        ids = [message.message.headers["id"] for message in messages]
        if self.errors:
            raise self.errors.pop(0)
        if self.refused & set(ids):
            raise MessageTooLarge(f"too large: {ids}")
        self.published.append(ids)

    def declare(self, queues: Sequence[QueueSpec]) -> None:
        self.declared += [queue.name for queue in queues]

    def reconnect(self) -> None:
        self.reconnects += 1

    def close(self) -> None: ...


def sender_on(wire: Any) -> Sender:
    return Sender(lambda: wire)


def in_threads(work: Callable[[int], None], numbers: range) -> list[threading.Thread]:
    threads = [threading.Thread(target=work, args=(number,)) for number in numbers]
    for thread in threads:
        thread.start()
    return threads


def test_given_a_caller_alone_then_it_publishes_in_its_own_thread() -> None:
    wire = Wire()
    sender_on(wire).publish([outgoing("1")])
    assert wire.published == [["1"]]


def test_given_callers_that_come_while_one_publishes_then_the_next_round_trip_takes_them_all() -> None:
    wire = Wire()
    sender = sender_on(wire)
    wire.go_on.clear()
    waiting = threading.Semaphore(0)

    class Counting(deque[Waiting]):
        def extend(self, items: Any) -> None:
            super().extend(items)
            waiting.release()

    sender._waiting = Counting()
    threads = in_threads(lambda number: sender.publish([outgoing(str(number))]), range(8))
    assert wire.entered.acquire(timeout=60)
    for _ in range(8):
        assert waiting.acquire(timeout=60)
    wire.go_on.set()
    for thread in threads:
        thread.join(60)
    assert len(wire.published) == 2
    assert sorted(wire.published[0] + wire.published[1]) == [str(number) for number in range(8)]
    assert len(wire.published[0]) in (1, 7)


def test_given_one_message_that_is_refused_then_only_its_caller_hears_of_it() -> None:
    wire = Wire()
    wire.refused = {"bad"}
    sender = sender_on(wire)
    items = [Waiting([outgoing(name)], ()) for name in ("1", "bad", "2")]
    sender.submit(items)
    assert wire.published == [["1"], ["2"]]
    assert [item.error is None for item in items] == [True, False, True]
    with pytest.raises(MessageTooLarge):
        sender.publish([outgoing("bad")])


def test_given_a_broker_that_is_away_then_it_is_tried_as_the_policy_says() -> None:
    wire = Wire()
    wire.errors = [BrokerUnavailable("gone"), BrokerUnavailable("gone")]
    sender = sender_on(wire)
    sender.publish([outgoing("1")], policy={"max_retries": 3, "interval_start": 0, "interval_step": 0})
    assert wire.published == [["1"]]
    assert wire.reconnects == 2

    wire.errors = [BrokerUnavailable(f"gone {number}") for number in range(4)]
    with pytest.raises(OperationalError, match="gone 3") as caught:
        sender.publish([outgoing("2")], policy={"max_retries": 3, "interval_start": 0, "interval_step": 0})
    assert isinstance(caught.value.__cause__, BrokerUnavailable)
    assert wire.errors == []

    wire.errors = [BrokerUnavailable("gone")]
    with pytest.raises(OperationalError):
        sender.publish([outgoing("3")], retry=False)
    sender.publish([outgoing("4")])
    assert wire.published[-1] == ["4"]


def test_given_queues_to_declare_then_each_is_declared_once_until_the_connection_is_lost() -> None:
    wire = Wire()
    sender = sender_on(wire)
    queue = QueueSpec("q")
    sender.publish([outgoing("1")], declare=[queue])
    sender.publish([outgoing("2")], declare=[queue, QueueSpec("r")])
    assert wire.declared == ["q", "r"]
    wire.errors = [BrokerUnavailable("gone")]
    sender.publish([outgoing("3")], declare=[queue], policy={"interval_step": 0})
    assert wire.declared == ["q", "r", "q"]


def test_given_an_interrupt_while_publishing_then_the_connection_is_not_trusted_any_more() -> None:
    wire = Wire()
    sender = sender_on(wire)
    wire.errors = [KeyboardInterrupt()]  # type: ignore[list-item]
    with pytest.raises(KeyboardInterrupt):
        sender.publish([outgoing("1")])
    sender.publish([outgoing("2")])
    assert wire.reconnects == 1


def test_given_a_soft_time_limit_while_publishing_for_others_then_it_is_raised_and_nothing_is_published_twice() -> None:
    wire = Wire()
    sender = sender_on(wire)
    wire.errors = [SoftTimeLimitExceeded()]
    mine, other = Waiting([outgoing("mine")], ()), Waiting([outgoing("other")], ())
    sender._waiting.append(other)
    with pytest.raises(SoftTimeLimitExceeded):
        sender.submit([mine])
    assert wire.published == []
    assert other.done
    assert "whether the broker has the call is not known" in str(other.error)
    sender.publish([outgoing("next")])
    assert wire.reconnects == 1


def test_given_a_fork_then_parent_and_child_both_go_on_sending(store_app: StoreApp) -> None:
    app = store_app()
    if app.stores.broker_url.startswith("memory://"):
        pytest.skip("a memory store belongs to one process")
    app.send_task("before")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            app.send_task("child")
            app.AsyncResult("unknown").ready()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    app.send_task("after")
    names = {delivery.message.headers["task"] for delivery in sent(app, "celery") if delivery.message is not None}
    assert names == {"before", "child", "after"}


def test_given_threads_that_send_at_once_then_every_call_arrives_once(store_app: StoreApp) -> None:
    app = store_app()
    app.send_task("first")
    threads = in_threads(lambda number: [app.send_task("t", (number, each)) for each in range(25)] and None, range(8))
    for thread in threads:
        thread.join(60)
    ids = [delivery.message.headers["id"] for delivery in sent(app, "celery", limit=1000) if delivery.message is not None]
    assert len(ids) == len(set(ids)) == 201


@pytest.mark.redis
def test_given_redis_that_restarts_then_the_next_call_gets_through_or_says_that_it_did_not(make_app: MakeApp) -> None:
    with RedisServer() as server:
        app = make_app(broker=server.url, backend=server.url)
        app.send_task("one")
        server.restart()
        app.send_task("two")
        server.kill()
        policy = {"max_retries": 1, "interval_start": 0, "interval_step": 0}
        with pytest.raises(OperationalError):
            app.send_task("three", retry_policy=policy)
        server.start()
        app.send_task("four")
        names = {delivery.message.headers["task"] for delivery in sent(app, "celery") if delivery.message is not None}
    assert names == {"four"}


@pytest.mark.redis
def test_given_redis_that_is_away_when_asyncio_callers_send_then_each_is_told_and_later_calls_get_through(
    make_app: MakeApp,
) -> None:
    with RedisServer() as server:
        app = make_app(broker=server.url, backend=server.url)
        server.kill()
        policy = {"max_retries": 1, "interval_start": 0, "interval_step": 0}

        async def send() -> list[object]:
            calls = (app.asend_task("t", retry_policy=policy) for _ in range(3))
            return list(await asyncio.gather(*calls, return_exceptions=True))

        assert [type(outcome) for outcome in asyncio.run(send())] == [OperationalError] * 3
        server.start()
        assert [type(outcome) for outcome in asyncio.run(send())] == [AsyncResult] * 3


def test_given_policies_then_timeout_and_retry_errors_are_kept() -> None:
    wire = Wire()
    sender = sender_on(wire)
    wire.errors = [MessageTooLarge("big")]
    sender.publish([outgoing("1")], policy={"interval_step": 0, "retry_errors": (MessageTooLarge,)})
    assert wire.published == [["1"]]
    wire.errors = [BrokerUnavailable("gone")] * 3
    with pytest.raises(OperationalError):
        sender.publish([outgoing("2")], policy={"interval_start": 5, "timeout": 1})
    assert len(wire.errors) == 2


def test_given_an_app_then_its_worker_can_be_made_without_the_command_line(make_app: MakeApp) -> None:
    worker = make_app().Worker(hostname="w@h", concurrency=1, pool="solo")
    assert callable(worker.start)
    assert callable(worker.stop)
