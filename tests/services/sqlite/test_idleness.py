"""A slot without work costs next to nothing."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

IDLE_S = 11.0

IDLE_SLOT = """
import os, sys, time
from sedano.contracts import OpenOptions
from sedano.drivers import sqlite
broker = sqlite.open_broker(sys.argv[1], OpenOptions())
lease = broker.register("slot", "node")
def one_round():
    assert not broker.turn(lease, reserve=1, queues=["q"]).reserved
    broker.wait(["q"], 5.0)
one_round()
os.write(1, b"BEGIN")
ends_at = time.monotonic() + float(sys.argv[2])
while time.monotonic() < ends_at:
    one_round()
os.write(1, b"END")
broker.close()
"""


@pytest.mark.long
def test_given_no_work_when_a_slot_waits_then_it_makes_less_than_five_system_calls_a_second(tmp_path: Path) -> None:
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    trace = tmp_path / "trace"
    command = [strace, "-f", "-o", str(trace), sys.executable, "-c", IDLE_SLOT, f"sqlite:///{tmp_path}/store.db", str(IDLE_S)]
    done = subprocess.run(command, capture_output=True, timeout=240, check=False)
    if done.returncode:
        pytest.skip(f"strace cannot be used here: {done.stderr.decode()[-200:]}")
    calls = re.split(r'write\(1, "(?:BEGIN|END)"', trace.read_text())[1].splitlines()
    assert len(calls) / IDLE_S < 5
