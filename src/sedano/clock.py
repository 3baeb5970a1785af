"""Wall and monotonic time as an object that is passed in.

Wall time (`wall`) is for what people wrote down: ETA, expiry, result dates. Leases and time limits use `monotonic` only,
because nobody can trust another machine's wall clock, or the same machine's an hour later.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """What the rooms above know about time. Both readings are in seconds."""

    def wall(self) -> float:
        """Seconds since the Unix epoch, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds since an arbitrary point; never goes back; the same for all processes of one Linux machine."""
        ...


class SystemClock:
    """The machine's own clocks."""

    __slots__ = ()

    def wall(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


SYSTEM_CLOCK = SystemClock()
