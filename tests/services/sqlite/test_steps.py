"""What the shared suites do not ask: odd text, undone steps, pages, several queues at once."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.services.sqlite.stores import store_in

from sedano.contracts import Begin, ChordPart, Revoke
from sedano.drivers.sqlite import results as results_module
from sedano.exceptions import LeaseLost, OperationalError, StoreFull
from sedano.testing.contracts import StoreUnderTest
from sedano.testing.contracts.messages import batch, chord_part, dead, outgoing, result, routed, settlement, task_ids

LONE = "lone \ud800 surrogate"


@pytest.fixture
def store(tmp_path: Path) -> Generator[StoreUnderTest]:
    with store_in(tmp_path) as store:
        yield store


def query(store: StoreUnderTest, sql: str) -> list[tuple[object, ...]]:
    db = sqlite3.connect(store.url.removeprefix("sqlite:///").partition("?")[0])
    try:
        return db.execute(sql).fetchall()
    finally:
        db.close()


class TestOddText:
    """A message can hold text that is no Unicode; it must not keep a slot from settling it."""

    def test_given_an_id_that_is_no_unicode_when_settled_with_a_result_then_the_result_can_be_read_and_is_heard_of(
        self, store: StoreUnderTest
    ) -> None:
        slot, results = store.slot(), store.results()
        stream = store.closing(results.subscribe())
        stream.watch([LONE])
        slot.broker.publish(batch("q", "a"))
        (delivery,) = slot.take("q")
        part = ChordPart(LONE, LONE, 0, b"part", 60.0)
        step = settlement(delivery, task_id=LONE, result=result(LONE, b"A"), chord_part=part)
        assert slot.settle(step).refused == []
        assert results.fetch([LONE, "other"]) == [b"A", None]
        assert [payload for _, payload in stream.wait(2.0)] == [b"A"]
        assert len(results.chord_parts(LONE)) == 1
        assert results.forget([LONE]) == 1

    def test_given_a_note_that_is_no_unicode_when_settled_then_the_letter_is_kept(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        slot.broker.publish(batch("q", "a"))
        (a,) = slot.take("q")
        step = dead(a, store.now())
        assert step.dead is not None
        odd = replace(step.dead, detail=LONE, task_id=LONE, task=LONE)
        assert slot.settle(replace(step, dead=odd)).refused == []
        (letter,) = slot.broker.dead_letters("q")
        assert "surrogate" in letter.note.task_id

    def test_given_an_order_for_an_id_that_is_no_unicode_when_revoked_then_it_is_kept(self, store: StoreUnderTest) -> None:
        coordination = store.coordination()
        coordination.revoke([Revoke(LONE)], keep_s=60.0)
        assert len(coordination.revokes()[1]) == 1


class TestUndone:
    def test_given_a_step_that_was_undone_when_its_new_queue_is_used_again_then_it_is_a_good_one(
        self, store: StoreUnderTest
    ) -> None:
        slot = store.slot()
        with pytest.raises(OperationalError):
            slot.broker.publish([outgoing("new", "a"), routed("nowhere", "direct", "key", "b")])
        assert slot.broker.queues() == []
        slot.broker.publish(batch("other", "x"))
        slot.broker.publish(batch("new", "c"))
        assert task_ids(slot.reserve("new")) == ["c"]
        assert task_ids(slot.reserve("other")) == ["x"]

    def test_given_a_note_without_its_fate_when_settled_then_the_whole_turn_is_refused(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        slot.broker.publish(batch("q", "ab"))
        a, b = slot.take("q")
        wrong = settlement(b, dead=dead(b, store.now()).dead)
        with pytest.raises(ValueError, match="dead note"):
            slot.settle(settlement(a), wrong)
        assert slot.depth("q").begun == 2
        assert slot.settle(settlement(a), settlement(b)).refused == []

    def test_given_a_lost_lease_when_a_sleeper_only_looks_then_it_is_told(self, store: StoreUnderTest) -> None:
        slot, reaper = store.slot(), store.slot("reaper")
        assert slot.reserve("q") == []
        slot.broker.wait(["q"], 0.0)
        reaper.take_over(slot)
        with pytest.raises(LeaseLost):
            slot.reserve("q")

    def test_given_a_sleeper_that_only_looks_when_something_was_revoked_then_it_sees_the_revision(
        self, store: StoreUnderTest
    ) -> None:
        slot = store.slot()
        slot.reserve("q")
        slot.broker.wait(["q"], 0.0)
        revision = store.coordination().revoke([Revoke("a")], keep_s=60.0)
        assert slot.turn(reserve=1, queues=["q"]).revision == revision

    def test_given_a_store_that_is_full_when_a_slot_waits_then_it_waits_without_being_entered(self, tmp_path: Path) -> None:
        with store_in(tmp_path, query="?max_bytes=1048576") as store:
            slot = store.slot()
            with pytest.raises(StoreFull):
                slot.broker.publish(batch("q", [str(n) for n in range(100)], body=b"x" * 20_000))
            body_bytes = 4000
            while body_bytes:
                try:
                    slot.broker.publish([outgoing("filler", "x", body=b"x" * body_bytes)])
                except StoreFull:
                    body_bytes //= 2
            slot.broker.wait(["q"], 0.05)
            slot.broker.purge("filler")
            slot.broker.publish(batch("q", "a"))
            slot.broker.wait(["q"], 30.0)
            assert task_ids(slot.reserve("q")) == ["a"]


class TestPages:
    def test_given_many_records_whose_time_is_over_when_expired_then_they_go_page_by_page(
        self, store: StoreUnderTest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(results_module, "_EXPIRED_AT_ONCE", 10)
        slot, results = store.slot(), store.results()
        results.store([result(f"short-{n}", ttl_s=1.0) for n in range(35)] + [result("long", ttl_s=60.0)])
        results.store([], [chord_part(f"group-{n}", 0, ttl_s=1.0) for n in range(15)])
        slot.broker.publish(batch("q", [str(n) for n in range(25)]))
        slot.settle(*(dead(each, store.now(), keep_s=1.0) for each in slot.take("q")))
        store.pass_time(2.0)
        assert results.expire(store.now()) == 35
        counts = ", ".join(f"(SELECT count(*) FROM {table})" for table in ("results", "chords", "chord_parts", "dead"))
        assert query(store, f"SELECT {counts}, (SELECT sum(dead_bytes) FROM queues)") == [(1, 0, 0, 0, 0)]

    def test_given_records_for_many_pages_when_expired_then_one_call_takes_some_of_them_and_the_last_takes_none(
        self, store: StoreUnderTest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(results_module, "_EXPIRED_AT_ONCE", 1)
        results = store.results()
        count = results_module._MOST_PAGES + 5
        results.store([result(f"short-{n}", ttl_s=1.0) for n in range(count)])
        store.pass_time(2.0)
        assert [results.expire(store.now()) for _ in range(3)] == [results_module._MOST_PAGES, 5, 0]

    def test_given_more_ready_messages_than_one_page_when_purged_then_all_that_were_there_go(
        self, store: StoreUnderTest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sedano.drivers.sqlite.broker._PURGED_AT_ONCE", 10)
        slot = store.slot()
        slot.broker.publish(batch("q", [str(n) for n in range(95)]))
        assert slot.broker.purge("q") == 95
        assert query(store, "SELECT count(*) FROM bodies") == [(0,)]


class TestManyQueues:
    def test_given_several_queues_and_steps_when_reserved_in_pages_then_the_order_is_that_of_one_large_page(
        self, store: StoreUnderTest
    ) -> None:
        slot = store.slot()
        for number in range(60):
            slot.broker.publish([outgoing(f"q{number % 3}", str(number), priority=(number * 7) % 10)])
        names = ("q2", "q0", "q1")
        whole = slot.reserve(*names)
        slot.release(whole)
        pages: list[str] = []
        while page := slot.turn(reserve=7, queues=names).reserved:
            pages += task_ids(page)
        assert pages == task_ids(whole)
        assert len(pages) == 60

    def test_given_everything_settled_when_the_tables_are_looked_at_then_nothing_is_left(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        slot.broker.publish(batch("q", "abc", due=store.now()) + batch("q", "def"))
        slot.broker.promote(["q"], store.now())
        held = slot.reserve("q")
        slot.turn(begin=[Begin(each.tag, early=True) for each in held[:3]])
        slot.settle(*map(settlement, held))
        slot.broker.retire(slot.lease)
        for table in ("messages", "bodies", "pendings", "owners"):
            assert query(store, f"SELECT count(*) FROM {table}") == [(0,)]
