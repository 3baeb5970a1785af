"""The redis driver keeps every promise."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from tests.contracts.stores import redis_store
from tests.servers import RedisServer

from sedano.testing.contracts import (
    BrokerContract,
    BusContract,
    CoordinationContract,
    ResultsContract,
    SchedulesContract,
    StoreUnderTest,
)

pytestmark = pytest.mark.redis


@pytest.fixture
def store(redis_server: RedisServer) -> Generator[StoreUnderTest]:
    with redis_store(redis_server) as store:
        yield store


class TestRedisBroker(BrokerContract):
    pass


class TestRedisResults(ResultsContract):
    pass


class TestRedisCoordination(CoordinationContract):
    pass


class TestRedisBus(BusContract):
    pass


class TestRedisSchedules(SchedulesContract):
    pass
