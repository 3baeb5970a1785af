"""A private server, emptied before each test."""

from __future__ import annotations

import pytest
from tests.servers import RedisServer, redis_server
from tests.services.redis.world import World

__all__ = ["redis_server"]


@pytest.fixture
def server(redis_server: RedisServer) -> RedisServer:
    redis_server.command("FLUSHALL")
    redis_server.command("CONFIG", "SET", "maxmemory", "0")
    redis_server.command("SCRIPT", "FLUSH")
    return redis_server


@pytest.fixture
def world(server: RedisServer):
    with World(server) as world:
        yield world
