"""The bus of the rabbitmq driver keeps every promise."""

from __future__ import annotations

from collections.abc import Generator
from importlib import import_module
from typing import Any

import pytest

from sedano.clock import SYSTEM_CLOCK
from sedano.testing.contracts import BusContract, StoreUnderTest

pytestmark = pytest.mark.rabbitmq


@pytest.fixture
def store(rabbit_url: str) -> Generator[StoreUnderTest]:
    def put_raw(queue: str, raw: bytes) -> None:
        raise NotImplementedError("the bus has no queues of calls")

    driver: Any = import_module("sedano.drivers.rabbitmq")
    with StoreUnderTest(driver, rabbit_url, put_raw=put_raw, clock=SYSTEM_CLOCK) as store:
        yield store


class TestRabbitBus(BusContract):
    pass
