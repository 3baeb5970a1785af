"""The fault matrix itself: it sees what is wrong, does not call good what did not hit, and its page is what was counted.

Some cells run here, with few calls; `./dev faults` runs them all, `./dev test --all` with few calls.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.faults.arena import Outcome, arena
from tests.faults.matrix import table
from tests.faults.matrix.__main__ import Cell, run
from tests.faults.matrix.catalog import FAULTS
from tests.faults.matrix.load import Load, Progress
from tests.faults.matrix.shapes import ACKS, POOLS, QUICK, STORES, Fault
from tests.faults.matrix.stage import RABBIT, Place, Stage
from tests.faults.matrix.verdict import Found, verdict_of
from tests.servers import is_left_out

RABBITMQ = pytest.mark.rabbitmq
FAULT = FAULTS["kill-slot"]
MakeStage = Callable[[str], Stage]


@pytest.fixture
def stage_with(tmp_path: Path) -> Iterator[MakeStage]:
    """A stage on which nothing runs: the test writes the ledger."""
    made = []

    def make(acks: str) -> Stage:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        context = arena(folder, "memory://", "memory://", acks)
        run = context.__enter__()
        made.append(context)
        progress = Progress(run.ledger.path)
        stage = Stage(run, Place("", ""), POOLS["solo"], QUICK, Load(run, progress, 1), progress, random.Random(1))
        stage.hit()
        return stage

    yield make
    for context in made:
        context.__exit__(None, None, None)


def ran(stage: Stage, task_id: str, starts: int = 1, ends: int = 1) -> None:
    stage.run.calls[task_id] = "work"
    stage.load.due[task_id] = time.monotonic()
    for _ in range(starts):
        stage.run.ledger.start(f"{task_id}:0")
    for _ in range(ends):
        stage.run.ledger.end(f"{task_id}:0")


def found(stage: Stage, fault: Fault = FAULT, **outcomes: Outcome) -> Found:
    return verdict_of(stage, fault, outcomes)[0]


SUCCESS, PENDING, LOST = Outcome("SUCCESS"), Outcome("PENDING"), Outcome("FAILURE", "WorkerLostError")


def test_given_calls_that_are_wrong_then_each_is_counted_for_what_it_is(stage_with: MakeStage) -> None:
    early = stage_with("early")
    ran(early, "good")
    ran(early, "never", 0, 0)
    ran(early, "twice", 2, 2)
    ran(early, "waits", 0, 0)
    ran(early, "killed", 1, 0)
    seen = found(early, good=SUCCESS, never=SUCCESS, twice=SUCCESS, waits=PENDING, killed=LOST)
    assert (seen.lost, seen.repeated, seen.stuck, seen.recorded, seen.interrupted) == (1, 1, 1, 1, 1)
    assert table.state_of(seen, FAULT) == table.WRONG
    assert table.short(seen, FAULT).startswith("1 ×, **1 lost**, **1 repeated**, **1 stuck**")


def test_given_late_ack_then_a_repeated_call_is_no_mistake_and_one_that_was_given_up_is(stage_with: MakeStage) -> None:
    late = stage_with("late")
    ran(late, "twice", 2, 1)
    assert table.state_of(found(late, twice=SUCCESS), FAULT) == table.GOOD
    ran(late, "given_up", 1, 0)
    assert found(late, twice=SUCCESS, given_up=LOST).lost == 1


def test_given_a_call_that_starts_after_two_leases_then_it_is_late(stage_with: MakeStage) -> None:
    stage = stage_with("early")
    ran(stage, "a")
    assert found(stage, a=SUCCESS).late == 0
    stage.load.due["a"] -= 100
    assert found(stage, a=SUCCESS).late == 0, "it is not late while the fault goes on"
    stage.last_fault -= 100
    assert found(stage, a=SUCCESS).late == 1


def test_given_a_store_that_loses_its_data_then_only_faults_that_may_say_so_are_forgiven(stage_with: MakeStage) -> None:
    stage = stage_with("early")
    ran(stage, "a", 0, 0)
    stage.forgiven.add("a")
    assert found(stage, FAULTS["deleted"], a=PENDING).forgiven == 1
    assert found(stage, FAULT, a=PENDING).stuck == 1


def test_a_cell_in_which_nothing_was_hit_is_not_good() -> None:
    assert table.state_of(Found(100, 0), FAULT) == table.NOT_HIT
    assert table.state_of(Found(100, 5), FAULT) == table.NOT_HIT, "no kill landed in a begun window"
    assert table.state_of(Found(100, 5, interrupted=1), FAULT) == table.GOOD
    assert table.state_of(Found(100, 5), FAULTS["delay"]) == table.GOOD
    assert table.short(Found(100, 0), FAULT) == "*not hit*"


def test_the_page_says_what_was_counted_and_that_nothing_was_wrong() -> None:
    known = table.read()
    wanted = {
        f"{store} {pool} {acks} {fault.name}"
        for fault in FAULTS.values()
        for store in STORES
        for pool in POOLS
        for acks in ACKS
        if fault.fits(store, POOLS[pool], acks)
    }
    assert known.keys() <= wanted, "figures of a cell that is no more"
    when = json.loads(table.FIGURES.read_text())["when"]
    assert table.page(known, when) in table.PAGE.read_text()
    assert not [key for key, seen in known.items() if table.state_of(seen, FAULTS[key.split()[-1]]) != table.GOOD]


@pytest.mark.parametrize(
    "cell",
    [
        Cell("sqlite", "processes", "early", "kill-slot"),
        Cell("sqlite", "solo", "late", "kill-node"),
        Cell("redis", "processes", "early", "sleep"),
        Cell("redis", "solo", "early", "client-kill"),
        pytest.param(Cell("rabbitmq", "processes", "early", "kill-node"), marks=RABBITMQ),
        pytest.param(Cell("rabbitmq", "processes", "late", "kill-slot"), marks=RABBITMQ),
        pytest.param(Cell("rabbitmq", "processes", "early", "close-connection"), marks=RABBITMQ),
    ],
    ids=lambda cell: cell.key.replace(" ", "-"),
)
def test_given_a_cell_of_the_matrix_then_it_is_good(
    cell: Cell, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_left_out(cell.store):
        pytest.skip(f"SEDANO_WITHOUT names {cell.store}")
    if cell.store == "rabbitmq":
        monkeypatch.setenv(RABBIT, str(request.getfixturevalue("rabbit_server").folder))
    seen = run(cell, quick=True, seed=1, keep=tmp_path)
    logs = "\n".join(path.read_text() for path in tmp_path.iterdir())
    assert table.state_of(seen, FAULTS[cell.fault]) == table.GOOD, f"{seen}\n{logs}"


def test_given_a_cell_that_does_not_exist_then_the_command_says_so() -> None:
    words = ["--store", "sqlite", "--fault", "redis-restart"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.matrix", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=table.PAGE.parents[1],
    )
    assert done.returncode == 2
    assert "no such cell" in done.stdout
