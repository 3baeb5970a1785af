"""The rabbitmq driver keeps the promises of a broker, as a node uses it: one broker behind a relay, slots as its clients.

What it promises otherwise than other stores stands here under the same name, with the reason; docs/reliability.md says it in
words.
"""

from __future__ import annotations

import time
from collections.abc import Generator

import pytest
from tests.contracts import rabbitstore
from tests.contracts.rabbitstore import QuorumStore, come, letters, same_call

from sedano.contracts import Begin, Delay, Outcome, Outgoing, Parked, QueueSpec, Standing
from sedano.drivers.rabbitmq import stored
from sedano.exceptions import EncodeError, ImproperlyConfigured, OperationalError
from sedano.protocol import envelope
from sedano.testing.contracts import StoreUnderTest
from sedano.testing.contracts.beginnew import EARLY, HOW, LATE, BeginNewContract, windows
from sedano.testing.contracts.deadletters import DeadLetterContract, bury
from sedano.testing.contracts.harness import PROMPT_S, race, unique
from sedano.testing.contracts.holdings import HoldingsContract
from sedano.testing.contracts.leases import LeaseContract, LostLeaseContract, RefencingContract, RetiringContract
from sedano.testing.contracts.messages import (
    batch,
    bound,
    dead,
    message,
    outgoing,
    requeue,
    result,
    routed,
    settlement,
    task_ids,
)
from sedano.testing.contracts.parking import ParkingContract, park
from sedano.testing.contracts.pendings import PendingContract
from sedano.testing.contracts.publishing import ODD_NAMES, ExchangeContract, PublishingContract, QueueListContract
from sedano.testing.contracts.settlements import MessagesOutContract, SettlingContract
from sedano.testing.contracts.takeovers import (
    TakeOverContract,
    TakeOverPagesContract,
    TakeOverRacesContract,
    TakeOverRefusedContract,
)
from sedano.testing.contracts.turns import (
    BeginningContract,
    ReleasingContract,
    ReservingContract,
    TurnOrderContract,
    UnbeginningContract,
)
from sedano.testing.contracts.waking import WaitFdsContract, WakingContract

pytestmark = pytest.mark.rabbitmq

PRIORITIES: dict[str, object] = {"x-max-priority": 10}


@pytest.fixture
def store(rabbit_url: str) -> Generator[StoreUnderTest]:
    with rabbitstore.opened(rabbit_url) as store:
        yield store


class TestRabbitPublishing(PublishingContract, ExchangeContract, QueueListContract):
    def test_given_a_published_message_when_it_is_reserved_then_it_is_the_same_message(self, store: StoreUnderTest) -> None:
        """But for Kombu's delivery tag: AMQP has no place for it, and gives its own."""
        slot = store.slot()
        sent = outgoing("q", "a", shadow="日本", custom={"deep": [1, 2.5, None, True]})
        slot.broker.publish([sent])
        (delivery,) = slot.reserve("q")
        received = delivery.message
        assert received is not None
        assert (received.body, received.headers) == (sent.message.body, sent.message.headers)
        assert (received.content_type, received.content_encoding) == ("application/json", "utf-8")
        del sent.message.properties["delivery_tag"]
        assert received.properties == sent.message.properties

    def test_given_a_delivery_when_its_raw_form_is_decoded_then_it_is_the_envelope_of_the_message(
        self, store: StoreUnderTest
    ) -> None:
        """The raw form is what came over the wire, content header and body: nothing is read on the way to the slot."""
        slot = store.slot()
        slot.broker.publish([outgoing("q", "a")])
        (delivery,) = slot.reserve("q")
        assert stored.read(delivery.raw) == delivery.message
        assert stored.unpack(delivery.raw)[3] == outgoing("q", "a").message.body

    def test_given_a_body_written_as_plain_text_when_reserved_then_it_is_the_same_message(self, store: StoreUnderTest) -> None:
        """An AMQP body is bytes: `body_encoding` means nothing."""
        slot = store.slot()
        sent = message("a", body='[["ünï"], {}, {}]'.encode())
        del sent.properties["body_encoding"]
        slot.broker.publish([Outgoing(sent, "q")])
        (delivery,) = slot.reserve("q")
        assert delivery.message is not None
        assert delivery.message.body == sent.body
        assert delivery.raw.endswith(sent.body)

    @pytest.mark.parametrize("name", [name for name in ODD_NAMES if "\n" not in name and len(name) < 250])
    def test_given_an_odd_queue_name_when_used_then_it_is_a_queue_like_any_other(
        self, store: StoreUnderTest, name: str
    ) -> None:
        super().test_given_an_odd_queue_name_when_used_then_it_is_a_queue_like_any_other(store, name)

    @pytest.mark.parametrize("name", ["line\nbreak", "return\r", "ü" * 128])
    def test_given_a_name_that_amqp_does_not_carry_when_used_then_it_is_said(self, store: StoreUnderTest, name: str) -> None:
        """RabbitMQ would leave the line break out, and look for the other name."""
        broker = store.broker()
        with pytest.raises(ImproperlyConfigured, match="the name of a queue"):
            broker.declare([QueueSpec(name)])
        with pytest.raises(ImproperlyConfigured, match="the name of a queue"):
            broker.publish([outgoing(name, "a")])

    def test_given_the_longest_names_when_calls_die_or_are_parked_then_they_are_kept_apart(self, store: StoreUnderTest) -> None:
        slot, until = store.slot(), store.now() + 600
        names = [end.rjust(255, "x") for end in "ab"]
        for name in names:
            bury(store, slot, name, [f"dead-{name[-1]}"])
            park(slot, (name, f"parked-{name[-1]}", "new", until))
        assert [letters(slot, name) for name in names] == [["dead-a"], ["dead-b"]]
        assert [slot.depth(name).parked for name in names] == [1, 1]
        assert slot.broker.unpark(["new"], names) == 2
        assert [task_ids(slot.reserve(name)) for name in names] == [["parked-a"], ["parked-b"]]

    def test_given_an_exchange_and_a_priority_when_reserved_then_the_priority_counts(self, store: StoreUnderTest) -> None:
        """On RabbitMQ the larger number is served first, in queues that say x-max-priority."""
        slot = store.slot()
        slot.broker.declare([QueueSpec("q", "x", "direct", "key", arguments=PRIORITIES)])
        slot.broker.publish(
            [routed("x", "direct", "key", "late", priority=3), routed("x", "direct", "key", "soon", priority=9)]
        )
        deliveries = slot.reserve("q")
        assert task_ids(deliveries) == ["soon", "late"]
        assert [delivery.priority for delivery in deliveries] == [9, 3]

    def test_given_priorities_when_the_queue_has_none_then_the_order_published_counts(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        slot.broker.publish([outgoing("q", "a", priority=3), outgoing("q", "b", priority=9), outgoing("q", "c")])
        assert task_ids(slot.reserve("q")) == ["a", "b", "c"]

    def test_given_two_queues_when_reserved_then_the_order_of_queues_decides_before_the_priority(
        self, store: StoreUnderTest
    ) -> None:
        """Each queue has its own order on the server: they are not compared."""
        slot = store.slot()
        slot.broker.declare([QueueSpec(name, arguments=PRIORITIES) for name in ("first", "second")])
        slot.broker.publish([outgoing("first", "a", priority=1), outgoing("second", "b", priority=9)])
        slot.release(slot.reserve("first", "second"))
        assert task_ids(slot.reserve("first", "second", limit=2)) == ["a", "b"]

    @pytest.mark.parametrize("exchange", ["never-declared", "x"])
    def test_given_no_matching_binding_when_published_then_it_is_refused_and_nothing_of_the_batch_is_stored(
        self, store: StoreUnderTest, exchange: str
    ) -> None:
        """It is refused; a batch is no transaction here: of one that leads to an exchange that is there the server has taken
        the others."""
        slot = store.slot()
        slot.broker.declare([bound("q", "x", "direct", "key")])
        with pytest.raises(OperationalError, match=exchange):
            slot.broker.publish(
                [outgoing("q", "good"), routed(exchange, "direct", "nowhere", "bad"), outgoing("q", "good-too")]
            )
        assert task_ids(slot.reserve("q")) == (["good", "good-too"] if exchange == "x" else [])


class RabbitTurns(ReservingContract, BeginningContract, TurnOrderContract, ReleasingContract, UnbeginningContract):
    def test_given_more_than_asked_when_reserved_then_the_oldest_come_and_more_is_said(self, store: StoreUnderTest) -> None:
        """`more` is said of what this node has in its hands: what the server has is not asked for, it comes."""
        slot = store.slot()
        slot.broker.publish(batch("q", "abc"))
        slot.release(slot.reserve("q"))
        reply = slot.turn(reserve=2, queues=["q"])
        assert task_ids(reply.reserved) == ["a", "b"]
        assert reply.more
        reply = slot.turn(reserve=1, queues=["q"])
        assert task_ids(reply.reserved) == ["c"]
        assert not reply.more

    def test_given_more_in_the_second_queue_when_the_first_gave_enough_then_more_is_said(self, store: StoreUnderTest) -> None:
        """As above."""
        slot = store.slot()
        slot.broker.publish([outgoing("q1", "a"), outgoing("q2", "b")])
        slot.release(slot.reserve("q1", "q2"))
        assert slot.turn(reserve=1, queues=["q1", "q2"]).more
        assert not slot.turn(reserve=1, queues=["q1", "q2"]).more

    def test_given_four_connections_reserving_at_once_when_all_is_taken_then_each_message_was_given_once(
        self, store: StoreUnderTest
    ) -> None:
        """An empty answer does not say that the server has nothing: it is on its way."""
        names = [f"call-{number}" for number in range(200)]
        store.broker().publish(batch("q", names))

        def drain() -> list[str]:
            broker = store.driver.open_broker(store.url, store.options())
            lease = broker.register(unique("racer"), "celery@test")
            received: list[str] = []
            deadline = time.monotonic() + PROMPT_S
            while time.monotonic() < deadline:
                page = broker.turn(lease, reserve=3, queues=["q"]).reserved
                received += task_ids(page)
                (depth,) = broker.depth(["q"])
                if not page and depth.reserved == 200:
                    break
            broker.close()
            return received

        received = race(*[drain] * 4)
        assert sorted(name for part in received for name in part) == sorted(names)
        if not isinstance(store, QuorumStore):
            for part in received:
                assert part == sorted(part, key=names.index)

    def test_given_priorities_and_queues_when_released_then_each_returns_to_the_head_of_its_own(
        self, store: StoreUnderTest
    ) -> None:
        """Without x-max-priority there is one order for each queue."""
        slot = store.slot()
        slot.broker.publish([outgoing("q1", "a"), outgoing("q2", "b"), outgoing("q1", "c"), outgoing("q1", "d")])
        held = slot.reserve("q1", "q2", limit=4)
        assert task_ids(held) == ["a", "c", "d", "b"] or sorted(task_ids(held)) == list("abcd")
        slot.broker.publish([outgoing("q1", "e"), outgoing("q2", "f")])
        assert slot.release(held) == 4
        assert task_ids(slot.reserve("q1")) == ["a", "c", "d", "e"]
        assert task_ids(slot.reserve("q2")) == ["b", "f"]

    def test_given_begun_calls_when_unbegun_then_they_are_at_the_head_uncounted_and_ordinary_again(
        self, store: StoreUnderTest
    ) -> None:
        """Those begun late. One begun early was acknowledged: it is published again, and so at the tail."""
        slot, other = store.slot(), store.slot("other")
        slot.broker.publish(batch("q", "abcd"))
        early = slot.take("q", limit=1, early=True)
        late = slot.take("q", limit=2, early=False)
        assert slot.unbegin([*reversed(late), *early]) == 3
        deliveries = other.reserve("q")
        assert task_ids(deliveries) == list("bcda")
        assert [(each.standing, each.deliveries) for each in deliveries] == [(Standing.RESERVED, 0)] * 4
        assert [deliveries[at].raw for at in (0, 1, 3)] == [delivery.raw for delivery in late + early]


class TestRabbitTurns(RabbitTurns):
    pass


class TestRabbitBeginNew(BeginNewContract):
    def test_given_nothing_to_reserve_when_a_rule_is_given_then_nothing_is_begun(self, store: StoreUnderTest) -> None:
        """The call is ready when it has come to this node, which takes a moment."""
        slot = store.slot()
        assert slot.turn(reserve=3, queues=["q"], begin_new=EARLY).reserved == []
        slot.broker.publish(batch("q", "a"))
        assert slot.turn(reserve=0, queues=["q"], begin_new=EARLY).reserved == []
        (delivery,) = slot.reserve("q")
        assert delivery.standing is Standing.RESERVED

    def test_given_an_answer_that_was_lost_when_all_that_is_begun_goes_back_then_only_what_is_kept_stays(
        self, store: StoreUnderTest
    ) -> None:
        """One begun early, "c", goes to the tail."""
        slot, other = store.slot(), store.slot("other")
        slot.broker.publish(batch("q", "abcd"))
        (done,) = slot.turn(reserve=1, queues=["q"], begin_new=EARLY).reserved
        (reserved,) = slot.reserve("q", limit=1)
        slot.turn(reserve=1, queues=["q"], begin_new=EARLY)
        slot.turn(reserve=1, queues=["q"], begin_new=LATE)
        assert slot.broker.unbegin(slot.lease, None, keep=[done.tag, "no-such-tag"]) == 2
        back = other.reserve("q")
        assert task_ids(back) == ["d", "c"]
        assert [(each.standing, each.deliveries) for each in back] == [(Standing.RESERVED, 0)] * 2
        assert slot.settle(settlement(done), settlement(reserved)).refused == []
        assert slot.broker.unbegin(slot.lease, None) == 0

    @pytest.mark.parametrize("how", HOW)
    def test_given_a_first_that_is_not_due_when_delayed_then_it_waits_and_comes_back_ordinary(
        self, store: StoreUnderTest, how: str
    ) -> None:
        """It comes back by itself; nobody sees it waiting."""
        slot, other = store.slot(), store.slot("other")
        slot.broker.publish(batch("q", "a"))
        (first,) = slot.turn(reserve=1, queues=["q"], begin_new=HOW[how][0]).reserved
        assert slot.turn(delay=[Delay(first.tag, store.now() - 1)]).refused == []
        assert slot.record().held == 0
        assert slot.depth("q").delayed == 0
        (again,) = come(other, "q")
        assert (again.standing, again.deliveries) == (Standing.RESERVED, 0)
        assert same_call(again.message, first.message)

    def test_given_a_late_call_that_somebody_had_when_reserved_by_a_rule_then_it_is_not_begun(
        self, store: StoreUnderTest
    ) -> None:
        """As everywhere a window ends before a call that came back: it may be poison."""
        slot = store.slot()
        slot.broker.publish([outgoing("q", "a"), outgoing("q", "b"), outgoing("q", "c")])
        slot.settle(requeue(slot.take("q", limit=1)[0]))
        reply = slot.turn(reserve=3, queues=["q"], begin_new=windows(add=10))
        assert task_ids(reply.reserved) == ["b", "c", "a"]
        assert [each.standing for each in reply.reserved] == [Standing.BEGUN_EARLY] * 2 + [Standing.RESERVED]


class RabbitSettling(SettlingContract):
    def test_given_records_of_other_calls_when_settled_then_they_are_stored_with_its_own(self, store: StoreUnderTest) -> None:
        """There are no records on RabbitMQ. Those for another store wait until they are written there."""
        slot, reaper = store.slot(writes_results=False), store.slot("reaper", writes_results=False)
        slot.broker.publish(batch("q", "a"))
        (delivery,) = slot.take("q")
        steps = (result("b", b"second"), result("c", b"third"))
        slot.settle(settlement(delivery, result=result("a", b"first"), more_results=steps))
        (pending,) = reaper.broker.take_over(slot.record(), reaper.lease, limit=10).pendings
        assert [write.task_id for write in pending.writes] == ["a", "b", "c"]

    def test_given_a_priority_when_requeued_then_it_is_kept(self, store: StoreUnderTest) -> None:
        """The larger number first, where the queue says x-max-priority."""
        slot = store.slot()
        slot.broker.declare([QueueSpec("p", arguments=PRIORITIES)])
        slot.broker.publish([outgoing("p", "a", priority=6), outgoing("p", "b", priority=6), outgoing("p", "c", priority=3)])
        slot.settle(requeue(slot.take("p", limit=1)[0]))
        deliveries = slot.reserve("p")
        assert task_ids(deliveries) == ["b", "a", "c"]
        assert [delivery.priority for delivery in deliveries] == [6, 6, 3]


class TestRabbitSettling(RabbitSettling, MessagesOutContract, PendingContract):
    def test_given_results_elsewhere_when_settled_then_neither_result_nor_chord_is_written_here(
        self, store: StoreUnderTest
    ) -> None:
        """Nothing is sent to the caller either."""
        slot = store.slot(writes_results=False)
        assert not slot.broker.capabilities.shared_results
        sent = outgoing("q", "a")
        slot.broker.declare([QueueSpec("replies")])
        sent.message.properties["reply_to"] = "replies"
        slot.broker.publish([sent])
        (delivery,) = slot.take("q")
        assert slot.settle(settlement(delivery, result=result("a"))).refused == []
        assert slot.depth("replies").ready == 0

    def test_given_messages_out_with_priority_and_exchange_when_settled_then_both_count(self, store: StoreUnderTest) -> None:
        """As above."""
        slot = store.slot()
        slot.broker.declare([QueueSpec("bound", "x", "direct", "key", arguments=PRIORITIES)])
        slot.broker.publish(batch("q", "a"))
        (delivery,) = slot.take("q")
        out = (routed("x", "direct", "key", "late", priority=3), outgoing("bound", "soon", priority=9))
        slot.settle(settlement(delivery, messages_out=out))
        assert task_ids(slot.reserve("bound")) == ["soon", "late"]

    @pytest.mark.parametrize(("exchange", "stays"), [("never-declared", []), ("x", ["out"])])
    def test_given_a_message_out_to_an_exchange_without_binding_when_settled_then_nothing_of_the_turn_is_applied(
        self, store: StoreUnderTest, exchange: str, stays: list[str]
    ) -> None:
        """No call is settled. What the server has taken of the others stays: whoever settles again sends it a second time."""
        slot = store.slot()
        slot.broker.declare([bound("elsewhere", "x", "direct", "key")])
        slot.broker.publish(batch("q", "ab"))
        a, b = slot.take("q")
        bad = settlement(b, messages_out=(outgoing("out", "out"), routed(exchange, "direct", "nowhere", "y")))
        with pytest.raises(OperationalError):
            slot.settle(settlement(a), bad)
        assert slot.depth("q").begun == 2
        assert task_ids(slot.reserve("out")) == stays
        assert slot.settle(settlement(a), settlement(b)).refused == []


class TestRabbitLeases(
    LeaseContract,
    RetiringContract,
    RefencingContract,
    LostLeaseContract,
    TakeOverContract,
    TakeOverRefusedContract,
    TakeOverPagesContract,
    TakeOverRacesContract,
):
    """Of the slots of one node: a dead node's calls are the server's."""

    def test_given_reserved_calls_when_the_owner_retires_then_they_are_at_the_head_and_the_lease_is_gone(
        self, store: StoreUnderTest
    ) -> None:
        """Without priorities, which this queue does not have."""
        slot, other = store.slot(), store.slot("other")
        slot.broker.publish(batch("q", "abcd"))
        (a,) = slot.take("q", limit=1)
        slot.reserve("q", limit=2)
        slot.settle(settlement(a))
        assert slot.broker.retire(slot.lease) == 2
        assert [record.owner for record in other.broker.leases()] == [other.lease.owner]
        deliveries = other.reserve("q")
        assert task_ids(deliveries) == ["b", "c", "d"]
        assert {delivery.deliveries for delivery in deliveries} == {0}

    def test_given_taken_over_deliveries_when_the_taker_works_on_them_then_they_are_its_own(
        self, store: StoreUnderTest
    ) -> None:
        """ "b" was acknowledged when it was begun early: it goes to the tail."""
        dead_one, reaper, other = store.slot("dead"), store.slot("reaper"), store.slot("other")
        dead_one.broker.publish(batch("q", "abcdefg"))
        early_lost, early_unstarted = dead_one.take("q", limit=2, early=True)
        late_lost, late_unstarted = dead_one.take("q", limit=2)
        to_begin, to_release, to_drop = dead_one.reserve("q")
        assert len(reaper.take_over(dead_one)) == 7
        reply = reaper.turn(
            settle=[settlement(early_lost), requeue(late_lost), settlement(to_drop)], begin=[Begin(to_begin.tag, early=False)]
        )
        assert (reply.begun, reply.refused) == ([to_begin.tag], [])
        assert reaper.unbegin([early_unstarted, late_unstarted]) == 2
        assert reaper.release([to_release]) == 1
        deliveries = other.reserve("q")
        assert task_ids(deliveries) == ["d", "f", "c", "b"]
        assert [delivery.deliveries for delivery in deliveries] == [0, 0, 1, 0]
        assert reaper.record().held == 1


class TestRabbitWaiting(WakingContract, WaitFdsContract):
    pass


class TestRabbitDeadLetters(DeadLetterContract):
    """In a queue beside the queue: how long and how much it keeps is said once, when it is made."""

    def test_given_a_call_that_dies_when_its_letter_is_read_then_it_holds_the_exact_message_and_the_reason(
        self, store: StoreUnderTest
    ) -> None:
        """As an envelope, in which it can be published again anywhere."""
        slot, operator = store.slot(), store.broker()
        slot.broker.publish(batch("q", "a"))
        (delivery,) = slot.take("q", early=True)
        step = dead(delivery, store.now())
        assert slot.settle(step).refused == []
        operator.declare([QueueSpec("q")])
        (letter,) = operator.dead_letters()
        assert (letter.queue, letter.note) == ("q", step.dead)
        assert envelope.decode(letter.raw) == delivery.message
        depth = slot.depth("q")
        assert (depth.ready, depth.reserved, depth.begun, depth.dead) == (0, 0, 0, 1)
        assert slot.reserve("q") == []

    def test_given_a_limit_in_bytes_when_it_is_passed_then_the_oldest_letters_of_this_queue_go(
        self, store: StoreUnderTest
    ) -> None:
        """The limit is that of the first letter."""
        slot = store.slot()
        body = b"x" * 10_000
        bury(store, slot, "other", "o", body=body)
        bury(store, slot, "q", "abc", body=body, max_bytes=25_000)
        assert letters(slot, "q") == ["c", "b"]
        bury(store, slot, "q", "d", body=body)
        assert letters(slot, "q") == ["d", "c"]
        assert slot.depth("q").dead == 2
        assert slot.depth("other").dead == 1

    def test_given_letters_dropped_by_hand_when_new_ones_come_then_their_room_is_free_again(
        self, store: StoreUnderTest
    ) -> None:
        """As above."""
        slot = store.slot()
        body = b"x" * 10_000
        bury(store, slot, "q", "ab", body=body, max_bytes=25_000)
        slot.broker.drop_dead([slot.broker.dead_letters("q")[0].id])
        bury(store, slot, "q", "c", body=body)
        assert letters(slot, "q") == ["c", "a"]

    def test_given_a_letter_larger_than_the_limit_when_it_dies_then_it_alone_is_kept(self, store: StoreUnderTest) -> None:
        """It is not kept, and the log says so: the server would drop it, and all others before it."""
        slot = store.slot()
        bury(store, slot, "q", "ab", max_bytes=5_000)
        bury(store, slot, "q", ["large"], body=b"x" * 10_000, max_bytes=5_000)
        assert letters(slot, "q") == ["b", "a"]
        assert slot.depth("q").begun == 0

    def test_given_letters_older_than_they_are_kept_when_looked_for_then_they_are_gone(self, store: StoreUnderTest) -> None:
        """The time runs from the moment when the letter was stored, whatever it says; so long as the first one said."""
        slot, now = store.slot(), store.now()
        slot.broker.publish(batch("q", "abc"))
        a, b, c = slot.take("q")
        slot.settle(dead(a, now - 7200, keep_s=1.0), dead(b, now, keep_s=3600), dead(c, now - 7200, keep_s=3600))
        store.pass_time(1.2)
        assert letters(slot, "q") == []

    def test_given_a_letter_when_its_time_is_over_then_it_goes(self, store: StoreUnderTest) -> None:
        """By the server's own clock, which a busy machine does not stop: the letter may be gone before anybody looks."""
        slot = store.slot()
        bury(store, slot, "q", "a", keep_s=1.0)
        bury(store, slot, "other", "o", keep_s=3600)
        store.pass_time(1.2)
        assert letters(slot, "q") == []
        assert slot.depth("q").dead == 0
        assert letters(slot, "other") == ["o"]

    def test_given_a_time_longer_than_the_server_allows_when_a_call_dies_then_its_letter_is_kept(
        self, store: StoreUnderTest
    ) -> None:
        slot = store.slot()
        bury(store, slot, "q", "a", keep_s=10.0 * 365 * 86400)
        assert letters(slot, "q") == ["a"]


class TestRabbitParking(ParkingContract):
    """In a queue beside the queue: what is asked for, or has waited long enough, comes to the tail."""

    def test_given_parked_calls_when_a_name_is_asked_for_then_these_return_to_the_head(self, store: StoreUnderTest) -> None:
        """To the tail, in the order in which their time ends."""
        slot, until = store.slot(), store.now() + 600
        park(slot, ("q", "late", "one", until + 5), ("q", "early", "one", until), ("q", "other", "two", until - 1))
        slot.broker.publish(batch("q", ["waiting"]))
        assert slot.broker.unpark({"three", "one"}, ["q"]) == 2
        assert slot.broker.unpark({"three", "one"}, ["q"]) == 0
        found = slot.reserve("q")
        assert task_ids(found) == ["waiting", "early", "late"]
        assert [(each.deliveries, each.redelivered) for each in found] == [(0, False)] * 3
        assert slot.broker.parked(["q"]) == [Parked("q", "two", 1, until - 1)]

    def test_given_a_limit_when_asked_for_then_those_whose_time_ends_first_go_first(self, store: StoreUnderTest) -> None:
        """Of each queue; the queues in the order given."""
        slot, until = store.slot(), store.now() + 600
        park(slot, ("q1", "third", "x", until + 3), ("q2", "first", "y", until + 1), ("q1", "second", "y", until + 2))
        assert slot.broker.unpark(["x", "y"], ["q1", "q2"], limit=1) == 1
        assert (task_ids(slot.reserve("q1")), task_ids(slot.reserve("q2"))) == (["second"], [])
        assert slot.broker.unpark(["x", "y"], ["q1", "q2"], limit=5) == 2

    def test_given_parked_calls_when_their_time_is_over_then_they_return_to_the_head_unchanged(
        self, store: StoreUnderTest
    ) -> None:
        """The server brings them back by itself, to the tail."""
        slot, now = store.slot(), store.now()
        slot.broker.publish(batch("q", ["waiting"]))
        park(slot, ("q", "a", "new", now + 0.5), ("q", "b", "other", now + 1.0))
        assert slot.broker.promote(["q"], now + 1000) == (0, None)
        found = come(slot, "q", 3)
        assert task_ids(found) == ["waiting", "a", "b"]
        assert [(each.deliveries, each.redelivered) for each in found] == [(0, False)] * 3
        assert same_call(found[1].message, message("a", queue="q"))
        assert slot.broker.parked(["q"]) == []

    def test_given_a_limit_when_promoted_then_delayed_calls_come_first(self, store: StoreUnderTest) -> None:
        """There is nothing for us to promote: each comes when the server's time says so."""
        slot, now = store.slot(), store.now()
        slot.broker.publish([outgoing("q", "delayed", due=now + 2)])
        park(slot, ("q", "a", "new", now + 0.3))
        assert slot.broker.promote(["q"], now + 10, limit=2) == (0, None)
        assert task_ids(come(slot, "q", 2)) == ["a", "delayed"]

    def test_given_priorities_when_unparked_then_each_goes_to_the_head_of_its_own_step(self, store: StoreUnderTest) -> None:
        """To the tail of its own, where the queue has priorities."""
        slot, until = store.slot(), store.now() + 600
        slot.broker.declare([QueueSpec("q", arguments=PRIORITIES)])
        slot.broker.publish(
            [Outgoing(message("low", priority=3), "q", priority=3, due=until, parked="t"), outgoing("q", "here", priority=3)]
        )
        slot.broker.publish([Outgoing(message("high", priority=9), "q", priority=9, due=until, parked="t")])
        slot.broker.unpark(["t"], ["q"])
        assert task_ids(slot.reserve("q")) == ["high", "here", "low"]

    def test_given_names_that_no_key_likes_when_parked_then_they_are_kept_apart(self, store: StoreUnderTest) -> None:
        """Any but those that are no Unicode: AMQP does not carry them, nor does the relay."""
        slot, until = store.slot(), store.now() + 600
        names = ["a:b", "zero\0byte\n", "größe", "'; DROP", "x" * 5000]
        park(slot, *(("q", f"call-{n}", name, until + n) for n, name in enumerate(names)))
        with pytest.raises(EncodeError):
            park(slot, ("q", "broken", "\ud800", until + 99))
        for n, name in enumerate(names):
            assert slot.broker.unpark([name], ["q"]) == 1
            assert task_ids(slot.reserve("q")) == [f"call-{n}"]

    def test_given_parked_calls_when_handed_back_then_they_follow_the_delayed_to_the_tail(self, store: StoreUnderTest) -> None:
        """Delayed ones come back by themselves, in Celery's form: a Celery worker gets them too."""
        slot, now = store.slot(), store.now()
        park(slot, ("q", "b", "new", now + 20), ("q", "a", "other", now + 10))
        slot.broker.publish([outgoing("q", "waiting"), outgoing("q", "delayed", due=now + 2)])
        assert slot.broker.handback(["q"], limit=1) == 1
        assert slot.broker.handback(["q"]) == 1
        assert slot.broker.handback(["q"]) == 0
        assert task_ids(come(slot, "q", 4)) == ["waiting", "a", "b", "delayed"]
        assert slot.broker.parked(["q"]) == []


class TestRabbitHoldings(HoldingsContract):
    def test_given_bytes_that_are_no_message_when_looked_at_then_it_is_said(self, store: StoreUnderTest) -> None:
        """`raw` is more than the body."""
        slot = store.slot()
        slot.broker.publish(batch("q", "a"))
        slot.take("q")
        store.put_raw("q", b"no message")
        slot.reserve("q")
        _, unreadable = slot.broker.held([slot.lease.owner], limit=10)
        assert (unreadable.message, stored.unpack(unreadable.raw)[3]) == (None, b"no message")
        assert unreadable.unreadable

    def test_given_delayed_calls_when_looked_at_then_the_earliest_come_first_with_the_total(
        self, store: StoreUnderTest
    ) -> None:
        """Nobody sees what waits in the server's delay queues."""
        slot, now = store.slot(), store.now()
        slot.broker.publish([outgoing("q", "delayed", due=now + 60), outgoing("q", "ready")])
        assert slot.broker.delayed(["q"], limit=10) == (0, [])
        depth = slot.depth("q")
        assert (depth.ready, depth.delayed) == (1, 0)

    def test_given_a_wide_schedule_when_looked_at_then_no_more_is_read_than_is_asked_for(self, store: StoreUnderTest) -> None:
        """Only what a node holds in its own hands, because it is due within a second, is shown."""
        slot = store.slot()
        slot.broker.publish(batch("q", "ab"))
        due = store.now() + 0.9
        assert slot.turn(delay=[Delay(each.tag, due) for each in slot.reserve("q")]).refused == []
        count, entries = slot.broker.delayed(["q"], limit=1)
        assert (count, len(entries)) == (2, 1)
        assert (entries[0][0], task_ids([entries[0][1]])) == (due, ["a"])


class TestRabbitUnreadable:
    """Any bytes are a body here, and reading it is the protocol's work. What the driver cannot read is a content header."""

    def test_given_a_header_that_cannot_be_read_when_reserved_then_the_delivery_says_why_and_the_next_one_follows(
        self, store: StoreUnderTest
    ) -> None:
        slot = store.slot()
        slot.broker.publish(batch("q", "a"))
        store.put_raw("q", b"junk")
        slot.broker.publish(batch("q", "b"))
        before, bad, after = slot.reserve("q")
        assert task_ids([before, after]) == ["a", "b"]
        assert (bad.message, bad.queue) == (None, "q")
        assert stored.unpack(bad.raw) == ("", "q", rabbitstore.NO_HEADER, b"junk")
        assert "header" in bad.unreadable

    def test_given_an_unreadable_delivery_when_it_is_settled_dead_then_the_letter_holds_the_exact_bytes(
        self, store: StoreUnderTest
    ) -> None:
        slot = store.slot()
        store.put_raw("q", b"junk")
        (delivery,) = slot.reserve("q")
        step = dead(delivery, store.now())
        assert slot.settle(step).refused == []
        (letter,) = slot.broker.dead_letters("q")
        assert (letter.raw, letter.note) == (delivery.raw, step.dead)
        assert slot.reserve("q") == []

    def test_given_an_unreadable_delivery_when_released_begun_and_unbegun_then_it_goes_the_way_of_any_other(
        self, store: StoreUnderTest
    ) -> None:
        slot = store.slot()
        store.put_raw("q", b"junk")
        assert slot.release(slot.reserve("q", limit=1)) == 1
        (junk,) = slot.reserve("q", limit=1)
        assert slot.turn(begin=[Begin(junk.tag, early=False)]).begun == [junk.tag]
        assert slot.unbegin([junk]) == 1
        assert [each.raw for each in slot.reserve("q")] == [junk.raw]

    def test_given_an_unreadable_delivery_when_requeued_then_it_is_at_the_tail_and_cannot_be_counted(
        self, store: StoreUnderTest
    ) -> None:
        slot = store.slot()
        store.put_raw("q", b"junk")
        slot.broker.publish(batch("q", "b"))
        (junk,) = slot.reserve("q", limit=1)
        slot.settle(requeue(junk))
        b, again = slot.reserve("q")
        assert task_ids([b]) == ["b"]
        assert (again.raw, again.deliveries) == (junk.raw, 0)

    def test_given_unreadable_and_good_calls_when_settled_in_one_turn_then_all_are_settled(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        store.put_raw("q", b"junk")
        slot.broker.publish(batch("q", "a"))
        junk, a = slot.reserve("q")
        reply = slot.settle(dead(junk, store.now()), settlement(a, outcome=Outcome.EXPIRED))
        assert reply.refused == []
        depth = slot.depth("q")
        assert (depth.ready, depth.reserved, depth.dead) == (0, 0, 1)


class TestRabbitDelays:
    """A delayed call waits on the server, in no node's memory, and comes back by itself."""

    @pytest.mark.parametrize("left_s", [0.3, 1.2, 2.1])
    @pytest.mark.parametrize("kind", ["classic", "quorum"])
    def test_given_a_reserved_call_when_delayed_then_it_comes_back_soon_after_it_is_due(
        self, store: StoreUnderTest, kind: str, left_s: float
    ) -> None:
        """Whole seconds on the server; what is left of them, and what is due within a second, in the node's hands."""
        slot, other = store.slot(), store.slot("other")
        slot.broker.declare([QueueSpec("d", arguments={"x-queue-type": kind})])
        slot.broker.publish([outgoing("d", "a"), outgoing("d", "b")])
        first, _ = slot.reserve("d")
        due = store.now() + left_s
        assert slot.turn(delay=[Delay(first.tag, due)]).refused == []
        (again,) = come(other, "d")
        early_s = due - store.now()
        assert early_s < 1.0  # the server holds it for whole seconds, and never for too long
        if early_s > 0:
            assert other.turn(delay=[Delay(again.tag, due)]).refused == []
            (again,) = come(other, "d")
        assert store.now() - due < 5.0  # a busy machine; by itself it is a few milliseconds
        assert (again.deliveries, again.redelivered) == (0, False)
        assert same_call(again.message, first.message)

    def test_given_a_message_that_expires_when_it_is_delayed_then_it_is_not_lost(self, store: StoreUnderTest) -> None:
        """The server would take its time as that of the delay. Whether the call is too late, its header says."""
        slot = store.slot()
        sent = outgoing("q", "a", due=store.now() + 1.5)
        sent.message.properties["expiration"] = "100"
        slot.broker.publish([sent])
        (delivery,) = come(slot, "q")
        assert store.now() - (sent.due or 0) > -1.0
        assert delivery.message is not None
        assert "expiration" not in delivery.message.properties


class TestRabbitWithoutRecords:
    """The server keeps messages, and nothing about them."""

    def test_when_workflows_are_asked_for_then_there_are_none(self, store: StoreUnderTest) -> None:
        broker = store.broker()
        broker.publish(batch("q", "a"))
        assert broker.workflow("a") is None
        assert broker.workflows() == []

    def test_when_a_call_is_looked_for_then_nobody_says_that_everything_was_looked_at(self, store: StoreUnderTest) -> None:
        broker = store.broker()
        broker.publish(batch("q", "a"))
        assert broker.locate(["a"], ["q"], most=100) == ({}, False)
        assert broker.find("a", ["q"], most=100) == (None, False)


@pytest.fixture
def quorum_store(rabbit_url: str) -> Generator[StoreUnderTest]:
    with rabbitstore.opened(rabbit_url, QuorumStore) as store:
        yield store


class TestRabbitTurnsOfQuorumQueues(RabbitTurns):
    """As those of classic ones, but that two consumers' messages may cross on their way."""

    @pytest.fixture
    def store(self, quorum_store: StoreUnderTest) -> StoreUnderTest:
        return quorum_store


class TestRabbitSettlingOfQuorumQueues(RabbitSettling):
    @pytest.fixture
    def store(self, quorum_store: StoreUnderTest) -> StoreUnderTest:
        return quorum_store
