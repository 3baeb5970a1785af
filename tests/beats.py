"""Beats for tests: a schedule by a clock that a test moves, and `sedano beat` as a process."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sedano.schedules import BaseSchedule
from sedano.testing.clock import FakeClock
from sedano.testing.faults import without_crashes
from sedano.testing.node import Node


class Every(BaseSchedule):
    """Each `seconds`, by `clock`."""

    def __init__(self, seconds: float, clock: FakeClock) -> None:
        super().__init__()
        self.seconds, self.clock = seconds, clock

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.clock.wall(), UTC)

    def is_due(self, last_run_at: datetime) -> tuple[bool, float]:
        left = (last_run_at + timedelta(seconds=self.seconds) - self.now()).total_seconds()
        return (True, self.seconds) if left <= 0 else (False, left)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Every) and other.seconds == self.seconds

    def __hash__(self) -> int:
        return hash(self.seconds)


class BeatNode(Node):
    """`sedano -A APP beat` as `Node` is a worker; `command` is what stands before `-A`."""

    def __init__(
        self,
        app: str,
        *,
        cwd: Path,
        loglevel: str = "INFO",
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        command: Sequence[str] | None = None,
    ) -> None:
        super().__init__(app, cwd=cwd, name="beat", environment=environment)
        self._command = [*(command or [sys.executable, "-m", "sedano"]), "-A", app, "beat", "-l", loglevel, *options]
        self._environment = {**without_crashes(), **(environment or {})}

    def wait_sent(self, entry: str, times: int = 1, timeout_s: float = 60) -> None:
        """Until the log says so many times that the entry is sent."""
        line = rf"Scheduler: Sending due task {entry} \("
        self.wait_for_lines(line, times, timeout_s)


def entry(clock: FakeClock, seconds: float = 10, **fields: Any) -> dict[str, Any]:
    """An entry of `beat_schedule`."""
    return {"task": "t", "schedule": Every(seconds, clock), **fields}
