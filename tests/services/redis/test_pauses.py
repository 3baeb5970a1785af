"""Pauses on Redis: kept as the messages are, and heard of without tracking too."""

from __future__ import annotations

import time

import pytest
from tests.servers import RedisServer
from tests.services.redis.world import World

from sedano.contracts import Pause
from sedano.testing.contracts.harness import LONG_WAIT_S, Slot
from sedano.testing.contracts.messages import batch, task_ids

pytestmark = pytest.mark.redis
PAUSE = Pause("q", 1.0, "why", "me")


def test_given_a_pause_when_the_server_is_killed_and_started_again_then_it_holds_as_its_messages_do() -> None:
    with RedisServer("--appendonly", "yes", "--appendfsync", "always") as server, World(server) as world:
        broker, coordination = world.broker(), world.coordination()
        slot = Slot(broker, world.lease(broker))
        broker.publish(batch("q", "ab"))
        coordination.pause([PAUSE])
        server.kill()
        server.restart()
        broker.reconnect()
        coordination.reconnect()
        assert coordination.pauses() == [PAUSE]
        assert (slot.reserve("q"), slot.depth("q").ready) == ([], 2)
        coordination.resume(["q"])
        assert task_ids(slot.reserve("q")) == ["a", "b"]


@pytest.mark.parametrize("others", [[], ["idle"]])
def test_given_a_server_that_tracks_nothing_when_a_queue_is_resumed_then_who_waits_finds_it_soon(
    world: World, others: list[str]
) -> None:
    broker, coordination = world.broker(accept_polling=True), world.coordination()
    slot = Slot(broker, world.lease(broker))
    broker.publish(batch("q", "a"))
    coordination.pause([PAUSE])
    assert slot.reserve("q", *others) == []
    began = time.monotonic()
    broker.wait(["q", *others], 0.3)
    assert time.monotonic() - began >= 0.3  # what waits in a paused queue wakes nobody
    coordination.resume(["q"])
    broker.wait(["q", *others], LONG_WAIT_S)
    assert task_ids(slot.reserve("q", *others)) == ["a"]
    assert time.monotonic() - began < LONG_WAIT_S
