"""What a node's broker object does when the server takes something away: connections, queues, channels, room."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator

import pytest
from tests.rabbit import RabbitServer
from tests.rabbitnodes import Node, node_at

from sedano.contracts import Broker, OpenOptions, QueueSpec
from sedano.drivers.rabbitmq.address import address_of
from sedano.drivers.rabbitmq.connection import Connection
from sedano.exceptions import OperationalError, StoreFull
from sedano.testing.contracts.messages import batch, outgoing, result, routed, settlement, task_ids

pytestmark = pytest.mark.rabbitmq


@pytest.fixture
def brokers() -> Generator[list[Broker]]:
    opened: list[Broker] = []
    yield opened
    for broker in opened:
        broker.close()


@pytest.fixture
def node(rabbit_url: str, brokers: list[Broker]) -> Callable[[str], Node]:
    return lambda name: node_at(rabbit_url, brokers, name)


def test_given_calls_in_hand_when_the_server_closes_the_connection_then_it_gives_out_again_what_was_not_acknowledged(
    node: Callable[[str], Node], rabbit_server: RabbitServer, rabbit_url: str
) -> None:
    one = node("one")
    one.broker.publish(batch("q", ["early", "late", "reserved"]))
    early, late, reserved = one.take(3)
    one.begin(early, early=True)
    one.begin(late)
    rabbit_server.close_connections(rabbit_url)
    other = node("other")
    again = other.take(2)
    assert task_ids(again) == ["late", "reserved"]
    assert [each.redelivered for each in again] == [True, True]
    one.hear_of_trouble()
    assert one.settle(settlement(late), settlement(reserved), settlement(early)) == [late.tag, reserved.tag]
    assert one.begin(reserved) == []
    assert one.look() == []
    assert other.settle(*map(settlement, again)) == []


def test_given_early_calls_whose_connection_was_closed_when_they_are_unbegun_then_nothing_is_lost(
    node: Callable[[str], Node], rabbit_server: RabbitServer, rabbit_url: str
) -> None:
    one = node("one")
    one.broker.publish(batch("q", "a"))
    (early,) = one.take(1)
    one.begin(early, early=True)
    rabbit_server.close_connections(rabbit_url)
    one.hear_of_trouble()
    assert one.broker.unbegin(one.lease, [early.tag]) == 1
    assert task_ids(node("other").take(1)) == ["a"]


@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_given_a_consumer_when_its_queue_is_deleted_then_it_is_declared_again_and_later_calls_arrive(
    node: Callable[[str], Node], rabbit_url: str, kind: str
) -> None:
    one, other = node("one"), node("other")
    one.broker.declare([QueueSpec("q", arguments={"x-queue-type": kind})])
    assert one.look() == []
    operator = Connection(address_of(rabbit_url, {}, OpenOptions()), name="operator")
    operator.open()
    operator.channel().delete_queue("q")
    one.broker.wait(["q"], 0.5)
    other.broker.publish(batch("q", "a"))
    operator.close()
    assert task_ids(one.take(1)) == ["a"]


@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_given_a_deleted_queue_when_published_to_then_it_is_made_again(
    node: Callable[[str], Node], rabbit_url: str, kind: str
) -> None:
    one = node("one")
    one.broker.declare([QueueSpec("q", arguments={"x-queue-type": kind})])
    one.broker.publish(batch("q", "a"))
    operator = Connection(address_of(rabbit_url, {}, OpenOptions()), name="operator")
    operator.open()
    operator.channel().delete_queue("q")
    operator.close()
    one.broker.publish(batch("q", "b"))
    assert task_ids(one.take(1)) == ["b"]


def test_given_an_exchange_without_binding_when_published_to_then_it_is_said_where(node: Callable[[str], Node]) -> None:
    one = node("one")
    one.broker.declare([QueueSpec("q", "x", "direct", "key")])
    with pytest.raises(OperationalError, match="no queue is bound to exchange 'x' for the routing key 'other'"):
        one.broker.publish([routed("x", "direct", "other", "a")])
    one.broker.publish([routed("x", "direct", "key", "b")])
    assert task_ids(one.take(1)) == ["b"]


def test_given_the_only_slot_of_a_node_at_work_when_there_is_more_then_another_node_has_it_at_once(
    node: Callable[[str], Node],
) -> None:
    one, other = node("one"), node("other")
    names = [f"call-{number}" for number in range(20)]
    one.broker.publish(batch("q", names))
    first = one.take(5)  # it holds four in reserve
    one.broker.release(one.lease, [each.tag for each in first[1:]])
    one.begin(first[0], early=True)
    started = time.monotonic()
    one.broker.wait([], 0.2)  # as the node's thread does while the slot works
    rest = other.take(19)
    assert sorted(task_ids(rest)) == sorted(names[1:])
    assert time.monotonic() - started < 5.0
    assert {each.deliveries for each in rest} == {0}


def test_given_late_calls_whose_node_dies_when_begun_again_then_each_death_is_counted(node: Callable[[str], Node]) -> None:
    """Nobody counts it on a classic queue, so a call that came back goes round once more with its count."""
    node("producer").broker.publish(batch("q", "a"))
    for death in range(6):
        one = node(f"node-{death}")
        (delivery,) = one.take(1)
        if not one.begin(delivery):
            (delivery,) = one.take(1)
            assert one.begin(delivery) == [delivery.tag]
        assert delivery.deliveries == death
        one.broker.close()  # for the server it is the same as a death


def test_given_a_counted_call_when_busy_nodes_give_it_back_unbegun_then_nothing_more_is_counted(
    node: Callable[[str], Node],
) -> None:
    """The server marks it each time: calls would be taken for poison that nobody had begun."""
    dying = node("dying")
    dying.broker.publish(batch("q", "a"))
    dying.begin(*dying.take(1))
    dying.broker.close()
    one = node("one")
    assert one.begin(*one.take(1)) == []  # it goes round with its count
    (counted,) = one.take(1)
    assert counted.deliveries == 1
    for turn in range(6):
        one.broker.release(one.lease, [counted.tag])
        one.broker.retire(one.lease)
        one = node(f"next-{turn}")
        (counted,) = one.take(1)
        if not one.begin(counted):
            (counted,) = one.take(1)
        else:
            one.broker.unbegin(one.lease, [counted.tag])
    assert counted.deliveries == 1


def test_given_a_late_call_whose_result_is_not_stored_when_its_node_dies_then_it_comes_again(
    node: Callable[[str], Node],
) -> None:
    """A late call is acknowledged when its result is stored elsewhere, not before."""
    one, other = node("one"), node("other")
    one.broker.publish(batch("q", "ab"))
    stored, lost = one.take(2)
    one.begin(stored, lost)
    assert one.settle(settlement(stored, result=result("a")), settlement(lost, result=result("b"))) == []
    one.broker.turn(one.lease, stored=["a:0"])
    one.broker.close()
    assert task_ids(other.take(1)) == ["b"]
    assert other.look() == []


@pytest.fixture
def alarmed(own_rabbit: RabbitServer) -> Generator[str]:
    url = own_rabbit.new_vhost()
    yield url
    own_rabbit.set_memory_alarm(False)
    own_rabbit.delete_vhost(url)


def test_given_a_memory_alarm_when_published_then_it_is_said_and_settling_goes_on(
    alarmed: str, own_rabbit: RabbitServer, brokers: list[Broker]
) -> None:
    one = node_at(alarmed, brokers, "one")
    one.broker.publish(batch("q", "abc"))
    a, b, c = one.take(3)
    one.begin(a, b, c)
    own_rabbit.set_memory_alarm(True)
    started = time.monotonic()
    with pytest.raises(StoreFull, match="memory"):
        one.broker.publish([outgoing("q", "too-much")])
    assert time.monotonic() - started < 20.0
    assert one.settle(settlement(a)) == []
    started = time.monotonic()
    assert one.settle(settlement(b)) == []
    assert time.monotonic() - started < 5.0
    own_rabbit.set_memory_alarm(False)
    one.broker.publish(batch("later", "d"))
    assert one.settle(settlement(c, messages_out=(outgoing("later", "e"),))) == []
    assert task_ids(one.take(2, "later")) == ["d", "e"]


def test_given_a_late_call_when_it_is_held_longer_than_the_server_allows_then_it_is_said_and_work_goes_on(
    brokers: list[Broker], caplog: pytest.LogCaptureFixture
) -> None:
    server = RabbitServer("consumer_timeout = 1000")
    (server.folder / "advanced.config").write_text("[{rabbit, [{channel_tick_interval, 500}]}].\n")  # it looks so often
    with server:
        one = node_at(server.url, brokers, "one")
        one.broker.publish(batch("q", "a"))
        (slow,) = one.take(1)
        one.begin(slow)
        with caplog.at_level(logging.WARNING):
            one.hear_of_trouble()
        assert "Late-ack tasks that run longer need a higher consumer_timeout" in caplog.text
        assert one.settle(settlement(slow)) == [slow.tag]
        (again,) = one.take(1)
        assert (task_ids([again]), again.redelivered) == (["a"], True)
        one.broker.close()
