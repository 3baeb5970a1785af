"""Does the node consume? Promise P7: each consuming connection was answered lately, or the node says so.

A slot that waits for work uses its connection every few seconds; one that runs a call need not. The keeper renews leases at
its pace. What is silent for longer is named once, and once more when all is well again. A slot that stays silent although
the broker answers the node's keeper all the while is alive and does not consume: nothing but a new one helps.
"""

from __future__ import annotations

from collections.abc import Iterable

from sedano.worker.table import Phase, Row

SILENT_S = 10.0
LOOK_EVERY_S = 5.0
WEDGED_S = 30.0  # longer than a slot waits before it tries a broker again that was away, and for its answer


class Health:
    """`pace_s` is the longest time between two renewals of a keeper that works."""

    def __init__(self, node: str, pace_s: float, now: float) -> None:
        self._node, self._pace_s, self._began = node, pace_s, now
        self._answered_since = now  # the keeper is, without a break
        self._looked_at = now
        self.silent: tuple[str, ...] = ()

    @property
    def is_good(self) -> bool:
        return not self.silent

    def look(self, now: float, rows: Iterable[Row], renewed_at: float) -> str | None:
        """What to tell about a change since the last look, None when there is none. Times are monotonic."""
        silent = [
            f"slot {row.index}" for row in rows if row.phase is Phase.IDLE and now - max(row.turned_at, self._began) > SILENT_S
        ]
        if now - max(renewed_at, self._began) > SILENT_S + self._pace_s:
            silent.append("the keeper of the leases")
            self._answered_since = now
        if now - self._looked_at > 3 * LOOK_EVERY_S:  # the whole node slept: nobody has had time to ask for anything
            self._answered_since = now
        self._looked_at = now
        if tuple(silent) == self.silent:
            return None
        self.silent = tuple(silent)
        if silent:
            return f"{self._node} is not ready: the broker has not answered {', '.join(silent)} for {SILENT_S:g} seconds"
        return f"{self._node} is ready again: every connection is answered"

    def wedged(self, now: float, rows: Iterable[Row]) -> list[int]:
        """Rows of slots that wait for work and have not used their connection for `WEDGED_S` in which the broker was there.

        To be asked after each `look`.
        """
        since = max(self._began, self._answered_since)
        return [row.index for row in rows if row.phase is Phase.IDLE and now - max(row.turned_at, since) > WEDGED_S]
