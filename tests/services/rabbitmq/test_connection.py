"""A connection on a real server: how it begins, how it is kept, how it ends."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from tests.rabbit import RabbitServer, free_port

from sedano.contracts import OpenOptions
from sedano.drivers.rabbitmq import methods
from sedano.drivers.rabbitmq.address import Address, Server, address_of
from sedano.drivers.rabbitmq.channel import Channel
from sedano.drivers.rabbitmq.connection import Connection
from sedano.drivers.rabbitmq.errors import AccessRefused, ConnectionBlocked
from sedano.drivers.rabbitmq.frames import Incoming
from sedano.drivers.rabbitmq.properties import encode_properties
from sedano.exceptions import BrokerUnavailable, MessageTooLarge, OperationalError

pytestmark = pytest.mark.rabbitmq

HEADER = encode_properties({"delivery_mode": 1})
WAIT_S = 20.0

Opened = Callable[..., Connection]


@pytest.fixture
def opened() -> Iterator[Opened]:
    """Opens connections to a URL, with other fields of the address, and closes them after the test."""
    made: list[Connection] = []

    def make(url: str, *, socket_timeout_s: float = WAIT_S, **fields: Any) -> Connection:
        connection = Connection(address(url, **fields), name="a test", socket_timeout_s=socket_timeout_s)
        made.append(connection)
        connection.open()
        return connection

    yield make
    for connection in made:
        connection.close()


def address(url: str, **fields: Any) -> Address:
    return msgspec.structs.replace(address_of(url, {}, OpenOptions()), **fields)


def queue_of(connection: Connection, name: str = "q") -> Channel:
    channel = connection.channel()
    channel.declare_queue(name)
    channel.confirm_select()
    return channel


def port_of(connection: Connection) -> int:
    """Ours."""
    with socket.socket(fileno=os.dup(connection.fileno())) as stream:
        return int(stream.getsockname()[1])


def said_at_the_end_of(port: int, server: RabbitServer) -> list[str]:
    """What the server's log says about the end of the connection from `port`."""
    return [line for line in server.log().splitlines() if "closing AMQP" in line and f":{port} ->" in line]


def pump_until(connection: Connection, is_done: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + WAIT_S
    while not is_done():
        assert time.monotonic() < ends_at
        connection.pump(1.0)


# -- how it begins ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("login", ["", "PLAIN", "AMQPLAIN"])
def test_given_a_login_method_that_the_server_offers_then_it_is_let_in(opened: Opened, rabbit_url: str, login: str) -> None:
    connection = opened(rabbit_url, login_method=login)
    assert connection.is_open
    assert connection.server_properties["product"] == "RabbitMQ"
    assert connection.channel().declare_queue().name.startswith("amq.gen-")


def test_when_connected_then_the_server_knows_who_we_are(opened: Opened, rabbit_url: str, rabbit_server: RabbitServer) -> None:
    opened(rabbit_url)
    listed = rabbit_server.ctl("list_connections", "vhost", "client_properties")
    ours = next(line for line in listed.splitlines() if line.startswith(rabbit_url.rpartition("/")[2]))
    for word in ("Sedano", "a test", "consumer_cancel_notify", "authentication_failure_close"):
        assert word in ours


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"password": "wrong"}, "403 ACCESS_REFUSED"),
        ({"vhost": "missing"}, "530 NOT_ALLOWED - vhost missing not found"),
        ({"login_method": "EXTERNAL"}, "offers the login methods .*PLAIN.*, not EXTERNAL"),
    ],
)
def test_given_what_the_server_refuses_then_it_says_what(opened: Opened, rabbit_url: str, fields: Any, words: str) -> None:
    with pytest.raises(AccessRefused, match=words) as refused:
        opened(rabbit_url, **fields)
    assert "guest:guest" not in str(refused.value)


def test_given_no_tls_on_the_port_then_it_is_said(opened: Opened, rabbit_url: str) -> None:
    with pytest.raises(BrokerUnavailable, match="does this port speak TLS"):
        opened(rabbit_url, tls={})


def test_given_a_port_of_http_then_it_is_said(opened: Opened, rabbit_server: RabbitServer) -> None:
    port = int(rabbit_server.management_url.rpartition(":")[2].partition("/")[0])
    with pytest.raises(BrokerUnavailable, match="AMQP"):
        opened(f"amqp://127.0.0.1:{port}//")


def test_given_a_dead_server_before_a_live_one_then_the_live_one_is_taken(
    opened: Opened, rabbit_url: str, rabbit_server: RabbitServer
) -> None:
    alive = Server("127.0.0.1", rabbit_server.port)
    connection = opened(rabbit_url, servers=(Server("127.0.0.1", free_port()), alive))
    assert connection.server == alive
    with pytest.raises(BrokerUnavailable, match="refused"):
        opened(rabbit_url, servers=(Server("127.0.0.1", free_port()),))


def test_given_a_frozen_server_when_connected_then_the_time_is_bounded(
    opened: Opened, own_rabbit: RabbitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sedano.drivers.rabbitmq.connection._LEAST_HANDSHAKE_S", 0.1)
    own_rabbit.freeze()
    made = Connection(address(own_rabbit.url), connect_timeout_s=0.5)
    with pytest.raises(BrokerUnavailable, match="did not answer in time"):
        made.open()


# -- heartbeats -------------------------------------------------------------------------------------------------------


def test_when_only_pumping_then_heartbeats_keep_it_alive(opened: Opened, rabbit_url: str) -> None:
    connection = opened(rabbit_url, heartbeat_s=1.0)
    assert connection.heartbeat_s == 1.0
    ends_at = time.monotonic() + 4.5  # the server gives a client up after two to three of its intervals
    while time.monotonic() < ends_at:
        connection.pump(ends_at - time.monotonic())
    assert connection.channel().is_open


def test_when_the_server_falls_silent_then_it_is_noticed_after_two_heartbeats(opened: Opened, own_rabbit: RabbitServer) -> None:
    connection = opened(own_rabbit.url, heartbeat_s=1.0)
    own_rabbit.freeze()
    began_at = time.monotonic()
    with pytest.raises(BrokerUnavailable, match="two heartbeats"):
        pump_until(connection, lambda: False)
    assert time.monotonic() - began_at < 5.0
    assert not connection.is_open


def test_given_no_heartbeats_wished_then_there_are_none(opened: Opened, rabbit_url: str) -> None:
    assert opened(rabbit_url, heartbeat_s=0.0).heartbeat_s == 0.0


# -- how it ends ------------------------------------------------------------------------------------------------------


def test_when_the_server_does_not_answer_then_the_wait_is_bounded(opened: Opened, own_rabbit: RabbitServer) -> None:
    connection = opened(own_rabbit.url, socket_timeout_s=0.5)
    own_rabbit.freeze()
    with pytest.raises(BrokerUnavailable, match=r"did not answer channel\.open within 0\.5 s"):
        connection.channel()
    with pytest.raises(BrokerUnavailable, match=r"did not answer channel\.open"):
        connection.pump(0.0)


def test_when_an_operator_closes_it_then_the_reason_is_told(opened: Opened, own_rabbit: RabbitServer) -> None:
    connection = opened(own_rabbit.url)
    channel = connection.channel()
    own_rabbit.close_connections(reason="maintenance at noon")
    with pytest.raises(BrokerUnavailable, match="320 CONNECTION_FORCED - maintenance at noon"):
        pump_until(connection, lambda: False)
    assert not connection.is_open
    assert not channel.is_open
    with pytest.raises(BrokerUnavailable, match="maintenance at noon"):
        channel.qos(1)
    with pytest.raises(BrokerUnavailable, match="maintenance at noon"):
        connection.flush()


def test_when_the_server_is_killed_then_it_is_noticed(opened: Opened, own_rabbit: RabbitServer) -> None:
    connection = opened(own_rabbit.url)
    own_rabbit.kill()
    with pytest.raises(BrokerUnavailable):
        pump_until(connection, lambda: False)


def test_when_closed_then_the_server_has_heard_a_goodbye(opened: Opened, own_rabbit: RabbitServer) -> None:
    connection = opened(own_rabbit.url)
    port = port_of(connection)
    connection.close()
    connection.close()
    assert not connection.is_open
    own_rabbit.stop()  # its log is written
    (closing,) = said_at_the_end_of(port, own_rabbit)
    assert "[info]" in closing  # it warns of clients that go without a word
    with pytest.raises(BrokerUnavailable, match="it was closed"):
        connection.channel()


def test_given_a_fork_when_the_child_closes_it_then_the_parent_goes_on(opened: Opened, rabbit_url: str) -> None:
    connection = opened(rabbit_url)
    channel = queue_of(connection)
    child = os.fork()
    if not child:
        code = 1
        with suppress(BaseException):
            try:
                connection.pump(0.0)
            except BrokerUnavailable:
                connection.close()
                code = 0
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    channel.publish("", "q", HEADER, b"still here")
    assert channel.await_confirms() == []


def test_when_a_callback_raises_then_the_connection_is_ended(opened: Opened, rabbit_url: str) -> None:
    connection = opened(rabbit_url)
    channel = queue_of(connection)

    def broken(_: Incoming) -> None:
        raise KeyboardInterrupt

    channel.on_deliver = broken
    channel.consume("q", "t")
    channel.publish("", "q", HEADER, b"")
    with pytest.raises(KeyboardInterrupt):
        pump_until(connection, lambda: False)
    assert not connection.is_open


# -- what it carries --------------------------------------------------------------------------------------------------


def test_given_a_large_body_then_it_comes_whole(opened: Opened, rabbit_url: str) -> None:
    body = os.urandom(1 << 20) * 20
    channel = queue_of(opened(rabbit_url))
    channel.publish("", "q", HEADER, body)
    channel.await_confirms()
    found = channel.get("q", no_ack=True)
    assert found is not None
    assert found.body == body


@pytest.mark.parametrize("size", [0, 1, 4087, 4088, 4089, 8176, 100_000])
def test_given_small_frames_then_a_body_is_cut_and_put_together(opened: Opened, rabbit_url: str, size: int) -> None:
    connection = opened(rabbit_url, frame_max_bytes=4096)
    assert connection.frame_max == 4096
    channel, body = queue_of(connection), os.urandom(size)
    channel.publish("", "q", HEADER, body)
    channel.await_confirms()
    found = channel.get("q", no_ack=True)
    assert found is not None
    assert found.body == body
    with pytest.raises(MessageTooLarge):
        channel.publish("", "q", encode_properties({"headers": {"k": "v" * 4096}}), b"")


def test_given_more_than_the_buffers_hold_in_both_directions_then_neither_side_waits_for_the_other(
    opened: Opened, rabbit_url: str
) -> None:
    connection, body, count = opened(rabbit_url), bytes(100_000), 600
    channel = queue_of(connection)
    found: list[Incoming] = []
    channel.on_deliver = found.append
    channel.consume("q", "t", no_ack=True)
    for _ in range(count):
        channel.publish("", "q", HEADER, body)
    connection.flush()
    pump_until(connection, lambda: len(found) == count and not channel.unconfirmed)
    assert all(message.body == body for message in found)


def test_given_a_descriptor_when_it_is_readable_then_pump_returns(opened: Opened, rabbit_url: str) -> None:
    connection = opened(rabbit_url)
    reader, writer = os.pipe()
    os.write(writer, b"x")
    began_at = time.monotonic()
    assert connection.pump(WAIT_S, (reader,)) is False
    assert time.monotonic() - began_at < WAIT_S / 2
    os.close(reader)
    os.close(writer)


def test_when_the_queue_of_a_consumer_is_deleted_then_its_tag_is_told(opened: Opened, rabbit_url: str) -> None:
    connection = opened(rabbit_url)
    channel, cancelled = queue_of(connection), []
    channel.on_cancel = cancelled.append
    channel.consume("q", "mine")
    queue_of(opened(rabbit_url), "other").delete_queue("q")
    pump_until(connection, lambda: bool(cancelled))
    assert cancelled == ["mine"]
    assert channel.is_open


def test_given_all_channels_in_use_then_the_next_is_refused_until_one_is_closed(opened: Opened, rabbit_url: str) -> None:
    connection = opened(rabbit_url, channel_max=2)
    first = connection.channel()
    connection.channel()
    with pytest.raises(OperationalError, match="2 channels"):
        connection.channel()
    first.close()
    first.close()
    assert connection.channel().id == first.id


def test_when_exchanges_are_bound_and_unbound_then_messages_go_that_way(opened: Opened, rabbit_url: str) -> None:
    channel = queue_of(opened(rabbit_url))
    channel.declare_exchange("from", "topic", durable=False, arguments={"x-any": 2**40})
    channel.declare_exchange("to", "fanout", internal=True)
    channel.bind_exchange("to", "from", "a.*")
    channel.bind_queue("q", "to")
    for key in ("a.b", "b.b"):
        channel.publish("from", key, HEADER, key.encode())
    channel.await_confirms()
    assert channel.declare_queue("q", passive=True).messages == 1
    channel.unbind_queue("q", "to")
    channel.publish("from", "a.c", HEADER, b"")
    channel.await_confirms()
    assert channel.purge_queue("q") == 1
    channel.bind_queue("q", "to")
    channel.unbind_exchange("to", "from", "a.*")
    channel.publish("from", "a.c", HEADER, b"", mandatory=True)
    assert [returned.routing_key for returned in channel.await_confirms()] == ["a.c"]
    channel.delete_exchange("to")
    assert channel.delete_queue("q") == 0
    assert channel.delete_queue("q") == 0


def test_given_rejected_and_nacked_messages_then_they_come_again(opened: Opened, rabbit_url: str) -> None:
    connection = opened(rabbit_url)
    channel = queue_of(connection)
    for body in (b"1", b"2"):
        channel.publish("", "q", HEADER, body)
    channel.await_confirms()
    for refuse in (
        lambda tag: methods.reject(channel.id, tag, requeue=True),
        lambda tag: methods.nack(channel.id, tag, multiple=True),
    ):
        taken = [channel.get("q"), channel.get("q")]
        for message in taken[1:] if refuse(1)[9:11] == b"\x00\x78" else taken:
            assert message is not None
            connection.write(refuse(message.delivery_tag))
        channel.qos(0)
        assert channel.declare_queue("q", passive=True).messages == 2
    again = channel.get("q")
    assert again is not None
    assert again.redelivered


# -- alarms -----------------------------------------------------------------------------------------------------------


def test_given_a_memory_alarm_when_publishing_then_the_producer_is_told_and_nothing_is_lost(
    opened: Opened, own_rabbit: RabbitServer
) -> None:
    url = own_rabbit.new_vhost()
    connection = opened(url)
    channel = queue_of(connection)
    own_rabbit.set_memory_alarm(True)
    channel.publish("", "q", HEADER, b"1")
    with pytest.raises(ConnectionBlocked, match=r"takes nothing from publishers now .*memory"):
        channel.await_confirms(1.0)
    assert connection.blocked is not None
    assert connection.is_open
    channel.publish("", "q", HEADER, bytes(30_000_000))  # more than the sockets hold
    with pytest.raises(ConnectionBlocked, match="memory"):
        channel.await_confirms(0.5)
    own_rabbit.set_memory_alarm(False)
    assert channel.await_confirms() == []
    assert connection.blocked is None
    assert channel.declare_queue("q", passive=True).messages == 2


def test_given_a_memory_alarm_when_the_producer_gives_up_then_nothing_is_taken_afterwards(
    opened: Opened, own_rabbit: RabbitServer
) -> None:
    url = own_rabbit.new_vhost()
    connection = opened(url)
    channel = queue_of(connection)
    own_rabbit.set_memory_alarm(True)
    for body in (b"1", b"2", b"3"):
        channel.publish("", "q", HEADER, body)
        with pytest.raises(ConnectionBlocked):
            channel.await_confirms(0.3)
    port, began_at = port_of(connection), time.monotonic()
    connection.close()
    assert time.monotonic() - began_at < 0.5
    own_rabbit.set_memory_alarm(False)
    other = opened(url).channel()
    while not said_at_the_end_of(port, own_rabbit):
        assert time.monotonic() - began_at < WAIT_S
    assert other.declare_queue("q", passive=True).messages == 0


def test_given_a_connection_that_was_closed_when_it_is_opened_again_then_nothing_of_before_is_sent(
    opened: Opened, rabbit_url: str
) -> None:
    connection = opened(rabbit_url)
    connection.close()
    connection.write(b"left over")
    connection.open()
    assert connection.channel().is_open
