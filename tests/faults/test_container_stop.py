"""Stopped as a container is: TERM, a grace period, then KILL for every process. Under load, with work in hand."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from tests.faults.arena import Arena, arena, check
from tests.servers import RedisServer

from sedano import states
from sedano.exceptions import WorkerLostError

PATIENCE_S = 60.0
WIDE_LEASE_S = 4.0  # nobody misses it because the machine is busy
GRACE_S = 30.0 if os.environ.get("SEDANO_LONG") else 4.5  # longer than a lease: who drains must keep its lease alive
ACKS = pytest.mark.parametrize("acks", ["early", "late"])


@pytest.fixture(params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.db"
    server: RedisServer = request.getfixturevalue("redis_server")
    server.command("FLUSHALL")
    return server.url


def starters(run: Arena, task_id: str, count: int) -> list[int]:
    """The processes that have started this call, waiting for `count` of them."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        found = [entry.pid for entry in run.ledger.entries() if entry.event == "start" and entry.task_id == f"{task_id}:0"]
        if len(found) >= count:
            return found
        if time.monotonic() > deadline:
            pytest.fail(f"started {len(found)} times, not {count}\n{run.logs()}", pytrace=False)
        time.sleep(0.01)  # another process writes the file: it can only be read again


@ACKS
def test_given_a_node_that_gets_term_and_later_kill_under_load_then_another_does_what_it_had_not_begun_and_nothing_is_lost(
    store: str, acks: str, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    with arena(tmp_path, store, store, acks, lease_s=WIDE_LEASE_S) as run:
        victim = run.node("victim", concurrency=2).wait_ready(PATIENCE_S)
        held = run.send("hold", str(gate))
        starters(run, held, 1)
        for number in range(400):
            run.send("work", 0.01 * (number % 2))
        # The victim is in the midst of it, with calls reserved and begun; the other node has an ear open.
        other = run.node("other", concurrency=2).wait_ready(PATIENCE_S)
        for number in range(200):
            run.send("work", 0.01 * (number % 2))
        victim.signal(signal.SIGTERM)
        stopped_at = time.monotonic()
        for task_id in run.calls:
            if task_id != held:
                state = run.outcome(task_id, PATIENCE_S).state
                assert state == states.SUCCESS, f"{task_id} is {state}\n{run.logs()}"
        # It is alive and keeps the lease of the call that it runs, so all others were handed back and not taken over.
        assert victim.process.poll() is None, victim.log()
        assert "taken over" not in other.log()
        time.sleep(max(0.0, stopped_at + GRACE_S - time.monotonic()))  # the container's grace period
        assert victim.process.poll() is None, "it waits for the call that runs"
        assert len(starters(run, held, 1)) == 1
        victim.kill()
        if acks == "late":
            starters(run, held, 2)
        else:
            lost = run.outcome(held, PATIENCE_S)
            assert (lost.state, lost.error) == (states.FAILURE, WorkerLostError.__name__)
        gate.touch()
        assert check(run).recorded == ([held] if acks == "early" else [])


@ACKS
def test_given_nodes_that_are_rolled_one_after_the_other_under_load_then_nothing_is_lost_and_nothing_runs_twice(
    store: str, acks: str, tmp_path: Path
) -> None:
    """A deployment: each stops with TERM and has time to finish, so late ack repeats nothing either."""
    with arena(tmp_path, store, store, acks, lease_s=2 * WIDE_LEASE_S) as run:
        nodes = [run.node(f"old{number}", concurrency=2).wait_ready(PATIENCE_S) for number in range(2)]
        for number, node in enumerate(nodes):
            for count in range(150):
                run.send("work", 0.005 * (count % 4), countdown=0.5 if count % 10 == 0 else None)
            run.node(f"new{number}", concurrency=2)
            assert node.stop(PATIENCE_S) == 0, node.log()
        verdict = check(run)
        assert verdict.recorded == verdict.interrupted == []
        assert max(run.ledger.starts().values()) == 1
        assert "taken over" not in run.logs()
