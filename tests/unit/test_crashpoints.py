from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from sedano.testing.faults import CrashAt, without_crashes
from sedano.testing.ledger import Ledger, judge

PROGRAM = """
import sys
from sedano import crashpoints
for _ in range(3):
    crashpoints.reach("slot.turn.before")
    print("passed", flush=True)
"""


def run(crash: CrashAt) -> subprocess.CompletedProcess[str]:
    environment = {**without_crashes(), **crash.environment()}
    return subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False)


def test_an_armed_point_kills_the_process_at_the_wanted_passing(tmp_path):
    crash = CrashAt("slot.turn.before", tmp_path, hit=2)
    assert not crash.reached()
    done = run(crash)
    assert done.returncode == -signal.SIGKILL
    assert done.stdout.count("passed") == 1
    assert crash.reached()
    assert crash.victim() > 0


def test_one_arming_kills_one_process_only(tmp_path):
    crash = CrashAt("slot.turn.before", tmp_path)
    assert run(crash).returncode == -signal.SIGKILL
    assert run(crash).returncode == 0


def test_another_point_is_passed_unharmed(tmp_path):
    assert run(CrashAt("slot.turn.after", tmp_path)).stdout.count("passed") == 3


def test_the_raise_action_ends_with_a_trace(tmp_path):
    done = run(CrashAt("slot.turn.before", tmp_path, action="raise"))
    assert done.returncode == 1
    assert "CrashPointReached: slot.turn.before" in done.stderr


def test_an_unknown_point_is_refused_by_the_harness_and_by_the_process(tmp_path):
    with pytest.raises(ValueError, match=r"slot\.typo"):
        CrashAt("slot.typo", tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "SEDANO_CRASH_POINT": "slot.typo"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "slot.typo" in done.stderr


def test_the_verdict_tells_lost_stuck_repeated_and_recorded_apart(tmp_path):
    ledger = Ledger(tmp_path / "ledger")
    for task_id in ("fine", "twice", "twice", "running"):
        ledger.start(task_id)
    for task_id in ("fine", "twice", "twice"):
        ledger.end(task_id)
    outcomes = {
        "fine": ("SUCCESS", None),
        "twice": ("SUCCESS", None),
        "running": ("FAILURE", "WorkerLostError"),
        "claimed": ("SUCCESS", None),
        "waiting": ("STARTED", None),
    }
    verdict = judge(ledger, ["fine", "twice", "running", "claimed", "waiting", "unheard"], outcomes)
    assert verdict.repeated == ["twice"]
    assert verdict.recorded_lost == ["running"]
    assert verdict.interrupted == ["running"]
    assert verdict.lost == ["claimed"]
    assert verdict.stuck == ["waiting", "unheard"]
    assert str(verdict).startswith("6 calls: lost 1, stuck 2, repeated 1")
