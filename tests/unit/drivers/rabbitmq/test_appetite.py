"""How many messages a node asks for: what its slots take within moments."""

from __future__ import annotations

import pytest

from sedano.drivers.rabbitmq.appetite import HIGHEST, LONG_S, MOST, PATIENCE_S, WIDE, Appetite, limit_for

SHORT_S = LONG_S / 5


def slots(*, away_s: float, wanted: int = 8, count: int = 2, times: int = 5) -> tuple[Appetite, float]:
    """Slots that were away `times` times for `away_s` each and have just gone to work again; and when that was."""
    appetite, now = Appetite(), 100.0
    for _ in range(times):
        for slot in range(count):
            appetite.came(f"slot-{slot}", wanted, now)
            appetite.went(f"slot-{slot}", now)
        now += away_s
    for slot in range(count):
        appetite.came(f"slot-{slot}", wanted, now)
        appetite.went(f"slot-{slot}", now)
    return appetite, now


def test_given_slots_that_wait_when_asked_then_each_counts_with_what_it_wants() -> None:
    appetite = Appetite()
    appetite.came("a", 3, 100.0)
    appetite.came("b", 4, 100.0)
    assert appetite.total(500.0) == 7
    appetite.satisfied("b")
    assert appetite.total(500.0) == 3
    appetite.gone("a")
    assert appetite.total(500.0) == 0


def test_given_a_slot_of_which_nobody_knows_how_long_it_works_when_it_works_then_it_counts_for_nothing() -> None:
    appetite = Appetite()
    appetite.came("a", 3, 100.0)
    appetite.went("a", 100.0)
    assert appetite.total(100.0) == 0


def test_given_slots_that_come_back_in_moments_when_they_work_then_they_count_as_long_as_a_busy_machine_may_take() -> None:
    appetite, now = slots(away_s=SHORT_S)
    assert appetite.total(now + SHORT_S) == 16
    assert appetite.total(now + PATIENCE_S * 0.9) == 16
    assert appetite.total(now + PATIENCE_S * 1.1) == 0


def test_given_slots_that_are_away_for_long_as_a_rule_when_they_work_then_they_count_for_nothing_at_once() -> None:
    appetite, now = slots(away_s=LONG_S * 2)
    assert appetite.total(now) == 0


@pytest.mark.parametrize(
    ("wanted", "away_s", "total"),
    [
        (WIDE, LONG_S / 2.1, 2 * WIDE),
        (WIDE, LONG_S * 0.9, WIDE),
        (WIDE, LONG_S / 100, 2 * WIDE),
        (WIDE - 1, LONG_S / 3.5, WIDE - 1),
    ],
)
def test_given_a_slot_that_takes_all_that_a_turn_can_have_when_it_works_then_turns_of_some_moments_count(
    wanted: int, away_s: float, total: int
) -> None:
    appetite, now = slots(away_s=away_s, wanted=wanted, count=1)
    assert appetite.total(now) == total


def test_given_many_slots_when_asked_then_there_is_a_most() -> None:
    appetite, now = slots(away_s=SHORT_S, wanted=1000, count=5)
    assert appetite.total(now) == MOST


@pytest.mark.parametrize(
    ("current", "held", "wanted", "limit"),
    [
        (0, 0, 0, 0),
        (64, 30, 0, 0),  # nobody takes anything: no consumer
        (0, 0, 1, 1),
        (0, 1, 2, 3),  # not rounded: it may be the user's own
        (0, 0, 5, 8),
        (0, 3, 6, 16),
        (16, 3, 6, 16),
        (16, 0, 5, 16),  # lowered late
        (32, 0, 5, 8),
        (4, 0, 2, 2),  # small ones are kept to
        (0, 0, 1 << 20, HIGHEST),
    ],
)
def test_given_what_is_held_and_wanted_when_a_limit_is_chosen_then(current: int, held: int, wanted: int, limit: int) -> None:
    assert limit_for(current, held, wanted) == limit
