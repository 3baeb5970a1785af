"""When a slot that died is made again: at once, unless it dies again and again without having worked."""

from __future__ import annotations

LONGEST_S = 30.0


class Restarts:
    """One row's restarts. A slot that ends within `alive_s` of its birth (`worker_proc_alive_timeout`), not on its own
    account and without having begun a window, has failed to start."""

    __slots__ = ("_alive_s", "_born", "_windows_at_birth", "failures")

    def __init__(self, alive_s: float) -> None:
        self._alive_s = alive_s
        self._born = 0.0
        self._windows_at_birth = 0
        self.failures = 0

    def born(self, now: float, windows: int) -> None:
        self._born, self._windows_at_birth = now, windows

    def wait_s(self, now: float, exitcode: int | None, windows: int, *, meant: bool) -> float:
        """How long to wait before the next slot is made, after this one has died. `meant`: the supervisor ended it.
        `windows` counts those that slots of the row ever began."""
        worked = windows > self._windows_at_birth or now - self._born > self._alive_s
        if exitcode == 0 or worked or meant:
            self.failures = 0
            return 0.0
        self.failures += 1
        return min(LONGEST_S, 0.5 * 2.0 ** (self.failures - 1)) if self.failures > 1 else 0.0
