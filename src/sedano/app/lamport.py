"""The logical clock that messages between nodes and their clients carry."""

from __future__ import annotations

import threading

MOST_ADOPTED = 2**61
"""Half of what others take for a clock: whoever says more is not followed, or nobody would hear this one any more."""


class LamportClock:
    """A logical clock: `forward` for what one does, `adjust` for what one hears."""

    def __init__(self, value: int = 0) -> None:
        self.value = value
        self._lock = threading.Lock()

    def forward(self) -> int:
        with self._lock:
            self.value += 1
            return self.value

    def adjust(self, other: int) -> int:
        with self._lock:
            self.value = max(self.value, other if other <= MOST_ADOPTED else 0) + 1
            return self.value
