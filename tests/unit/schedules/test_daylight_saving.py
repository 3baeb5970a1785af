"""Both changes of the clocks, run by run: what `sedano.schedules.patterns` promises."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from sedano.clock import LocalZone
from sedano.schedules import crontab, doubled_or_missing, next_run, next_runs, schedule

BERLIN, NEW_YORK, SHANGHAI, LORD_HOWE = "Europe/Berlin", "America/New_York", "Asia/Shanghai", "Australia/Lord_Howe"
CAIRO, APIA = "Africa/Cairo", "Pacific/Apia"

# zone, crontab, first instant (UTC), the next runs as the wall shows them: month-day hour:minute and offset.
TABLE = [
    # Berlin, 29 March 2026: 01:59:59+01 is followed by 03:00+02.
    (BERLIN, "30 2 * * *", "2026-03-28T02:00", ["03-29 03:00+02", "03-30 02:30+02"]),
    (BERLIN, "0,30 2 * * *", "2026-03-28T02:00", ["03-29 03:00+02", "03-30 02:00+02", "03-30 02:30+02"]),
    (BERLIN, "30 2,3 * * *", "2026-03-28T23:00", ["03-29 03:00+02", "03-29 03:30+02", "03-30 02:30+02"]),
    (BERLIN, "0 3 * * *", "2026-03-28T03:00", ["03-29 03:00+02", "03-30 03:00+02"]),
    (BERLIN, "*/30 * * * *", "2026-03-29T00:15", ["03-29 01:30+01", "03-29 03:00+02", "03-29 03:30+02"]),
    (BERLIN, "30 * * * *", "2026-03-29T00:15", ["03-29 01:30+01", "03-29 03:30+02", "03-29 04:30+02"]),
    (BERLIN, "30 2 29 3 *", "2026-01-01T00:00", ["03-29 03:00+02", "03-29 02:30+02"]),
    # Berlin, 25 October 2026: 02:59:59+02 is followed by 02:00+01.
    (BERLIN, "30 2 * * *", "2026-10-24T22:00", ["10-25 02:30+02", "10-26 02:30+01"]),
    (BERLIN, "30 2 * * *", "2026-10-25T01:10", ["10-26 02:30+01"]),
    (BERLIN, "*/30 2,3 * * *", "2026-10-24T23:00", ["10-25 02:00+02", "10-25 02:30+02", "10-25 03:00+01", "10-25 03:30+01"]),
    (BERLIN, "*/30 * * * *", "2026-10-24T23:45",
     ["10-25 02:00+02", "10-25 02:30+02", "10-25 02:00+01", "10-25 02:30+01", "10-25 03:00+01"]),
    (BERLIN, "30 * * * *", "2026-10-24T23:45", ["10-25 02:30+02", "10-25 02:30+01", "10-25 03:30+01"]),
    (BERLIN, "0 3 * * *", "2026-10-25T01:10", ["10-25 03:00+01", "10-26 03:00+01"]),
    # New York, 8 March and 1 November 2026.
    (NEW_YORK, "15 2 * * *", "2026-03-08T05:00", ["03-08 03:00-04", "03-09 02:15-04"]),
    (NEW_YORK, "*/20 * * * *", "2026-03-08T06:30", ["03-08 01:40-05", "03-08 03:00-04", "03-08 03:20-04"]),
    (NEW_YORK, "15 1 * * *", "2026-11-01T04:00", ["11-01 01:15-04", "11-02 01:15-05"]),
    (NEW_YORK, "0 * * * *", "2026-11-01T04:30", ["11-01 01:00-04", "11-01 01:00-05", "11-01 02:00-05"]),
    # Shanghai changes no clocks, but did: 4 May 1986 (02:00 to 03:00), 14 September 1986 (02:00 back to 01:00).
    (SHANGHAI, "30 2 * * *", "2026-03-28T18:00", ["03-29 02:30+08", "03-30 02:30+08", "03-31 02:30+08"]),
    (SHANGHAI, "30 2 * * *", "1986-05-03T16:00", ["05-04 03:00+09", "05-05 02:30+09"]),
    (SHANGHAI, "30 1 * * *", "1986-09-13T15:00", ["09-14 01:30+09", "09-15 01:30+08"]),
    (SHANGHAI, "30 * * * *", "1986-09-13T16:00", ["09-14 01:30+09", "09-14 01:30+08", "09-14 02:30+08"]),
    # Lord Howe changes by half an hour: 4 October 2026 (02:00 to 02:30), 5 April 2026 (02:00 back to 01:30).
    (LORD_HOWE, "15 2 * * *", "2026-10-03T14:00", ["10-04 02:30+11", "10-05 02:15+11"]),
    (LORD_HOWE, "*/15 * * * *", "2026-10-03T15:10", ["10-04 01:45+1030", "10-04 02:30+11", "10-04 02:45+11"]),
    (LORD_HOWE, "0 2 * * *", "2026-10-03T14:00", ["10-04 02:30+11", "10-05 02:00+11"]),
    (LORD_HOWE, "45 1 * * *", "2026-04-04T13:00", ["04-05 01:45+11", "04-06 01:45+1030"]),
    (LORD_HOWE, "*/15 * * * *", "2026-04-04T14:40",
     ["04-05 01:45+11", "04-05 01:30+1030", "04-05 01:45+1030", "04-05 02:00+1030"]),
    # Cairo, 24 April 2026: midnight itself is missing. 29 October 2026: the last hour of the day is there twice.
    (CAIRO, "0 0 * * *", "2026-04-23T12:00", ["04-24 01:00+03", "04-25 00:00+03"]),
    (CAIRO, "30 23 29 * *", "2026-10-29T12:00", ["10-29 23:30+03", "11-29 23:30+02"]),
    (CAIRO, "30 * 29 10 *", "2026-10-29T19:00", ["10-29 22:30+03", "10-29 23:30+03", "10-29 23:30+02"]),
    # Apia left out 30 December 2011 altogether: no summer time, so nothing is made up for.
    (APIA, "0 12 * * *", "2011-12-29T12:00", ["12-29 12:00-10", "12-31 12:00+14"]),
    (APIA, "0 * * * *", "2011-12-30T09:30", ["12-31 00:00+14", "12-31 01:00+14"]),
]  # fmt: skip


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def shown(moment: datetime) -> str:
    text = f"{moment:%m-%d %H:%M%z}"
    return text.removesuffix("00") if len(text) == 16 else text


@pytest.mark.parametrize(("zone", "line", "first", "runs"), TABLE)
def test_runs_around_a_change_of_the_clocks(zone, line, first, runs):
    found = next_runs(crontab.from_string(line), instant(first), len(runs), zone)
    assert [shown(run) for run in found] == runs


@pytest.mark.parametrize(("zone", "line", "first", "runs"), TABLE)
def test_remaining_estimate_says_the_same(zone, line, first, runs):
    now = instant(first)
    minute, hour, day, month, weekday = line.split(" ")
    left = crontab(minute, hour, weekday, day, month, tz=zone, nowfun=lambda: now).remaining_estimate(now)
    assert shown((now + left).astimezone(ZoneInfo(zone))) == runs[0]


def test_given_the_second_of_two_hours_then_what_ran_in_the_first_does_not_run_again():
    berlin = ZoneInfo(BERLIN)
    first, second = datetime(2026, 10, 25, 2, 30, tzinfo=berlin), datetime(2026, 10, 25, 2, 30, tzinfo=berlin, fold=1)
    assert shown(next_run(crontab(45, 2), first, berlin)) == "10-25 02:45+02"
    assert shown(next_run(crontab(45, 2), second, berlin)) == "10-26 02:45+01"


def test_seconds_go_on_through_both_hours():
    every_half_minute = crontab(second="*/30")
    change = instant("2026-10-25T01:00")
    runs = next_runs(every_half_minute, change - timedelta(seconds=45), 4, BERLIN)
    assert [run - change for run in runs] == [timedelta(seconds=s) for s in (-30, 0, 30, 60)]


def test_intervals_are_real_time_and_relative_days_are_those_of_the_calendar():
    day = schedule(86400)
    before = instant("2026-03-28T12:00")
    assert next_run(day, before, BERLIN) == before + timedelta(days=1)
    midnights = next_runs(schedule(86400, relative=True), before, 3, BERLIN)
    assert [shown(run) for run in midnights] == ["03-29 00:00+01", "03-30 00:00+02", "03-31 00:00+02"]


def test_the_schedules_own_zone_wins_over_the_one_asked_for():
    run = next_run(crontab(0, 7, tz="Asia/Shanghai"), instant("2026-03-28T12:00"), "Europe/Berlin")
    assert str(run) == "2026-03-29 07:00:00+08:00"


def test_the_machines_own_zone_computes_as_its_name_does(monkeypatch):
    monkeypatch.setenv("TZ", BERLIN)
    time.tzset()
    try:
        for line in ("30 2 * * *", "*/30 * * * *"):
            for first in ("2026-03-28T02:00", "2026-03-29T00:15", "2026-10-24T22:00", "2026-10-25T00:10", "2026-10-25T01:10"):
                local = next_runs(crontab.from_string(line), instant(first), 4, LocalZone())
                named = next_runs(crontab.from_string(line), instant(first), 4, BERLIN)
                # Python calls a time that is there twice unequal to any time of another zone: compare instants.
                assert [run.timestamp() for run in local] == [run.timestamp() for run in named]
    finally:
        monkeypatch.undo()
        time.tzset()


# -- what lint asks -----------------------------------------------------------------------------------------------------


def irregular(line, zone=BERLIN, start="2026-01-01T00:00", until="2027-01-01T00:00"):
    found = doubled_or_missing(crontab.from_string(line), zone, instant(start), instant(until))
    return [(f"{one.wall:%m-%d %H:%M}", one.is_missing, [shown(run) for run in one.runs]) for one in found]


def test_a_year_has_its_missing_and_doubled_times():
    assert irregular("30 2 * * *") == [
        ("03-29 02:30", True, ["03-29 03:00+02"]),
        ("10-25 02:30", False, ["10-25 02:30+02"]),
    ]
    assert irregular("30 * * * *") == [
        ("03-29 02:30", True, []),
        ("10-25 02:30", False, ["10-25 02:30+02", "10-25 02:30+01"]),
    ]
    assert irregular("30 3 * * *") == irregular("30 2 * * *", SHANGHAI) == irregular("30 2 * * mon") == []
    assert irregular("0 12 * * *", APIA, "2011-12-01T00:00", "2012-01-15T00:00") == [("12-30 12:00", True, [])]


def test_other_schedules_know_no_wall_times():
    assert doubled_or_missing(schedule(3600), BERLIN, instant("2026-01-01T00:00"), instant("2027-01-01T00:00")) == []


def test_a_time_without_a_zone_is_no_instant():
    with pytest.raises(ValueError, match="has no zone"):
        next_run(crontab(), datetime(2026, 1, 1))
