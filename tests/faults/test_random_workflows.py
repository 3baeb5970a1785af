"""Random nested workflows while processes are killed at every point: with late ack each gives what plain Python gives; with
early ack it gives that, or fails because a process was lost. Nothing hangs.

One run arms several victims, each with one point, and sends workflows until all of them are dead.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from tests.faults.arena import PATIENCE_S, Arena
from tests.faults.points import CHORDS, GROUPS, SEPARATE
from tests.properties.workflows import random_tree, signature_of, value_of
from tests.servers import RedisServer

from sedano.canvas import Signature
from sedano.exceptions import ChordError, WorkerLostError
from sedano.testing.faults import CrashAt

LONG = os.environ.get("SEDANO_LONG") == "1"
AT_LEAST = 12
IN_HAND = 8

# In the default run the points at which a workflow goes on; else all of them, at later passings too.
TELLING = {"flow": ["slot.turn.after", "slot.finished", *CHORDS]}
ALL = {**{name: points for name, points in GROUPS.items() if name != "reaper"}, "chords": CHORDS}
CASES = [
    pytest.param((store, acks), points, round_, id=f"{store}-{acks}-{name}-{round_}")
    for store in ("sqlite", "redis", "redis-sqlite")
    for acks in (("early", "late") if LONG else ("late",))
    for name, points in (({**ALL, "apart": SEPARATE} if store == "redis-sqlite" else ALL) if LONG else TELLING).items()
    for round_ in range(3 if LONG else 1)
]


@pytest.fixture
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Arena]:
    store, acks = request.param
    sqlite = f"sqlite:///{tmp_path}/broker.db"
    broker = results = sqlite
    if store != "sqlite":
        server: RedisServer = request.getfixturevalue("redis_server")
        server.command("FLUSHALL")
        broker, results = server.url, server.url if store == "redis" else sqlite
    arena = Arena(tmp_path, broker, results, acks, deliveries=20)
    yield arena
    arena.close()


@pytest.mark.parametrize(("run", "points", "round_"), CASES, indirect=["run"])
def test_given_random_workflows_when_processes_are_killed_then_their_results_are_those_of_plain_python(
    run: Arena, points: list[str], round_: int, tmp_path: Path
) -> None:
    seed = int.from_bytes(os.urandom(4), "big")
    random = Random(seed)
    crashes = [CrashAt(point, tmp_path, hit=1 + round_ * 4) for point in points]
    for number, crash in enumerate(crashes):
        run.node(f"victim{number}", crash, options=["--max-tasks-per-child", "20"])
    run.node("survivor")
    sent: list[tuple[Any, Any]] = []
    deadline = time.monotonic() + 2 * PATIENCE_S
    while len(sent) < AT_LEAST or not all(crash.reached() for crash in crashes):
        left = [crash.point for crash in crashes if not crash.reached()]
        assert time.monotonic() < deadline, f"seed {seed}: nobody passes {left}\n{run.logs()}"
        tree = random_tree(random)
        signature = signature_of(tree, lambda name: Signature("faulty.named", (name,), app=run.app))
        sent.append((tree, signature.apply_async(("x",))))
        if len(sent) >= IN_HAND:
            given(run, *sent[-IN_HAND], seed)
    for tree, result in sent:
        given(run, tree, result, seed)


def given(run: Arena, tree: Any, result: Any, seed: int) -> None:
    """The result of a workflow is what it must be."""
    allowed = (WorkerLostError, ChordError) if run.acks == "early" else ()
    try:
        value = result.get(timeout=PATIENCE_S)
    except allowed:
        return
    except Exception as exc:
        raise AssertionError(f"seed {seed}: {tree} ended in {exc!r}\n{run.logs()}") from exc
    assert value == value_of(tree, "x"), f"seed {seed}: {tree}"
