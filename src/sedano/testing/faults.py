"""Breaking things on purpose: crash points, by name, in processes that a test starts.

    crash = CrashAt("slot.turn.after", marks=tmp_path)
    with Node("tasks", cwd=tmp_path, environment=crash.environment()) as node:
        ...
        assert crash.reached()

The points are listed in `sedano.crashpoints.POINTS`. A crash happens once, in the first process that passes the point.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sedano.crashpoints import POINTS

Action = Literal["kill", "stop", "raise"]


@dataclass(frozen=True)
class CrashAt:
    """One crash: at `point`, when a process passes it for the `hit`-th time.

    `marks` is a folder for the file that tells that it happened; `action` "stop" sends SIGSTOP instead of SIGKILL.
    Raises ValueError for a point that does not exist.
    """

    point: str
    marks: Path
    hit: int = 1
    action: Action = "kill"

    def __post_init__(self) -> None:
        if self.point not in POINTS:
            raise ValueError(f"{self.point!r} is no crash point; there are: {', '.join(sorted(POINTS))}")

    @property
    def mark(self) -> Path:
        return self.marks / f"crash-{self.point}-{self.hit}-{self.action}"

    def environment(self) -> dict[str, str]:
        """What the process to be crashed must find in its environment; its children inherit it."""
        return {
            "SEDANO_CRASH_POINT": self.point,
            "SEDANO_CRASH_HIT": str(self.hit),
            "SEDANO_CRASH_ACTION": self.action,
            "SEDANO_CRASH_MARK": str(self.mark),
        }

    def reached(self) -> bool:
        return self.mark.exists()

    def victim(self) -> int:
        """Process id of who crashed. Raises FileNotFoundError when nobody did yet."""
        return int(self.mark.read_text().split()[0])


def without_crashes(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """`environment` with no crash point armed: for the processes that are to survive."""
    return {key: value for key, value in environment.items() if not key.startswith("SEDANO_CRASH_")}
