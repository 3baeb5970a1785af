"""Poison: a call that kills its process every time ends in the dead letter, and holds nobody up."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest
from tests.faults.arena import arena
from tests.servers import RedisServer

from sedano import states

PATIENCE_S = 90.0


RABBITMQ = pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)


@pytest.fixture(params=["sqlite", "redis", RABBITMQ])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """(broker, results)."""
    if request.param == "sqlite":
        return (f"sqlite:///{tmp_path}/store.db",) * 2
    if request.param == "rabbitmq":
        return request.getfixturevalue("rabbit_url"), f"sqlite:///{tmp_path}/results.db"
    server: RedisServer = request.getfixturevalue("redis_server")
    server.command("FLUSHALL")
    return server.url, server.url


@pytest.mark.parametrize(("acks", "cap"), [("late", 3), ("early", 1)])
def test_given_calls_that_kill_their_process_then_each_dies_after_the_cap_and_its_neighbours_are_done(
    stores: tuple[str, str], acks: str, cap: int, tmp_path: Path
) -> None:
    with arena(tmp_path, *stores, acks, deliveries=3) as run:
        node = run.node("worker", concurrency=2).wait_ready(PATIENCE_S)
        poison, good = [], []
        for number in range(120):
            good.append(run.send("work", 0.001))
            if number % 40 == 5:
                poison.append(run.send("die"))
        outcomes = run.outcomes(PATIENCE_S)
        assert {outcomes[task_id].state for task_id in good} == {states.SUCCESS}, run.logs()
        assert [(outcomes[task_id].state, outcomes[task_id].error) for task_id in poison] == [
            (states.FAILURE, "WorkerLostError")
        ] * 3, run.logs()
        starts = run.ledger.starts()
        counts = [starts[f"{task_id}:0"] for task_id in poison]
        if stores[0].startswith("amqp"):  # what was given back before it was begun is counted there, too
            assert 1 <= min(counts) <= max(counts) <= cap
        else:
            assert counts == [cap] * 3
        assert {starts[f"{task_id}:0"] for task_id in good} == {1}, "no neighbour was taken along"
        with contextlib.closing(run.app.stores.open_broker()) as broker:
            deadline = time.monotonic() + PATIENCE_S
            while len(letters := broker.dead_letters("celery", limit=50)) < 3 and time.monotonic() < deadline:
                time.sleep(0.01)  # another process writes them
        assert sorted(letter.note.task_id for letter in letters) == sorted(poison)
        assert node.process.poll() is None


def test_given_nothing_but_poison_and_one_slot_then_what_comes_behind_it_is_done(
    stores: tuple[str, str], tmp_path: Path
) -> None:
    with arena(tmp_path, *stores, "late", deliveries=2) as run:
        run.node("worker", concurrency=1).wait_ready(PATIENCE_S)
        poison = [run.send("die") for _ in range(5)]
        behind = [run.send("work") for _ in range(20)]
        outcomes = run.outcomes(PATIENCE_S)
        assert {outcomes[task_id].state for task_id in behind} == {states.SUCCESS}, run.logs()
        assert {outcomes[task_id].error for task_id in poison} == {"WorkerLostError"}, run.logs()
