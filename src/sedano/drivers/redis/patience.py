"""How long an answer may take: longer for what was asked before and not answered in time.

A server that moves hundreds of megabytes, or whose machine is busy, needs longer for one answer than a worker waits on a
connection that may be dead. Whoever gives up undoes the work and asks again: under the same limit that would never end. So
each time it runs out the limit is four times as long, up to `LONGEST_S`; it is the usual one again when it was long enough for
a while.
"""

from __future__ import annotations

LONGEST_S = 120.0
FACTOR = 4  # every slot that meets a message that is too large for it has to find that out
REMEMBERED_S = 300.0


class Patience:
    """`usual_s` None: without limit. Times are monotonic seconds."""

    def __init__(self, usual_s: float | None) -> None:
        self._usual_s = usual_s
        self.limit_s = usual_s
        self._ran_out_at = 0.0

    @property
    def is_longer(self) -> bool:
        return self.limit_s != self._usual_s

    def ran_out(self, now: float) -> None:
        """No byte of an answer came for `limit_s`."""
        if self.limit_s is not None and self._usual_s is not None:
            self.limit_s = max(self._usual_s, min(self.limit_s * FACTOR, LONGEST_S))
            self._ran_out_at = now

    def look(self, now: float) -> None:
        """Forget what is long ago."""
        if now - self._ran_out_at > REMEMBERED_S:
            self.limit_s = self._usual_s
