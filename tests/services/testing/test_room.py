"""Stores that have no room, made so from outside."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import pytest
from tests.servers import RedisServer, redis_server

from sedano.contracts import OpenOptions
from sedano.drivers import redis
from sedano.exceptions import StoreFull
from sedano.testing.contracts.messages import batch
from sedano.testing.room import full_disk, redis_without_room

__all__ = ["redis_server"]


@pytest.mark.redis
def test_given_a_redis_without_room_then_it_is_full_inside_and_as_before_afterwards(redis_server: RedisServer) -> None:
    redis_server.command("FLUSHALL")
    redis_server.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    try:
        with closing(redis.open_broker(redis_server.url, OpenOptions())) as broker:
            broker.publish(batch("q", "a"))
            with redis_without_room(redis_server.url), pytest.raises(StoreFull, match="maxmemory"):
                broker.publish(batch("q", "b", body=b"x" * 100_000))
            broker.publish(batch("q", "c"))
        assert redis_server.command("CONFIG", "GET", "maxmemory") == [b"maxmemory", b"0"]
        assert redis_server.command("CONFIG", "GET", "maxmemory-policy")[1] == b"allkeys-lru"
    finally:
        redis_server.command("CONFIG", "SET", "maxmemory-policy", "noeviction")


def test_given_a_large_file_system_then_it_is_not_filled(tmp_path: Path) -> None:
    if shutil.disk_usage(tmp_path).total <= 1 << 28:
        pytest.skip("the disk of this machine's temporary files is small")
    with pytest.raises(ValueError, match="only those up to 256 MiB are filled"), full_disk(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []
