"""A turn of which a part fails, and a channel that ends in the middle of it: nothing is half done, and nothing begun twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator

import pytest
from tests.rabbit import RabbitServer
from tests.rabbitnodes import Node, node_at

from sedano.clock import SystemClock
from sedano.contracts import AmqpOptions, Begin, Broker, Delay, OpenOptions, QueueSpec, TurnOrder
from sedano.exceptions import BrokerUnavailable, ImproperlyConfigured, StoreFull
from sedano.testing.contracts.messages import batch, outgoing, result, settlement, task_ids

pytestmark = pytest.mark.rabbitmq

WAIT_S = 30.0
FULL = QueueSpec("full", arguments={"x-max-length": 1, "x-overflow": "reject-publish"})


@pytest.fixture
def brokers() -> Generator[list[Broker]]:
    opened: list[Broker] = []
    yield opened
    for broker in opened:
        broker.close()


@pytest.fixture
def node(rabbit_url: str, brokers: list[Broker]) -> Callable[[str], Node]:
    return lambda name: node_at(rabbit_url, brokers, name)


def with_a_full_queue(one: Node) -> None:
    one.broker.declare([FULL])
    one.broker.publish(batch("full", "x"))


def test_given_a_stored_result_when_its_turn_fails_then_the_next_one_acknowledges_the_call(
    node: Callable[[str], Node],
) -> None:
    one, other = node("one"), node("other")
    with_a_full_queue(one)
    one.broker.publish(batch("q", "ab"))
    a, b = one.take(2)
    one.begin(a, b)
    one.settle(settlement(a, result=result("a")))
    sends = settlement(b, messages_out=(outgoing("full", "y"),))
    with pytest.raises(StoreFull):
        one.broker.turn(one.lease, settle=[sends], stored=["a:0"])
    assert [each.key for each in one.broker.pendings(one.lease)] == ["a:0"]
    one.broker.turn(one.lease, settle=[settlement(b)], stored=["a:0"])
    one.broker.close()
    assert other.look() == []
    other.broker.wait(["q"], 0.5)
    assert other.look() == []


def test_given_a_call_that_was_to_be_counted_when_that_turn_fails_and_it_is_begun_early_then_it_is_not_gone(
    node: Callable[[str], Node],
) -> None:
    one = node("one")
    with_a_full_queue(one)
    one.broker.publish(batch("q", "ab"))
    one.take(2)
    one.broker.close()
    one = node("again")
    a, b = one.take(2)
    assert a.redelivered
    one.begin(b, early=True)
    with pytest.raises(StoreFull):
        one.broker.turn(one.lease, settle=[settlement(b, messages_out=(outgoing("full", "y"),))], begin=[Begin(a.tag, False)])
    assert one.begin(a, early=True) == [a.tag]


def test_given_a_queue_that_cannot_be_made_when_a_turn_asks_for_it_then_nothing_of_the_turn_is_done(
    node: Callable[[str], Node],
) -> None:
    one, other = node("one"), node("other")
    one.broker.publish(batch("q", "a"))
    (a,) = one.take(1)
    one.begin(a)
    with pytest.raises(ImproperlyConfigured):
        one.broker.turn(one.lease, settle=[settlement(a)], reserve=1, queues=["q", "two\nlines"])
    assert one.settle(settlement(a)) == []
    one.broker.close()
    other.broker.wait(["q"], 0.5)
    assert other.look() == []


class Slow(SystemClock):
    """Each look at the wall clock takes some milliseconds."""

    def __init__(self) -> None:
        self.by_s = 0.0

    def wall(self) -> float:
        self.by_s += 0.005
        return super().wall() + self.by_s


def test_given_a_call_that_is_due_in_just_a_second_when_it_is_moved_then_it_comes_once(
    rabbit_url: str, brokers: list[Broker]
) -> None:
    clock = Slow()
    one = node_at(rabbit_url, brokers, "one", OpenOptions(clock=clock))
    one.broker.publish(batch("q", "a"))
    (a,) = one.take(1)
    due = clock.wall() + 1.007  # with the next look it is a second, with that after it less
    one.broker.turn(one.lease, delay=[Delay(a.tag, due)])
    assert task_ids(one.take(1)) == ["a"]
    one.broker.wait(["q"], 2.0)
    assert one.look() == []


@pytest.mark.parametrize("queues", [["q", "gone"], ["gone", "q"]])
def test_given_a_queue_that_was_deleted_while_nobody_consumed_it_when_asked_for_then_it_is_made_again(
    node: Callable[[str], Node], rabbit_server: RabbitServer, rabbit_url: str, queues: list[str]
) -> None:
    one, other = node("one"), node("other")
    one.broker.declare([QueueSpec("gone"), QueueSpec("q")])
    rabbit_server.delete_queue(rabbit_url, "gone")
    with pytest.raises(BrokerUnavailable, match="NOT_FOUND"):
        look_until(one, queues, lambda: False)
    one.broker.reconnect()
    look_until(one, queues, lambda: rabbit_server.has_queue(rabbit_url, "gone"))
    other.broker.publish(batch("gone", "a"))
    assert task_ids(one.take(1, *queues)) == ["a"]


def look_until(one: Node, queues: list[str], is_enough: Callable[[], bool]) -> None:
    until = time.monotonic() + WAIT_S
    while not is_enough() and time.monotonic() < until:
        one.look(*queues)
        one.broker.wait(queues, 0.2)


def test_given_a_reply_that_waits_when_the_channel_ends_then_it_is_for_nobody(
    node: Callable[[str], Node], rabbit_server: RabbitServer, rabbit_url: str
) -> None:
    """The server gives the calls to somebody else: whoever was to run them must not."""
    one, other = node("one"), node("other")
    idle = Node(one.broker, one.broker.register("idle", "celery@one"))
    one.broker.declare([QueueSpec("gone")])
    one.broker.publish(batch("q", "a"))
    (a,) = one.take(1)
    idle.look()
    rabbit_server.delete_queue(rabbit_url, "gone")
    order = TurnOrder(one.lease, begin=[Begin(a.tag, early=True)], reserve=1, queues=["gone", "q"])
    with pytest.raises(BrokerUnavailable, match="NOT_FOUND"):
        turn_while_others_turn(order, one, idle)
    one.broker.reconnect()
    assert one.begin(a, early=True) == []
    one.broker.close()
    assert task_ids(other.take(1)) == ["a"]


def turn_while_others_turn(order: TurnOrder, one: Node, other: Node) -> None:
    _, mark = one.broker.turn_ahead(order)
    assert mark
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until and not one.broker.reached(mark):
        one.broker.wait([], 0.2)
        other.look("q")


def test_given_calls_that_are_not_acknowledged_when_given_back_then_they_are_not_gone(node: Callable[[str], Node]) -> None:
    """The server has forgotten what it has handed over from such a queue: there is nobody else who could bring it again."""
    one = node("one")
    names = [f"call-{number}" for number in range(8)]
    one.broker.declare([QueueSpec("q", no_ack=True)])
    one.broker.publish(batch("q", names))
    first = one.take(3)
    released, early, late = first
    one.broker.release(one.lease, [released.tag])
    one.begin(early, early=True)
    one.begin(late)
    one.broker.unbegin(one.lease, [early.tag, late.tag])
    one.broker.wait([], 0.3)  # nobody asks: what lies here goes back
    assert sorted(task_ids(one.take(8))) == sorted(names)


def test_given_a_node_that_leaves_when_calls_that_are_not_acknowledged_lie_there_then_another_has_them(
    node: Callable[[str], Node],
) -> None:
    one, other = node("one"), node("other")
    names = [f"call-{number}" for number in range(8)]
    one.broker.declare([QueueSpec("q", no_ack=True)])
    one.broker.publish(batch("q", names))
    (mine,) = one.take(1)
    one.begin(mine)
    one.settle(settlement(mine))
    one.broker.retire(one.lease)
    one.broker.close()
    assert sorted(task_ids(other.take(7))) == sorted(set(names) - {*task_ids([mine])})


@pytest.mark.timeout(180)
def test_given_a_long_early_call_when_the_server_takes_its_record_back_then_it_is_not_taken_for_lost(
    brokers: list[Broker],
) -> None:
    """A record is held for as long as its window runs, and the server allows only so long."""
    server = RabbitServer("consumer_timeout = 1000")
    (server.folder / "advanced.config").write_text("[{rabbit, [{channel_tick_interval, 500}]}].\n")
    options = OpenOptions(amqp=AmqpOptions(records_begun=True, record_ttl_s=0.5))
    with server:
        one = node_at(server.url, brokers, "one", options)
        other = node_at(server.url, brokers, "other", options)
        one.broker.publish(batch("q", "a"))
        (a,) = one.take(1)
        one.begin(a, early=True)
        until = time.monotonic() + 60.0
        while server.log().count("delivery acknowledgement on channel") < 2 and time.monotonic() < until:
            one.broker.wait([], 0.2)
            other.broker.wait([], 0.1)
            other.broker.leases()
        one.broker.wait([], 1.0)
        assert one.settle(settlement(a)) == []
        one.broker.wait([], 1.0)
        one.broker.close()
        found: list[str] = []
        until = time.monotonic() + 5.0
        while time.monotonic() < until:
            other.broker.wait([], 0.2)
            found += [record.node for record in other.broker.leases() if record.owner != "other"]
        assert found == []
        other.broker.close()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("sizes", [{"a": 400_000, "b": 400_000, "c": 400_000}, {"a": 999_990}], ids=["many", "one"])
def test_given_a_window_that_is_larger_than_a_message_may_be_when_begun_early_then_it_is_begun(
    brokers: list[Broker], sizes: dict[str, int]
) -> None:
    options = OpenOptions(amqp=AmqpOptions(records_begun=True, record_ttl_s=0.5))
    with RabbitServer("max_message_size = 1000000") as server:
        one, other = node_at(server.url, brokers, "one", options), node_at(server.url, brokers, "other", options)
        one.broker.publish([outgoing("q", name, body=b"x" * size) for name, size in sizes.items()])
        calls = one.take(len(sizes))
        assert one.begin(*calls, early=True) == [each.tag for each in calls]
        one.broker.close()
        reaper, found = other.lease, list[str]()
        until = time.monotonic() + WAIT_S
        while len(found) < len(sizes) and time.monotonic() < until:
            other.broker.wait([], 0.2)
            for record in other.broker.leases():
                if record.owner != reaper.owner:
                    found += task_ids(other.broker.take_over(record, reaper, limit=100).deliveries)
        assert sorted(found) == sorted(sizes)
        other.broker.close()
