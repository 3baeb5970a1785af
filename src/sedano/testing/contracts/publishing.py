"""Publishing: what is accepted comes out, whole, in order, from the right queue."""

from __future__ import annotations

import pytest

from sedano.contracts import Outgoing, QueueSpec
from sedano.exceptions import EncodeError, OperationalError
from sedano.protocol import envelope
from sedano.testing.contracts.harness import StoreUnderTest, race
from sedano.testing.contracts.messages import batch, bound, message, outgoing, routed, task_ids

STEP_OF = {0: 0, 1: 0, 2: 0, 3: 3, 4: 3, 5: 3, 6: 6, 7: 6, 8: 6, 9: 9}

ODD_NAMES = [
    "queue with spaces",
    "队列 – ünïcödé 🥬",
    "star*",
    "what?",
    "[abc]",
    "{hash}tag",
    "a:b/c\\d",
    "quote'\"; drop table messages; --",
    "line\nbreak\ttab",
    "%s%d$1?1:name@name",
    "x" * 2000,
]


class PublishingContract:
    def test_given_a_published_message_when_it_is_reserved_then_it_is_the_same_message(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        sent = outgoing("q", "a", shadow="日本", custom={"deep": [1, 2.5, None, True]})
        slot.broker.publish([sent])
        (delivery,) = slot.reserve("q")
        received = delivery.message
        assert received is not None
        assert received.body == sent.message.body
        assert received.content_type == sent.message.content_type
        assert received.content_encoding == sent.message.content_encoding
        assert received.headers == sent.message.headers
        assert sent.message.properties.items() <= received.properties.items()

    def test_given_a_delivery_when_its_raw_form_is_decoded_then_it_is_the_envelope_of_the_message(
        self, store: StoreUnderTest
    ) -> None:
        slot = store.slot()
        slot.broker.publish([outgoing("q", "a")])
        (delivery,) = slot.reserve("q")
        assert envelope.decode(delivery.raw) == delivery.message

    def test_given_several_publishes_when_reserved_then_they_come_in_the_order_published(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        slot.broker.publish(batch("q", "abc"))
        slot.broker.publish(batch("q", "de"))
        store.broker().publish(batch("q", "f"))
        assert task_ids(slot.reserve("q")) == list("abcdef")

    def test_given_nothing_to_publish_when_published_then_nothing_happens(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        slot.broker.publish([])
        assert slot.reserve("q") == []

    def test_given_one_publish_to_many_queues_when_reserved_then_each_queue_has_its_own(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        slot.broker.publish([outgoing("q1", "a"), outgoing("q2", "b"), outgoing("q1", "c")])
        assert task_ids(slot.reserve("q2")) == ["b"]
        assert task_ids(slot.reserve("q1")) == ["a", "c"]

    def test_given_ten_thousand_messages_when_drained_in_pages_then_all_come_once_and_in_order(
        self, store: StoreUnderTest
    ) -> None:
        slot = store.slot()
        names = [f"call-{number}" for number in range(10_000)]
        slot.broker.publish(batch("q", names))
        assert slot.depth("q").ready == 10_000
        received: list[str] = []
        while page := slot.turn(reserve=500, queues=["q"]).reserved:
            received += task_ids(page)
        assert received == names
        assert slot.broker.retire(slot.lease) == 10_000

    def test_given_a_body_of_five_megabytes_when_reserved_then_not_a_byte_is_missing(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        body = b'[["' + bytes(range(35, 91)) * 100_000 + b'"], {}, {}]'
        slot.broker.publish([outgoing("q", "large", body=body), outgoing("q", "small")])
        large, small = slot.take("q")
        assert large.message is not None
        assert large.message.body == body
        assert task_ids([small]) == ["small"]

    def test_given_a_body_that_is_no_text_when_reserved_then_not_a_bit_has_changed(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        slot.broker.publish([outgoing("q", "a", body=bytes(range(256)))])
        (delivery,) = slot.reserve("q")
        assert delivery.message is not None
        assert delivery.message.body == bytes(range(256))

    def test_given_a_body_written_as_plain_text_when_reserved_then_it_is_the_same_message(self, store: StoreUnderTest) -> None:
        """Another language's producer may leave `body_encoding` out."""
        slot = store.slot()
        sent = message("a", body='[["ünï"], {}, {}]'.encode())
        del sent.properties["body_encoding"]
        slot.broker.publish([Outgoing(sent, "q")])
        (delivery,) = slot.reserve("q")
        assert delivery.message is not None
        assert delivery.message.body == sent.body
        assert b'[[\\"' in delivery.raw

    def test_given_a_message_that_cannot_be_written_when_published_then_nothing_of_the_batch_is_stored(
        self, store: StoreUnderTest
    ) -> None:
        slot = store.slot()
        with pytest.raises(EncodeError):
            slot.broker.publish([outgoing("q", "good"), outgoing("q", "bad", thing=object()), outgoing("q", "good-too")])
        assert slot.reserve("q") == []

    @pytest.mark.parametrize("name", ODD_NAMES, ids=range(len(ODD_NAMES)))
    def test_given_an_odd_queue_name_when_used_then_it_is_a_queue_like_any_other(
        self, store: StoreUnderTest, name: str
    ) -> None:
        slot = store.slot()
        slot.broker.declare([QueueSpec(name)])
        slot.broker.publish([outgoing(name, "mine"), outgoing(name + "1", "neighbour"), outgoing("star", "star")])
        assert task_ids(slot.take(name)) == ["mine"]
        assert slot.depth(name).begun == 1
        assert name in slot.broker.queues()

    def test_given_a_queue_nobody_knows_when_reserved_then_it_is_simply_empty(self, store: StoreUnderTest) -> None:
        assert store.slot().reserve("nobody-knows-me") == []

    def test_given_four_threads_publishing_when_drained_then_nothing_is_missing_and_each_threads_order_is_kept(
        self, store: StoreUnderTest
    ) -> None:
        def publisher(thread: int) -> None:
            broker = store.driver.open_broker(store.url, store.options())
            for number in range(50):
                broker.publish([outgoing("q", f"{thread}:{number}")])
            broker.close()

        race(*(lambda thread=thread: publisher(thread) for thread in range(4)))
        received = task_ids(store.slot().reserve("q", limit=1000))
        assert len(received) == 200
        for thread in range(4):
            assert [name for name in received if name.startswith(f"{thread}:")] == [f"{thread}:{n}" for n in range(50)]


class PriorityContract:
    """Celery's numbers on Redis: 0 to 9, lower first, mapped down to the steps 0, 3, 6, 9."""

    def test_given_all_priorities_when_reserved_then_lower_steps_come_first_and_within_a_step_the_oldest(
        self, store: StoreUnderTest
    ) -> None:
        slot = store.slot()
        slot.broker.publish([outgoing("q", str(priority), priority=priority) for priority in (9, 8, 7, 6, 5, 4, 3, 2, 1, 0)])
        assert task_ids(slot.reserve("q")) == ["2", "1", "0", "5", "4", "3", "8", "7", "6", "9"]

    @pytest.mark.parametrize("priority", range(10))
    def test_given_a_priority_when_delivered_then_the_delivery_says_a_number_of_its_step(
        self, store: StoreUnderTest, priority: int
    ) -> None:
        slot = store.slot()
        slot.broker.publish([outgoing("q", "a", priority=priority)])
        (delivery,) = slot.reserve("q")
        assert STEP_OF[delivery.priority] == STEP_OF[priority]

    @pytest.mark.parametrize(("priority", "before"), [(-1, "3"), (10, None), (255, None)])
    def test_given_a_priority_out_of_range_when_reserved_then_it_counts_as_the_nearest(
        self, store: StoreUnderTest, priority: int, before: str | None
    ) -> None:
        slot = store.slot()
        slot.broker.publish([outgoing("q", str(step), priority=step) for step in (3, 9)])
        slot.broker.publish([outgoing("q", "odd", priority=priority)])
        assert task_ids(slot.reserve("q")) == (["odd", "3", "9"] if before else ["3", "9", "odd"])

    def test_given_two_queues_when_reserved_then_the_step_decides_before_the_order_of_queues(
        self, store: StoreUnderTest
    ) -> None:
        slot = store.slot()
        slot.broker.publish(
            [
                outgoing("first", "first-3", priority=3),
                outgoing("second", "second-0"),
                outgoing("second", "second-3", priority=3),
                outgoing("first", "first-0"),
            ]
        )
        assert task_ids(slot.reserve("first", "second")) == ["first-0", "second-0", "first-3", "second-3"]

    def test_given_two_queues_when_one_is_taken_then_the_first_that_has_something_gives_it(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        slot.broker.publish([outgoing("a", "in-a"), outgoing("b", "in-b")])
        assert task_ids(slot.reserve("empty", "b", "a", limit=1)) == ["in-b"]
        assert task_ids(slot.reserve("empty", "b", "a", limit=1)) == ["in-a"]


class ExchangeContract:
    """Publishing to an exchange by its declared bindings."""

    def test_given_a_direct_exchange_when_published_then_every_queue_with_this_key_gets_a_copy(
        self, store: StoreUnderTest
    ) -> None:
        slot = store.slot()
        slot.broker.declare(
            [bound("q1", "x", "direct", "key"), bound("q2", "x", "direct", "key"), bound("q3", "x", "direct", "k")]
        )
        slot.broker.publish([routed("x", "direct", "key", "a")])
        assert task_ids(slot.reserve("q1")) == ["a"]
        assert task_ids(slot.reserve("q2")) == ["a"]
        assert slot.reserve("q3") == []

    @pytest.mark.parametrize(
        ("pattern", "key", "matches"),
        [
            ("orders.*", "orders.new", True),
            ("orders.*", "orders.new.eu", False),
            ("orders.#", "orders.new.eu", True),
            ("*.new", "orders.new", True),
            ("*.new", "orders.old", False),
            ("#", "anything.at.all", True),
            ("orders.new", "ordersXnew", False),
            ("a+(b)", "a+(b)", True),
        ],
    )
    def test_given_a_topic_when_published_then_the_pattern_decides(
        self, store: StoreUnderTest, pattern: str, key: str, matches: bool
    ) -> None:
        slot = store.slot()
        slot.broker.declare([bound("q", "topics", "topic", pattern), bound("exact", "topics", "topic", key)])
        slot.broker.publish([routed("topics", "topic", key, "a")])
        assert task_ids(slot.reserve("q")) == (["a"] if matches else [])
        assert task_ids(slot.reserve("exact")) == ["a"]

    def test_given_a_fanout_when_published_then_all_its_queues_get_a_copy_whatever_the_key(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        slot.broker.declare([bound("q1", "all", "fanout", ""), bound("q2", "all", "fanout", "other")])
        slot.broker.publish([routed("all", "fanout", "key", "a")])
        assert task_ids(slot.reserve("q1", "q2")) == ["a", "a"]

    def test_given_two_bindings_of_one_queue_that_match_when_published_then_it_gets_one_copy(
        self, store: StoreUnderTest
    ) -> None:
        slot = store.slot()
        slot.broker.declare([bound("q", "topics", "topic", "a.*"), bound("q", "topics", "topic", "*.b")])
        slot.broker.publish([routed("topics", "topic", "a.b", "both"), routed("topics", "topic", "x.b", "one")])
        assert task_ids(slot.reserve("q")) == ["both", "one"]

    def test_given_a_binding_declared_again_and_by_others_when_published_then_there_is_one_copy(
        self, store: StoreUnderTest
    ) -> None:
        slot = store.slot()
        for broker in (slot.broker, slot.broker, store.broker()):
            broker.declare([bound("q", "x", "direct", "key")])
        slot.broker.publish([routed("x", "direct", "key", "a")])
        assert task_ids(slot.reserve("q")) == ["a"]

    def test_given_a_binding_that_another_connection_declared_when_published_then_it_counts(
        self, store: StoreUnderTest
    ) -> None:
        slot, producer = store.slot(), store.broker()
        slot.broker.declare([bound("q", "x", "direct", "key")])
        producer.publish([routed("x", "direct", "key", "a")])
        assert task_ids(slot.reserve("q")) == ["a"]

    def test_given_an_exchange_and_a_priority_when_reserved_then_the_priority_counts(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        slot.broker.declare([bound("q", "x", "direct", "key")])
        slot.broker.publish(
            [routed("x", "direct", "key", "late", priority=9), routed("x", "direct", "key", "soon", priority=3)]
        )
        assert task_ids(slot.reserve("q")) == ["soon", "late"]

    @pytest.mark.parametrize("exchange", ["never-declared", "x"])
    def test_given_no_matching_binding_when_published_then_it_is_refused_and_nothing_of_the_batch_is_stored(
        self, store: StoreUnderTest, exchange: str
    ) -> None:
        slot = store.slot()
        slot.broker.declare([bound("q", "x", "direct", "key")])
        with pytest.raises(OperationalError, match=exchange):
            slot.broker.publish(
                [outgoing("q", "good"), routed(exchange, "direct", "nowhere", "bad"), outgoing("q", "good-too")]
            )
        assert slot.reserve("q") == []

    def test_given_an_exchange_with_a_binding_when_the_default_exchange_is_used_then_the_key_is_the_queues_name(
        self, store: StoreUnderTest
    ) -> None:
        slot = store.slot()
        slot.broker.declare([bound("q", "x", "direct", "key")])
        slot.broker.publish([outgoing("key", "to-the-queue-called-key")])
        assert slot.reserve("q") == []
        assert task_ids(slot.reserve("key")) == ["to-the-queue-called-key"]


class QueueListContract:
    """What operators see of queues."""

    def test_given_declared_queues_when_listed_then_they_are_there_sorted_and_empty(self, store: StoreUnderTest) -> None:
        broker = store.broker()
        broker.declare([QueueSpec("b"), bound("a", "x", "direct", "a"), QueueSpec("c")])
        broker.declare([QueueSpec("b")])
        assert broker.queues() == ["a", "b", "c"]
        assert [(depth.queue, depth.ready) for depth in broker.depth(["c", "a"])] == [("c", 0), ("a", 0)]

    def test_given_an_exchange_without_a_queue_when_it_is_declared_then_there_is_no_queue(self, store: StoreUnderTest) -> None:
        broker = store.broker()
        broker.declare([bound("", "news", "fanout", ""), bound("", "more", "fanout", "")])
        assert broker.queues() == []

    def test_given_a_queue_that_was_only_published_to_when_listed_then_it_is_there(self, store: StoreUnderTest) -> None:
        broker = store.broker()
        broker.publish([outgoing("undeclared", "a"), outgoing("undeclared-too", "b", priority=9)])
        assert broker.queues() == ["undeclared", "undeclared-too"]

    def test_given_a_declared_queue_when_it_was_emptied_then_it_is_still_known(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        slot.broker.declare([QueueSpec("q")])
        slot.broker.publish([outgoing("q", "a")])
        slot.reserve("q")
        assert slot.broker.queues() == ["q"]

    def test_given_an_unknown_queue_when_its_depth_is_asked_then_all_counts_are_zero(self, store: StoreUnderTest) -> None:
        broker = store.broker()
        (depth,) = broker.depth(["unknown"])
        assert (depth.queue, depth.ready, depth.delayed, depth.reserved, depth.begun, depth.dead) == ("unknown", 0, 0, 0, 0, 0)
        assert broker.depth([]) == []

    def test_given_messages_on_their_way_when_the_depth_is_asked_then_each_is_counted_where_it_stands(
        self, store: StoreUnderTest
    ) -> None:
        one, two = store.slot("one"), store.slot("two")
        one.broker.publish([outgoing("q", f"call-{number}", priority=number % 10) for number in range(10)])
        one.broker.publish([outgoing("other", "x")])
        one.reserve("q", limit=2)
        two.take("q", limit=2, early=True)
        two.take("q", limit=1)
        depth = one.depth("q")
        assert (depth.ready, depth.reserved, depth.begun, depth.delayed, depth.dead) == (5, 2, 3, 0, 0)

    def test_given_ready_and_reserved_messages_when_purged_then_only_the_ready_ones_go_in_all_priorities(
        self, store: StoreUnderTest
    ) -> None:
        slot, operator = store.slot(), store.broker()
        slot.broker.publish([outgoing("q", str(priority), priority=priority) for priority in range(10)])
        slot.broker.publish([outgoing("other", "x")])
        held = slot.reserve("q", limit=2)
        assert operator.purge("q") == 8
        assert operator.purge("q") == 0
        assert slot.reserve("q") == []
        assert slot.release(held) == 2
        assert task_ids(slot.reserve("q")) == task_ids(held)
        assert slot.depth("other").ready == 1

    def test_given_an_unknown_queue_when_purged_then_nothing_was_dropped(self, store: StoreUnderTest) -> None:
        assert store.broker().purge("unknown") == 0
