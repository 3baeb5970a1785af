"""`clocked`: once, at a moment."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from sedano.schedules.base import BaseSchedule, schedstate
from sedano.schedules.zones import plain_zone

NEVER_S = 100_000_000.0
"""Seconds until the next look at what is over."""


class clocked(BaseSchedule):  # noqa: N801 - beside `crontab` and `schedule`
    """Once, at `when`: a datetime (a naive one is of the zone `tz`, else of the app's).

    It is due once `when` has come, unless it ran at `when` or later. An entry that is made after that moment therefore never
    runs. A naive time that is there twice is the first of the two; one that is missing comes as much later as the clocks went
    forward.
    """

    def __init__(
        self,
        when: datetime,
        nowfun: Callable[[], datetime] | None = None,
        app: Any = None,
        *,
        tz: str | tzinfo | None = None,
    ) -> None:
        if not isinstance(when, datetime):
            raise TypeError(f"clocked() needs a datetime, not {type(when).__name__}: {when!r}")
        super().__init__(nowfun, app, tz=tz)
        self.when = when

    def moment(self, tz: tzinfo | None = None) -> datetime:
        """The moment, aware; a naive one is of the schedule's zone, else of `tz`, else of the app's."""
        return self.when if self.when.tzinfo is not None else self.when.replace(tzinfo=self.zone(tz))

    def next_after(self, instant: float, tz: tzinfo | None = None) -> float | None:
        """The moment when it lies behind `instant`, else None."""
        at = self.moment(tz).timestamp()
        return at if at > instant else None

    def remaining_estimate(self, last_run_at: datetime | None) -> timedelta:
        """How long from now until the moment, whatever ran before."""
        del last_run_at
        return self.moment().astimezone(UTC) - self.maybe_make_aware(self.now()).astimezone(UTC)

    def is_due(self, last_run_at: datetime | None) -> tuple[bool, float]:
        """Whether the moment has come and it has not run since."""
        if last_run_at is not None and self.maybe_make_aware(last_run_at) >= self.moment():
            return schedstate(False, NEVER_S)
        left_s = self.remaining_estimate(last_run_at).total_seconds()
        return schedstate(False, left_s) if left_s > 0 else schedstate(True, NEVER_S)

    def __repr__(self) -> str:
        shown = self.when if self._tz is None else self.moment().astimezone(plain_zone(self._tz))
        return f"<clocked: {shown.isoformat(sep=' ')}>"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, clocked):
            return self.when == other.when and (self.when.tzinfo is not None or self._tz == other._tz)
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self.when)

    def __reduce__(self) -> Any:
        return _clocked, (self.__class__, self.when, self.nowfun, self._tz)


def _clocked(kind: type[clocked], when: datetime, nowfun: Any, tz: Any) -> clocked:
    return kind(when, nowfun, tz=tz)
