"""A broker keeps every promise through a relay, also one that knows neither revokes nor pauses."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest
from tests.contracts import relayed

from sedano.contracts import OpenOptions, Revoke
from sedano.exceptions import EncodeError
from sedano.testing.clock import FakeClock
from sedano.testing.contracts import BrokerContract, StoreUnderTest
from sedano.testing.contracts.parking import park
from sedano.testing.contracts.pauses import PauseContract, PauseScheduleContract, PauseWakingContract


@pytest.fixture
def folder() -> Generator[Path]:
    """A short one: the name of a socket has little room."""
    with tempfile.TemporaryDirectory(prefix="sedano-") as name:
        yield Path(name)


class TestRelayedBroker(BrokerContract):
    @pytest.fixture
    def store(self, folder: Path) -> Generator[StoreUnderTest]:
        clock = FakeClock()
        with (
            relayed.relays(folder, OpenOptions(clock=clock)) as url,
            StoreUnderTest(relayed, url, put_raw=lambda queue, raw: relayed.put_raw(url, queue, raw), clock=clock) as store,
        ):
            yield store

    def test_given_names_that_no_key_likes_when_parked_then_they_are_kept_apart(self, store: StoreUnderTest) -> None:
        """Any but those that are no Unicode: the brokers that need a relay do not know such names either."""
        slot, until = store.slot(), store.now() + 600
        names = ["a:b", "zero\0byte\n", "größe", "'; DROP", "x" * 5000]
        park(slot, *(("q", f"call-{n}", name, until + n) for n, name in enumerate(names)))
        with pytest.raises(EncodeError):
            park(slot, ("q", "broken", "\ud800", until + 99))
        assert [(each.task, each.count) for each in slot.broker.parked(["q"])] == [(name, 1) for name in sorted(names)]


class TestRelayedBrokerWithoutCoordination(PauseContract, PauseScheduleContract, PauseWakingContract):
    @pytest.fixture
    def store(self, folder: Path) -> Generator[StoreUnderTest]:
        clock = FakeClock()
        with (
            relayed.relays(folder, OpenOptions(clock=clock), apart=True) as url,
            StoreUnderTest(relayed, url, put_raw=lambda queue, raw: relayed.put_raw(url, queue, raw), clock=clock) as store,
        ):
            yield store

    def test_given_a_revoke_when_a_slot_takes_its_turn_then_the_turn_shows_the_revision(self, store: StoreUnderTest) -> None:
        slot, coordination = store.slot(), store.coordination()
        before = slot.turn(reserve=1, queues=["q"]).revision
        revision = coordination.revoke([Revoke("some-call")], keep_s=100)
        assert slot.turn(reserve=1, queues=["q"]).revision == revision != before
