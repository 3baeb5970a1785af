from __future__ import annotations

from collections.abc import Iterator

import pytest

from sedano.worker.health import Health
from sedano.worker.table import Phase, SharedTable


@pytest.fixture
def table() -> Iterator[SharedTable]:
    table = SharedTable.create(2)
    for row in table:
        row.phase, row.turned_at = Phase.IDLE, 100.0
    yield table
    table.close()


def test_given_slots_that_are_answered_when_looked_at_then_there_is_nothing_to_tell(table: SharedTable) -> None:
    health = Health("w1@x", 5.0, now=100.0)
    assert health.look(109.0, table, renewed_at=105.0) is None
    assert health.is_good


def test_given_an_idle_slot_without_an_answer_when_ten_seconds_are_over_then_it_is_named_once_and_its_return_too(
    table: SharedTable,
) -> None:
    health = Health("w1@x", 5.0, now=100.0)
    table.row(0).turned_at = 108.0
    told = health.look(111.0, table, renewed_at=110.0)
    assert told == "w1@x is not ready: the broker has not answered slot 1 for 10 seconds"
    assert health.look(112.0, table, renewed_at=110.0) is None
    assert not health.is_good
    table.row(1).turned_at = 113.0
    assert health.look(114.0, table, renewed_at=110.0) == "w1@x is ready again: every connection is answered"
    assert health.is_good


def test_given_a_slot_that_runs_a_call_when_its_connection_is_silent_then_it_is_not_blamed(table: SharedTable) -> None:
    table.row(1).phase = Phase.BUSY
    table.row(0).turned_at = 3600.0
    assert Health("w1@x", 5.0, now=100.0).look(3600.0, table, renewed_at=3600.0) is None


def test_given_a_keeper_that_does_not_renew_when_its_pace_and_ten_seconds_are_over_then_it_is_named(table: SharedTable) -> None:
    health = Health("w1@x", 5.0, now=100.0)
    for row in table:
        row.turned_at = 120.0
    assert health.look(114.0, table, renewed_at=0.0) is None
    told = health.look(116.0, table, renewed_at=0.0)
    assert told == "w1@x is not ready: the broker has not answered the keeper of the leases for 10 seconds"


def test_given_an_idle_slot_that_stays_silent_while_the_keeper_is_answered_when_half_a_minute_is_over_then_it_is_wedged(
    table: SharedTable,
) -> None:
    health = Health("w1@x", 5.0, now=100.0)
    for now in range(105, 136, 5):
        table.row(0).turned_at = now
        health.look(now, table, renewed_at=now - 4.0)
        assert health.wedged(now, table) == ([1] if now > 130 else [])
    table.row(1).phase = Phase.BUSY
    assert health.wedged(200.0, table) == [0], "whoever runs a call is not blamed"


def test_given_a_broker_that_was_away_when_it_is_back_then_a_slot_has_time_to_find_it(table: SharedTable) -> None:
    health = Health("w1@x", 5.0, now=100.0)
    for now in range(105, 205, 5):
        health.look(now, table, renewed_at=100.0)
        assert health.wedged(now, table) == []
    for now in range(205, 230, 5):
        health.look(now, table, renewed_at=now)
        assert health.wedged(now, table) == []
    health.look(235, table, renewed_at=235)
    assert health.wedged(235, table) == [0, 1]


def test_given_a_node_that_slept_when_it_wakes_up_then_its_slots_have_time_to_find_the_broker(table: SharedTable) -> None:
    health = Health("w1@x", 5.0, now=100.0)
    health.look(105.0, table, renewed_at=104.0)
    health.look(1000.0, table, renewed_at=1000.0)
    assert health.wedged(1000.0, table) == []
