"""A clock that stands still until a test moves it."""

from __future__ import annotations

import threading


class FakeClock:
    """Wall and monotonic time move together by `advance`, as time does, and wall time alone by `jump_wall`, as when an
    administrator or NTP sets it. Any thread may read and move it."""

    def __init__(self, wall: float = 1_750_000_000.0, monotonic: float = 1_000.0) -> None:
        self._lock = threading.Lock()
        self._wall = wall
        self._monotonic = monotonic

    def wall(self) -> float:
        with self._lock:
            return self._wall

    def monotonic(self) -> float:
        with self._lock:
            return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass on both clocks. Raises ValueError when negative: time does not go back."""
        if seconds < 0:
            raise ValueError(f"advance({seconds}): time does not go back; jump_wall moves the wall clock alone")
        with self._lock:
            self._wall += seconds
            self._monotonic += seconds

    def jump_wall(self, seconds: float) -> None:
        """Set the wall clock forward, or back with a negative number; monotonic time does not notice."""
        with self._lock:
            self._wall += seconds
