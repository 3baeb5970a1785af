"""The wall clock of a node jumps by an hour, both ways: leases and begun calls do not notice; due times follow the clock."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.arena import Arena, arena, check
from tests.faults.producer import Producer
from tests.servers import RedisServer

from sedano import states
from sedano.testing.wallclock import WallClock

HOUR_S = 3600.0
PATIENCE_S = 60.0
WIDE_LEASE_S = 6.0  # nobody misses it because the machine is busy


@pytest.fixture(params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.db"
    server: RedisServer = request.getfixturevalue("redis_server")
    server.command("FLUSHALL")
    return server.url


@pytest.fixture
def clock(tmp_path: Path) -> WallClock:
    return WallClock(tmp_path / "clock")


@pytest.fixture(params=["early", "late"])
def run(request: pytest.FixtureRequest, store: str, tmp_path: Path) -> Iterator[Arena]:
    with arena(tmp_path, store, store, request.param, lease_s=WIDE_LEASE_S) as made:
        yield made


def wait_for_start(run: Arena, task_id: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not run.ledger.starts()[f"{task_id}:0"]:
        if time.monotonic() > deadline:
            pytest.fail(f"{task_id} does not start\n{run.logs()}", pytrace=False)
        time.sleep(0.01)  # another process writes the file: it can only be read again


def test_given_a_clock_that_jumps_an_hour_both_ways_under_load_then_no_lease_is_lost_and_no_begun_call_is_hurt(
    run: Arena, clock: WallClock, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    jumper = run.node("jumper", concurrency=2, **clock.environment()).wait_ready(PATIENCE_S)
    held = run.send("hold", str(gate))
    wait_for_start(run, held)
    run.node("other", concurrency=1).wait_ready(PATIENCE_S)
    with Producer(run, pause_s=0.01) as producer:
        producer.wait_for(20)
        for offset_s in (HOUR_S, -HOUR_S):
            clock.set(offset_s)
            moment = time.monotonic()
            while time.monotonic() < moment + WIDE_LEASE_S / 2:  # whoever trusted a wall clock would take over now
                producer.wait_for(5)
    gate.touch()
    verdict = check(run)
    assert verdict.recorded == [], "no process died"
    assert verdict.interrupted == []
    assert max(run.ledger.starts().values()) == 1
    assert "taken over" not in run.logs()
    assert "another node has taken it" not in jumper.log()


@pytest.mark.parametrize("acks", ["early"])
def test_given_one_node_of_two_with_a_clock_that_is_an_hour_behind_then_delayed_calls_start_by_the_clock_of_the_other(
    store: str, clock: WallClock, acks: str, tmp_path: Path
) -> None:
    clock.set(-HOUR_S)
    with arena(tmp_path, store, store, acks) as run:
        run.node("behind", concurrency=1, **clock.environment()).wait_ready(PATIENCE_S)
        run.node("right", concurrency=1).wait_ready(PATIENCE_S)
        for _ in range(10):
            run.send("work", countdown=1.0)
        check(run)


def test_given_clocks_that_are_all_off_then_due_times_are_kept_by_the_clock_of_the_nodes(
    store: str, clock: WallClock, tmp_path: Path
) -> None:
    """The semantics, not a wish: an ETA is a time of day, and the node's clock says what time it is."""
    with arena(tmp_path, store, store, "early") as run:
        clock.set(-HOUR_S)
        run.node("only", concurrency=1, **clock.environment()).wait_ready(PATIENCE_S)
        soon = run.send("work", countdown=0.5)
        in_half_an_hour = run.send("work", countdown=1800.0)
        old = run.send("work", expires=0.2)
        done = run.send("work")
        assert run.outcome(done, PATIENCE_S).state == states.SUCCESS
        assert run.outcome(old, PATIENCE_S).state == states.SUCCESS, "by that clock it has not expired"
        assert run.outcome(soon, 1.0).state == states.PENDING
        clock.set(0)
        assert run.outcome(soon, PATIENCE_S).state == states.SUCCESS, "the right time again"
        assert run.outcome(in_half_an_hour, 0.5).state == states.PENDING
        clock.set(HOUR_S)
        assert run.outcome(in_half_an_hour, PATIENCE_S).state == states.SUCCESS
        expired = run.send("work", expires=600.0)
        assert run.outcome(expired, PATIENCE_S).state == states.REVOKED
