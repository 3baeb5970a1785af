"""Where no sockets can be bound, the driver keeps every promise all the same; it only takes half a second longer."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest
from tests.services.sqlite.stores import store_in

from sedano.testing.contracts import BrokerContract, BusContract, CoordinationContract, ResultsContract, StoreUnderTest


@pytest.fixture
def store(tmp_path: Path) -> Generator[StoreUnderTest]:
    with store_in(tmp_path, polls=True) as store:
        yield store


class TestPollingSqliteBroker(BrokerContract):
    pass


class TestPollingSqliteResults(ResultsContract):
    pass


class TestPollingSqliteCoordination(CoordinationContract):
    pass


class TestPollingSqliteBus(BusContract):
    pass
