"""When to look for due calls again, after some were moved to their queues."""

from __future__ import annotations

AT_ONCE = 1000
"""The most that a store moves in one step."""

PAUSE_S = 0.01
"""Within a stream of due calls: a hundred steps a second carry any rate, a step for each call would carry few."""


def look_again_in(moved: int, next_due: float | None, now: float) -> float | None:
    """Seconds until the next look; None when nothing is left to look for. A call that comes alone is moved when it is due."""
    if next_due is None:
        return None
    wait_s = next_due - now
    if moved >= AT_ONCE:
        return max(0.0, wait_s)
    # Nothing moved and yet something is due: the store's own clock is behind, and there is no use in spinning.
    return max(wait_s, PAUSE_S) if moved or wait_s <= 0.0 else wait_s
