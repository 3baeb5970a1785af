from __future__ import annotations

import pickle
from datetime import timedelta

import pytest

from sedano.schedules import ParseException, crontab, crontab_parser, maybe_schedule, schedule


@pytest.mark.parametrize(
    ("max_", "min_", "text", "values"),
    [
        (60, 0, "*/15", {0, 15, 30, 45}),
        (60, 0, "5", {5}),
        (24, 0, "8-17/3", {8, 11, 14, 17}),
        (24, 0, "22-2", {22, 23, 0, 1, 2}),
        (7, 0, "mon-fri", {1, 2, 3, 4, 5}),
        (7, 0, "fri-mon", {5, 6, 0, 1}),
        (7, 0, "7", {0}),
        (12, 1, "jan,MAR,december", {1, 3, 12}),
        (31, 1, "*/10", {1, 11, 21, 31}),
        (60, 0, "1,2,40-42", {1, 2, 40, 41, 42}),
    ],
)
def test_a_field_names_its_values(max_, min_, text, values):
    assert crontab_parser(max_, min_).parse(text) == values


@pytest.mark.parametrize(
    ("max_", "min_", "text"), [(60, 0, "60"), (60, 0, "*/0"), (60, 0, ""), (7, 0, "foo"), (31, 1, "0"), (24, 0, "1,,2")]
)
def test_a_field_that_cannot_be_read_says_so(max_, min_, text):
    with pytest.raises(ParseException):
        crontab_parser(max_, min_).parse(text)


def test_a_number_out_of_range_is_refused():
    with pytest.raises(ValueError, match="61"):
        crontab(minute=61)


def test_crontabs_with_the_same_values_are_equal_and_survive_pickling():
    assert crontab(minute="*/30") == crontab(minute="0,30") == crontab(minute=[0, 30])
    assert crontab(hour=2) != crontab(hour=3)
    assert pickle.loads(pickle.dumps(crontab(hour=7, minute=30, day_of_week=1))) == crontab(30, 7, 1)


def test_the_repr_is_a_cron_line():
    assert repr(crontab(minute=30, hour="7", day_of_week="mon")) == "<crontab: 30 7 * * mon (m/h/dM/MY/d)>"


def test_numbers_and_timedeltas_become_schedules():
    assert maybe_schedule(30) == schedule(timedelta(seconds=30)) == timedelta(seconds=30)
    assert maybe_schedule(timedelta(minutes=1)).seconds == 60
    assert maybe_schedule(None) is None
