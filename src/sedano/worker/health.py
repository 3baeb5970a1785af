"""Does the node consume? Promise P7: each consuming connection was answered lately, or the node says so.

A slot that waits for work uses its connection every few seconds; one that runs a call need not. The keeper renews leases at
its pace. What is silent for longer is named once, and once more when all is well again. A slot that stays silent although
the broker answers the node's keeper all the while is alive and does not consume: nothing but a new one helps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sedano.worker.table import Phase, Row

SILENT_S = 10.0
LOOK_EVERY_S = 5.0
KEEPER = "the keeper of the leases"
_SHOWN = 8
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

    def unanswered(self, now: float, rows: Iterable[Row], renewed_at: float, *, is_away: bool = False) -> list[str]:
        """Whom the broker has not answered for `SILENT_S` at `now`, for people; asked from any thread, changes nothing.

        With `is_away` the keeper is known to have tried in vain: its pace is no excuse.
        """
        silent = [
            f"slot {row.index}" for row in rows if row.phase is Phase.IDLE and now - max(row.turned_at, self._began) > SILENT_S
        ]
        if now - max(renewed_at, self._began) > SILENT_S + (0.0 if is_away else self._pace_s):
            silent.append(KEEPER)
        return silent

    def look(self, now: float, rows: Iterable[Row], renewed_at: float) -> str | None:
        """What to tell about a change since the last look, None when there is none. Times are monotonic."""
        silent = self.unanswered(now, rows, renewed_at)
        if KEEPER in silent:
            self._answered_since = now
        if now - self._looked_at > 3 * LOOK_EVERY_S:  # the whole node slept: nobody has had time to ask for anything
            self._answered_since = now
        self._looked_at = now
        if tuple(silent) == self.silent:
            return None
        self.silent = tuple(silent)
        if silent:
            return f"{self._node} is not ready: the broker has not answered {some_of(silent)} for {SILENT_S:g} seconds"
        return f"{self._node} is ready again: every connection is answered"

    def wedged(self, now: float, rows: Iterable[Row]) -> list[int]:
        """Rows of slots that wait for work and have not used their connection for `WEDGED_S` in which the broker was there.

        To be asked after each `look`.
        """
        since = max(self._began, self._answered_since)
        return [row.index for row in rows if row.phase is Phase.IDLE and now - max(row.turned_at, since) > WEDGED_S]


def some_of(names: Sequence[str]) -> str:
    """For a line of the log, or of an answer: a node may have hundreds of slots."""
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
