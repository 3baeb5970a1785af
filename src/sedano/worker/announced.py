"""Which delayed calls this node has announced as received, in memory that all its slots share.

A call whose time has not come is received when it goes to the schedule, by whichever slot had it; it comes back to another.
"""

from __future__ import annotations

from zlib import crc32

MOST_ANNOUNCED = 65_536
"""So many delayed calls are known again; one that another has taken the place of is announced twice."""
ANNOUNCED_BYTES = MOST_ANNOUNCED * 4


class Announced:
    """`region` is the shared memory, `ANNOUNCED_BYTES` long; without one it is this process's alone."""

    def __init__(self, region: memoryview | None = None) -> None:
        self._region = memoryview(bytearray(ANNOUNCED_BYTES)) if region is None else region
        self._signs = self._region.cast("I")

    def note(self, task_id: str) -> None:
        place, sign = _place_of(task_id)
        self._signs[place] = sign

    def forget(self, task_id: str) -> bool:
        """Whether the call was noted; asked once."""
        place, sign = _place_of(task_id)
        if self._signs[place] != sign:
            return False
        self._signs[place] = 0
        return True

    def release_memory(self) -> None:
        self._signs.release()
        self._region.release()


def _place_of(task_id: str) -> tuple[int, int]:
    """Where a call stands, and by what it is known there: the same in every process of the node, 0 for none."""
    number = crc32(task_id.encode(errors="replace"))
    return number % MOST_ANNOUNCED, number or 1
