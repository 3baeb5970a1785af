"""Celery's syntax and methods of `crontab`: the rows of what Celery 5.7 was seen to do, one by one."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta, tzinfo
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest

from sedano.schedules import BaseSchedule, ParseException, crontab, crontab_parser, schedstate, schedule

NOON = datetime(2026, 5, 13, 12, 0, tzinfo=UTC)  # a Wednesday


def at(moment: datetime) -> dict[str, object]:
    return {"nowfun": lambda: moment}


@pytest.mark.parametrize(
    ("max_", "min_", "text", "values"),
    [
        (60, 0, "*/15", {0, 15, 30, 45}),
        (60, 0, "5", {5}),
        (60, 0, "5-50/10", {5, 15, 25, 35, 45}),
        (60, 0, "1,13,30-45,50-59/2", {1, 13, *range(30, 46), 50, 52, 54, 56, 58}),
        (60, 0, "*/2,*/3", {n for n in range(60) if n % 2 == 0 or n % 3 == 0}),
        (60, 0, "1,2,40-42", {1, 2, 40, 41, 42}),
        (60, 0, "MON", {1}),
        (60, 0, " 5", {5}),
        (60, 0, "1-2 ", {1, 2}),
        (60, 0, "1_0", {10}),
        (24, 0, "8-17/3", {8, 11, 14, 17}),
        (24, 0, "22-2", {22, 23, 0, 1, 2}),
        (7, 0, "mon-fri", {1, 2, 3, 4, 5}),
        (7, 0, "fri-mon", {5, 6, 0, 1}),
        (7, 0, "fri-mon/2", {5, 0}),
        (7, 0, "sun", {0}),
        (7, 0, "Sunday", {0}),
        (12, 1, "jan,MAR,december", {1, 3, 12}),
        (12, 1, "jan-mar", {1, 2, 3}),
        (12, 1, "2-12/2", {2, 4, 6, 8, 10, 12}),
        (31, 1, "*/10", {1, 11, 21, 31}),
    ],
)
def test_a_field_names_its_values(max_, min_, text, values):
    assert crontab_parser(max_, min_).parse(text) == values


@pytest.mark.parametrize(
    ("max_", "min_", "text", "kind", "said"),
    [
        (60, 0, "", ParseException, "empty part"),
        (24, 0, "1,,2", ParseException, "empty part"),
        (60, 0, "-1", ParseException, "negative"),
        (60, 0, "*/", ParseException, "no step"),
        (60, 0, "1-5/", ParseException, "no step"),
        (60, 0, "1-2-3", ParseException, "'-3' in '1-2-3'"),
        (60, 0, "*/0", ValueError, "'0' in '\\*/0'"),
        (60, 0, "*/2x", ValueError, "'2x'"),
        (60, 0, "60", ValueError, "0 to 59"),
        (31, 1, "0", ValueError, "1 to 31"),
        (7, 0, "7", ValueError, "0 to 6"),
        (7, 0, "foo", ValueError, "neither a number nor the name"),
        (60, 0, "0/5", ValueError, "0/5"),
        (60, 0, "/5", ValueError, "/5"),
        (31, 1, "L", ValueError, "'L'"),
        (60, 0, "@daily", ValueError, "@daily"),
    ],
)
def test_a_field_that_cannot_be_read_says_which_part(max_, min_, text, kind, said):
    with pytest.raises(kind, match=said):
        crontab_parser(max_, min_).parse(text)


@pytest.mark.parametrize(
    ("fields", "kind", "said"),
    [
        ({"day_of_week": 7}, ValueError, "7 is out of range, 0 to 6"),
        ({"minute": 60}, ValueError, "60 is out of range"),
        ({"minute": [0, 61]}, ValueError, "61"),
        ({"day_of_month": "0"}, ValueError, "1 to 31"),
        ({"minute": None}, TypeError, "NoneType"),
        ({"minute": 1.5}, TypeError, "float"),
        ({"minute": [1.5]}, TypeError, "whole"),
        ({"minute": ["1"]}, TypeError, "whole"),
        ({"minute": []}, ValueError, "without any value"),
        ({"day_of_week": set()}, ValueError, "without any value"),
        ({"day_of_month": "30", "month_of_year": "2"}, ValueError, "'30' never occurs in month_of_year '2'"),
        ({"day_of_month": 31, "month_of_year": "4,6,9,11"}, ValueError, "never occurs"),
        ({"tz": "Europe/Berlinn"}, ValueError, "Did you mean 'Europe/Berlin'"),
        ({"tz": 5}, TypeError, "time zone"),
        ({"weekday": 1}, TypeError, "weekday"),
    ],
)
def test_what_can_never_be_meant_is_refused_when_it_is_made(fields, kind, said):
    with pytest.raises(kind, match=said):
        crontab(**fields)


def test_numbers_sets_and_iterators_are_fields_and_the_29th_of_february_is_a_date():
    assert crontab(minute=[0, 30]).minute == {0, 30}
    assert crontab(minute={1, 2}).minute == {1, 2}
    made_of_iterator = crontab(minute=iter([3, 1]))
    assert pickle.loads(pickle.dumps(made_of_iterator)).minute == {1, 3}
    assert crontab(day_of_month=29, month_of_year="feb").day_of_month == {29}


def test_a_line_has_five_fields_with_one_space_between_two():
    assert crontab.from_string("30 7 1 jan mon") == crontab(30, 7, "mon", 1, "jan")
    for line in ("* * * *", "*  * * * *", "* * * * * *", ""):
        with pytest.raises(ValueError, match="five fields"):
            crontab.from_string(line)


def test_all_fields_of_days_must_name_a_day():
    friday_the_13th = crontab(0, 0, day_of_week="fri", day_of_month=13, **at(NOON))
    assert NOON + friday_the_13th.remaining_estimate(NOON) == datetime(2026, 11, 13, tzinfo=UTC)


def test_crontabs_with_the_same_values_are_equal_and_those_of_different_zones_are_not():
    assert crontab(minute="*/30") == crontab(minute="0,30") == crontab(minute=[0, 30])
    assert hash(crontab(minute="*/30")) == hash(crontab(minute="0,30"))
    assert crontab(hour=2) != crontab(hour=3)
    assert crontab(hour=2) != crontab(hour=2, tz="Europe/Berlin")
    assert crontab(hour=2) != crontab(hour=2, nowfun=lambda: NOON)
    assert crontab(hour=2) != "0 2 * * *"


def test_pickles_keep_fields_and_keywords():
    there_and_back = pickle.loads(pickle.dumps(crontab(30, "7", "mon-fri", tz="Asia/Shanghai", second=5)))
    assert there_and_back == crontab(30, 7, "1-5", tz="Asia/Shanghai", second=5)
    assert repr(there_and_back) == "<crontab: 30 7 * * mon-fri (m/h/dM/MY/d), at second 5 Asia/Shanghai>"


def test_the_repr_is_celerys():
    assert repr(crontab(minute=30, hour="7", day_of_week="mon")) == "<crontab: 30 7 * * mon (m/h/dM/MY/d)>"
    assert repr(crontab(minute=[0, 30])) == "<crontab: [0, 30] * * * * (m/h/dM/MY/d)>"


def test_is_due_says_whether_and_when_to_look_again():
    half_past = crontab(minute=30, **at(NOON))
    assert half_past.is_due(NOON - timedelta(minutes=20)) == schedstate(is_due=False, next=1800.0)
    assert half_past.is_due(NOON - timedelta(hours=2)) == schedstate(is_due=True, next=1800.0)
    on_the_dot = crontab(minute=0, **at(NOON))
    assert on_the_dot.is_due(NOON - timedelta(minutes=20)) == schedstate(is_due=True, next=3600.0)


def test_a_naive_time_of_the_last_run_is_utc():
    naive_noon = crontab(minute=30, **at(NOON.replace(tzinfo=None)))
    assert naive_noon.remaining_estimate(datetime(2026, 5, 13, 11, 45)) == timedelta(minutes=30)


def test_remaining_delta_leads_to_the_next_run_in_any_zone():
    last, delta, now = crontab(30, 7, **at(NOON)).remaining_delta(NOON, tz="Asia/Shanghai")
    assert str(last + delta) == "2026-05-14 07:30:00+08:00"
    assert (last, now) == (NOON, NOON)
    assert str(last.tzinfo) == str(now.tzinfo) == "Asia/Shanghai"


def app_with(deadline: float | None = None, timezone: object = UTC, enable_utc: bool = True) -> SimpleNamespace:
    conf = SimpleNamespace(beat_cron_starting_deadline=deadline, enable_utc=enable_utc)
    return SimpleNamespace(conf=conf, timezone=timezone, now=lambda: NOON)


@pytest.mark.parametrize(
    ("deadline", "due"),
    [(None, True), (1800, True), (1799, False), (3600, True), (0, False)],
)
def test_a_run_missed_by_more_than_the_starting_deadline_is_not_due(deadline, due):
    half_past = crontab(minute=30, app=app_with(deadline))
    assert half_past.is_due(NOON - timedelta(hours=3)) == (due, 1800.0)


def test_the_app_gives_zone_and_now_and_a_zone_of_ones_own_wins():
    app = app_with(timezone=ZoneInfo("Asia/Tokyo"))
    assert crontab(app=app).now() == NOON
    assert crontab(app=app).tz == ZoneInfo("Asia/Tokyo")
    assert crontab(0, 22, app=app).remaining_estimate(NOON) == timedelta(hours=1)
    assert crontab(0, 22, app=app, tz="Europe/Berlin").remaining_estimate(NOON) == timedelta(hours=8)
    assert crontab(0, 22, app=app, tz=UTC).remaining_estimate(NOON) == timedelta(hours=10)


def test_to_local_is_for_machines_whose_app_does_not_use_utc():
    assert crontab(app=app_with()).to_local(NOON) is NOON
    local = crontab(app=app_with(enable_utc=False)).to_local(NOON)
    assert local == NOON
    assert local.utcoffset() == NOON.astimezone().utcoffset()


def test_a_subclass_may_set_its_zone_before_the_constructor():
    class Aware(crontab):  # as django-celery-beat's TzAwareCrontab
        def __init__(self, hour, tz):
            self.tz = tz
            super().__init__(0, hour, nowfun=lambda: NOON.astimezone(self.tz))

    assert Aware(7, ZoneInfo("Asia/Shanghai")).remaining_estimate(NOON) == timedelta(hours=11)


def test_a_schedule_of_ones_own_that_only_says_what_remains_has_a_next_run():
    class AtTheNextFullHour(BaseSchedule):
        def remaining_estimate(self, last_run_at):
            hour = last_run_at.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
            return hour - self.now()

    asked = NOON.timestamp() + 600
    assert AtTheNextFullHour().next_after(asked) == NOON.timestamp() + 3600
    with pytest.raises(NotImplementedError, match="BaseSchedule does not define is_due"):
        BaseSchedule().is_due(NOON)


def test_what_a_subclass_says_about_the_next_run_counts():
    class NotOnThursdays(crontab):
        def remaining_estimate(self, last_run_at):
            left = super().remaining_estimate(last_run_at)
            return left + timedelta(days=1) if (self.now() + left).isoweekday() == 4 else left

    class AnHourLater(schedule):
        def remaining_estimate(self, last_run_at):
            return super().remaining_estimate(last_run_at) + timedelta(hours=1)

    assert crontab(0, 7).next_after(NOON.timestamp()) == NOON.timestamp() + 19 * 3600
    assert NotOnThursdays(0, 7).next_after(NOON.timestamp()) == NOON.timestamp() + 43 * 3600
    assert AnHourLater(60).next_after(NOON.timestamp()) == NOON.timestamp() + 3660


def test_zones_of_pytz_are_taken_by_their_name():
    class OfPytz(tzinfo):  # attached to a time as it is, such a zone is minutes off
        zone = "Europe/Berlin"

        def localize(self, dt):
            raise NotImplementedError

        def utcoffset(self, dt):
            return timedelta(minutes=53)

    assert crontab(0, 14, tz=OfPytz()).next_after(NOON.timestamp() - 1) == NOON.timestamp()
