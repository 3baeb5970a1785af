"""Servers that say what no server should: every one of them ends in a clear error, soon and without much memory."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from sedano.drivers.rabbitmq import methods
from sedano.drivers.rabbitmq.address import Address, Server
from sedano.drivers.rabbitmq.connection import Connection
from sedano.drivers.rabbitmq.tables import encode_table
from sedano.exceptions import BrokerUnavailable

WAIT_S = 10.0


def frame(channel: int, method: int, arguments: bytes) -> bytes:
    body = method.to_bytes(4, "big") + arguments
    return b"\x01" + channel.to_bytes(2, "big") + len(body).to_bytes(4, "big") + body + b"\xce"


def start(version: bytes = b"\x00\x09", mechanisms: bytes = b"PLAIN") -> bytes:
    words = b"".join(len(word).to_bytes(4, "big") + word for word in (mechanisms, b"en_US"))
    return frame(0, methods.CONNECTION_START, version + encode_table({"product": "strange"}) + words)


TUNE = frame(0, methods.CONNECTION_TUNE, b"\x00\x00" + (131072).to_bytes(4, "big") + b"\x00\x00")
OPEN_OK = frame(0, methods.CONNECTION_OPEN_OK, b"\x00")
CHANNEL_OK = frame(1, methods.CHANNEL_OPEN_OK, bytes(4))
DELIVERY = frame(1, methods.BASIC_DELIVER, b"\x01t" + (1).to_bytes(8, "big") + b"\x00\x00\x01q")
HEADER_60 = b"\x02\x00\x01\x00\x00\x00\x0e\x00\x3c\x00\x00"  # of a message, up to the size of its body

Serve = Callable[..., Address]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Says `parts`, one for each time that it is spoken to, then `rest` in pieces, and hangs up if asked."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(WAIT_S)
    threads: list[threading.Thread] = []

    def serve(*parts: bytes, hangs_up: bool = False) -> Address:
        def talk() -> None:
            with suppress(OSError), listener.accept()[0] as stream:
                stream.settimeout(WAIT_S)
                for part in parts:
                    stream.recv(65536)
                    stream.sendall(part)
                while not hangs_up and stream.recv(65536):
                    pass

        threads.append(threading.Thread(target=talk))
        threads[-1].start()
        return Address("amqp://strange", (Server("127.0.0.1", listener.getsockname()[1]),))

    yield serve
    for thread in threads:
        thread.join(WAIT_S)
    listener.close()


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"], "does not speak AMQP 0-9-1"),
        ([b"\x15\x03\x03\x00\x02\x02\x0a"], "does not speak AMQP 0-9-1|expect TLS"),
        ([b"AMQP\x00\x01\x00\x00"], "does not speak AMQP 0-9-1"),
        ([start(b"\x00\x08")], "speaks AMQP 0.8"),
        ([b""], "expect TLS"),
        ([start(), b""], "logged in by PLAIN"),
        ([start(), frame(0, methods.CONNECTION_SECURE, bytes(4))], "where tune was due"),
        ([start(), TUNE[:-3] + b"\x00\x00\x00"], "does not end"),
        ([start(), frame(0, methods.CONNECTION_TUNE, b"\x00\x00\x00\x00\x01\x00\x00\x00")], "frames of at most 256 bytes"),
        ([start(), frame(0, 10 << 16 | 99, b"")], r"method 10\.99"),
    ],
)
def test_given_a_strange_greeting_then_it_is_said(serve: Serve, parts: list[bytes], words: str) -> None:
    connection = Connection(serve(*parts, hangs_up=True))
    with pytest.raises(BrokerUnavailable, match=words):
        connection.open()
    assert not connection.is_open


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x01\x00\x01\xff\xff\xff\xff" + bytes(100), "a frame of 4294967295 bytes"),
        (b"\x01\x00\x01\x00\x00\x00\x04" + bytes(5), "does not end"),
        (b"\x05\x00\x01\x00\x00\x00\x00\xce", "a frame of type 5"),
        (b"\x08\x00\x01\x00\x00\x00\x00\xce", "a frame of type 8"),
        (frame(1, methods.BASIC_PUBLISH, b"\x00\x00\x00\x00\x00"), r"method 60\.40, which is none of a server"),
        (frame(1, methods.QUEUE_DECLARE_OK, b"\x05q"), "arguments of method"),
        (b"\x01\x00\x01\x00\x00\x00\x02\x00\x0a\xce", "a method without a number"),
        (DELIVERY[:-1].replace(b"\x01q", b"\x09q") + b"\xce", "cut off"),
        (DELIVERY + DELIVERY, "in the middle of another"),
        (DELIVERY + b"\x03\x00\x01\x00\x00\x00\x01x\xce", "nothing announced"),
        (b"\x02\x00\x01\x00\x00\x00\x0e" + bytes(14) + b"\xce", "nothing announced"),
        (
            DELIVERY + b"\x02\x00\x01\x00\x00\x00\x0e\x00\x3c\x00\x00" + b"\xff" * 8 + bytes(2) + b"\xce",
            "a message of class 60",
        ),
        (
            DELIVERY + HEADER_60 + bytes(7) + b"\x01" + bytes(2) + b"\xce\x03\x00\x01\x00\x00\x00\x02xx\xce",
            "nothing announced",
        ),
        (frame(1, methods.BASIC_QOS_OK, b""), "is no answer to queue.declare"),
        (CHANNEL_OK + CHANNEL_OK, "is no answer to queue.declare"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_given_nonsense_instead_of_an_answer_then_the_connection_is_ended(serve: Serve, data: bytes, words: str) -> None:
    connection = Connection(serve(start(), TUNE + OPEN_OK, CHANNEL_OK, data))
    connection.open()
    channel = connection.channel()
    with pytest.raises(BrokerUnavailable, match=words):
        channel.declare_queue("q")
    assert not connection.is_open
    assert not channel.is_open


def test_given_an_answer_before_the_question_then_it_is_not_taken_for_it(serve: Serve) -> None:
    early = frame(1, methods.QUEUE_DECLARE_OK, b"\x05wrong" + bytes(8))
    connection = Connection(serve(start(), TUNE + OPEN_OK, CHANNEL_OK + early))
    connection.open()
    channel = connection.channel()
    with pytest.raises(BrokerUnavailable, match="before it was asked"):
        channel.declare_queue("q")


def test_given_a_server_without_heartbeats_then_ours_are_wished(serve: Serve) -> None:
    connection = Connection(serve(start(), TUNE + OPEN_OK))
    connection.open()
    assert connection.heartbeat_s == 120.0
    connection.close()


def test_given_a_flow_order_then_it_is_agreed_to(serve: Serve) -> None:
    flow = frame(1, methods.CHANNEL_FLOW, b"\x01")
    empty = frame(1, methods.BASIC_GET_EMPTY, b"\x00")
    connection = Connection(serve(start(), TUNE + OPEN_OK, CHANNEL_OK, flow, empty))
    connection.open()
    channel = connection.channel()
    assert channel.get("q") is None  # the server answers when it has read the agreement
    connection.close()
