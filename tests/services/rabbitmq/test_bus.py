"""Mailboxes and events on RabbitMQ: what is declared there, and what happens when the server or a neighbour interferes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from tests.rabbit import RabbitServer, vhost_of

from sedano.contracts import AmqpOptions, Bus, Mailbox, OpenOptions
from sedano.drivers.rabbitmq import open_bus
from sedano.drivers.rabbitmq.address import address_of
from sedano.drivers.rabbitmq.channel import Channel
from sedano.drivers.rabbitmq.connection import Connection
from sedano.exceptions import BrokerUnavailable, MailboxInUse, OperationalError
from sedano.protocol import control
from sedano.protocol.events import event_message, routing_key_of
from sedano.protocol.message import Message
from sedano.worker.mailbox import NodeHands, NodeMailbox

pytestmark = pytest.mark.rabbitmq

WAIT_S = 30.0
EXCLUSIVE = {"durable": False, "auto_delete": True, "exclusive": True}


@pytest.fixture
def opened(rabbit_url: str) -> Iterator[Callable[..., Bus]]:
    """Opens a bus with `AmqpOptions` and `OpenOptions`."""
    made: list[Bus] = []

    def make(options: OpenOptions | None = None, **amqp: Any) -> Bus:
        given = msgspec.structs.replace(options or OpenOptions(), amqp=AmqpOptions(**amqp))
        made.append(open_bus(rabbit_url, given))
        return made[-1]

    yield make
    for bus in made:
        bus.close()


@pytest.fixture
def channel(rabbit_url: str) -> Iterator[Channel]:
    """Somebody else's channel."""
    connection = Connection(address_of(rabbit_url, {}, OpenOptions()), name="tests")
    connection.open()
    yield connection.channel()
    connection.close()


def test_given_listeners_when_they_listen_then_exchanges_and_queues_are_celerys_to_the_argument(
    rabbit_server: RabbitServer, rabbit_url: str, opened: Callable[..., Bus]
) -> None:
    bus = opened()
    boxes = [bus.open_mailbox("w1@test"), bus.open_replies("oid"), bus.open_events("celeryev.7", "worker.#")]
    assert kinds(rabbit_server, rabbit_url) == {
        "celery.pidbox": ("fanout", False, False),
        "reply.celery.pidbox": ("direct", False, False),
        "celeryev": ("topic", True, False),
    }
    control_limits = {"x-expires": 10000, "x-message-ttl": 300000}
    assert queues(rabbit_server, rabbit_url) == {
        "w1@test.celery.pidbox": {**EXCLUSIVE, "arguments": control_limits},
        "oid.reply.celery.pidbox": {**EXCLUSIVE, "arguments": control_limits},
        "celeryev.7": {**EXCLUSIVE, "arguments": {"x-expires": 60000, "x-message-ttl": 5000}},
    }
    assert bindings(rabbit_server, rabbit_url) == {
        ("celery.pidbox", "w1@test.celery.pidbox", ""),
        ("reply.celery.pidbox", "oid.reply.celery.pidbox", "oid"),
        ("celeryev", "celeryev.7", "worker.#"),
    }
    for box in boxes:
        box.close()
    assert queues(rabbit_server, rabbit_url) == {}


def test_given_settings_for_the_queues_when_they_are_declared_then_they_are_as_the_settings_say(
    rabbit_server: RabbitServer, rabbit_url: str, opened: Callable[..., Bus]
) -> None:
    lasting = {"durable": True, "auto_delete": False, "exclusive": False}
    control_says = {
        "control_queue_durable": True,
        "control_queue_exclusive": False,
        "control_queue_expires_s": None,
        "control_queue_ttl_s": 1.5,
    }
    events_say = {"event_queue_durable": True, "event_queue_exclusive": False, "event_queue_ttl_s": None}
    bus = opened(OpenOptions(control_exchange="ours", event_exchange="ourev"), **control_says, **events_say)
    boxes = [bus.open_mailbox("w1@test"), bus.open_replies("oid"), bus.open_events("ourev.7")]
    assert set(kinds(rabbit_server, rabbit_url)) == {"ours.pidbox", "reply.ours.pidbox", "ourev"}
    for box in boxes:
        box.close()
    assert queues(rabbit_server, rabbit_url) == {
        "w1@test.ours.pidbox": {**lasting, "arguments": {"x-message-ttl": 1500}},
        "ourev.7": {**lasting, "arguments": {"x-expires": 60000}},
    }, "what is durable stays, but for the answers to one question"
    bus.emit([event("worker-online")])
    again = bus.open_events("ourev.7")
    assert len(receive(again)) == 1
    again.close()


def test_given_a_node_when_another_one_takes_its_name_then_it_is_told_so_and_listens_when_the_first_is_gone(
    opened: Callable[..., Bus],
) -> None:
    first, second = opened(), opened()
    box = first.open_mailbox("w1@test")
    with pytest.raises(MailboxInUse, match="A node named w1@test is already using this mailbox"):
        second.open_mailbox("w1@test")
    second.open_mailbox("w2@test").close()
    box.close()
    second.open_mailbox("w1@test").close()


def test_given_two_nodes_of_one_name_when_the_second_starts_then_it_warns_once_and_answers_when_the_first_has_gone(
    opened: Callable[..., Bus], rabbit_url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = threading.Semaphore(0)

    def soon() -> Iterator[float]:
        while True:
            tries.release()
            yield 0.01

    monkeypatch.setattr("sedano.worker.mailbox.backoff", lambda: iter(soon()))
    caplog.set_level(logging.WARNING, "celery.pidbox")
    box = opened().open_mailbox("w1@test")
    node = NodeMailbox("w1@test", lambda: open_bus(rabbit_url, OpenOptions()), NodeHands(lambda: None), accept=None)
    node.rounds.start()
    try:
        for _ in range(3):
            assert tries.acquire(timeout=WAIT_S)
        assert not node.has_listened
        box.close()
        bus = opened()
        replies = bus.open_replies("oid")
        deadline = time.monotonic() + WAIT_S
        asked = control.request("ping", ticket="t", reply_to=control.ReplyTo(control.REPLY_EXCHANGE, "oid"))
        while bus.broadcast(asked) == 0:  # until it listens
            assert time.monotonic() < deadline
        assert control.read_reply(receive(replies)[0]).values == {"w1@test": {"ok": "pong"}}
        replies.close()
    finally:
        node.rounds.stop()
    said = [record.getMessage() for record in caplog.records if record.name == "celery.pidbox"]
    assert len(said) == 1
    assert said[0].startswith("A node named w1@test is already using this mailbox")


def test_given_a_listener_that_does_not_read_when_events_come_then_they_do_not_stay_on_the_server(
    opened: Callable[..., Bus], channel: Channel
) -> None:
    bus = opened(event_queue_ttl_s=0.3, event_queue_exclusive=False)
    box = bus.open_events("celeryev.7")
    try:
        for _ in range(40):
            bus.emit([event("task-sent", args="x" * 20_000) for _ in range(100)])
        deadline = time.monotonic() + WAIT_S
        while channel.declare_queue("celeryev.7", passive=True).messages:
            assert time.monotonic() < deadline, "80 MB stay for somebody who does not read them"
        heard = 0
        while messages := box.receive(0.5):
            heard += len(messages)
        assert heard < 4000
        bus.emit([event("worker-online")])
        assert len(receive(box)) == 1
    finally:
        box.close()


def test_given_connections_that_the_server_has_closed_when_used_then_a_mailbox_says_so_and_what_is_said_is_heard(
    rabbit_server: RabbitServer, rabbit_url: str, opened: Callable[..., Bus]
) -> None:
    bus = opened()
    box = bus.open_mailbox("w1@test")
    bus.emit([event("worker-online")])
    assert bus.broadcast(control.request("ping")) is None
    rabbit_server.close_connections(rabbit_url)
    with pytest.raises(BrokerUnavailable):
        listen(box)
    box.close()
    box, monitor = bus.open_mailbox("w1@test"), bus.open_events("celeryev.7")
    bus.emit([event("worker-online")])
    assert bus.broadcast(control.request("ping")) is None
    assert len(receive(box)) == len(receive(monitor)) == 1
    box.close()
    monitor.close()


def test_given_an_event_exchange_that_somebody_deletes_when_emitted_then_it_is_declared_again(
    opened: Callable[..., Bus], channel: Channel
) -> None:
    bus = opened()
    bus.emit([event("worker-online")])
    channel.delete_exchange("celeryev")
    monitor = None
    deadline = time.monotonic() + WAIT_S
    while monitor is None or not monitor.receive(0.05):
        assert time.monotonic() < deadline
        bus.emit([event("worker-heartbeat")])
        monitor = monitor or bus.open_events("celeryev.7")
    monitor.close()


def test_given_an_event_exchange_of_another_kind_when_emitted_then_the_servers_words_come_out(
    opened: Callable[..., Bus], channel: Channel
) -> None:
    channel.declare_exchange("celeryev", "fanout")
    bus = opened()
    for _ in range(2):
        with pytest.raises(OperationalError, match=r"406 PRECONDITION_FAILED.*'celeryev'"):
            bus.emit([event("worker-online")])
    assert bus.broadcast(control.request("ping")) == 0, "commands go on"


def test_given_a_deleted_queue_when_received_then_the_mailbox_says_so(opened: Callable[..., Bus], channel: Channel) -> None:
    bus = opened(event_queue_exclusive=False)
    monitor = bus.open_events("celeryev.7")
    channel.delete_queue("celeryev.7")
    with pytest.raises(BrokerUnavailable, match=r"celeryev\.7"):
        listen(monitor)
    monitor.close()


def event(type: str, **fields: Any) -> Message:  # noqa: A002 - Celery's word
    body = {"hostname": "w1@test", "pid": 1, "clock": 1, "timestamp": 1.5, "utcoffset": 0.0, **fields, "type": type}
    return event_message(body, hostname="w1@test", routing_key=routing_key_of(type))


def receive(box: Mailbox) -> list[Message]:
    messages = box.receive(WAIT_S)
    assert messages
    return messages


def listen(box: Mailbox) -> None:
    """Until something is wrong."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        box.receive(WAIT_S)


def queues(server: RabbitServer, url: str) -> dict[str, dict[str, Any]]:
    found = server.api("GET", f"queues/{vhost_of(url)}")
    return {each["name"]: {name: each[name] for name in (*EXCLUSIVE, "arguments")} for each in found}


def kinds(server: RabbitServer, url: str) -> dict[str, tuple[str, bool, bool]]:
    found = server.api("GET", f"exchanges/{vhost_of(url)}")
    mine = [each for each in found if each["name"] and not each["name"].startswith("amq.")]
    return {each["name"]: (each["type"], each["durable"], each["auto_delete"]) for each in mine}


def bindings(server: RabbitServer, url: str) -> set[tuple[str, str, str]]:
    found = server.api("GET", f"bindings/{vhost_of(url)}")
    return {(each["source"], each["destination"], each["routing_key"]) for each in found if each["source"]}
