"""`ffwd`: what to add to a date to reach given fields."""

from __future__ import annotations

from calendar import monthrange
from datetime import date, datetime, timedelta
from typing import Any


class ffwd:  # noqa: N801 - Celery's name
    """Added to a date or time: the fields that are given replace its own, then it goes on to `weekday` (Monday is 0), then
    by `weeks`.

    A day that the month does not have becomes its last one. `fold` (Sedano's) says which of two equal wall times is meant.
    """

    def __init__(
        self,
        year: int | None = None,
        month: int | None = None,
        weeks: int = 0,
        weekday: int | None = None,
        day: int | None = None,
        hour: int | None = None,
        minute: int | None = None,
        second: int | None = None,
        microsecond: int | None = None,
        *,
        fold: int | None = None,
        **kwargs: Any,
    ) -> None:
        del kwargs  # Celery takes any keyword, too
        self.year, self.month, self.day = year, month, day
        self.hour, self.minute, self.second, self.microsecond = hour, minute, second, microsecond
        self.fold = fold
        self.weekday = weekday
        self.weeks = weeks
        self.days = weeks * 7
        self._has_time = hour is not None or minute is not None

    def __repr__(self) -> str:
        fields = {**self._fields(), "weeks": self.weeks}
        if self.weekday is not None:
            fields["weekday"] = self.weekday
        return f"ffwd({', '.join(f'{name}={value!r}' for name, value in fields.items())})"

    def __radd__(self, other: Any) -> Any:
        if not isinstance(other, date):
            return NotImplemented
        year, month = self.year or other.year, self.month or other.month
        day = min(monthrange(year, month)[1], self.day or other.day)
        fields: dict[str, Any] = {**self._fields(), "year": year, "month": month, "day": day}
        if self.fold is not None and isinstance(other, datetime):
            fields["fold"] = self.fold
        found = other.replace(**fields)
        if self.weekday is not None:
            found += timedelta(days=(self.weekday - found.weekday()) % 7)
        # Adding even nothing would forget which of two equal hours it is.
        return found + timedelta(days=self.days) if self.days else found

    def _fields(self) -> dict[str, Any]:
        names = ("year", "month", "day", "hour", "minute", "second", "microsecond")
        return {name: value for name in names if (value := getattr(self, name)) is not None}
