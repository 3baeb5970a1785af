"""A wall clock that jumps under processes that read it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from sedano.clock import OFFSET_VARIABLE, SYSTEM_CLOCK, SystemClock
from sedano.testing.wallclock import WallClock

PROGRAM = """
import sys
from sedano import Sedano
from sedano.clock import SYSTEM_CLOCK
app = Sedano("app", broker="memory://", set_as_current=False)
for line in sys.stdin:
    print(SYSTEM_CLOCK.wall(), app.now().timestamp(), SYSTEM_CLOCK.monotonic(), flush=True)
"""


def test_given_a_process_with_a_clock_of_its_own_when_it_jumps_then_wall_time_does_and_monotonic_time_does_not(
    tmp_path: Path,
) -> None:
    clock = WallClock(tmp_path / "clock", -30)
    command, environment = [sys.executable, "-c", PROGRAM], {**os.environ, **clock.environment()}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def ahead() -> list[int]:
            """By how many minutes each of its clocks is ahead of ours."""
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("?\n")
            process.stdin.flush()
            wall, now, monotonic = map(float, process.stdout.readline().split())
            return [round((given - ours) / 60) for given, ours in
                    ((wall, time.time() - 1), (now, time.time() - 1), (monotonic, time.monotonic()))]  # fmt: skip

        clock.set(3600)
        assert ahead() == [60, 60, 0]
        clock.jump(-7200)
        assert clock.offset_s == -3600
        assert ahead() == [-60, -60, 0]
        process.stdin.close()


def test_given_no_such_variable_then_the_clock_is_the_plain_one() -> None:
    assert OFFSET_VARIABLE not in os.environ
    assert type(SYSTEM_CLOCK) is SystemClock
