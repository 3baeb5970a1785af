"""Waiting for a broker that went away."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Iterator
from typing import Any

import pytest

from sedano.exceptions import BrokerUnavailable
from sedano.rules.lease import renew_every
from sedano.worker.link import StoreLink
from sedano.worker.reconnect import LONGEST_S, Reconnection, backoff


@pytest.fixture
def awake() -> Iterator[int]:
    """A file that is always readable: no wait in these tests lasts."""
    read, write = os.pipe()
    os.close(write)
    yield read
    os.close(read)


class Broker:
    def __init__(self, failures: int) -> None:
        self.failures = failures

    def reconnect(self) -> None:
        if self.failures:
            self.failures -= 1
            raise BrokerUnavailable("Connection refused")


def test_given_a_broker_that_comes_back_when_reconnecting_then_the_log_says_what_celery_says(
    awake: int, caplog: pytest.LogCaptureFixture
) -> None:
    broker = Broker(failures=2)
    reconnection = Reconnection(broker.reconnect, "redis://h:6379/0", most=100, wake_fd=awake)

    with caplog.at_level(logging.WARNING):
        back = reconnection.run(BrokerUnavailable("gone"), lambda: False)

    assert back
    assert [record.getMessage() for record in caplog.records] == [
        "consumer: Connection to broker lost. Trying to re-establish the connection... (BrokerUnavailable('gone'))",
        "consumer: Cannot connect to redis://h:6379/0: Connection refused.\nTrying again in 2.00 seconds... (1/100)\n",
        "consumer: Cannot connect to redis://h:6379/0: Connection refused.\nTrying again in 4.00 seconds... (2/100)\n",
    ]


def test_given_no_connection_yet_then_none_is_called_lost(awake: int, caplog: pytest.LogCaptureFixture) -> None:
    reconnection = Reconnection(Broker(0).reconnect, "redis://h", most=None, wake_fd=awake)

    with caplog.at_level(logging.WARNING):
        assert reconnection.run(BrokerUnavailable("refused"), lambda: False, lost=False)

    assert [record.getMessage() for record in caplog.records] == [
        "consumer: Cannot connect to redis://h: refused.\nTrying again in 2.00 seconds... (1)\n"
    ]


def test_given_a_slot_that_is_to_stop_when_the_broker_stays_away_then_it_gives_up(awake: int) -> None:
    asked = itertools.count()
    reconnection = Reconnection(Broker(99).reconnect, "redis://h", most=100, wake_fd=awake, loud=False)

    assert not reconnection.run(BrokerUnavailable("gone"), lambda: next(asked) == 3)


def test_given_a_slot_whose_supervisor_speaks_then_it_says_only_what_lasts(
    awake: int, caplog: pytest.LogCaptureFixture
) -> None:
    reconnection = Reconnection(Broker(failures=3).reconnect, "redis://h", most=None, wake_fd=awake, patience=3)

    with caplog.at_level(logging.WARNING):
        assert reconnection.run(BrokerUnavailable("gone"), lambda: False)

    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR"]
    assert caplog.records[1].getMessage().endswith("(3)\n")


def test_waits_stay_below_the_lease() -> None:
    assert list(itertools.islice(backoff(0.8), 3)) == [0.8, 0.8, 0.8]


@pytest.mark.parametrize("lease_s", [2.0, 20.0, 3600.0])
def test_whoever_waits_for_the_broker_tries_again_within_ten_seconds(lease_s: float) -> None:
    """The keeper, and the slots, which it wakes when it is back: one wait, and a connection that is given up in time."""
    finisher: Any = None
    broken = StoreLink(_refuse, lambda: None, lambda pending, _: pending, finisher, url="redis://h", loud=True)
    waits = [broken.broke(BrokerUnavailable("refused"), longest_s=renew_every(lease_s)) for _ in range(10)]
    assert max(*waits, *itertools.islice(backoff(), 10)) < 10


def _refuse() -> Any:
    raise BrokerUnavailable("refused")


def test_waits_double_up_to_a_bound_below_ten_seconds() -> None:
    assert list(itertools.islice(backoff(), 5)) == [2.0, 4.0, 8.0, 8.0, 8.0]
    assert LONGEST_S < 10
