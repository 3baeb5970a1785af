"""How many slots a node has that may grow and shrink (`--autoscale=MAX,MIN`).

    all slots run a call, and calls wait ........ as many more at once as calls wait, up to the most
    some slot has had nothing to run ............ after `keepalive_s` of that: as many as were of use, down to the least

It grows at once, because waiting calls cost time, and shrinks late, because a slot that comes back costs a start.
"""

from __future__ import annotations

KEEPALIVE_S = 30.0  # Celery's


class Scaling:
    """One node's size over time; the clock is the caller's (monotonic seconds)."""

    __slots__ = ("_keepalive_s", "_peak", "_spare_since", "least", "most")

    def __init__(self, most: int, least: int, keepalive_s: float = KEEPALIVE_S) -> None:
        if not 0 <= least <= most or most < 1:
            raise ValueError(f"a pool of {least} to {most} slots cannot be")
        self.most, self.least, self._keepalive_s = most, least, keepalive_s
        self._spare_since: float | None = None
        self._peak = 0

    def wanted(self, now: float, *, slots: int, busy: int, waiting: int) -> int:
        """How many slots there should be from now on.

        `slots` are there or about to be, `busy` of them run a call; `waiting` calls nobody has taken, 0 when a slot is free
        that will take them.
        """
        if slots > self.most:  # it was lowered
            return self.most
        use = min(max(busy + waiting, self.least), self.most)
        if use >= slots:
            self._spare_since = None
            return use
        if self._spare_since is None:
            self._spare_since, self._peak = now, use
        self._peak = max(self._peak, use)
        if now - self._spare_since < self._keepalive_s:
            return slots
        peak, self._spare_since = self._peak, None
        return peak
