"""The sqlite driver keeps every promise."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest
from tests.contracts.stores import sqlite_store

from sedano.testing.contracts import (
    BrokerContract,
    BusContract,
    CoordinationContract,
    ResultsContract,
    SchedulesContract,
    StoreUnderTest,
)


@pytest.fixture
def store(tmp_path: Path) -> Generator[StoreUnderTest]:
    with sqlite_store(tmp_path) as store:
        yield store


class TestSqliteBroker(BrokerContract):
    pass


class TestSqliteResults(ResultsContract):
    pass


class TestSqliteCoordination(CoordinationContract):
    pass


class TestSqliteBus(BusContract):
    pass


class TestSqliteSchedules(SchedulesContract):
    pass
