"""The suite of `contracts/schedules.py`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import msgspec
import pytest

from sedano.contracts import Change, Entry, Fence, Outgoing, Run, Schedules, Tick, WorkflowNote
from sedano.exceptions import CeleryError, LeadershipLost
from sedano.testing.contracts.harness import StoreUnderTest, race
from sedano.testing.contracts.messages import bound, outgoing, routed, task_ids

DUE = 1_800_000_000.1
LOCK = "beat.proj"


def change(name: str, due: float | None = DUE, *, state: bytes | None = None, expects: int | None = None) -> Change:
    return Change(name, f"definition of {name}".encode(), due, state, expects)


def tick(entry: Entry, task_id: str, *, step_s: float = 0.1, messages: tuple[Outgoing, ...] | None = None) -> Tick:
    """The entry's due moment, sent to the queue "q" as `task_id`."""
    assert entry.due is not None
    run = Run(entry.name, entry.due, entry.due + 0.01, task_id)
    sent = (outgoing("q", task_id),) if messages is None else messages
    return Tick(entry.name, entry.revision, entry.due, entry.due + step_s, b"after " + task_id.encode(), (run,), sent)


def made(schedules: Schedules, *changes: Change) -> list[Entry]:
    """The entries, as they stand after they were put."""
    assert None not in schedules.put(changes)
    found = [schedules.entry(each.name) for each in changes]
    return [entry for entry in found if entry is not None]


def sent(store: StoreUnderTest) -> list[str]:
    """The calls that stand in the queue "q"."""
    return sorted(task_ids(store.slot().reserve("q", limit=1000)))


class EntriesContract:
    def test_given_an_empty_store_when_asked_then_nothing_is_there(self, store: StoreUnderTest) -> None:
        schedules = store.schedules()
        assert schedules.entry("a") is None
        assert schedules.entries() == []
        assert schedules.runs() == schedules.runs("a") == []
        look = schedules.look(DUE + 1e9)
        assert (look.entries, look.next_due) == ((), None)

    def test_given_entries_when_read_by_another_connection_then_they_are_as_given(self, store: StoreUnderTest) -> None:
        one, revisions = store.schedules(), []
        revisions = one.put([change("ünï code*"), change("b", None, state=b"\x00\xff")])
        assert store.schedules().entry("ünï code*") == Entry(
            "ünï code*", "definition of ünï code*".encode(), b"", DUE, revisions[0] or 0
        )
        assert store.schedules().entry("b") == Entry("b", b"definition of b", b"\x00\xff", None, revisions[1] or 0)

    def test_given_many_entries_when_listed_in_pages_then_each_comes_once_by_name(self, store: StoreUnderTest) -> None:
        schedules = store.schedules()
        names = [f"e{number:03}" for number in range(25)]
        schedules.put([change(name) for name in reversed(names)])
        pages: list[str] = []
        while page := schedules.entries(after=pages[-1] if pages else "", limit=10):
            pages += [entry.name for entry in page]
        assert pages == names

    def test_given_an_entry_when_put_again_then_its_state_stays_unless_given_and_the_revision_grows(
        self, store: StoreUnderTest
    ) -> None:
        schedules = store.schedules()
        (first,) = made(schedules, change("a", state=b"one"))
        (second,) = made(schedules, Change("a", b"new", DUE + 5))
        assert (second.definition, second.state, second.due) == (b"new", b"one", DUE + 5)
        (third,) = made(schedules, change("a", None, state=b""))
        assert (third.state, third.due) == (b"", None)
        assert first.revision < second.revision < third.revision

    def test_given_an_expectation_that_does_not_hold_when_put_then_nothing_of_it_is_written(
        self, store: StoreUnderTest
    ) -> None:
        schedules = store.schedules()
        (entry,) = made(schedules, change("a", expects=0))
        answers = schedules.put(
            [
                Change("a", b"again", None, expects=0),
                Change("a", b"stale", None, expects=entry.revision + 1000),
                Change("new", b"unknown", None, expects=5),
                change("other"),
            ]
        )
        assert answers[:3] == [None, None, None]
        assert schedules.entry("a") == entry
        assert [each.name for each in schedules.entries()] == ["a", "other"]
        assert schedules.put([Change("a", b"right", DUE, expects=entry.revision)]) != [None]

    def test_given_entries_when_removed_then_they_their_moments_and_their_runs_are_gone(self, store: StoreUnderTest) -> None:
        schedules = store.schedules()
        entry, _ = made(schedules, change("a"), change("b", DUE + 1))
        assert schedules.fire([tick(entry, "t1")], None) == [True]
        assert schedules.remove(["nobody", "a"]) == ["a"]
        assert [each.name for each in schedules.entries()] == ["b"]
        assert schedules.look(DUE + 9).next_due == DUE + 1
        assert schedules.runs("a") == schedules.runs() == []

    def test_given_each_change_when_the_revision_is_read_then_it_has_grown_and_ticks_leave_it(
        self, store: StoreUnderTest
    ) -> None:
        schedules, other = store.schedules(), store.schedules()
        seen = [schedules.revision()]
        (entry,) = made(schedules, change("a"))
        seen.append(other.revision())
        schedules.remove(["a"])
        seen.append(other.revision())
        (entry,) = made(schedules, change("a"))
        seen.append(other.revision())
        assert seen == sorted(set(seen))
        assert schedules.fire([tick(entry, "t1")], None) == [True]
        assert other.revision() == schedules.look(DUE).revision == seen[-1]

    def test_given_two_spaces_when_used_then_they_know_nothing_of_each_other(self, store: StoreUnderTest) -> None:
        ours, theirs = store.schedules("proj"), store.schedules("proj2")
        (mine,) = made(ours, change("a"))
        (other,) = made(theirs, change("a", DUE + 50))
        assert ours.fire([tick(mine, "t1")], None) == [True]
        assert theirs.entry("a") == other
        assert theirs.runs() == []
        theirs.remove(["a"])
        assert ours.entry("a") is not None


class TicksContract:
    def test_given_entries_of_all_moments_when_looked_at_then_those_due_come_in_order(self, store: StoreUnderTest) -> None:
        schedules = store.schedules()
        schedules.put([change("later", DUE + 3), change("second", DUE + 1), change("never", None), change("first", DUE)])
        look = schedules.look(DUE + 1)
        assert [entry.name for entry in look.entries] == ["first", "second"]
        assert look.next_due == DUE
        assert [entry.name for entry in schedules.look(DUE + 9, limit=1).entries] == ["first"]
        assert schedules.look(DUE - 0.1).entries == ()
        assert schedules.look(DUE - 0.1).next_due == DUE

    def test_given_a_due_entry_when_fired_then_message_state_moment_and_run_are_there(self, store: StoreUnderTest) -> None:
        schedules = store.schedules()
        (entry,) = made(schedules, change("a"))
        assert schedules.fire([tick(entry, "t1")], None) == [True]
        assert sent(store) == ["t1"]
        assert schedules.entry("a") == msgspec.structs.replace(entry, state=b"after t1", due=DUE + 0.1)
        assert schedules.runs("a") == schedules.runs() == [Run("a", DUE, DUE + 0.01, "t1")]
        assert schedules.look(DUE + 9).next_due == DUE + 0.1

    def test_given_messages_of_all_kinds_when_fired_then_each_is_where_publishing_would_put_it(
        self, store: StoreUnderTest
    ) -> None:
        schedules, slot = store.schedules(), store.slot()
        slot.broker.declare([bound("bound", "things", "topic", "a.#")])
        (entry,) = made(schedules, change("a"))
        kept = WorkflowNote("w", b"\x00record", store.now() + 600.0, 1 << 20)
        messages = (
            routed("things", "topic", "a.b", "t1"),
            msgspec.structs.replace(outgoing("q", "t2"), due=store.now() + 600.0),
            msgspec.structs.replace(outgoing("q", "t3"), workflow=kept),
        )
        assert schedules.fire([tick(entry, "t1", messages=messages)], None) == [True]
        assert task_ids(slot.reserve("bound")) == ["t1"]
        assert task_ids(slot.reserve("q")) == ["t3"]
        assert slot.depth("q").delayed == 1
        assert slot.broker.workflow("w") == b"\x00record"

    def test_given_a_tick_when_written_again_then_it_is_refused_and_nothing_is_sent(self, store: StoreUnderTest) -> None:
        one, two = store.schedules(), store.schedules()
        (entry,) = made(one, change("a"))
        assert one.fire([tick(entry, "t1")], None) == [True]
        assert two.fire([tick(entry, "t2")], None) == [False]
        assert sent(store) == ["t1"]
        assert [run.task_id for run in one.runs()] == ["t1"]

    def test_given_an_entry_that_was_changed_or_removed_when_fired_then_the_others_go_on(self, store: StoreUnderTest) -> None:
        schedules = store.schedules()
        changed, gone, good = made(schedules, change("changed"), change("gone"), change("good"))
        schedules.put([change("changed")])
        schedules.remove(["gone"])
        ticks = [tick(changed, "t1"), tick(gone, "t2"), tick(good, "t3")]
        assert schedules.fire(ticks, None) == [False, False, True]
        assert sent(store) == ["t3"]
        assert schedules.entry("gone") is None

    def test_given_missed_moments_when_written_then_each_has_its_reason_newest_first(self, store: StoreUnderTest) -> None:
        schedules = store.schedules()
        (entry,) = made(schedules, change("a"))
        runs = (Run("a", DUE, DUE + 9, None, "missed: no beat was there"), Run("a", DUE + 5, DUE + 9, "t1"))
        over = Tick("a", entry.revision, DUE, None, b"", runs, (outgoing("q", "t1"),))
        assert schedules.fire([over], None) == [True]
        assert schedules.runs("a") == list(reversed(runs))
        assert schedules.entry("a") == msgspec.structs.replace(entry, due=None)
        assert schedules.look(DUE + 9).next_due is None

    def test_given_more_runs_than_are_kept_when_listed_then_the_last_of_each_entry_are_there(
        self, store: StoreUnderTest
    ) -> None:
        schedules = store.schedules()
        made(schedules, change("a"), change("b"))
        for number in range(6):
            ticks = [tick(entry, f"{entry.name}{number}") for entry in schedules.entries()]
            assert schedules.fire(ticks, None, keep=4) == [True, True]
        assert [run.task_id for run in schedules.runs("a")] == ["a5", "a4", "a3", "a2"]
        assert len(schedules.runs()) == 8
        assert {run.task_id for run in schedules.runs(limit=2)} == {"a5", "b5"}

    def test_given_a_message_that_leads_nowhere_when_fired_then_nothing_is_written(self, store: StoreUnderTest) -> None:
        schedules = store.schedules()
        good, bad = made(schedules, change("a"), change("b"))
        nowhere = tick(bad, "t2", messages=(routed("no such exchange", "direct", "nowhere", "t2"),))
        with pytest.raises(CeleryError):
            schedules.fire([tick(good, "t1"), nowhere], None)
        assert schedules.entries() == [good, bad]
        assert schedules.runs() == []
        assert sent(store) == []

    def test_given_two_that_fire_at_once_when_each_entry_is_due_then_each_is_sent_once(self, store: StoreUnderTest) -> None:
        entries = made(store.schedules(), *(change(f"e{number:02}") for number in range(30)))

        def fire(who: str) -> Callable[[], list[bool]]:
            def act() -> list[bool]:
                with closing(store.driver.open_schedules(store.url, store.options(), "proj")) as schedules:
                    return [schedules.fire([tick(entry, who + entry.name)], None)[0] for entry in entries]

            return act

        one, two = race(fire("one "), fire("two "))
        assert [a + b for a, b in zip(one, two, strict=True)] == [1] * 30
        assert len(sent(store)) == len(store.schedules().runs(limit=1000)) == 30

    def test_given_a_call_asked_for_by_hand_when_noted_then_it_is_sent_and_the_entry_stands(
        self, store: StoreUnderTest
    ) -> None:
        schedules = store.schedules()
        (entry,) = made(schedules, change("a"))
        run = Run("a", DUE - 50, DUE - 50, "t1", manual=True)
        assert schedules.note(run, [outgoing("q", "t1")])
        assert not schedules.note(Run("nobody", DUE, DUE, "t2", manual=True), [outgoing("q", "t2")])
        assert sent(store) == ["t1"]
        assert schedules.entry("a") == entry
        assert schedules.runs() == [run]


class FenceContract:
    def test_given_the_leader_when_it_fires_then_it_may(self, store: StoreUnderTest) -> None:
        schedules, coordination = store.schedules(), store.coordination()
        (entry,) = made(schedules, change("a"))
        term = coordination.acquire(LOCK, "one", ttl_s=3600.0)
        assert term is not None
        assert schedules.fire([tick(entry, "t1")], Fence(LOCK, "one", term)) == [True]
        assert sent(store) == ["t1"]

    @pytest.mark.parametrize("who", ["another", "an earlier term", "nobody", "released"])
    def test_given_a_fence_that_does_not_hold_when_fired_then_nothing_is_done(self, store: StoreUnderTest, who: str) -> None:
        schedules, coordination = store.schedules(), store.coordination()
        (entry,) = made(schedules, change("a"))
        term = 1
        if who != "nobody":
            term = coordination.acquire(LOCK, "one", ttl_s=3600.0) or 0
        if who == "released":
            assert coordination.release_lock(LOCK, "one")
        fence = Fence(LOCK, "two" if who == "another" else "one", term - (who == "an earlier term"))
        with pytest.raises(LeadershipLost):
            schedules.fire([tick(entry, "t1")], fence)
        assert schedules.entry("a") == entry
        assert schedules.runs() == []
        assert sent(store) == []

    def test_given_a_lock_that_ran_out_when_fired_then_nothing_is_done(self, store: StoreUnderTest) -> None:
        schedules, coordination = store.schedules(), store.coordination()
        (entry,) = made(schedules, change("a"))
        term = coordination.acquire(LOCK, "one", ttl_s=1.0) or 0
        store.pass_time(1.2)
        with pytest.raises(LeadershipLost):
            schedules.fire([tick(entry, "t1")], Fence(LOCK, "one", term))
        assert schedules.entry("a") == entry


class SchedulesContract(EntriesContract, TicksContract, FenceContract):
    """Everything."""
