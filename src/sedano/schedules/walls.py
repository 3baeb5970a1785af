"""Instants and what clocks on the wall show: offsets of a zone, and the instants at which they change.

An instant is whole seconds since the Unix epoch. Wall time is a naive datetime, or one of the zone whose fields are meant.
When the clocks go back, an hour (in some zones half of one) is there twice: `fold` 0 is the first of the two. When they go
forward, one is missing. Nothing here reads a clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

DAY_S = 86400
_EPOCH_DAY = datetime(1970, 1, 1, tzinfo=UTC).toordinal()
_LATEST = 253402214400  # 9999-12-31: the calendar ends there
_STEP_S = DAY_S // 2


@dataclass(frozen=True, slots=True)
class Change:
    """At the instant `at` the offset from UTC goes from `before` to `after` seconds; both clocks agree about the rest."""

    at: int
    before: int
    after: int

    @property
    def is_gap(self) -> bool:
        """Whether wall times are missing; otherwise some are there twice."""
        return self.after > self.before

    @property
    def span_s(self) -> int:
        """How many seconds of wall time are missing or doubled."""
        return abs(self.after - self.before)

    @property
    def first_wall(self) -> datetime:
        """The first wall time that is missing or doubled."""
        return naive(self.at + min(self.before, self.after))

    @property
    def end_wall(self) -> datetime:
        """The first wall time after those."""
        return naive(self.at + max(self.before, self.after))


def naive(wall_s: int) -> datetime:
    """Seconds counted as if the wall clock were UTC's, as a naive datetime."""
    return datetime.fromtimestamp(wall_s, UTC).replace(tzinfo=None)


def seconds_of(wall: datetime) -> int:
    """The reverse of `naive`; a zone is not looked at, fractions are dropped."""
    return (wall.toordinal() - _EPOCH_DAY) * DAY_S + wall.hour * 3600 + wall.minute * 60 + wall.second


def offset_of(moment: datetime) -> int:
    """Seconds by which the zone of `moment` is ahead of UTC then."""
    offset = moment.utcoffset()
    return 0 if offset is None else offset.days * DAY_S + offset.seconds


def offset_at(instant: int, zone: tzinfo) -> int:
    return offset_of(datetime.fromtimestamp(instant, zone))


def change_between(start: int, end: int, zone: tzinfo) -> Change:
    """The change in (start, end], where the offsets at both ends differ. Of several, one of them."""
    before, after = offset_at(start, zone), offset_at(end, zone)
    low, high = start, end
    while high - low > 1:
        middle = (low + high) // 2
        found = offset_at(middle, zone)
        if found == before:
            low = middle
        else:
            high, after = middle, found
    return Change(high, before, after)


def changes(start: int, end: int, zone: tzinfo) -> Iterator[Change]:
    """All changes in (start, end], in order; two within half a day could be missed, and there never were such."""
    low = start
    while low < end:
        high = min(low + _STEP_S, end, _LATEST)
        if high <= low:
            return
        while offset_at(low, zone) != offset_at(high, zone):
            change = change_between(low, high, zone)
            yield change
            low = change.at
        low = high


def change_around(wall: datetime, before: int, after: int) -> Change:
    """The change because of which the aware time `wall` is missing or doubled; its offsets with fold 0 and 1."""
    zone = wall.tzinfo
    assert zone is not None
    seconds = seconds_of(wall)
    # Doubled: first pass at seconds - before, second at seconds - after, the change between. Missing: the other way round.
    low, high = sorted((seconds - before, seconds - after))
    if before > after:
        return change_between(low, high, zone)
    return change_between(low - 1, high, zone)


def instants_of(wall: datetime, zone: tzinfo) -> tuple[int, ...]:
    """The instants at which clocks of `zone` show the naive time `wall`: none, one or two, in order."""
    first = wall.replace(tzinfo=zone, fold=0)
    before, after = offset_of(first), offset_of(first.replace(fold=1))
    seconds = seconds_of(wall)
    if before == after:
        return (seconds - before,)
    return (seconds - before, seconds - after) if before > after else ()


def exact(instant: int, zone: tzinfo) -> datetime:
    """The instant as an aware datetime of `zone`."""
    return datetime.fromtimestamp(instant, zone)
