"""`schedule`: every so often; and how long remains until a time that was reckoned from another."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from sedano.clock import SYSTEM_CLOCK
from sedano.schedules.base import BaseSchedule, schedstate
from sedano.schedules.fastforward import ffwd
from sedano.schedules.walls import seconds_of
from sedano.schedules.zones import add_seconds_to_datetime, zone_text

LEAST_S = 0.001
"""`next_after` takes shorter intervals for this one: a run of its own must lie behind the run before."""

_DAY, _HOUR, _MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
_UNITS = (("day", 86400.0), ("hour", 3600.0), ("minute", 60.0), ("second", 1.0))


def maybe_timedelta(delta: Any) -> Any:
    """A number of seconds as a timedelta; anything else as it is."""
    return timedelta(seconds=delta) if isinstance(delta, int | float) else delta


def humanize_seconds(secs: float, prefix: str = "", sep: str = "", now: str = "now", microseconds: bool = False) -> str:
    """Seconds as text for people: "1.50 minutes". Less than a second is `now`, unless `microseconds`."""
    seconds = round(float(secs), 2)
    for unit, divider in _UNITS:
        if seconds >= divider:
            value = seconds / divider
            return f"{prefix}{sep}{value:.2f} {unit}{'' if value == 1 else 's'}"
    if microseconds and seconds > 0.0:
        return f"{prefix}{sep}{seconds:.2f} seconds"
    return now


def delta_resolution(dt: datetime, delta: timedelta) -> datetime:
    """`dt` rounded down to the whole day, hour or minute, whichever is the largest that `delta` reaches; else as it is."""
    if delta >= _DAY:
        return dt.replace(hour=0, minute=0, second=0, microsecond=0)
    if delta >= _HOUR:
        return dt.replace(minute=0, second=0, microsecond=0)
    return dt.replace(second=0, microsecond=0) if delta >= _MINUTE else dt


def remaining(start: datetime, ends_in: timedelta | ffwd, now: datetime | None = None, relative: bool = False) -> timedelta:
    """How long a running clock takes from `now` (else the present) until `ends_in` after `start`; below zero when that is over.

    With `relative` the end is the last whole day, hour or minute (as large as `ends_in` reaches) of the zone of `start` that is
    not after it, but never `start` or before; days are those of the calendar.
    """
    present = now or datetime.fromtimestamp(SYSTEM_CLOCK.wall(), UTC)
    if not isinstance(ends_in, timedelta):
        end: datetime = start + ends_in
    elif relative:
        end = _rounded_end(start, ends_in)
    else:
        end = add_seconds_to_datetime(start, ends_in.total_seconds())
    return end.astimezone(UTC) - present.astimezone(UTC)


def _rounded_end(start: datetime, every: timedelta) -> datetime:
    begin = start.astimezone(UTC)
    if every >= _DAY:
        # By the calendar: a day may last 23 or 25 hours.
        end = start + every
        return min((at for at in _occurrences(end, every) if at > begin), default=end.astimezone(UTC))
    end = add_seconds_to_datetime(start, every.total_seconds())
    last = begin + every
    found = _occurrences(end, every)
    in_time = [at for at in found if at <= last]
    rounded = max(in_time) if in_time else min(found)
    if every < _MINUTE or rounded > begin:
        return rounded
    # Clocks that go back by half an hour can put the whole hour before the start: look at the next ones, too.
    unit = _HOUR if every >= _HOUR else _MINUTE
    later = [at for at in (*found, *_occurrences(end + unit, every), *_occurrences(start + every, every)) if at > begin]
    in_time = [at for at in later if at <= last]
    return max(in_time) if in_time else min(later, default=last)


def _occurrences(dt: datetime, every: timedelta) -> list[datetime]:
    """The instants (of UTC) at which the wall shows `dt` rounded down for `every`. A missing time is so much after the gap."""
    rounded = delta_resolution(dt, every).replace(microsecond=0)
    found: list[datetime] = []
    for fold in (0, 1):
        wall = rounded.replace(fold=fold)
        instant = wall.astimezone(UTC)
        if wall.tzinfo is not None and seconds_of(instant.astimezone(wall.tzinfo)) != seconds_of(wall):
            instant = rounded.replace(fold=0).astimezone(UTC)
        found.append(instant)
    return found


class schedule(BaseSchedule):  # noqa: N801 - Celery's name
    """Every `run_every` (a timedelta or seconds), reckoned from the run before.

    With `relative` runs are on the whole day, hour or minute, as large as the interval reaches, in the zone of the run before;
    with `tz` in that zone.
    """

    relative: bool = False

    def __init__(
        self,
        run_every: timedelta | float | None = None,
        relative: bool = False,
        nowfun: Callable[[], datetime] | None = None,
        app: Any = None,
        *,
        tz: str | tzinfo | None = None,
    ) -> None:
        super().__init__(nowfun, app, tz=tz)
        self.run_every: timedelta = maybe_timedelta(0 if run_every is None else run_every)
        self.relative = relative

    def next_after(self, instant: float, tz: tzinfo | None = None) -> float | None:
        """The run after the one at `instant`; see `BaseSchedule.next_after`."""
        if type(self).remaining_estimate is not schedule.remaining_estimate:
            return super().next_after(instant, tz)  # a subclass has something to say about it
        least = max(self.run_every.total_seconds(), LEAST_S)
        if not self.relative or least == LEAST_S:
            return instant + least
        start = datetime.fromtimestamp(instant, UTC).astimezone(self.zone(tz))
        return max(_rounded_end(start, self.run_every).timestamp(), instant + LEAST_S)

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        """How long from now until `run_every` after `last_run_at`."""
        return remaining(self._in_zone(last_run_at), self.run_every, self.maybe_make_aware(self.now()), self.relative)

    def is_due(self, last_run_at: datetime) -> tuple[bool, float]:
        """Whether `run_every` has passed since `last_run_at`, and the seconds until the next look."""
        last = self._in_zone(last_run_at)
        left_s = max(self.remaining_estimate(last).total_seconds(), 0)
        if left_s > 0:
            return schedstate(False, left_s)
        next_s = self.seconds
        if self.relative:
            # After a late run the next boundary is nearer than a whole interval.
            until_boundary_s = self.remaining_estimate(
                self.maybe_make_aware(self.now()).astimezone(last.tzinfo)
            ).total_seconds()
            next_s = until_boundary_s if until_boundary_s > 0 else next_s
        return schedstate(True, next_s)

    def _in_zone(self, moment: datetime) -> datetime:
        aware = self.maybe_make_aware(moment)
        return aware if self._tz is None else aware.astimezone(self.zone())

    @property
    def seconds(self) -> float:
        return max(self.run_every.total_seconds(), 0)

    @property
    def human_seconds(self) -> str:
        return humanize_seconds(self.seconds)

    def __repr__(self) -> str:
        return f"<freq: {self.human_seconds}{'' if self._tz is None else f' {zone_text(self._tz)}'}>"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, schedule):
            return self.run_every == other.run_every and self._tz == other._tz
        return self.run_every == other

    def __hash__(self) -> int:
        return hash(self.run_every)

    def __reduce__(self) -> Any:
        given = self.run_every, self.relative, self.nowfun
        # Celery, too, can read a state that is a map of attributes.
        return (self.__class__, given) if self._tz is None else (self.__class__, given, {"tz": self._tz})

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)


def maybe_schedule(s: Any, relative: bool = False, app: Any = None) -> Any:
    """A number of seconds or a timedelta as a `schedule`; a schedule as it is, bound to `app`; None as None."""
    if s is None:
        return None
    delta = maybe_timedelta(s)
    if isinstance(delta, timedelta):
        return schedule(delta, relative, app=app)
    s.app = app
    return s
