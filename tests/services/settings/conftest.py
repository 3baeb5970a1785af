from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.servers import RedisServer, redis_server
from tests.services.settings.apps import Apps
from tests.services.settings.doorman import Doorman

from sedano.settings.layers import ENVIRONMENT

__all__ = ["redis_server"]


@pytest.fixture(autouse=True)
def no_settings_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of whoever runs the tests says nothing."""
    for variable in (*ENVIRONMENT.values(), "CELERY_CONFIG_MODULE"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def apps() -> Iterator[Apps]:
    made = Apps()
    yield made
    made.close()


@pytest.fixture
def redis(redis_server: RedisServer) -> RedisServer:
    redis_server.command("FLUSHALL")
    return redis_server


@pytest.fixture
def doorman() -> Iterator[Doorman]:
    with Doorman() as doorman:
        yield doorman
