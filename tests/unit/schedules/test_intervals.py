from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from sedano.schedules import clocked, crontab, maybe_schedule, schedstate, schedule

NOON = datetime(2026, 5, 13, 12, 0, tzinfo=UTC)


def due(every, *, last, now=NOON, **options):
    return schedule(every, nowfun=lambda: now, **options).is_due(last)


def test_numbers_and_timedeltas_become_schedules():
    assert maybe_schedule(30) == schedule(timedelta(seconds=30)) == timedelta(seconds=30)
    assert maybe_schedule(timedelta(minutes=1)).seconds == 60
    assert maybe_schedule(30, relative=True).relative
    assert maybe_schedule(None) is None


def test_a_schedule_passes_and_is_bound_to_the_app():
    app = object()
    kept = crontab()
    assert maybe_schedule(kept, app=app) is kept
    assert kept.app is app
    assert maybe_schedule(5, app=app).app is app


def test_equal_by_interval_and_not_to_a_number():
    assert schedule(30) == schedule(30.0) == timedelta(seconds=30)
    assert schedule(30) != 30
    assert schedule(30) != schedule(30, tz="Asia/Tokyo")


def test_texts_are_celerys():
    assert repr(schedule(90)) == "<freq: 1.50 minutes>"
    assert schedule(86400).human_seconds == "1.00 day"
    assert schedule(0.5).human_seconds == "now"


def test_pickles_keep_everything():
    kept = pickle.loads(pickle.dumps(schedule(30, True, tz="Asia/Tokyo")))
    assert (kept.seconds, kept.relative, kept.tz) == (30, True, ZoneInfo("Asia/Tokyo"))
    moment = clocked(NOON, tz="Asia/Tokyo")
    assert pickle.loads(pickle.dumps(moment)) == moment


def test_is_due_says_whether_and_when_to_look_again():
    assert due(30, last=NOON - timedelta(seconds=10)) == schedstate(False, 20.0)
    assert due(30, last=NOON - timedelta(seconds=30)) == schedstate(True, 30.0)
    assert due(0, last=NOON) == schedstate(True, 0)


def test_relative_ones_run_on_the_whole_unit():
    assert due(3600, relative=True, last=NOON - timedelta(minutes=20)) == schedstate(True, 3600.0)
    assert due(7200, relative=True, last=NOON - timedelta(minutes=50)) == schedstate(False, 3600.0)
    assert schedule(86400, relative=True).next_after(NOON.timestamp()) == datetime(2026, 5, 14, tzinfo=UTC).timestamp()


def test_a_relative_one_with_a_zone_runs_on_that_zones_midnight():
    daily = schedule(86400, relative=True, tz="Asia/Shanghai")
    assert daily.next_after(NOON.timestamp()) == datetime(2026, 5, 13, 16, tzinfo=UTC).timestamp()


def test_the_next_run_is_always_later():
    assert schedule(30).next_after(100.25) == 130.25
    assert schedule(0).next_after(100) == 100.001
    assert schedule(timedelta(seconds=-5)).next_after(100) == 100.001


# -- one moment ---------------------------------------------------------------------------------------------------------


def test_given_a_moment_when_it_has_come_then_it_is_due_until_it_has_run():
    def state(now, last):
        return clocked(NOON, nowfun=lambda: now).is_due(last)

    before, after = NOON - timedelta(minutes=1), NOON + timedelta(minutes=1)
    assert state(before, None) == state(before, before) == schedstate(False, 60.0)
    assert state(after, before).is_due
    assert state(after, None).is_due
    assert not state(after, after).is_due
    assert not state(after, NOON).is_due


def test_a_moment_is_the_next_run_until_it_is_over():
    moment = clocked(NOON)
    assert moment.next_after(NOON.timestamp() - 0.5) == NOON.timestamp()
    assert moment.next_after(NOON.timestamp()) is None
    assert clocked(NOON.astimezone(ZoneInfo("Asia/Tokyo"))) == moment


def test_a_moment_without_a_zone_is_of_the_schedules_zone():
    naive = datetime(2026, 5, 13, 20, 0)
    assert clocked(naive, tz="Asia/Shanghai").next_after(0) == NOON.timestamp()
    assert clocked(naive).next_after(0, ZoneInfo("Asia/Shanghai")) == NOON.timestamp()


def test_what_is_no_moment_is_refused():
    with pytest.raises(TypeError, match="needs a datetime, not str"):
        clocked("2026-05-13")
