from __future__ import annotations

from dataclasses import dataclass

import pytest

from sedano.rules.lease import LeaseWatch, look_every, may_begin, renew_every

LEASE_S = 20.0


@dataclass
class Record:
    owner: str
    fence: int
    beats: int


def watch_until(watch: LeaseWatch, record: Record, start: float, end: float) -> list[Record]:
    now, expired = start, []
    while now <= end:
        expired = watch.observe([record], now, LEASE_S)
        now += look_every(LEASE_S)
    return expired


def test_given_beats_that_stand_still_when_a_whole_lease_has_passed_then_the_owner_is_expired():
    watch = LeaseWatch()
    record = Record("a", 1, 7)
    assert watch_until(watch, record, 100.0, 119.9) == []
    assert watch.observe([record], 120.0, LEASE_S) == [record]


def test_given_a_renewal_when_the_lease_time_has_passed_since_the_first_look_then_the_owner_lives():
    watch = LeaseWatch()
    watch_until(watch, Record("a", 1, 7), 100.0, 115.0)
    assert watch_until(watch, Record("a", 1, 8), 120.0, 135.0) == []


def test_given_the_same_owner_name_with_a_new_fence_then_its_time_starts_anew():
    watch = LeaseWatch()
    watch_until(watch, Record("a", 1, 7), 100.0, 119.0)
    assert watch.observe([Record("a", 2, 7)], 121.0, LEASE_S) == []


def test_given_a_reaper_that_was_suspended_when_it_looks_again_then_it_takes_nobody_over_at_once():
    watch = LeaseWatch()
    record = Record("a", 1, 7)
    watch.observe([record], 100.0, LEASE_S)
    assert watch.observe([record], 5000.0, LEASE_S) == []
    assert watch_until(watch, record, 5000.0, 5020.0) == [record]


def test_given_an_owner_that_disappears_and_returns_then_it_is_watched_from_the_return_on():
    watch = LeaseWatch()
    a, b = Record("a", 1, 7), Record("b", 2, 0)
    watch.observe([a, b], 100.0, LEASE_S)
    watch.observe([b], 105.0, LEASE_S)
    watch.observe([a, b], 110.0, LEASE_S)
    watch.observe([a, b], 115.0, LEASE_S)
    assert watch.observe([a, b], 121.0, LEASE_S) == [b]


@pytest.mark.parametrize(("age", "allowed"), [(0.0, True), (13.3, True), (13.4, False), (25.0, False)])
def test_beginning_stops_at_two_thirds_of_the_lease(age: float, allowed: bool):
    assert may_begin(1000.0, 1000.0 + age, LEASE_S) is allowed


def test_a_holder_has_several_renewals_before_it_must_stop_beginning():
    assert renew_every(LEASE_S) * 4 <= LEASE_S * 2 / 3
