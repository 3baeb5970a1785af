"""The slot that holds the claim to a chord's body is killed before and after it sends the body: each chord completes, once."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.faults.arena import PATIENCE_S, Arena
from tests.faults.points import CHORDS
from tests.servers import RedisServer

from sedano import chord
from sedano.testing.faults import CrashAt

ROUNDS = 25 if os.environ.get("SEDANO_LONG") == "1" else 1
HEADER = 5


@pytest.fixture(params=["sqlite", "redis", "redis-sqlite"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Arena]:
    sqlite = f"sqlite:///{tmp_path}/broker.db"
    broker = results = sqlite
    if request.param != "sqlite":
        server: RedisServer = request.getfixturevalue("redis_server")
        server.command("FLUSHALL")
        broker, results = server.url, server.url if request.param == "redis" else sqlite
    arena = Arena(tmp_path, broker, results, "early")
    yield arena
    arena.close()


@pytest.mark.parametrize("point", CHORDS)
@pytest.mark.parametrize("round_", range(ROUNDS))
def test_given_the_holder_of_a_claim_when_it_is_killed_then_every_chord_completes_once(
    run: Arena, tmp_path: Path, point: str, round_: int
) -> None:
    crash = CrashAt(point, tmp_path, hit=1 + round_ % 5)
    run.node("victim", crash)
    run.node("survivor")
    sent: list[Any] = []
    deadline = time.monotonic() + PATIENCE_S
    while not crash.reached() or len(sent) < 10:
        assert time.monotonic() < deadline, run.logs()
        work, gather = run.app.signature("faulty.work"), run.app.signature("faulty.gather")
        sent.append(chord([work.clone() for _ in range(HEADER)], gather, app=run.app).apply_async())
        if len(sent) % 10 == 0:
            sent[-1].get(timeout=PATIENCE_S)
    for result in sent:
        assert result.get(timeout=PATIENCE_S) == HEADER
    starts = run.ledger.starts()
    assert [starts[f"{result.id}:0"] for result in sent] == [1] * len(sent)
