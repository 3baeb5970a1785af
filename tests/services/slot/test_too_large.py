"""Results that are larger than the store takes: the call is a failure that says so, at once, and the slot goes on."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.servers import RedisServer, is_left_out
from tests.services.slot.world import World

from sedano.drivers.sqlite import connection
from sedano.drivers.sqlite.location import Location
from sedano.drivers.sqlite.opening import open_database
from sedano.exceptions import MessageTooLarge

MIB = 1 << 20
EARLY_S = 10.0


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """One that takes no value over 1 MiB."""
    if is_left_out("redis"):
        pytest.skip("SEDANO_WITHOUT names redis")
    with RedisServer("--proto-max-bulk-len", "1mb") as made:
        yield made


@pytest.fixture(params=["redis", "redis-apart", "sqlite", "sqlite-apart"])
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    two_stores = request.param.endswith("apart")
    if request.param.startswith("redis"):
        server = request.getfixturevalue("server")
        server.command("FLUSHALL")
        world = World(server=f"redis+socket://{server.socket}", two_stores=two_stores)
    else:

        def open_small(location: Location) -> sqlite3.Connection:
            handle = open_database(location)
            handle.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MIB)
            return handle

        monkeypatch.setattr(connection, "open_database", open_small)
        world = World(folder=tmp_path, two_stores=two_stores)
    yield world
    world.close()


@pytest.mark.parametrize("acks_late", [False, True])
def test_given_a_result_larger_than_the_store_takes_then_the_call_fails_early_and_its_neighbours_do_not(
    world: World, acks_late: bool, caplog: pytest.LogCaptureFixture
) -> None:
    @world.task(name="give", acks_late=acks_late)
    def give(size: int) -> str:
        return "x" * size

    slot = world.start()
    began = time.monotonic()
    before, large, after = world.call("give", 5), world.call("give", 3 * MIB), world.call("give", MIB // 2)
    world.wait_for((before, "SUCCESS"), (large, "FAILURE"), (after, "SUCCESS"))
    assert time.monotonic() - began < EARLY_S

    error: Any = world.record(large)["result"]
    assert "MessageTooLarge" in str(error)
    assert "takes no value of" in str(error)
    assert "it becomes a FAILURE" in caplog.text
    assert slot.stop() == 0
    assert world.broker.leases() == []


def test_given_a_call_larger_than_the_store_takes_when_sent_then_the_sender_is_told_and_may_go_on(world: World) -> None:
    with pytest.raises(MessageTooLarge, match="takes no value of"):
        world.call("give", "x" * 3 * MIB)
    world.call("give", 1)
    assert world.depth().ready == 1
