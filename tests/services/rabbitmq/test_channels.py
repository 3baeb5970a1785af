"""Channels on a real server: declaring, publishing with confirms, consuming, getting."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sedano.contracts import OpenOptions
from sedano.drivers.rabbitmq import methods
from sedano.drivers.rabbitmq.address import address_of
from sedano.drivers.rabbitmq.connection import Connection
from sedano.drivers.rabbitmq.errors import ChannelClosed
from sedano.drivers.rabbitmq.frames import Incoming
from sedano.drivers.rabbitmq.properties import decode_properties, encode_properties

pytestmark = pytest.mark.rabbitmq

HEADER = encode_properties({"delivery_mode": 2, "content_type": "application/json", "headers": {"id": "7", "eta": None}})
WAIT_S = 20.0


@pytest.fixture
def connection(rabbit_url: str) -> Iterator[Connection]:
    made = Connection(address_of(rabbit_url, {}, OpenOptions()), name="tests")
    made.open()
    yield made
    made.close()


def receive(connection: Connection, into: list[Incoming], count: int) -> None:
    while len(into) < count:
        assert connection.pump(WAIT_S), f"only {len(into)} of {count} came"


def test_given_published_messages_when_they_are_confirmed_then_get_gives_them_in_order(connection: Connection) -> None:
    channel = connection.channel()
    channel.declare_queue("q")
    channel.confirm_select()
    assert [channel.publish("", "q", HEADER, b"%d" % number) for number in range(3)] == [1, 2, 3]
    assert channel.unconfirmed == 3
    assert channel.await_confirms() == []
    assert channel.unconfirmed == 0
    first = channel.get("q")
    assert first is not None
    assert (first.body, first.left, first.redelivered, first.routing_key) == (b"0", 2, False, "q")
    assert decode_properties(first.header)["headers"] == {"id": "7", "eta": None}


def test_when_nothing_lies_in_the_queue_then_get_says_so(connection: Connection) -> None:
    channel = connection.channel()
    channel.declare_queue("q")
    assert channel.get("q") is None


def test_given_a_consumer_when_all_are_acked_at_once_then_the_queue_is_empty(connection: Connection) -> None:
    channel = connection.channel()
    channel.declare_queue("q")
    channel.confirm_select()
    for number in range(50):
        channel.publish("", "q", HEADER, b"%d" % number)
    channel.await_confirms()
    found: list[Incoming] = []
    channel.on_deliver = found.append
    channel.qos(20)
    channel.consume("q", "tag")
    acked = 0
    while acked < 50:
        receive(connection, found, acked + 1)
        acked = found[-1].delivery_tag
        connection.write(methods.ack(channel.id, acked, multiple=True))
    channel.cancel("tag")
    assert [message.body for message in found] == [b"%d" % number for number in range(50)]
    assert {message.consumer_tag for message in found} == {"tag"}
    assert channel.declare_queue("q", passive=True) == methods.Declared("q", 0, 0)


def test_when_a_mandatory_message_has_no_queue_then_it_comes_back(connection: Connection) -> None:
    channel = connection.channel()
    channel.confirm_select()
    channel.publish("", "nowhere", HEADER, b"x" * 300_000, mandatory=True)
    (returned,) = channel.await_confirms()
    assert (returned.code, returned.routing_key, len(returned.body)) == (312, "nowhere", 300_000)
    assert channel.await_confirms() == []


def test_given_a_queue_declared_otherwise_when_it_is_declared_then_only_that_channel_is_closed(connection: Connection) -> None:
    channel, other = connection.channel(), connection.channel()
    channel.declare_queue("q", durable=True)
    with pytest.raises(ChannelClosed, match="PRECONDITION_FAILED") as refused:
        channel.declare_queue("q", durable=False)
    assert (refused.value.code, refused.value.method) == (406, (50, 10))
    assert channel.closed_why is not None
    assert not channel.is_open
    with pytest.raises(ChannelClosed, match="PRECONDITION_FAILED"):
        channel.qos(1)
    with pytest.raises(ChannelClosed, match="PRECONDITION_FAILED"):
        channel.publish("", "q", HEADER, b"")
    other.declare_queue("q", passive=True)
    assert connection.channel().id == channel.id
