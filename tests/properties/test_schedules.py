"""Runs of crontabs against a slow walk, minute by minute, through days on which the clocks change and others, in ten zones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from sedano.schedules import crontab, doubled_or_missing, next_run, next_runs
from sedano.schedules.walls import changes

ZONES = (
    "UTC", "Europe/Berlin", "America/New_York", "Asia/Shanghai", "Australia/Lord_Howe", "Africa/Cairo", "America/Santiago",
    "Atlantic/Azores", "Pacific/Apia", "Asia/Kathmandu",
)  # fmt: skip
FIRST, LAST = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (1985, 2040))
MINUTE = 60
DAYS = 2


@cache
def changes_of(zone: str) -> list[int]:
    return [change.at for change in changes(FIRST, LAST, ZoneInfo(zone))]


@st.composite
def moments(draw: st.DrawFn) -> tuple[str, int]:
    """A zone and an instant, often shortly before or after a change of its clocks."""
    zone = draw(st.sampled_from(ZONES))
    near = changes_of(zone)
    if near and draw(st.integers(0, 3)):
        instant = draw(st.sampled_from(near)) + draw(st.integers(-86_400, 7_300))
    else:
        instant = draw(st.integers(FIRST, LAST))
    return zone, instant


def some(low: int, high: int) -> st.SearchStrategy[set[int]]:
    return st.sets(st.integers(low, high), min_size=1, max_size=4)


def fields(low: int, high: int) -> st.SearchStrategy[str | set[int]]:
    steps = st.integers(1, high).map(lambda step: f"*/{step}")
    return st.one_of(st.just("*"), steps, some(low, high))


crontabs = st.builds(
    crontab,
    minute=fields(0, 59),
    hour=st.one_of(st.just("*"), st.just("*"), some(0, 4), fields(0, 23)),
    day_of_week=st.one_of(st.just("*"), some(0, 6)),
    day_of_month=st.one_of(st.just("*"), st.just("*"), st.sets(st.integers(1, 28), min_size=8)),
)


def names(schedule: crontab, wall: datetime) -> bool:
    return (
        wall.minute in schedule.minute
        and wall.hour in schedule.hour
        and wall.isoweekday() % 7 in schedule.day_of_week
        and wall.day in schedule.day_of_month
        and wall.month in schedule.month_of_year
    )


def walk(schedule: crontab, zone: str, start: int, end: int) -> list[int]:
    """The runs in (start, end], found the slow way: look at the wall each minute, and remember how far it had come."""
    is_rhythm = len(schedule.hour) == 24
    runs: list[int] = []
    instant = (start // MINUTE - 26 * 60) * MINUTE
    latest = datetime.fromtimestamp(instant, ZoneInfo(zone)).replace(tzinfo=None)
    while instant < end:
        instant += MINUTE
        wall = datetime.fromtimestamp(instant, ZoneInfo(zone)).replace(tzinfo=None)
        is_again = wall <= latest
        missing = (wall - latest) // timedelta(minutes=1) - 1
        is_made_up = (
            not is_rhythm
            and 0 < missing <= 180
            and any(names(schedule, latest + timedelta(minutes=n + 1)) for n in range(missing))
        )
        if instant > start and instant <= end and (is_made_up or (names(schedule, wall) and (is_rhythm or not is_again))):
            runs.append(instant)
        latest = max(latest, wall)
    return runs


@settings(max_examples=80, deadline=None)
@given(crontabs, moments())
def test_runs_are_those_that_a_slow_walk_finds(schedule: crontab, moment: tuple[str, int]) -> None:
    zone, start = moment
    end = start + DAYS * 86_400
    runs: list[int] = []
    at: float | None = schedule.next_after(start, ZoneInfo(zone))
    while at is not None and at <= end:
        assert at > (runs[-1] if runs else start)
        runs.append(int(at))
        at = schedule.next_after(at, ZoneInfo(zone))
    assert runs == walk(schedule, zone, start, end)


@settings(max_examples=200, deadline=None)
@given(crontabs, moments(), st.integers(0, 86_400), st.integers(1, 6))
def test_the_next_ones_do_not_depend_on_where_one_begins_to_count(
    schedule: crontab, moment: tuple[str, int], later: int, n: int
) -> None:
    zone, start = moment
    runs = next_runs(schedule, start, n + 3, zone)
    assert next_runs(schedule, runs[n - 1], 3, zone) == runs[n:]
    # Monotone. Python compares times of one zone by the wall, so ask for the instants.
    found = next_run(schedule, start + later, zone)
    assert found is not None
    assert found.timestamp() >= runs[0].timestamp()


@settings(max_examples=200, deadline=None)
@given(crontabs, moments())
def test_lines_mean_what_was_written(schedule: crontab, moment: tuple[str, int]) -> None:
    zone, start = moment
    again = crontab.from_string(schedule.to_text())
    assert again == schedule
    assert next_runs(again, start, 2, zone) == next_runs(schedule, start, 2, zone)


@settings(max_examples=60, deadline=None)
@given(crontabs, st.sampled_from(ZONES[1:]), st.integers(1990, 2035))
def test_what_is_doubled_or_missing_runs_as_it_is_said(schedule: crontab, zone: str, year: int) -> None:
    first, last = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)
    for one in doubled_or_missing(schedule, zone, first, last):
        assert names(schedule, one.wall)
        assert all(schedule.next_after(run.timestamp() - 1, ZoneInfo(zone)) == run.timestamp() for run in one.runs)
        back = one.wall.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        assert one.is_missing == (back != one.wall)
        assert len(one.runs) == (2 if len(schedule.hour) == 24 else 1) or one.is_missing
