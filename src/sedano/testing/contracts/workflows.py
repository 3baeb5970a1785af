"""Records of workflows: stored with the messages that begin them, bounded; and where the calls of one are."""

from __future__ import annotations

import msgspec

from sedano.contracts import Outcome, Outgoing, Place, Where, WorkflowNote
from sedano.exceptions import OperationalError
from sedano.protocol.peek import task_id_of
from sedano.testing.contracts.harness import StoreUnderTest, race
from sedano.testing.contracts.messages import batch, dead, message, outgoing, settlement, task_ids

MUCH = 1 << 20


def note(store: StoreUnderTest, id_: str, record: bytes = b"record", *, ttl_s: float = 600.0, most: int = MUCH) -> WorkflowNote:
    return WorkflowNote(id_, record, store.now() + ttl_s, most)


def with_note(task_id: str, kept: WorkflowNote, **options: object) -> Outgoing:
    return msgspec.structs.replace(outgoing("q", task_id), workflow=kept, **options)


class WorkflowRecordContract:
    def test_given_a_message_with_a_record_when_published_then_both_are_there(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        slot.broker.publish([outgoing("q", "a"), with_note("b", note(store, "w", b"\x00\xffbytes")), outgoing("q", "c")])
        assert slot.broker.workflow("w") == b"\x00\xffbytes"
        assert slot.broker.workflow("other") is None
        assert task_ids(slot.reserve("q")) == ["a", "b", "c"]

    def test_given_a_message_that_leads_nowhere_when_published_then_its_record_is_not_kept(self, store: StoreUnderTest) -> None:
        broker = store.broker()
        lost = msgspec.structs.replace(with_note("a", note(store, "w")), exchange="unbound", routing_key="nobody")
        try:
            broker.publish([lost])
        except OperationalError:
            assert broker.workflow("w") is None
        else:
            raise AssertionError("a message without a binding was accepted")

    def test_given_several_when_listed_then_the_one_that_ends_last_comes_first_by_pages(self, store: StoreUnderTest) -> None:
        broker = store.broker()
        for number in range(5):
            broker.publish([with_note(f"c{number}", note(store, f"w{number}", b"%d" % number, ttl_s=600 + number))])
        assert broker.workflows(limit=2) == [("w4", b"4"), ("w3", b"3")]
        assert broker.workflows(limit=2, skip=2) == [("w2", b"2"), ("w1", b"1")]
        assert broker.workflows(limit=2, skip=4) == [("w0", b"0")]
        assert broker.workflows(skip=5) == []

    def test_given_the_same_id_again_when_published_then_the_newer_record_counts_once(self, store: StoreUnderTest) -> None:
        broker = store.broker()
        broker.publish([with_note("a", note(store, "w", b"old"))])
        broker.publish([with_note("a", note(store, "w", b"newer", most=5))])
        assert broker.workflows() == [("w", b"newer")]
        broker.publish([with_note("b", note(store, "x", b"12345", ttl_s=900, most=10))])
        assert {id_ for id_, _ in broker.workflows()} == {"w", "x"}

    def test_given_more_bytes_than_allowed_when_published_then_those_that_end_first_go(self, store: StoreUnderTest) -> None:
        broker = store.broker()
        for number in range(4):
            broker.publish([with_note(f"c{number}", note(store, f"w{number}", b"x" * 10, ttl_s=600 + number, most=25))])
        assert [id_ for id_, _ in broker.workflows()] == ["w3", "w2"]

    def test_given_a_record_larger_than_allowed_when_published_then_it_alone_stays(self, store: StoreUnderTest) -> None:
        broker = store.broker()
        broker.publish([with_note("a", note(store, "small", most=25))])
        broker.publish([with_note("b", note(store, "large", b"x" * 100, most=25))])
        assert broker.workflows() == [("large", b"x" * 100)]

    def test_given_a_time_to_live_when_it_is_over_then_the_record_is_gone(self, store: StoreUnderTest) -> None:
        broker = store.broker()
        broker.publish([with_note("a", note(store, "short", ttl_s=0.2)), with_note("b", note(store, "long"))])
        store.pass_time(0.3)
        assert broker.workflow("short") is None
        assert [id_ for id_, _ in broker.workflows()] == ["long"]
        broker.publish([with_note("c", note(store, "next", most=12))])
        assert {id_ for id_, _ in broker.workflows()} == {"long", "next"}

    def test_given_an_id_that_no_key_likes_when_kept_then_it_is_found(self, store: StoreUnderTest) -> None:
        broker = store.broker()
        name = "a: b\n*[ü"
        broker.publish([with_note("a", note(store, name))])
        assert broker.workflow(name) == b"record"
        assert broker.workflows() == [(name, b"record")]

    def test_given_senders_at_once_when_published_then_every_record_is_kept(self, store: StoreUnderTest) -> None:
        def send(name: str) -> None:
            broker = store.broker()
            for number in range(5):
                broker.publish([with_note(f"{name}{number}", note(store, f"{name}{number}"))])

        race(lambda: send("a"), lambda: send("b"))
        assert len(store.broker().workflows()) == 10


class LocatingContract:
    def test_given_calls_in_every_place_when_located_then_each_is_found_there(self, store: StoreUnderTest) -> None:
        slot, now = store.slot(), store.now()
        slot.broker.publish(batch("q", ["late", "early", "held", "ends"]))
        late, early, held, ends = slot.reserve("q")
        slot.begin([late])
        slot.begin([early], early=True)
        parked = Outgoing(message("parked"), "q", due=now + 50, parked="new")
        slot.settle(dead(ends, now))
        slot.broker.publish([outgoing("q", "waits"), outgoing("other", "elsewhere", priority=6)])
        slot.broker.publish([outgoing("q", "delayed", due=now + 40), parked])
        wanted = ["late", "early", "held", "ends", "waits", "elsewhere", "delayed", "parked", "unknown"]
        places, is_whole = slot.broker.locate(wanted, ["q", "other", "no such queue"], most=100)
        assert is_whole
        assert places == {
            "late": Place(Where.BEGUN, "q", "celery@test"),
            "early": Place(Where.BEGUN, "q", "celery@test"),
            "held": Place(Where.RESERVED, "q", "celery@test"),
            "ends": Place(Where.DEAD, "q", detail="failure: ValueError: nothing to add"),
            "waits": Place(Where.READY, "q"),
            "elsewhere": Place(Where.READY, "other"),
            "delayed": Place(Where.DELAYED, "q", due=now + 40),
            "parked": Place(Where.PARKED, "q", due=now + 50),
        }
        assert slot.broker.locate(["waits"], ["other"], most=100) == ({}, True)
        slot.release([held])
        assert slot.broker.locate(["held"], ["q"], most=100)[0] == {"held": Place(Where.READY, "q")}

    def test_given_a_call_in_any_place_when_found_then_its_message_comes_with_it(self, store: StoreUnderTest) -> None:
        slot, now = store.slot(), store.now()
        slot.broker.publish(batch("q", ["held", "ends"]))
        held, ends = slot.reserve("q")
        slot.settle(dead(ends, now))
        slot.broker.publish([outgoing("q", f"w{number}", priority=3) for number in range(5)])
        slot.broker.publish([outgoing("q", "urgent"), outgoing("r", "w3", priority=3), outgoing("q", "later", due=now + 40)])
        queues = ["q"]

        def found(task_id: str) -> tuple[Where, int | None]:
            one, is_whole = slot.broker.find(task_id, queues, most=100)
            assert one is not None
            assert is_whole
            assert task_id_of(one.raw) == task_id
            return one.place.where, one.ahead

        assert [found(f"w{number}") for number in range(5)] == [(Where.READY, number + 1) for number in range(5)]
        assert found("urgent") == (Where.READY, 0)
        assert (found("held"), found("later"), found("ends")) == (
            (Where.RESERVED, None), (Where.DELAYED, None), (Where.DEAD, None),
        )  # fmt: skip
        assert slot.broker.find("nobody", queues, most=100) == (None, True)
        assert slot.broker.find("w4", queues, most=2)[1] is False
        assert slot.release([held]) == 1
        assert found("held") == (Where.READY, 0)

    def test_given_more_messages_than_are_looked_at_when_located_then_it_is_said(self, store: StoreUnderTest) -> None:
        broker = store.broker()
        broker.publish(batch("q", [f"c{number}" for number in range(30)]))
        places, is_whole = broker.locate([f"c{number}" for number in range(30)], ["q"], most=10)
        assert not is_whole
        assert len(places) == 10
        places, is_whole = broker.locate(["c29"], ["q"], most=30)
        assert (set(places), is_whole) == ({"c29"}, True)

    def test_given_bytes_that_are_no_message_when_located_then_they_are_passed_over(self, store: StoreUnderTest) -> None:
        broker = store.broker()
        broker.publish(batch("q", "a"))  # which makes the store
        store.put_raw("q", b"\xffno message")
        broker.publish([outgoing("q", "after")])
        assert broker.locate(["after", ""], ["q"], most=10)[0] == {"after": Place(Where.READY, "q")}

    def test_given_a_call_that_is_settled_when_located_then_it_is_nowhere(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        slot.broker.publish([outgoing("q", "a")])
        (taken,) = slot.take("q")
        slot.settle(settlement(taken, outcome=Outcome.SUCCESS))
        assert slot.broker.locate(["a"], ["q"], most=10) == ({}, True)
