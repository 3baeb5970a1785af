"""Celery's mailbox on Redis, byte places included; recorded in `control-redis.json`."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis
from tests.services.redis.world import World

from sedano.contracts import Mailbox
from sedano.protocol.events import event_message, routing_key_of, routing_key_of_message
from sedano.protocol.message import Message

pytestmark = pytest.mark.redis

RECORDINGS = Path(__file__).resolve().parents[2] / "interop" / "recordings"


def a_message(body: bytes = b"{}", tag: str = "tag", exchange: str = "celery.pidbox", key: str = "") -> Message:
    info = {"exchange": exchange, "routing_key": key}
    properties = {"delivery_info": info, "delivery_tag": tag, "priority": 0, "delivery_mode": 2, "body_encoding": "base64"}
    return Message(body, "application/json", "utf-8", {"clock": 1, "expires": 0}, properties)


def test_given_a_celery_request_as_recorded_when_published_then_the_mailbox_hears_it(world: World) -> None:
    mailbox = world.closing(world.bus().open_mailbox("celery@here"))
    raw = (
        '{"body": "eyJtZXRob2QiOiAicGluZyJ9", "content-encoding": "utf-8", "content-type": "application/json", '
        '"headers": {"clock": 1, "expires": 0}, "properties": {"delivery_mode": 2, "delivery_info": {"exchange": '
        '"celery.pidbox", "routing_key": ""}, "priority": 0, "body_encoding": "base64", "delivery_tag": "t"}}'
    )
    assert world.command("PUBLISH", "/0.celery.pidbox", raw) == 1
    (request,) = mailbox.receive(5.0)
    assert json.loads(request.body) == {"method": "ping"}


def test_given_garbage_on_the_channel_when_received_then_it_is_skipped(world: World) -> None:
    bus = world.bus()
    mailbox = world.closing(bus.open_mailbox("celery@here"))
    world.command("PUBLISH", "/0.celery.pidbox", "garbage")
    bus.broadcast(a_message(b'"good"'))
    heard: list[Message] = []
    deadline = time.monotonic() + 60
    while not heard and time.monotonic() < deadline:
        heard += mailbox.receive(1.0)
    assert [request.body for request in heard] == [b'"good"']


def test_given_another_exchange_when_broadcast_then_the_channel_says_so(world: World) -> None:
    bus = world.bus(control_exchange="mine")
    mailbox = world.closing(bus.open_mailbox("n"))
    assert world.command("PUBSUB", "CHANNELS") == [b"/0.mine.pidbox"]
    assert bus.broadcast(a_message()) == 1
    assert len(mailbox.receive(5.0)) == 1


def test_given_a_reply_mailbox_when_open_and_closed_then_queue_and_binding_come_and_go(world: World) -> None:
    bus = world.bus()
    replies = bus.open_replies("oid-1")
    member = b"oid-1\x06\x16\x06\x16oid-1.reply.celery.pidbox"
    assert world.command("SMEMBERS", "_kombu.binding.reply.celery.pidbox") == [member]
    deadline = float(world.command("ZSCORE", "_kombu.binding_deadlines", "reply.celery.pidbox")) / 1000
    assert 3500 < deadline - time.time() < 3700
    bus.reply("reply.celery.pidbox", "oid-1", a_message(b"1"))
    bus.reply("reply.celery.pidbox", "oid-2", a_message(b"2"))
    assert world.command("LLEN", "oid-1.reply.celery.pidbox") == 1
    assert [reply.body for reply in replies.receive(5.0)] == [b"1"]
    bus.reply("reply.celery.pidbox", "oid-1", a_message(b"late"))
    replies.close()
    replies.close()
    bus.reply("reply.celery.pidbox", "oid-1", a_message(b"too late"))
    assert world.all_keys() <= {"_kombu.binding_deadlines"}


def test_given_a_reply_while_waiting_when_it_comes_then_receive_returns_it_at_once(world: World) -> None:
    bus = world.bus()
    replies = world.closing(bus.open_replies("oid"))
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(replies.receive, 20.0)
        time.sleep(0.1)
        started = time.monotonic()
        bus.reply("reply.celery.pidbox", "oid", a_message(b"1"))
        assert [reply.body for reply in future.result(20.0)] == [b"1"]
    assert time.monotonic() - started < 1


# -- events ---------------------------------------------------------------------------------------------------------------


def recorded_events() -> list[tuple[str, str]]:
    """(channel, bytes) as a Celery 5.7 worker published them."""
    vectors = json.loads((RECORDINGS / "events-redis.json").read_text())["vectors"]
    return [(each["message"]["channel"], each["message"]["raw"]) for each in vectors if "message" in each]


def test_given_events_of_celery_as_recorded_when_published_then_the_mailbox_hears_all(world: World) -> None:
    mailbox = world.closing(world.bus().open_events("monitor"))
    workers = world.closing(world.bus().open_events("gossip", "worker.#"))
    for channel, raw in recorded_events():
        world.command("PUBLISH", channel, raw)
    heard = read_all(mailbox, len(recorded_events()))
    assert [(f"/0.celeryev/{routing_key_of_message(each)}") for each in heard] == [channel for channel, _ in recorded_events()]
    of_workers = [channel for channel, _ in recorded_events() if "/worker." in channel]
    assert len(read_all(workers, len(of_workers))) == len(of_workers)


def test_given_events_of_ours_when_emitted_then_they_go_to_kombus_channels(world: World) -> None:
    bus = world.bus()
    listener = RedisListener(world, "/0.celeryev/*")
    assert bus.emit([an_event("worker-elect-ack"), an_event("plain")]) == 1
    assert listener.channels(2) == ["/0.celeryev/worker.elect.ack", "/0.celeryev/plain"]


@pytest.mark.parametrize(
    ("transport", "exchange", "channel", "pattern"),
    [
        ({}, "mine", "/0.mine/task.sent", "/0.mine/*"),
        ({"fanout_prefix": False}, "celeryev", "celeryev/task.sent", "celeryev/*"),
        ({"fanout_prefix": "all."}, "celeryev", "all.celeryev/task.sent", "all.celeryev/*"),
        ({"fanout_patterns": False}, "celeryev", "/0.celeryev", "/0.celeryev"),
        ({"global_keyprefix": "p[1]"}, "celeryev", "p[1]/0.celeryev/task.sent", "p\\[1]/0.celeryev/*"),
    ],
)
def test_given_transport_options_when_used_then_channels_are_kombus(
    world: World, transport: dict[str, object], exchange: str, channel: str, pattern: str
) -> None:
    bus = world.bus(event_exchange=exchange, transport=transport)
    mailbox = world.closing(bus.open_events("monitor"))
    listener = RedisListener(world, pattern)
    assert bus.emit([an_event("task-sent", exchange=exchange)]) == 2
    assert listener.channels(1) == [channel]
    assert len(read_all(mailbox, 1)) == 1
    narrow = world.closing(bus.open_events("narrow", "worker.#"))
    bus.emit([an_event("task-sent", exchange=exchange), an_event("worker-online", exchange=exchange)])
    assert [routing_key_of_message(each) for each in read_all(narrow, 1)] == ["worker.online"]


def test_given_garbage_on_an_event_channel_when_received_then_it_is_skipped(world: World) -> None:
    bus = world.bus()
    mailbox = world.closing(bus.open_events("monitor"))
    for garbage in ("garbage", "", "{}", '{"body": 5}', "\x00"):
        world.command("PUBLISH", "/0.celeryev/task.multi", garbage)
    bus.emit([an_event("worker-online")])
    assert [routing_key_of_message(each) for each in read_all(mailbox, 1)] == ["worker.online"]


def an_event(kind: str, exchange: str = "celeryev") -> Message:
    return event_message({"type": kind}, hostname="a@b", routing_key=routing_key_of(kind), exchange=exchange)


def read_all(mailbox: Mailbox, count: int) -> list[Message]:
    heard: list[Message] = []
    deadline = time.monotonic() + 60
    while len(heard) < count and time.monotonic() < deadline:
        heard += mailbox.receive(1.0)
    return heard


class RedisListener:
    """Somebody who knows nothing of us and subscribes to a pattern."""

    def __init__(self, world: World, pattern: str) -> None:
        self._subscriber = world.closing(redis.Redis(unix_socket_path=str(world.server.socket)).pubsub())
        self._subscriber.psubscribe(pattern)
        assert self._subscriber.get_message(timeout=60) is not None

    def channels(self, count: int) -> list[str]:
        found = [self._subscriber.get_message(timeout=60) for _ in range(count)]
        return [message["channel"].decode() for message in found if message is not None]
