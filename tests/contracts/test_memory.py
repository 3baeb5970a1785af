"""The memory driver keeps every promise; it is the model for the others."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from tests.contracts.stores import memory_store

from sedano.testing.contracts import (
    BrokerContract,
    BusContract,
    CoordinationContract,
    ResultsContract,
    SchedulesContract,
    StoreUnderTest,
)


@pytest.fixture
def store() -> Generator[StoreUnderTest]:
    with memory_store() as store:
        yield store


class TestMemoryBroker(BrokerContract):
    pass


class TestMemoryResults(ResultsContract):
    pass


class TestMemoryCoordination(CoordinationContract):
    pass


class TestMemoryBus(BusContract):
    pass


class TestMemorySchedules(SchedulesContract):
    pass
