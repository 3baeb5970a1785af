"""Celery's mailbox on Redis, byte places included; recorded in `control-redis.json`."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.services.redis.world import World

from sedano.protocol.message import Message

pytestmark = pytest.mark.redis


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
