"""kill -9 at the points of a turn and of a call, in the pools that run many calls in one process: nothing lost, nothing stuck,
no early-ack attempt twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.faults.arena import arena, check, feed_until
from tests.servers import RedisServer

from sedano.testing.faults import CrashAt

POINTS = ("slot.registered", "slot.turn.before", "slot.turn.after", "slot.call.before", "slot.call.after", "slot.finished")


@pytest.mark.parametrize("acks", ["early", "late"])
@pytest.mark.parametrize(
    ("pool", "store"),
    [
        ("threads", "redis"),
        ("threads", "sqlite"),
        ("asyncio", "redis"),
        pytest.param("gevent", "redis", marks=pytest.mark.long),
        pytest.param("eventlet", "redis", marks=pytest.mark.long),
    ],
)
def test_given_kill_9_of_a_process_with_many_calls_then_every_call_has_its_outcome(
    redis_server: RedisServer, tmp_path: Path, pool: str, store: str, acks: str
) -> None:
    redis_server.command("FLUSHALL")
    url = redis_server.url if store == "redis" else f"sqlite:///{tmp_path}/store.db"
    points = POINTS if store == "redis" else POINTS[2:5]
    with arena(tmp_path, url, url, acks, deliveries=len(points) + 2) as run:
        crashes = [CrashAt(point, tmp_path, hit=1 if point == "slot.registered" else 4) for point in points]
        for number, crash in enumerate(crashes):
            run.node(f"victim{number}", crash, concurrency=8, options=["-P", pool])
        run.node("survivor", concurrency=8, options=["-P", pool])
        feed_until(run, crashes)
        verdict = check(run)
        if acks == "early":
            assert verdict.recorded, run.logs()  # proof that the kills met calls that ran
