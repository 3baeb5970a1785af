"""Schedules as values: what a beat entry's `schedule` may be. Beat, which computes the next run, comes later."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from sedano.schedules.fields import crontab_parser

Field = str | int | Iterable[int]


class BaseSchedule:
    """Base of all schedules. `nowfun` gives the present time, `app` the time zone, where they are set."""

    def __init__(self, nowfun: Callable[[], datetime] | None = None, app: Any = None) -> None:
        self.nowfun = nowfun
        self.app = app


class schedule(BaseSchedule):  # noqa: N801 - Celery's name
    """Every `run_every` (timedelta or seconds); `relative` rounds to the interval's own unit."""

    def __init__(
        self,
        run_every: timedelta | float | None = None,
        relative: bool = False,
        nowfun: Callable[[], datetime] | None = None,
        app: Any = None,
    ) -> None:
        super().__init__(nowfun, app)
        self.run_every = run_every if isinstance(run_every, timedelta) else timedelta(seconds=run_every or 0)
        self.relative = relative

    @property
    def seconds(self) -> float:
        return max(self.run_every.total_seconds(), 0)

    @property
    def human_seconds(self) -> str:
        return f"{self.seconds:.2f} seconds"

    def __repr__(self) -> str:
        return f"<freq: {self.human_seconds}>"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, schedule):
            return self.run_every == other.run_every
        return self.run_every == other

    def __hash__(self) -> int:
        return hash(self.run_every)

    def __reduce__(self) -> Any:
        return self.__class__, (self.run_every, self.relative, self.nowfun)


class crontab(BaseSchedule):  # noqa: N801 - Celery's name
    """As a line of cron: minute, hour, day_of_week, day_of_month, month_of_year.

    Each is a text (`"*/15"`, `"mon-fri"`), a number or numbers; the attributes of these names hold the sets of values.
    Raises ParseException (text that cannot be read) or ValueError (a number out of range).
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
        super().__init__(kwargs.pop("nowfun", None), kwargs.pop("app", None))
        if kwargs:
            raise TypeError(f"crontab() got unknown arguments: {', '.join(kwargs)}")
        self._orig_minute, self._orig_hour, self._orig_day_of_week = minute, hour, day_of_week
        self._orig_day_of_month, self._orig_month_of_year = day_of_month, month_of_year
        self.minute = self._expand(minute, 60)
        self.hour = self._expand(hour, 24)
        self.day_of_week = self._expand(day_of_week, 7)
        self.day_of_month = self._expand(day_of_month, 31, 1)
        self.month_of_year = self._expand(month_of_year, 12, 1)

    @staticmethod
    def _expand(field: Field, max_: int, min_: int = 0) -> set[int]:
        if isinstance(field, int):
            values = {field}
        elif isinstance(field, str):
            return crontab_parser(max_, min_).parse(field)
        elif isinstance(field, Iterable):
            values = set(field)
        else:
            raise TypeError(f"a crontab field is a text, a number or numbers, not {type(field).__name__}")
        wrong = [value for value in values if not min_ <= value < min_ + max_]
        if wrong:
            raise ValueError(f"invalid crontab pattern: {wrong[0]} is out of range, {min_} to {min_ + max_ - 1} are allowed")
        return values

    def _texts(self) -> tuple[str, ...]:
        originals = (
            self._orig_minute,
            self._orig_hour,
            self._orig_day_of_month,
            self._orig_month_of_year,
            self._orig_day_of_week,
        )
        return tuple(str(field) if isinstance(field, str | int) else ",".join(map(str, field)) for field in originals)

    def __repr__(self) -> str:
        return f"<crontab: {' '.join(self._texts())} (m/h/dM/MY/d)>"

    def _sets(self) -> tuple[set[int], ...]:
        return self.minute, self.hour, self.day_of_week, self.day_of_month, self.month_of_year

    def __eq__(self, other: object) -> bool:
        return isinstance(other, crontab) and self._sets() == other._sets()

    def __hash__(self) -> int:
        return hash(tuple(frozenset(values) for values in self._sets()))

    def __reduce__(self) -> Any:
        fields = (
            self._orig_minute,
            self._orig_hour,
            self._orig_day_of_week,
            self._orig_day_of_month,
            self._orig_month_of_year,
        )
        return self.__class__, fields


def maybe_schedule(s: Any, relative: bool = False, app: Any = None) -> Any:
    """A number of seconds or a timedelta as a `schedule`; a schedule as it is, bound to `app`."""
    if isinstance(s, bool) or s is None:
        return s
    if isinstance(s, int | float | timedelta):
        return schedule(s, relative, app=app)
    if isinstance(s, BaseSchedule):
        s.app = app
    return s
