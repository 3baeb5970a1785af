"""The next runs of any schedule, as times; and what becomes of it where the clocks change. No clock is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Protocol

from sedano.schedules.base import BaseSchedule
from sedano.schedules.crontabs import crontab
from sedano.schedules.walls import Change, changes
from sedano.schedules.zones import is_naive, plain_zone, zone_named


class Upcoming(Protocol):
    """What can say when it runs next; every schedule here can."""

    def next_after(self, instant: float, tz: tzinfo | None = None) -> float | None:
        """The first run after `instant`, both in seconds since the epoch, or None."""
        ...


@dataclass(frozen=True, slots=True)
class Irregular:
    """A wall time that is named and that is there twice, or not at all."""

    wall: datetime
    """Naive, of the schedule's zone."""
    is_missing: bool
    runs: tuple[datetime, ...]
    """When it runs: none, one, or both of the doubled hour. What was missing runs together, at one time after the gap."""


def next_run(schedule: Upcoming, after: datetime | float, tz: str | tzinfo | None = None) -> datetime | None:
    """The first run after `after` (aware, or seconds since the epoch), in the zone meant; None when there is none.

    `tz` is the zone for schedules that have none of their own, UTC when it is not given. For an interval `after` is the run
    before.
    """
    found = next_runs(schedule, after, 1, tz)
    return found[0] if found else None


def next_runs(schedule: Upcoming, after: datetime | float, n: int, tz: str | tzinfo | None = None) -> list[datetime]:
    """The next `n` runs after `after`, fewer when there are no more; see `next_run`."""
    default = UTC if tz is None else plain_zone(zone_named(tz))
    shown = schedule.zone(default) if isinstance(schedule, BaseSchedule) else default
    instant: float | None = _seconds(after)
    runs: list[datetime] = []
    while len(runs) < n and instant is not None:
        instant = schedule.next_after(instant, default)
        if instant is not None:
            runs.append(datetime.fromtimestamp(instant, UTC).astimezone(shown))
    return runs


def doubled_or_missing(
    schedule: BaseSchedule, tz: str | tzinfo | None, start: datetime | float, until: datetime | float
) -> list[Irregular]:
    """The wall times from `start` until `until` that `schedule` names and that are there twice or not at all, in order.

    `tz` is as in `next_run`. Only crontabs are written by the wall clock; for other schedules the list is empty.
    """
    if not isinstance(schedule, crontab):
        return []
    default = UTC if tz is None else plain_zone(zone_named(tz))
    zone = schedule.zone(default)
    found: list[Irregular] = []
    for change in changes(int(_seconds(start)), int(_seconds(until)), zone):
        for wall in _named_walls(schedule, change):
            runs = tuple(datetime.fromtimestamp(at, zone) for at in schedule.pattern.runs_at(wall, zone))
            found.append(Irregular(wall, change.is_gap, runs))
    return found


def _named_walls(schedule: crontab, change: Change) -> Iterator[datetime]:
    wall = schedule.pattern.next_wall(change.first_wall)
    while wall is not None and wall < change.end_wall:
        yield wall
        wall = schedule.pattern.next_wall(wall + timedelta(seconds=1))


def _seconds(moment: datetime | float) -> float:
    if not isinstance(moment, datetime):
        return moment
    if is_naive(moment):
        raise ValueError(f"{moment.isoformat()} has no zone, so nobody knows which instant it is: give it one (tzinfo=...)")
    return moment.timestamp()
