"""Rate limits of one node: when each limited task may be begun next, in memory that all its slots share.

A task's bucket is two times on the monotonic clock: `free`, when the next call may begin, and `promised`, up to when calls that
came too early were told to come back. The rule is `rules/rates.py`'s; here it is applied by one slot at a time.
"""

from __future__ import annotations

from zlib import crc32

from sedano.rules.rates import Verdict, judge
from sedano.worker.bytelock import lock_byte, unlock_byte

MOST_BUCKETS = 8192
PROMISES = 16_384
"""So many calls at most that wait for their time are known again; those that are not come as new ones."""
_TIMES_BYTES = MOST_BUCKETS * 16
BUCKETS_BYTES = _TIMES_BYTES + PROMISES * 16


class Buckets:
    """`region` is the shared memory, `BUCKETS_BYTES` long; the bytes of `fd` from `lock_at` on are its locks. Used by one
    thread of a process at a time."""

    def __init__(self, region: memoryview, fd: int, lock_at: int) -> None:
        self._times = region[:_TIMES_BYTES].cast("d")
        self._promises = region[_TIMES_BYTES:].cast("d")
        self._region, self._fd, self._lock_at = region, fd, lock_at

    def take(self, place: int, per_s: float, now: float, *, returns: bool = False) -> Verdict:
        """Ask whether a call may begin `now` (monotonic), and count it if so; `returns` as in `judge`."""
        at = self._lock_at + place
        lock_byte(self._fd, at)
        try:
            free, promised, verdict = judge(self._times[2 * place], self._times[2 * place + 1], per_s, now, returns=returns)
            self._times[2 * place], self._times[2 * place + 1] = free, promised
            return verdict
        finally:
            unlock_byte(self._fd, at)

    def promised(self, place: int) -> float:
        """Up to when calls of the task were told to come back: monotonic, 0 for never."""
        return self._times[2 * place + 1]

    def clear(self, place: int) -> None:
        """Forget what was counted: another limit holds from now on."""
        at = self._lock_at + place
        lock_byte(self._fd, at)
        try:
            self._times[2 * place] = self._times[2 * place + 1] = 0.0
        finally:
            unlock_byte(self._fd, at)

    def promise(self, task_id: str, at: float) -> None:
        """The call was told to come back `at` (monotonic). Forgotten when another needs the place."""
        place, sign = _place_of(task_id)
        self._promises[place + 1] = at
        self._promises[place] = sign

    def promise_of(self, task_id: str) -> float:
        """When the call was to come back (monotonic), 0.0 when nobody knows; asked once."""
        place, sign = _place_of(task_id)
        if self._promises[place] != sign:
            return 0.0
        self._promises[place] = 0.0
        return self._promises[place + 1]

    def release_memory(self) -> None:
        self._times.release()
        self._promises.release()
        self._region.release()


def _place_of(task_id: str) -> tuple[int, float]:
    """Where the promise of a call stands, and by what it is known there: the same in every process of the node."""
    number = crc32(task_id.encode(errors="replace"))
    return 2 * (number % PROMISES), 1.0 + number
