"""The suite of `contracts/bus.py`."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import msgspec
import pytest

from sedano.contracts import Mailbox
from sedano.protocol.events import event_message, read_events, routing_key_of
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

    # -- events -------------------------------------------------------------------------------------------------------

    def test_given_listeners_when_events_are_emitted_then_each_hears_them_once_and_in_order(
        self, store: StoreUnderTest
    ) -> None:
        bus = store.bus()
        boxes = [store.closing(store.bus().open_events(f"monitor{number}")) for number in range(2)]
        assert bus.emit([event("worker-online"), event("task-started"), event("x")]) in (2, None)
        for box in boxes:
            assert heard(box, 3) == ["worker-online", "task-started", "x"]
            assert box.receive(0.05) == []

    def test_given_an_event_when_received_then_it_is_the_same_message(self, store: StoreUnderTest) -> None:
        bus = store.bus()
        box = store.closing(bus.open_events("monitor"))
        sent = event("task-progress", percent=50)
        bus.emit([sent])
        (received,) = receive(box)
        assert (received.body, received.content_type, received.content_encoding, received.headers) == (
            sent.body,
            sent.content_type,
            sent.content_encoding,
            sent.headers,
        )
        tag = {"delivery_tag"}  # some stores number deliveries themselves
        assert {name: received.properties[name] for name in sent.properties.keys() - tag} == {
            name: sent.properties[name] for name in sent.properties.keys() - tag
        }

    @pytest.mark.parametrize(
        ("pattern", "keys"),
        [
            ("#", ["worker.online", "task.sent", "task.sent.late", "task", "plain"]),
            ("task.#", ["task.sent", "task.sent.late", "task"]),
            ("task.*", ["task.sent"]),
            ("*.sent", ["task.sent"]),
            ("worker.online", ["worker.online"]),
            ("plain", ["plain"]),
            ("#.late", ["task.sent.late"]),
            ("work", []),
        ],
    )
    def test_given_a_pattern_when_events_are_emitted_then_only_what_fits_is_heard(
        self, store: StoreUnderTest, pattern: str, keys: list[str]
    ) -> None:
        bus = store.bus()
        box = store.closing(bus.open_events("monitor", pattern))
        end = store.closing(bus.open_events("end", "end.of.test"))
        sent = ["worker.online", "task.sent", "task.sent.late", "task", "plain", "end.of.test"]
        bus.emit([event(key.replace(".", "-")) for key in sent])
        assert heard(end) == ["end-of-test"]
        expected = [key for key in sent if key in keys or (pattern == "#" and key == "end.of.test")]
        assert heard(box, len(expected)) == [key.replace(".", "-") for key in expected]
        assert box.receive(0.05) == []

    def test_given_nobody_who_listens_when_emitted_then_nobody_hears(self, store: StoreUnderTest) -> None:
        bus = store.bus()
        assert bus.emit([event("task-sent")]) in (0, None)
        assert bus.emit([]) in (0, None)
        box = bus.open_events("monitor", "worker.#")
        assert bus.emit([event("task-sent")]) in (0, None)
        box.close()
        assert bus.emit([event("worker-online")]) in (0, None)

    def test_given_a_mailbox_of_commands_when_events_are_emitted_then_neither_hears_the_other(
        self, store: StoreUnderTest
    ) -> None:
        bus = store.bus()
        node = store.closing(bus.open_mailbox("celery@node"))
        monitor = store.closing(bus.open_events("monitor"))
        bus.emit([event("worker-online")])
        bus.broadcast(order("ping"))
        assert heard(monitor) == ["worker-online"]
        assert bodies(receive(node)) == [b"ping"]
        assert node.receive(0.05) == []
        assert monitor.receive(0.05) == []

    def test_given_another_event_exchange_when_emitted_then_listeners_of_this_one_do_not_hear(
        self, store: StoreUnderTest
    ) -> None:
        options = msgspec.structs.replace(store.options(), event_exchange="others")
        other = store.closing(store.driver.open_bus(store.url, options))
        mine, theirs = store.closing(store.bus().open_events("monitor")), store.closing(other.open_events("other monitor"))
        other.emit([event("worker-online")])
        assert heard(theirs) == ["worker-online"]
        assert mine.receive(0.05) == []

    def test_given_a_sleeping_listener_when_another_connection_emits_then_it_hears_at_once(self, store: StoreUnderTest) -> None:
        box = store.closing(store.bus().open_events("monitor"))

        def announce() -> None:
            bus = store.driver.open_bus(store.url, store.options())
            bus.emit([event("worker-heartbeat")])
            bus.close()

        thread = threading.Timer(0.05, announce)
        thread.start()
        assert heard(box) == ["worker-heartbeat"]
        thread.join(LONG_WAIT_S)

    def test_given_a_listener_when_the_wait_is_cut_short_then_nothing_is_lost(self, store: StoreUnderTest) -> None:
        bus = store.bus()
        box = store.closing(bus.open_events("monitor"))
        readable, writable = os.pipe()
        os.write(writable, b"!")
        began = time.monotonic()
        assert box.receive(LONG_WAIT_S, [readable]) == []
        assert time.monotonic() - began < PROMPT_S
        bus.emit([event("worker-online")])
        assert heard(box) == ["worker-online"]
        os.close(readable)
        os.close(writable)

    def test_given_many_events_when_the_listener_is_slow_then_what_it_reads_is_in_order_and_ends_with_the_last(
        self, store: StoreUnderTest
    ) -> None:
        bus = store.bus()
        box = store.closing(bus.open_events("monitor"))
        for start in range(0, 12_000, 1000):
            bus.emit([event("task-sent", number=number) for number in range(start, start + 1000)])
        numbers: list[int] = []
        while not numbers or numbers[-1] != 11_999:
            numbers += [read_events(each)[0]["number"] for each in receive(box)]
        assert numbers == sorted(set(numbers))
        assert len(numbers) >= 10_000


def event(type: str, **fields: Any) -> Message:  # noqa: A002 - Celery's word
    body = {"hostname": "celery@node", "pid": 1, "clock": 1, "timestamp": 1.5, "utcoffset": 0.0, **fields, "type": type}
    return event_message(body, hostname="celery@node", routing_key=routing_key_of(type))


def heard(box: Mailbox, count: int = 1) -> list[str]:
    """The types of at least `count` events; [] at once when `count` is 0."""
    return [one["type"] for each in (receive(box, count) if count else []) for one in read_events(each)]


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
