"""The suite of `contracts/coordination.py`."""

from __future__ import annotations

import pytest

from sedano.contracts import Revoke
from sedano.testing.contracts.harness import StoreUnderTest, race
from sedano.testing.contracts.messages import batch


class RevokeContract:
    def test_given_a_fresh_store_when_asked_then_nothing_is_revoked(self, store: StoreUnderTest) -> None:
        coordination = store.coordination()
        revision, orders = coordination.revokes()
        assert orders == []
        assert coordination.revision() == revision

    def test_given_orders_when_read_by_another_connection_then_they_are_there_as_given(self, store: StoreUnderTest) -> None:
        orders = [Revoke("a"), Revoke("b", terminate=True, signal="SIGUSR1"), Revoke("ünï code*")]
        revision = store.coordination().revoke(orders, keep_s=3600.0)
        seen_revision, seen = store.coordination().revokes()
        assert seen_revision == revision
        assert sorted(seen, key=lambda order: order.task_id) == sorted(orders, key=lambda order: order.task_id)

    def test_given_each_new_order_when_the_revision_is_read_then_it_has_grown(self, store: StoreUnderTest) -> None:
        coordination, other = store.coordination(), store.coordination()
        revisions = [coordination.revision()]
        for connection, name in ((coordination, "a"), (other, "b"), (coordination, "a")):
            revisions.append(connection.revoke([Revoke(name)], keep_s=3600.0))
            assert other.revision() == coordination.revision() == revisions[-1]
        assert revisions == sorted(set(revisions))

    def test_given_a_call_revoked_twice_when_read_then_the_later_order_stands_alone(self, store: StoreUnderTest) -> None:
        coordination = store.coordination()
        coordination.revoke([Revoke("a")], keep_s=3600.0)
        coordination.revoke([Revoke("a", terminate=True)], keep_s=3600.0)
        assert coordination.revokes()[1] == [Revoke("a", terminate=True)]

    def test_given_an_order_when_its_time_is_over_then_it_is_gone_and_the_revision_never_falls(
        self, store: StoreUnderTest
    ) -> None:
        coordination = store.coordination()
        coordination.revoke([Revoke("long")], keep_s=3600.0)
        revision = coordination.revoke([Revoke("short")], keep_s=1.0)
        store.pass_time(1.2)
        seen, orders = coordination.revokes()
        assert orders == [Revoke("long")]
        assert seen >= revision
        assert coordination.revision() >= revision

    def test_given_an_order_repeated_when_its_first_time_is_over_then_it_still_stands(self, store: StoreUnderTest) -> None:
        coordination = store.coordination()
        coordination.revoke([Revoke("a")], keep_s=1.0)
        coordination.revoke([Revoke("a")], keep_s=3600.0)
        store.pass_time(1.2)
        assert coordination.revokes()[1] == [Revoke("a")]

    def test_given_a_revoke_when_a_slot_takes_its_turn_then_the_reply_shows_the_new_revision(
        self, store: StoreUnderTest
    ) -> None:
        slot, coordination = store.slot(), store.coordination()
        assert slot.turn().revision == coordination.revision()
        revision = coordination.revoke([Revoke("a")], keep_s=3600.0)
        slot.broker.publish(batch("q", "a"))
        assert slot.turn().revision == revision
        assert slot.turn(reserve=1, queues=["q"]).revision == revision

    def test_given_a_thousand_orders_when_read_then_all_are_there(self, store: StoreUnderTest) -> None:
        coordination = store.coordination()
        names = {f"call-{number}" for number in range(1000)}
        coordination.revoke([Revoke(name) for name in names], keep_s=3600.0)
        assert {order.task_id for order in coordination.revokes()[1]} == names

    def test_given_revokes_at_once_when_done_then_no_order_is_missing_and_no_revision_came_twice(
        self, store: StoreUnderTest
    ) -> None:
        def revoke(thread: int) -> list[int]:
            coordination = store.driver.open_coordination(store.url, store.options())
            revisions = [coordination.revoke([Revoke(f"{thread}:{number}")], keep_s=3600.0) for number in range(10)]
            coordination.close()
            return revisions

        revisions = [
            revision for part in race(*(lambda thread=thread: revoke(thread) for thread in range(3))) for revision in part
        ]
        assert len(set(revisions)) == 30
        assert len(store.coordination().revokes()[1]) == 30


class LockContract:
    def test_given_a_free_lock_when_acquired_then_everybody_sees_its_holder_and_term(self, store: StoreUnderTest) -> None:
        one, two = store.coordination(), store.coordination()
        assert two.holder("leader") is None
        term = one.acquire("leader", "one", ttl_s=3600.0)
        assert term is not None
        assert two.holder("leader") == ("one", term)
        assert two.holder("another") is None

    def test_given_a_held_lock_when_another_tries_then_it_gets_none_and_the_holder_stays(self, store: StoreUnderTest) -> None:
        one, two = store.coordination(), store.coordination()
        term = one.acquire("leader", "one", ttl_s=3600.0)
        assert two.acquire("leader", "two", ttl_s=3600.0) is None
        assert one.holder("leader") == ("one", term)

    def test_given_one_owner_when_it_acquires_what_it_has_then_the_lock_is_renewed_in_the_same_term(
        self, store: StoreUnderTest
    ) -> None:
        coordination = store.coordination()
        term = coordination.acquire("leader", "one", ttl_s=1.0)
        assert coordination.acquire("leader", "one", ttl_s=3600.0) == term
        store.pass_time(1.2)
        assert coordination.holder("leader") == ("one", term)
        assert coordination.acquire("leader", "two", ttl_s=1.0) is None

    def test_given_a_lock_when_its_time_is_over_then_another_gets_it_in_a_later_term(self, store: StoreUnderTest) -> None:
        one, two = store.coordination(), store.coordination()
        first = one.acquire("leader", "one", ttl_s=1.0)
        store.pass_time(1.2)
        assert one.holder("leader") is None
        second = two.acquire("leader", "two", ttl_s=3600.0)
        assert first is not None
        assert second is not None
        assert second > first
        assert not one.release_lock("leader", "one")
        assert two.holder("leader") == ("two", second)

    def test_given_a_released_lock_when_acquired_again_even_by_the_same_owner_then_it_is_a_later_term(
        self, store: StoreUnderTest
    ) -> None:
        coordination = store.coordination()
        terms: list[int] = []
        for owner in ("one", "two", "two", "one"):
            term = coordination.acquire("leader", owner, ttl_s=3600.0)
            assert term is not None
            terms.append(term)
            assert coordination.release_lock("leader", owner)
            assert coordination.holder("leader") is None
        assert terms == sorted(set(terms))

    def test_given_a_lock_of_another_when_released_then_it_is_refused(self, store: StoreUnderTest) -> None:
        coordination = store.coordination()
        term = coordination.acquire("leader", "one", ttl_s=3600.0)
        assert not coordination.release_lock("leader", "two")
        assert not coordination.release_lock("unknown", "one")
        assert coordination.holder("leader") == ("one", term)

    @pytest.mark.parametrize("name", ["beat leader", "ünï*", "a:b", "x" * 500])
    def test_given_an_odd_name_when_locked_then_it_is_a_lock_like_any_other(self, store: StoreUnderTest, name: str) -> None:
        coordination = store.coordination()
        term = coordination.acquire(name, name, ttl_s=3600.0)
        assert coordination.acquire(name + "2", "other", ttl_s=3600.0) is not None
        assert coordination.holder(name) == (name, term)

    def test_given_many_who_try_at_once_when_done_then_exactly_one_has_the_lock(self, store: StoreUnderTest) -> None:
        for number in range(5):

            def attempt(thread: int, name: str = f"lock-{number}") -> int | None:
                coordination = store.driver.open_coordination(store.url, store.options())
                term = coordination.acquire(name, f"owner-{thread}", ttl_s=3600.0)
                coordination.close()
                return term

            terms = race(*(lambda thread=thread: attempt(thread) for thread in range(4)))
            (winner,) = [thread for thread, term in enumerate(terms) if term is not None]
            assert store.coordination().holder(f"lock-{number}") == (f"owner-{winner}", terms[winner])

    def test_given_a_connection_opened_anew_when_asked_then_locks_and_revokes_are_still_there(
        self, store: StoreUnderTest
    ) -> None:
        coordination = store.coordination()
        term = coordination.acquire("leader", "one", ttl_s=3600.0)
        coordination.revoke([Revoke("a")], keep_s=3600.0)
        coordination.reconnect()
        assert coordination.holder("leader") == ("one", term)
        assert coordination.revokes()[1] == [Revoke("a")]
        coordination.close()
        coordination.close()


class RateContract:
    def test_given_a_rate_when_calls_come_at_once_then_one_begins_and_the_others_get_times_of_their_own(
        self, store: StoreUnderTest
    ) -> None:
        coordination, other = store.coordination(), store.coordination()
        assert coordination.throttle("slow", 0.1).wait_s == 0.0
        waits = [connection.throttle("slow", 0.1).wait_s for connection in (other, coordination, other)]
        assert waits == pytest.approx([10.0, 20.0, 30.0], abs=1.0)
        assert coordination.throttle("other", 0.1).wait_s == 0.0

    def test_given_a_call_that_has_waited_when_another_was_faster_then_it_is_the_next(self, store: StoreUnderTest) -> None:
        coordination = store.coordination()
        coordination.throttle("slow", 0.1)
        coordination.throttle("slow", 0.1)
        assert coordination.throttle("slow", 0.1, returns=True).wait_s == pytest.approx(10.0, abs=1.0)

    def test_given_its_time_has_come_when_asked_then_the_call_begins(self, store: StoreUnderTest) -> None:
        coordination = store.coordination()
        coordination.throttle("quick", 2.0)
        wait_s = coordination.throttle("quick", 2.0).wait_s
        assert 0.0 < wait_s <= 0.5
        store.pass_time(wait_s + 0.01)
        assert coordination.throttle("quick", 2.0, returns=True).wait_s == 0.0

    def test_given_very_many_calls_when_they_come_too_early_then_the_last_are_left_in_their_queue(
        self, store: StoreUnderTest
    ) -> None:
        coordination = store.coordination()
        answers = [coordination.throttle("slow", 0.2) for _ in range(130)]
        assert [answer.far for answer in answers] == [False] * 101 + [True] * 29
        assert all(answer.wait_s == pytest.approx(5.0, abs=1.0) for answer in answers if answer.far)


class CoordinationContract(RevokeContract, LockContract, RateContract):
    """Everything that `contracts/coordination.py` promises."""
