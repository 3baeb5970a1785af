"""What the supervisor notes of itself and its slots while it works, for those who ask how it is: plain numbers, no locks."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from sedano.worker.rowview import Cause

ALIVE_S = 20.0  # a loop with nothing to do turns every five seconds
_CAUSES = {Cause.HARD_LIMIT: "time_limit", Cause.TERMINATED: "terminated", Cause.COLD_STOP: "cold_stop"}
DEATHS = ("ended", "failed", "killed", "time_limit", "terminated", "cold_stop", "wedged", "unknown")


class Vitals:
    """Written by the supervisor's thread, read by any."""

    def __init__(self) -> None:
        self.began_at = time.time()
        self.turned_at = time.monotonic()
        self.lag_s = 0.0  # between the last `measure` and its turn in the loop
        self.starts = 0
        self.deaths: Counter[str] = Counter(dict.fromkeys(DEATHS, 0))
        self._measures_from: float | None = None

    def turned(self) -> None:
        self.turned_at = time.monotonic()

    @property
    def loop_is_alive(self) -> bool:
        return time.monotonic() - self.turned_at < ALIVE_S

    def measure(self, post: Callable[[Callable[[], None]], None]) -> None:
        """Have the loop note how long something posted waits. From any thread; one that still waits is not posted again."""
        if self._measures_from is None:
            self._measures_from = time.monotonic()
            post(self._measured)

    def _measured(self) -> None:
        if self._measures_from is not None:
            self.lag_s = time.monotonic() - self._measures_from
            self._measures_from = None

    @property
    def lag_now_s(self) -> float:
        """As `lag_s`; what waits still counts as far as it has waited."""
        since = self._measures_from
        return self.lag_s if since is None else max(self.lag_s, time.monotonic() - since)

    def died(self, exitcode: int | None, cause: Cause, *, wedged: bool) -> None:
        if wedged:
            kind = "wedged"
        elif exitcode is None:
            kind = _CAUSES.get(cause, "unknown")
        else:
            kind = _CAUSES.get(cause) or ("ended" if exitcode == 0 else "failed" if exitcode > 0 else "killed")
        self.deaths[kind] += 1
