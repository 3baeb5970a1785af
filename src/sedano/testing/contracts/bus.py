"""The suite of `contracts/bus.py`."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

from sedano.contracts import Mailbox
from sedano.protocol.message import Message
from sedano.testing.contracts.harness import LONG_WAIT_S, PROMPT_S, StoreUnderTest
from sedano.testing.contracts.messages import message

REPLIES = "reply.celery.pidbox"


class BusContract:
    def test_given_listening_nodes_when_a_request_is_broadcast_then_each_hears_it_once(self, store: StoreUnderTest) -> None:
        bus = store.bus()
        boxes = [store.closing(store.bus().open_mailbox(f"celery@node{number}")) for number in range(3)]
        assert bus.broadcast(order("ping")) in (3, None)
        for box in boxes:
            assert bodies(receive(box)) == [b"ping"]
            assert box.receive(0.05) == []

    def test_given_a_request_when_received_then_it_is_the_same_message(self, store: StoreUnderTest) -> None:
        bus = store.bus()
        box = store.closing(bus.open_mailbox("celery@node"))
        sent = order("ping", clock=17, expires=1234.5, ticket="t")
        bus.broadcast(sent)
        (received,) = receive(box)
        assert (received.body, received.content_type, received.content_encoding, received.headers) == (
            sent.body,
            sent.content_type,
            sent.content_encoding,
            sent.headers,
        )

    def test_given_several_requests_when_received_then_they_come_in_order(self, store: StoreUnderTest) -> None:
        bus = store.bus()
        box = store.closing(bus.open_mailbox("celery@node"))
        for number in range(20):
            bus.broadcast(order(str(number)))
        assert bodies(receive(box, 20)) == [str(number).encode() for number in range(20)]

    def test_given_a_mailbox_opened_later_when_it_listens_then_it_does_not_hear_what_was_said_before(
        self, store: StoreUnderTest
    ) -> None:
        bus = store.bus()
        bus.broadcast(order("before"))
        box = store.closing(bus.open_mailbox("celery@node"))
        bus.broadcast(order("after"))
        assert bodies(receive(box)) == [b"after"]

    def test_given_nobody_who_listens_when_broadcast_then_it_is_no_error(self, store: StoreUnderTest) -> None:
        assert store.bus().broadcast(order("ping")) in (0, None)

    def test_given_a_closed_mailbox_when_broadcast_then_nobody_hears(self, store: StoreUnderTest) -> None:
        bus = store.bus()
        box = bus.open_mailbox("celery@node")
        box.close()
        box.close()
        assert bus.broadcast(order("ping")) in (0, None)

    def test_given_an_address_when_nodes_answer_then_the_asker_hears_all_and_nobody_else_does(
        self, store: StoreUnderTest
    ) -> None:
        asker, one, two = store.bus(), store.bus(), store.bus()
        mine = store.closing(asker.open_replies("oid-1"))
        other = store.closing(asker.open_replies("oid-2"))
        node = store.closing(one.open_mailbox("celery@node"))
        one.reply(REPLIES, "oid-1", order("pong from one"))
        two.reply(REPLIES, "oid-1", order("pong from two"))
        two.reply(REPLIES, "oid-2", order("pong for the other"))
        assert sorted(bodies(receive(mine, 2))) == [b"pong from one", b"pong from two"]
        assert bodies(receive(other)) == [b"pong for the other"]
        assert node.receive(0.05) == []

    def test_given_an_address_where_nobody_listens_when_answered_then_it_is_no_error(self, store: StoreUnderTest) -> None:
        bus = store.bus()
        bus.reply(REPLIES, "nobody", order("pong"))
        bus.reply("no.such.exchange", "nobody", order("pong"))
        gone = bus.open_replies("gone")
        gone.close()
        bus.reply(REPLIES, "gone", order("pong"))

    def test_given_a_late_answer_when_the_same_address_listens_again_then_the_old_answer_is_not_there(
        self, store: StoreUnderTest
    ) -> None:
        bus = store.bus()
        bus.open_replies("oid").close()
        bus.reply(REPLIES, "oid", order("late"))
        box = store.closing(bus.open_replies("oid"))
        bus.reply(REPLIES, "oid", order("new"))
        assert bodies(receive(box)) == [b"new"]

    def test_given_a_sleeping_listener_when_another_connection_speaks_then_it_hears_at_once(
        self, store: StoreUnderTest
    ) -> None:
        node = store.closing(store.bus().open_mailbox("celery@node"))
        asker = store.closing(store.bus().open_replies("oid"))

        def speak() -> None:
            bus = store.driver.open_bus(store.url, store.options())
            bus.broadcast(order("ping"))
            bus.reply(REPLIES, "oid", order("pong"))
            bus.close()

        thread = threading.Timer(0.05, speak)
        thread.start()
        assert bodies(receive(node)) == [b"ping"]
        assert bodies(receive(asker)) == [b"pong"]
        thread.join(LONG_WAIT_S)

    def test_given_silence_when_received_then_the_timeout_ends_it(self, store: StoreUnderTest) -> None:
        bus = store.bus()
        for box in (bus.open_mailbox("celery@node"), bus.open_replies("oid")):
            store.closing(box)
            assert box.receive(0.05) == []
            assert box.receive(0.0) == []

    def test_given_another_descriptor_when_it_is_readable_then_the_wait_is_over(self, store: StoreUnderTest) -> None:
        bus = store.bus()
        readable, writable = os.pipe()
        os.write(writable, b"!")
        for box in (bus.open_mailbox("celery@node"), bus.open_replies("oid")):
            store.closing(box)
            began = time.monotonic()
            assert box.receive(LONG_WAIT_S, [readable]) == []
            assert time.monotonic() - began < PROMPT_S
        os.close(readable)
        os.close(writable)

    def test_given_an_odd_node_and_address_when_used_then_they_are_like_any_other(self, store: StoreUnderTest) -> None:
        bus = store.bus()
        node = store.closing(bus.open_mailbox("celery@ünï *[x]"))
        asker = store.closing(bus.open_replies("oid with * and ü"))
        bus.broadcast(order("ping"))
        bus.reply(REPLIES, "oid with * and ü", order("pong"))
        assert bodies(receive(node)) == [b"ping"]
        assert bodies(receive(asker)) == [b"pong"]

    def test_given_a_large_message_when_sent_then_it_is_whole(self, store: StoreUnderTest) -> None:
        bus = store.bus()
        node = store.closing(bus.open_mailbox("celery@node"))
        bus.broadcast(order("x" * 1_000_000))
        assert bodies(receive(node)) == [b"x" * 1_000_000]

    def test_given_a_connection_opened_anew_when_used_then_open_mailboxes_still_hear(self, store: StoreUnderTest) -> None:
        bus = store.bus()
        node = store.closing(bus.open_mailbox("celery@node"))
        bus.reconnect()
        bus.broadcast(order("ping"))
        assert bodies(receive(node)) == [b"ping"]
        bus.close()
        bus.close()


def order(body: str, **headers: Any) -> Message:
    return message("request", queue="celery.pidbox", exchange="celery.pidbox", body=body.encode(), **headers)


def bodies(messages: list[Message]) -> list[bytes]:
    return [each.body for each in messages]


def receive(box: Mailbox, count: int = 1) -> list[Message]:
    """At least `count` messages. Fails when they do not come promptly."""
    began = time.monotonic()
    messages: list[Message] = []
    while len(messages) < count:
        assert time.monotonic() - began < PROMPT_S, f"heard {len(messages)} of {count} messages"
        messages += box.receive(LONG_WAIT_S)
    assert time.monotonic() - began < PROMPT_S
    return messages
