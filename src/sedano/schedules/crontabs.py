"""`crontab`: Celery's, computed by `patterns.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Self

from sedano.schedules.base import BaseSchedule, schedstate
from sedano.schedules.fastforward import ffwd
from sedano.schedules.fields import Field, expand, stretches
from sedano.schedules.intervals import remaining
from sedano.schedules.patterns import bits, pattern
from sedano.schedules.zones import plain_zone, zone_named, zone_text

ZERO = frozenset((0,))
_MICROSECOND = timedelta(microseconds=1)


class crontab(BaseSchedule):  # noqa: N801 - Celery's name
    """As a line of cron: minute, hour, day_of_week, day_of_month, month_of_year, each a text (`"*/15"`, `"mon-fri"`), a
    number or numbers. A day is meant when all three fields of days name it: AND, unlike cron's own OR.

    The attributes of these names hold the values, as frozen sets. `second` (0 unless given) and `tz` (a name or a tzinfo,
    instead of the app's zone) are Sedano's own.
    Raises ParseException (text that cannot be read), ValueError (a number out of range, a date that never comes, an unknown
    zone) or TypeError.
    """

    def __init__(
        self,
        minute: Field = "*",
        hour: Field = "*",
        day_of_week: Field = "*",
        day_of_month: Field = "*",
        month_of_year: Field = "*",
        **kwargs: Any,
    ) -> None:
        self._orig_minute, self.minute = _both(minute, 60)
        self._orig_hour, self.hour = _both(hour, 24)
        self._orig_day_of_week, self.day_of_week = _both(day_of_week, 7)
        self._orig_day_of_month, self.day_of_month = _both(day_of_month, 31, 1)
        self._orig_month_of_year, self.month_of_year = _both(month_of_year, 12, 1)
        self._accept(kwargs)
        if not self.pattern.can_happen:
            raise ValueError(f"invalid crontab: day_of_month {day_of_month!r} never occurs in month_of_year {month_of_year!r}")

    def _accept(self, kwargs: Mapping[str, Any]) -> None:
        self._orig_kwargs = dict(kwargs)
        options = dict(kwargs)
        self._orig_second, self.second = _both(options.pop("second", 0), 60)
        super().__init__(**options)
        self.pattern = pattern(
            bits(self.minute),
            bits(self.hour),
            bits(self.day_of_week),
            bits(self.day_of_month),
            bits(self.month_of_year),
            bits(self.second),
        )

    @classmethod
    def from_string(cls, crontab: str) -> Self:
        """From `"minute hour day_of_month month_of_year day_of_week"`: five fields, one space between two.

        `cron.parse` reads what people write elsewhere: six fields, several spaces, `@daily`.
        """
        fields = crontab.split(" ")
        if len(fields) != 5:
            raise ValueError(
                f"a crontab has five fields with one space between two (minute hour day month weekday), not {len(fields)}:"
                f" {crontab!r}. sedano.schedules.cron.parse reads other forms"
            )
        minute, hour, day_of_month, month_of_year, day_of_week = fields
        return cls(minute, hour, day_of_week, day_of_month, month_of_year)

    # -- what computes --------------------------------------------------------------------------------------------------

    def next_after(self, instant: float, tz: tzinfo | None = None) -> float | None:
        """See `BaseSchedule.next_after`; `patterns.py` says what happens where the clocks change."""
        kind = type(self)
        if kind.remaining_estimate is not crontab.remaining_estimate or kind.remaining_delta is not crontab.remaining_delta:
            return super().next_after(instant, tz)  # a subclass has something to say about it
        return self.pattern.next_after(instant, self.zone(tz))

    # -- Celery's methods -----------------------------------------------------------------------------------------------

    def remaining_delta(
        self, last_run_at: datetime, tz: str | tzinfo | None = None, ffwd: Callable[..., Any] = ffwd
    ) -> tuple[datetime, Any, datetime]:
        """(`last_run_at`, what to add to it for the next run, now), both in `tz`, else in the schedule's zone."""
        zone = plain_zone(zone_named(tz) if tz else self.tz)
        last = self.maybe_make_aware(last_run_at).astimezone(zone)
        now = self.maybe_make_aware(self.now()).astimezone(zone)
        found = self.pattern.next_after(last.timestamp(), zone)
        if found is None:
            raise OverflowError(f"{self!r} has no run after {last} in this calendar")
        at = datetime.fromtimestamp(found, zone)
        delta = ffwd(
            year=at.year, month=at.month, day=at.day, hour=at.hour, minute=at.minute, second=at.second, microsecond=0,
            fold=at.fold,
        )  # fmt: skip
        return last, delta, now

    def remaining_estimate(self, last_run_at: datetime, ffwd: Callable[..., Any] = ffwd) -> timedelta:
        """How long from now until the run after `last_run_at`; negative when that is over."""
        return remaining(*self.remaining_delta(last_run_at, ffwd=ffwd))

    def is_due(self, last_run_at: datetime) -> tuple[bool, float]:
        """Whether the run after `last_run_at` is due, and the seconds until the next look.

        With `beat_cron_starting_deadline`, a run that was missed by more than so many seconds is not due any more.
        """
        left_s = self.remaining_estimate(last_run_at).total_seconds()
        if left_s > 0:
            return schedstate(False, left_s)
        is_due = not (left_s < 0 and self._is_too_late())
        return schedstate(is_due, max(self.remaining_estimate(self.now()).total_seconds(), 0))

    def _is_too_late(self) -> bool:
        app = self.app
        deadline_s = None if app is None else app.conf.beat_cron_starting_deadline
        if deadline_s is None:
            return False
        now = self.maybe_make_aware(self.now())
        # A run exactly `deadline_s` ago is still in time.
        since = (now.astimezone(UTC) - timedelta(seconds=deadline_s) - _MICROSECOND).astimezone(now.tzinfo)
        return self.remaining_estimate(since).total_seconds() > 0

    # -- texts ----------------------------------------------------------------------------------------------------------

    def to_text(self) -> str:
        """The line for a cron table: five fields, six (seconds first) when `second` is not 0. `cron.parse` reads it back.

        The zone is not in it.
        """
        fields = [
            _field_text(self._orig_minute, self.minute, 60),
            _field_text(self._orig_hour, self.hour, 24),
            _field_text(self._orig_day_of_month, self.day_of_month, 31),
            _field_text(self._orig_month_of_year, self.month_of_year, 12),
            _field_text(self._orig_day_of_week, self.day_of_week, 7),
        ]
        if self.second != ZERO:
            fields.insert(0, _field_text(self._orig_second, self.second, 60))
        return " ".join(fields)

    def __repr__(self) -> str:
        zone = "" if self._tz is None else f" {zone_text(self._tz)}"
        second = "" if self.second == ZERO else f", at second {_field_text(self._orig_second, self.second, 60)}"
        return (
            f"<crontab: {self._orig_minute} {self._orig_hour} {self._orig_day_of_month} {self._orig_month_of_year}"
            f" {self._orig_day_of_week} (m/h/dM/MY/d){second}{zone}>"
        )

    def __eq__(self, other: object) -> bool:
        if isinstance(other, crontab):
            return self.pattern == other.pattern and self._tz == other._tz and self.nowfun == other.nowfun
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self.pattern)

    def __reduce__(self) -> Any:
        fields = (
            self._orig_minute,
            self._orig_hour,
            self._orig_day_of_week,
            self._orig_day_of_month,
            self._orig_month_of_year,
        )
        return self.__class__, fields, self._orig_kwargs

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Celery's form: the keywords that the constructor was given."""
        self._accept(state)


def _both(field: Field, max_: int, min_: int = 0) -> tuple[Field, frozenset[int]]:
    """The field as given, to be shown and pickled, and its values."""
    values = expand(field, max_, min_)
    if isinstance(field, str | int):
        return field, values
    # An iterator is used up by now.
    return (sorted(values) if isinstance(field, Iterator) else field), values


def _field_text(original: Field, values: frozenset[int], count: int) -> str:
    if isinstance(original, str):
        return "".join(original.split())
    if len(values) == count:
        return "*"
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in stretches(sorted(values)))
