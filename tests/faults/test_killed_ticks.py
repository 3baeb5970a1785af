"""kill -9 of whoever fires, at every named point: a tick is there whole or not at all, and the next one sends the rest once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.faults.points import FIRING
from tests.servers import RedisServer

from sedano.app.connect import load_driver
from sedano.contracts import Change, OpenOptions, Schedules
from sedano.drivers.redis.schedules import TICKS_AT_ONCE
from sedano.testing.contracts.messages import task_ids
from sedano.testing.faults import CrashAt, without_crashes

DUE = 1_800_000_000.1
ENTRIES = 30

FIRE = """
import sys
from sedano.app.connect import load_driver
from sedano.contracts import OpenOptions, Run, Tick
from sedano.drivers.redis.schedules import TICKS_AT_ONCE
from sedano.testing.contracts.messages import outgoing
url, due, who = sys.argv[1], float(sys.argv[2]), sys.argv[3]
schedules = load_driver(url).open_schedules(url, OpenOptions(), "proj")
ticks = [
    Tick(
        entry.name, entry.revision, due, due + 60, b"stepped",
        (Run(entry.name, due, due, who + entry.name),), (outgoing("q", who + entry.name),),
    )
    for entry in schedules.entries()
]
schedules.fire(ticks, None)
"""


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.redis)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.db"
    server: RedisServer = request.getfixturevalue("redis_server")
    server.command("FLUSHALL")
    return server.url


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    redis_server.command("FLUSHALL")
    return redis_server.url


def fire(url: str, who: str, crash: CrashAt | None = None) -> int:
    """In a process of its own; how it ended."""
    environment = {**without_crashes(), **(crash.environment() if crash is not None else {})}
    return subprocess.run([sys.executable, "-c", FIRE, url, repr(DUE), who], env=environment, check=False).returncode


def sent(url: str) -> list[str]:
    """The calls that stand in the queue "q"."""
    broker = load_driver(url).open_broker(url, OpenOptions())
    lease = broker.register(f"reader-{os.getpid()}", "celery@test")
    found = task_ids(broker.turn(lease, reserve=1000, queues=["q"]).reserved)
    broker.retire(lease)
    broker.close()
    return sorted(found)


def stepped(schedules: Schedules) -> list[str]:
    """The entries that have left their moment."""
    return [entry.name for entry in schedules.entries() if entry.due != DUE]


@pytest.mark.parametrize("point", FIRING)
def test_given_kill_9_of_whoever_fires_then_each_tick_is_whole_or_not_there_and_the_next_sends_the_rest(
    url: str, tmp_path: Path, point: str
) -> None:
    if point == "schedules.fire.stepped" and not url.startswith("sqlite"):
        pytest.skip("one step of the server has no inside at which to be killed")
    schedules: Schedules = load_driver(url).open_schedules(url, OpenOptions(), "proj")
    names = [f"e{number:02}" for number in range(ENTRIES)]
    schedules.put([Change(name, b"", DUE) for name in names])
    crash = CrashAt(point, tmp_path)
    assert fire(url, "first ", crash) == -signal.SIGKILL
    assert crash.reached()
    done = stepped(schedules)
    assert done == (names if point == "schedules.fire.after" else [])
    assert sent(url) == ["first " + name for name in done]
    assert sorted(run.name for run in schedules.runs()) == done
    assert fire(url, "second ") == 0
    assert [task_id.partition(" ")[2] for task_id in sorted(sent(url), key=lambda each: each.partition(" ")[2])] == names
    assert sorted(run.name for run in schedules.runs()) == stepped(schedules) == names
    schedules.close()


@pytest.mark.redis
def test_given_kill_9_between_two_scripts_then_the_ticks_of_the_first_are_there_and_the_next_sends_the_rest(
    redis_url: str, tmp_path: Path
) -> None:
    schedules: Schedules = load_driver(redis_url).open_schedules(redis_url, OpenOptions(), "proj")
    names = [f"e{number:03}" for number in range(TICKS_AT_ONCE + 3)]
    schedules.put([Change(name, b"", DUE) for name in names])
    assert fire(redis_url, "first ", CrashAt("schedules.fire.before", tmp_path, hit=2)) == -signal.SIGKILL
    assert stepped(schedules) == names[:TICKS_AT_ONCE]
    assert fire(redis_url, "second ") == 0
    first, second = ["first " + name for name in names[:TICKS_AT_ONCE]], ["second " + name for name in names[TICKS_AT_ONCE:]]
    assert sent(redis_url) == first + second
    assert sorted(run.task_id or "" for run in schedules.runs(limit=1000)) == first + second
    schedules.close()
