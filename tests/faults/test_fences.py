"""A node that was only asleep (SIGSTOP past its lease) wakes up and finds that others did its work: its fence is refused.

These are the tests that fail without the fence: a late settle would then be a second outcome.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.arena import LEASE_S, Arena, arena, check
from tests.servers import RedisServer

from sedano import states
from sedano.testing.node import Node


@pytest.fixture(params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.db"
    server: RedisServer = request.getfixturevalue("redis_server")
    server.command("FLUSHALL")
    return server.url


@pytest.fixture(params=["early", "late"])
def run(request: pytest.FixtureRequest, store: str, tmp_path: Path) -> Iterator[Arena]:
    with arena(tmp_path, store, store, request.param) as made:
        yield made


def send_all(node: Node, number: signal.Signals) -> None:
    for pid in node.processes():
        os.kill(pid, number)


def starters(run: Arena, task_id: str, count: int) -> list[int]:
    """The processes that have started this call, waiting for `count` of them."""
    deadline = time.monotonic() + 5 * LEASE_S + 60
    while True:
        found = [entry.pid for entry in run.ledger.entries() if entry.event == "start" and entry.task_id == f"{task_id}:0"]
        if len(found) >= count:
            return found
        if time.monotonic() > deadline:
            pytest.fail(f"started {len(found)} times, not {count}\n{run.logs()}", pytrace=False)
        time.sleep(0.01)  # another process writes the file: it can only be read again


def test_given_a_node_that_sleeps_past_its_lease_in_mid_run_then_its_late_settle_is_refused_and_the_other_nodes_result_stands(
    run: Arena, tmp_path: Path
) -> None:
    gates = tmp_path / "gates"
    gates.mkdir()
    sleeper = run.node("sleeper").wait_ready()
    call = run.send("hold_each", str(gates))
    (first,) = starters(run, call, 1)
    for _ in range(20):
        run.send("work")
    put_to_sleep(sleeper.pid, run.broker)
    send_all(sleeper, signal.SIGSTOP)
    other = run.node("other").wait_ready()
    if run.acks == "late":
        _, second = starters(run, call, 2)
    else:
        lost = run.outcome(call, 60)
        assert (lost.state, lost.error) == (states.FAILURE, "WorkerLostError")
    # The slot wakes alone: with its supervisor awake it might be told that the lease is gone before it asks the store.
    os.kill(first, signal.SIGCONT)
    (gates / str(first)).touch()  # the sleeper's process ends the call first: too late all the same
    sleeper.wait_for_line(rf"SUCCESS of task {call} \(attempt 0\) comes too late and is refused: .*taken over")
    send_all(sleeper, signal.SIGCONT)
    if run.acks == "late":
        assert run.outcome(call, 0.3).state == states.PENDING
        (gates / str(second)).touch()
        assert run.app.AsyncResult(call).get(timeout=60) == second
    else:
        assert run.outcome(call, 1.0) == lost
        assert len(starters(run, call, 1)) == 1, "early ack: never started twice"
    # Both nodes live and work.
    for _ in range(40):
        run.send("work", 0.02)
    verdict = check(run)
    assert verdict.recorded == ([call] if run.acks == "early" else [])
    workers = {entry.pid for entry in run.ledger.entries() if entry.event == "end"}
    assert workers & set(sleeper.slots()), sleeper.log()
    assert workers & set(other.slots()), other.log()


def test_given_a_node_that_falls_asleep_and_wakes_again_and_again_under_load_then_nothing_is_lost_or_doubled(
    run: Arena,
) -> None:
    sleeper = run.node("sleeper", concurrency=2).wait_ready()
    run.node("other", concurrency=1).wait_ready()
    for _ in range(3):
        for number in range(60):
            run.send("work", 0.005 * (number % 4))
        send_all(sleeper, signal.SIGSTOP)
        time.sleep(2 * LEASE_S)  # the fault itself
        send_all(sleeper, signal.SIGCONT)
    check(run)


def put_to_sleep(pid: int, broker: str) -> None:
    """SIGSTOP, not in the middle of a step: who is stopped with the lock of an SQLite file stops everybody else."""
    while True:
        os.kill(pid, signal.SIGSTOP)
        if not broker.startswith("sqlite:///"):
            return
        with contextlib.closing(sqlite3.connect(broker.removeprefix("sqlite:///"), timeout=2, isolation_level=None)) as file:
            try:
                file.execute("BEGIN IMMEDIATE")
                file.execute("ROLLBACK")
                return
            except sqlite3.OperationalError:
                os.kill(pid, signal.SIGCONT)


def test_given_only_the_supervisor_asleep_then_its_slots_begin_nothing_and_the_other_node_does_the_work(run: Arena) -> None:
    sleeper = run.node("sleeper", concurrency=2).wait_ready()
    run.node("other", concurrency=1).wait_ready()
    for number in range(60):
        run.send("work", 0.005 * (number % 4))
    put_to_sleep(sleeper.pid, run.broker)
    for number in range(60):
        run.send("work", 0.005 * (number % 4))
    assert check(run).recorded == [], "slots stop beginning before their lease ends"
    os.kill(sleeper.pid, signal.SIGCONT)
    for _ in range(20):
        run.send("work")
    check(run)
