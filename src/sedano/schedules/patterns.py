"""The computing core of crontabs: sets of seconds, minutes, hours, days, months and weekdays as bits, and their next time.

What a pattern means where clocks change (docs/explanation/schedules-and-time.md gives the reasons and the other programs):

    not every hour of the day is named     each wall time is one run. One that is there twice: the first. One that is missing:
    ("02:30", "*/15 at 1-4")               at the first instant after the gap, one run for all that fell into it; unless the gap
                                           is longer than three hours (a date that a country left out): then there is none.
    every hour is named                    a rhythm, as "every 15 minutes": it goes on in real time, through both of the
    ("*/15", "at minute 30")               doubled hours; a missing hour adds nothing.
"""

from __future__ import annotations

from calendar import isleap
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from functools import lru_cache

from sedano.schedules.walls import DAY_S, change_around, change_between, exact, instants_of, offset_at, offset_of, seconds_of

LONGEST_GAP_S = 3 * 3600
"""What is missing for longer is no summer time, and is not made up for."""

_ALL_HOURS = (1 << 24) - 1
_MONTH_DAYS = (0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_LAST_YEAR = 9998
_EVERY_SEVENTH = sum(1 << day for day in range(1, 32, 7))


@dataclass(frozen=True, slots=True)
class Pattern:
    """Each field is a number whose bit n says whether the value n is named. Months and days count from 1, Sunday is 0."""

    seconds: int
    minutes: int
    hours: int
    days: int
    months: int
    weekdays: int
    days_by_first: tuple[int, ...]
    """The days of a month that are allowed, by the weekday of its first."""
    can_happen: bool
    """Whether there is such a date at all. There is none on 30 February."""

    @property
    def is_rhythm(self) -> bool:
        """Whether every hour is named: runs go by real time, not by the wall."""
        return self.hours == _ALL_HOURS

    def names(self, wall: datetime) -> bool:
        """Whether the fields of `wall` are all named."""
        return bool(
            self.seconds >> wall.second & 1
            and self.minutes >> wall.minute & 1
            and self.hours >> wall.hour & 1
            and self.days >> wall.day & 1
            and self.months >> wall.month & 1
            and self.weekdays >> (wall.isoweekday() % 7) & 1
        )

    def next_after(self, instant: float, zone: tzinfo) -> int | None:
        """The first run after `instant`, both in seconds since the epoch; None when the calendar ends before it."""
        earliest = int(instant // 1) + 1
        if zone is UTC:
            found = self.next_wall(exact(earliest, UTC))
            return None if found is None else seconds_of(found)
        return self._next_of_rhythm(earliest, zone) if self.is_rhythm else self._next_by_wall(earliest, zone)

    def next_wall(self, wall: datetime) -> datetime | None:
        """The first time from `wall` on whose fields are named, in the zone of `wall`, fold 0; None at the calendar's end."""
        day = self._day_from(wall.year, wall.month, wall.day)
        if day is None:
            return None
        zone = wall.tzinfo
        if day == (wall.year, wall.month, wall.day):
            left = self._time_from(wall.hour, wall.minute, wall.second)
            if left is not None:
                return datetime(*day, *left, tzinfo=zone)
            tomorrow = date.fromordinal(wall.toordinal() + 1)
            day = self._day_from(tomorrow.year, tomorrow.month, tomorrow.day)
            if day is None:
                return None
        return datetime(*day, _lowest(self.hours), _lowest(self.minutes), _lowest(self.seconds), tzinfo=zone)

    # -- zones ----------------------------------------------------------------------------------------------------------

    def _next_by_wall(self, earliest: int, zone: tzinfo) -> int | None:
        start = exact(earliest, zone)
        offset = offset_of(start)
        if start.fold:
            # The second of two: all of these wall times have had their run.
            span = offset_of(start.replace(fold=0)) - offset
            start = change_between(earliest - span - 1, earliest, zone).end_wall.replace(tzinfo=zone)
        else:
            before = offset_at(earliest - 1, zone)
            if before < offset:
                start = _back(start, offset - before)  # a gap ends here: what was missing runs now
        while True:
            found = self.next_wall(start)
            if found is None:
                return None
            before, after = offset_of(found), offset_of(found.replace(fold=1))
            if before >= after:
                return seconds_of(found) - before
            gap = change_around(found, before, after)
            if gap.span_s <= LONGEST_GAP_S:
                return gap.at
            start = gap.end_wall.replace(tzinfo=zone)

    def _next_of_rhythm(self, earliest: int, zone: tzinfo) -> int | None:
        while True:
            start = exact(earliest, zone)
            offset = offset_of(start)
            found = self.next_wall(start)
            if found is None:
                return None
            if offset_at(earliest + DAY_S, zone) != offset:
                change = change_between(earliest, earliest + DAY_S, zone)
                straight = seconds_of(found) - offset
                if straight < change.at:
                    return straight
                earliest = change.at
                continue
            before, after = offset_of(found), offset_of(found.replace(fold=1))
            if before >= after:
                first = seconds_of(found) - before
                return first if first >= earliest else seconds_of(found) - after
            earliest = change_around(found, before, after).at

    def runs_at(self, wall: datetime, zone: tzinfo) -> tuple[int, ...]:
        """When the named naive time `wall` runs: once as a rule, twice or not at all where the clocks change."""
        instants = instants_of(wall, zone)
        if self.is_rhythm or len(instants) == 1:
            return instants
        if instants:
            return instants[:1]
        aware = wall.replace(tzinfo=zone)
        gap = change_around(aware, offset_of(aware), offset_of(aware.replace(fold=1)))
        return (gap.at,) if gap.span_s <= LONGEST_GAP_S else ()

    # -- the calendar ---------------------------------------------------------------------------------------------------

    def _day_from(self, year: int, month: int, day: int) -> tuple[int, int, int] | None:
        while year <= _LAST_YEAR:
            if self.months >> month & 1:
                first = date(year, month, 1).isoweekday() % 7
                last = 28 if month == 2 and not isleap(year) else _MONTH_DAYS[month]
                left = (self.days_by_first[first] & ((2 << last) - 1)) >> day
                if left:
                    return year, month, day + _lowest(left)
            day = 1
            later = self.months >> (month + 1)
            if later:
                month += 1 + _lowest(later)
            else:
                year, month = year + 1, _lowest(self.months)
        return None

    def _time_from(self, hour: int, minute: int, second: int) -> tuple[int, int, int] | None:
        if self.hours >> hour & 1:
            if self.minutes >> minute & 1:
                left = self.seconds >> second
                if left:
                    return hour, minute, second + _lowest(left)
            left = self.minutes >> (minute + 1)
            if left:
                return hour, minute + 1 + _lowest(left), _lowest(self.seconds)
        left = self.hours >> (hour + 1)
        if left:
            return hour + 1 + _lowest(left), _lowest(self.minutes), _lowest(self.seconds)
        return None


@lru_cache(maxsize=4096)
def bits(values: frozenset[int]) -> int:
    """A set of numbers as one number."""
    found = 0
    for value in values:
        found |= 1 << value
    return found


def values_of(mask: int) -> list[int]:
    """The reverse of `bits`, in order."""
    return [value for value in range(mask.bit_length()) if mask >> value & 1]


@lru_cache(maxsize=4096)
def pattern(minutes: int, hours: int, weekdays: int, days: int, months: int, seconds: int = 1) -> Pattern:
    """A pattern of such bits; equal ones are one object."""
    can_happen = any(days & ((2 << _MONTH_DAYS[month]) - 2) for month in range(1, 13) if months >> month & 1)
    days_by_first = tuple(days & _days_on(weekdays, first) for first in range(7))
    return Pattern(seconds, minutes, hours, days, months, weekdays, days_by_first, can_happen)


def _days_on(weekdays: int, first: int) -> int:
    """The days of a month that are on one of `weekdays`, when its first is on the weekday `first`."""
    found = 0
    for weekday in values_of(weekdays):
        found |= _EVERY_SEVENTH << ((weekday - first) % 7)
    return found


def _lowest(mask: int) -> int:
    """The place of the lowest bit."""
    return (mask & -mask).bit_length() - 1


def _back(wall: datetime, seconds: int) -> datetime:
    """So much earlier on the wall: the fields change, the zone is not asked."""
    return exact(seconds_of(wall) - seconds, UTC).replace(tzinfo=wall.tzinfo)
