"""A wall clock that jumps, in processes of their own.

    clock = WallClock(tmp_path / "clock")
    with Node("tasks", cwd=tmp_path, environment=clock.environment()) as node:
        clock.jump(3600)

Every process that starts with this environment reads its wall time `offset_s` away from the machine's. Monotonic time goes
on, as it does when an administrator or NTP sets a machine's clock. Only what Sedano itself reads is moved (`sedano.clock`);
your own `time.time()` and the store's server are not.
"""

from __future__ import annotations

import os
from pathlib import Path

from sedano.clock import OFFSET_VARIABLE


class WallClock:
    """`path` is a file of its own in a folder that exists. Several nodes may have one each, or share one."""

    def __init__(self, path: Path | str, offset_s: float = 0.0) -> None:
        self.path = Path(path)
        self.set(offset_s)

    @property
    def offset_s(self) -> float:
        """Seconds ahead of the machine's clock; negative: behind it."""
        return float(self.path.read_text())

    def set(self, offset_s: float) -> None:
        """Be so many seconds ahead of the machine's clock, from now on, in every process that reads this file."""
        beside = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        beside.write_text(repr(float(offset_s)))
        os.replace(beside, self.path)  # nobody reads half a number

    def jump(self, seconds: float) -> None:
        """Jump so far ahead, or back with a negative number."""
        self.set(self.offset_s + seconds)

    def environment(self) -> dict[str, str]:
        """What a process must find in its environment when it starts; its children inherit it."""
        return {OFFSET_VARIABLE: str(self.path)}
