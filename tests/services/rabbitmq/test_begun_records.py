"""What a node has begun early is recorded as lost by another when the node dies; a node that is alive keeps it."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import TypeVar

import pytest
from tests.rabbit import RabbitServer

from sedano.contracts import AmqpOptions, Begin, Broker, Delivery, Lease, LeaseRecord, OpenOptions, Standing, TurnOrder
from sedano.drivers import rabbitmq
from sedano.drivers.rabbitmq.broker import RabbitBroker
from sedano.exceptions import BrokerUnavailable
from sedano.testing.contracts.messages import batch, result, settlement, task_ids
from sedano.testing.proxy import Proxy

pytestmark = pytest.mark.rabbitmq

WAIT_S = 30.0
OPTIONS = OpenOptions(amqp=AmqpOptions(records_begun=True, record_ttl_s=0.5))

T = TypeVar("T")
OpenNode = Callable[[str], Broker]


@pytest.fixture
def opened(rabbit_url: str) -> Generator[OpenNode]:
    brokers: list[Broker] = []

    def open_node(_name: str) -> Broker:
        broker = rabbitmq.open_broker(rabbit_url, OPTIONS)
        brokers.append(broker)
        return broker

    yield open_node
    for broker in brokers:
        broker.close()


def until(look: Callable[[], T | None], *brokers: Broker) -> T:
    """What `look` finds, while the brokers hear their server."""
    ends_at = time.monotonic() + WAIT_S
    while time.monotonic() < ends_at:
        found = look()
        if found:
            return found
        for broker in brokers:
            broker.wait([], 0.05)
    raise AssertionError("it did not happen")


def begin_early(broker: Broker, lease: Lease, count: int) -> list[Delivery]:
    taken: list[Delivery] = []

    def take() -> list[Delivery] | None:
        broker.wait(["q"], 0.05)
        taken.extend(broker.turn(lease, reserve=count - len(taken), queues=["q"]).reserved)
        return taken if len(taken) == count else None

    until(take)
    assert len(broker.turn(lease, begin=[Begin(each.tag, early=True) for each in taken]).begun) == count
    return taken


def strangers(broker: Broker, *mine: Lease) -> list[LeaseRecord]:
    names = {lease.owner for lease in mine}
    return [record for record in broker.leases() if record.owner not in names]


def test_given_a_node_that_dies_when_it_has_begun_calls_then_another_takes_exactly_those(opened: OpenNode) -> None:
    dead, alive = opened("dead"), opened("alive")
    lease, reaper = dead.register("slot", "celery@dead"), alive.register("reaper", "celery@alive")
    dead.publish(batch("q", "abc"))
    a, _, _ = begin_early(dead, lease, 3)
    dead.turn(lease, settle=[settlement(a, result=result("a"))])
    dead.close()

    (record,) = until(lambda: strangers(alive, reaper), alive)
    assert (record.node, record.held) == ("celery@dead", 3)
    taken = alive.take_over(record, reaper, limit=100)
    assert sorted(task_ids(taken.deliveries)) == ["a", "b", "c"]
    assert {each.standing for each in taken.deliveries} == {Standing.BEGUN_EARLY}
    assert strangers(alive, reaper) == []

    replies = [alive.turn(reaper, settle=[settlement(each, result=result(task_ids([each])[0]))]) for each in taken.deliveries]
    assert [reply.refused for reply in replies] == [[], [], []]
    keys = [pending.key for pending in alive.pendings(reaper)]
    alive.turn(reaper, stored=keys)
    alive.close()
    third = opened("third")
    other = third.register("reaper", "celery@third")
    third.wait([], 2.0)
    assert strangers(third, other) == []


def test_given_calls_whose_results_are_stored_when_the_node_dies_then_nobody_is_told_of_them(opened: OpenNode) -> None:
    dead, alive = opened("dead"), opened("alive")
    lease, reaper = dead.register("slot", "celery@dead"), alive.register("reaper", "celery@alive")
    dead.publish(batch("q", "ab"))
    a, b = begin_early(dead, lease, 2)
    dead.turn(lease, settle=[settlement(a), settlement(b, result=result("b"))])
    dead.turn(lease, stored=[pending.key for pending in dead.pendings(lease)])
    dead.close()
    alive.wait([], 2.0)
    assert strangers(alive, reaper) == []


def test_given_a_connection_that_was_lost_when_the_node_is_back_then_its_calls_are_its_own(
    opened: OpenNode, rabbit_server: RabbitServer, rabbit_url: str
) -> None:
    node, other = opened("node"), opened("other")
    lease, reaper = node.register("slot", "celery@node"), other.register("reaper", "celery@other")
    node.publish(batch("q", "ab"))
    a, b = begin_early(node, lease, 2)
    time.sleep(1.0)  # the record is older than it may be without its owner
    rabbit_server.close_connections(rabbit_url)

    def is_back(broker: Broker) -> bool:
        try:
            broker.wait([], 0.05)
        except BrokerUnavailable:
            broker.reconnect()
            return True
        return False

    until(lambda: is_back(node))
    until(lambda: is_back(other))
    for _ in range(20):
        assert strangers(other, reaper) == []
        node.wait([], 0.05)
        other.wait([], 0.05)
    assert node.turn(lease, settle=[settlement(a), settlement(b)]).refused == []
    node.close()
    other.wait([], 2.0)
    assert strangers(other, reaper) == []


@pytest.mark.timeout(120)
@pytest.mark.parametrize("server_heard", [True, False])
def test_given_a_connection_that_breaks_before_the_server_answers_that_it_knows_then_nobody_begins_the_calls_twice(
    opened: OpenNode, rabbit_server: RabbitServer, rabbit_url: str, server_heard: bool
) -> None:
    with Proxy(("127.0.0.1", rabbit_server.port)) as proxy:
        node = rabbitmq.open_broker(rabbit_url.replace(f":{rabbit_server.port}/", f":{proxy.port}/"), OPTIONS)
        other = opened("other")
        lease = node.register("slot", "celery@node")
        other.publish(batch("q", "a"))
        (a,) = until(lambda: node.turn(lease, reserve=1, queues=["q"]).reserved, node)
        proxy.half_open("down" if server_heard else "up")
        with pytest.raises(BrokerUnavailable):
            node.turn(lease, begin=[Begin(a.tag, early=True)])
        proxy.cut()
        node.reconnect()
        assert node.turn(lease, begin=[Begin(a.tag, early=True)]).begun == []
        if server_heard:
            (record,) = until(lambda: strangers(node, lease), node)
            reaper = node.register("reaper", "celery@node")
            taken = node.take_over(record, reaper, limit=10)
            assert task_ids(taken.deliveries) == ["a"]
            assert node.turn(reaper, settle=[settlement(taken.deliveries[0])]).refused == []
            assert strangers(node, lease, reaper) == []
        else:
            (again,) = until(lambda: node.turn(lease, reserve=1, queues=["q"]).reserved, node)
            assert task_ids([again]) == ["a"]
            assert again.redelivered
            assert strangers(node, lease) == []
        node.close()


@pytest.mark.timeout(180)
def test_given_a_memory_alarm_then_a_node_goes_on_taking_what_the_server_has(own_rabbit: RabbitServer) -> None:
    """A server with an alarm reads nothing from who publishes, and records are published: they are left out meanwhile."""
    node = rabbitmq.open_broker(own_rabbit.new_vhost(), OPTIONS)
    lease = node.register("slot", "celery@node")
    node.publish(batch("q", "abc"))
    taken = begin_early(node, lease, 1)
    own_rabbit.set_memory_alarm(True)
    (b,) = until(lambda: node.turn(lease, reserve=1, queues=["q"]).reserved, node)
    with pytest.raises(BrokerUnavailable):
        node.turn(lease, begin=[Begin(b.tag, early=True)])
    node.reconnect()
    taken += begin_early(node, lease, 1)
    assert sorted(task_ids(taken)) == ["a", "c"], "the server does not notice that the connection with b is gone"
    own_rabbit.set_memory_alarm(False)
    taken += begin_early(node, lease, 1)
    assert sorted(task_ids(taken)) == ["a", "b", "c"]
    node.close()


def test_given_a_connection_that_is_lost_before_the_server_has_answered_then_calls_are_begun_once(
    opened: OpenNode, rabbit_server: RabbitServer, rabbit_url: str
) -> None:
    """Whether the acknowledgement had arrived or not: each call is in its queue once, and no slot had been told of it."""
    node = opened("node")
    assert isinstance(node, RabbitBroker)
    lease = node.register("slot", "celery@node")
    node.publish(batch("q", "abcd"))
    taken: list[Delivery] = []

    def take() -> bool:
        node.wait(["q"], 0.05)
        taken.extend(node.turn(lease, reserve=4 - len(taken), queues=["q"]).reserved)
        return len(taken) == 4

    until(take)
    _, mark = node.turn_ahead(TurnOrder(lease, begin=[Begin(each.tag, early=True) for each in taken]))
    assert mark
    rabbit_server.close_connections(rabbit_url)

    def is_back() -> bool:
        try:
            node.wait([], 0.05)
        except BrokerUnavailable:
            node.reconnect()
            return True
        return False

    until(is_back)
    node.unbegin(lease, None)  # as a slot does that had no answer
    seen: list[str] = []
    other = node.register("other", "celery@node")

    def take_again() -> bool:
        node.wait(["q"], 0.05)
        seen.extend(task_ids(node.turn(other, reserve=8, queues=["q"]).reserved))
        return len(seen) >= 4

    until(take_again)
    node.wait([], 1.0)
    assert node.turn(other, reserve=8, queues=["q"]).reserved == []
    assert sorted(seen) == list("abcd")
