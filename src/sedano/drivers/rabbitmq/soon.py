"""What is due within moments, and stays in the node's hands until then: a heap by time."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Soon(Generic[T]):
    """Times are Unix seconds."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, T]] = []
        self._order = itertools.count()

    def add(self, due: float, item: T) -> None:
        heapq.heappush(self._heap, (due, next(self._order), item))

    def take(self, now: float) -> list[T]:
        """Those that are due, the earliest first."""
        due: list[T] = []
        while self._heap and self._heap[0][0] <= now:
            due.append(heapq.heappop(self._heap)[2])
        return due

    def next_due(self) -> float | None:
        return self._heap[0][0] if self._heap else None

    def entries(self) -> list[tuple[float, T]]:
        return [(due, item) for due, _, item in sorted(self._heap, key=lambda entry: entry[:2])]

    def drop(self, is_gone: Callable[[T], bool]) -> None:
        self._heap = [entry for entry in self._heap if not is_gone(entry[2])]
        heapq.heapify(self._heap)
