"""Nodes on a broker whose deliveries belong to one connection: their slots reach it through the supervisor."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.services.worker import supervised
from tests.services.worker.nodes import PATIENCE_S, NodeWorld

from sedano.exceptions import TaskRevokedError, WorkerLostError
from sedano.testing.node import Node
from sedano.worker.relay.watch import FRESH_S

ROOT = Path(__file__).parents[3]
INSTALL = "\nfrom tests.services.worker import supervised\nsupervised.install()\n"
POOLS = ["prefork", "threads", "asyncio", "solo"]


@pytest.fixture
def sockets() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sedano-") as folder:
        yield Path(folder)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[NodeWorld]:
    supervised.install()
    world = NodeWorld(
        f"supervised:///{tmp_path}/store.db", tmp_path, None, result_backend=f"sqlite:///{tmp_path}/results.db",
        schedule_store=f"sqlite:///{tmp_path}/agreed.db",
    )  # fmt: skip
    world.write_tasks(INSTALL)
    world.app.conf.schedule_store = f"sqlite:///{tmp_path}/agreed.db"
    try:
        yield world
    finally:
        world.close()
        supervised.uninstall()


def start(world: NodeWorld, pool: str = "prefork", **options: Any) -> Node:
    return world.ready(options=["-P", pool], environment=environment(), **options)


def environment(**more: str) -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]), **more}


def owners(world: NodeWorld) -> set[int]:
    """The processes that have taken leases."""
    return {int(pid) for pid in Path(supervised.registered(world.url.partition("://")[2])).read_text().split()}


@pytest.mark.parametrize("pool", POOLS)
def test_given_a_pool_when_calls_come_then_they_run_and_only_the_supervisor_has_used_the_broker(
    world: NodeWorld, pool: str
) -> None:
    node = start(world, pool)
    results = [world.send("add", number, 1) for number in range(200)]
    assert [result.get(timeout=PATIENCE_S) for result in results] == list(range(1, 201))
    assert owners(world) == {node.pid}
    assert node.stop() == 0
    assert world.leases() == []
    assert "Traceback" not in node.log()


def test_given_a_node_when_it_has_stopped_then_the_folder_of_its_sockets_is_gone(world: NodeWorld, sockets: Path) -> None:
    node = world.ready(environment=environment(TMPDIR=str(sockets)))
    assert world.get("add", 1, 1) == 2
    (folder,) = sockets.glob("sedano-relay-*")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert node.stop() == 0
    assert not list(sockets.glob("sedano-relay-*"))


def test_given_a_slot_that_is_killed_when_calls_run_then_the_early_one_is_lost_and_the_late_one_runs_again(
    world: NodeWorld,
) -> None:
    node = start(world)
    early, late = world.send("hold", "gate"), world.send("hold_late", "gate")
    world.until_started(early)
    world.until_started(late)
    for pid in node.slots():
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(WorkerLostError):
        early.get(timeout=PATIENCE_S)
    world.until_started(late, times=2)
    world.open_gate("gate")
    assert late.get(timeout=PATIENCE_S) is True
    assert world.ledger.starts()[early.id] == 1


def test_given_calls_in_hand_when_asked_then_the_answers_of_the_node_name_them(world: NodeWorld) -> None:
    start(world, concurrency=1)
    running = world.send("hold", "gate")
    world.until_started(running)
    inspect = world.app.control.inspect(timeout=5.0)
    assert [call["id"] for call in inspect.active()["w1@test"]] == [running.id]
    later = world.send("add", 1, 1, countdown=1000)
    world.open_gate("gate")
    running.get(timeout=PATIENCE_S)
    world.until(lambda: [call["request"]["id"] for call in inspect.scheduled()["w1@test"]] == [later.id])


def test_given_a_paused_queue_when_the_store_of_pauses_is_another_then_nothing_is_taken_until_it_is_resumed(
    world: NodeWorld,
) -> None:
    node = start(world)
    assert world.get("add", 1, 1) == 2
    world.app.control.pause_queue("celery")
    time.sleep(FRESH_S)  # from then on it holds
    waiting = [world.send("add", number, 1) for number in range(20)]
    (depth,) = world.broker.depth(["celery"])
    assert (depth.ready, depth.reserved, depth.begun) == (20, 0, 0)
    node.wait_for_line("queue celery is paused")
    (depth,) = world.broker.depth(["celery"])
    assert (depth.ready, depth.reserved, depth.begun) == (20, 0, 0)
    began = time.monotonic()
    world.app.control.resume_queue("celery")
    assert [result.get(timeout=PATIENCE_S) for result in waiting] == list(range(1, 21))
    assert time.monotonic() - began < 4.0  # less than the 5 s after which an idle slot looks by itself


def test_given_a_revoke_when_the_store_of_revokes_is_another_then_the_call_never_runs(world: NodeWorld) -> None:
    start(world, concurrency=1)
    running = world.send("hold", "gate")
    world.until_started(running)
    waiting = world.send("add", 1, 1)
    waiting.revoke()
    time.sleep(FRESH_S)  # from then on it holds
    world.open_gate("gate")
    with pytest.raises(TaskRevokedError):
        waiting.get(timeout=PATIENCE_S)


def test_given_a_template_that_is_killed_when_another_is_started_by_exec_then_its_slots_find_the_relay(
    world: NodeWorld,
) -> None:
    node = start(world)
    assert world.get("add", 1, 1) == 2
    before = set(node.slots())
    os.kill(node.template(), signal.SIGKILL)
    world.until(lambda: not before.intersection(node.processes()))
    assert world.get("add", 2, 1) == 3
    assert owners(world) == {node.pid}


def test_given_a_supervisor_that_is_killed_when_slots_wait_then_they_die_with_it(world: NodeWorld) -> None:
    node = start(world)
    slots = node.slots()
    node.kill()
    world.until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in slots))
