"""Schedules in words and as lines of cron."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sedano.schedules import BaseSchedule, ParseException, clocked, cron, crontab, in_words, schedule
from sedano.schedules.crontabs import crontab as kind


@pytest.mark.parametrize(
    ("line", "english", "chinese"),
    [
        ("* * * * *", "every minute", "每分钟"),
        ("*/15 * * * *", "every 15 minutes", "每15分钟"),
        ("0 * * * *", "every hour", "每小时"),
        ("30 * * * *", "at minute 30 of every hour", "每小时第30分"),
        ("5,10,20 * * * *", "at minutes 5, 10 and 20 of every hour", "每小时第5、10、20分"),
        ("0 */2 * * *", "every 2 hours", "每2小时"),
        ("30 */2 * * *", "at minute 30 of every 2 hours", "每2小时第30分"),
        ("*/15 8-17 * * 1-5", "every 15 minutes of hours 8 to 17 on Monday to Friday", "每周一至周五 8至17时 每15分钟"),
        ("1-40 3 * * *", "at minutes 1 to 40 of hour 3", "3时第1至40分"),
        ("0 0 * * *", "at 00:00 every day", "每天 00:00"),
        ("30 7 * * mon-fri", "at 07:30 on Monday to Friday", "每周一至周五 07:30"),
        ("0 7,12,18 * * sat,sun", "at 07:00, 12:00 and 18:00 on Saturday and Sunday", "每周六、周日 07:00、12:00、18:00"),
        ("0 6 * * fri-mon", "at 06:00 on Monday and Friday to Sunday", "每周一、周五至周日 06:00"),
        ("0 0 1,15 * *", "at 00:00 on days 1 and 15 of the month", "每月1、15日 00:00"),
        ("0 0 29 2 *", "at 00:00 on day 29 of the month in February", "每年2月29日 00:00"),
        ("0 0 13 * 5", "at 00:00 on day 13 of the month if it is Friday", "每月13日且为周五 00:00"),
        ("0 9 * 1-3 *", "at 09:00 in January to March", "每年1至3月每天 09:00"),
        ("0 9 * 6 1", "at 09:00 on Monday in June", "每年6月的每周一 09:00"),
        ("*/10 * * * * *", "every 10 seconds", "每10秒"),
        ("5 30 7 * * *", "at 07:30:05 every day", "每天 07:30:05"),
        ("0,20 * 3 * * *", "at seconds 0 and 20 of every minute of hour 3", "3时 每分钟第0、20秒"),
        ("*/20 * * * * 1", "every 20 seconds on Monday", "每周一 每20秒"),
    ],
)
def test_crontabs_in_words(line, english, chinese):
    assert in_words(cron.parse(line)) == english
    assert in_words(cron.parse(line), "zh") == chinese


@pytest.mark.parametrize(
    ("given", "english", "chinese"),
    [
        (schedule(30), "every 30 seconds", "每30秒"),
        (schedule(0.5), "every 0.5 seconds", "每0.5秒"),
        (schedule(90), "every 1 minute 30 seconds", "每1分钟30秒"),
        (schedule(60), "every minute", "每分钟"),
        (schedule(3600, relative=True), "every hour, on the hour", "每小时(整点)"),
        (schedule(timedelta(days=2), relative=True), "every 2 days, at midnight", "每2天(零点)"),
        (schedule(0), "every 0 seconds", "每0秒"),
        (clocked(datetime(2026, 5, 13, 20, 0, tzinfo=UTC)), "once, on 2026-05-13 20:00 (UTC)", "一次:2026-05-13 20:00 (UTC)"),
        (
            clocked(datetime(2026, 5, 13, 20, 0, 5), tz="Asia/Shanghai"),
            "once, on 2026-05-13 20:00:05 (Asia/Shanghai)",
            "一次:2026-05-13 20:00:05 (Asia/Shanghai)",
        ),
        (crontab(30, 7, tz="Asia/Shanghai"), "at 07:30 every day (Asia/Shanghai)", "每天 07:30 (Asia/Shanghai)"),
    ],
)
def test_other_schedules_in_words(given, english, chinese):
    assert in_words(given) == english
    assert in_words(given, "zh") == chinese


def test_a_kind_of_ones_own_is_its_repr_and_other_languages_are_refused():
    class Tides(BaseSchedule):
        def __repr__(self):
            return "<tides: high>"

    assert in_words(Tides()) == "<tides: high>"
    with pytest.raises(ValueError, match="'it'"):
        in_words(crontab(), "it")


# -- lines --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("30 7 * * mon-fri", crontab(30, 7, "mon-fri")),
        ("  30\t7  * * 1-5 ", crontab(30, 7, "mon-fri")),
        ("*/10 * * * * *", crontab(second="*/10")),
        ("0 30 7 * * *", crontab(30, 7)),
        ("0 0 * * 7", crontab(0, 0, 0)),
        ("0 0 * * 5-7", crontab(0, 0, [5, 6, 0])),
        ("@daily", crontab(0, 0)),
        ("@Hourly", crontab(0)),
        ("@weekly", crontab(0, 0, "sun")),
        ("@yearly", crontab(0, 0, day_of_month=1, month_of_year=1)),
    ],
)
def test_lines_are_read_as_people_write_them(line, meant):
    assert cron.parse(line) == meant


@pytest.mark.parametrize(
    ("line", "error", "said"),
    [
        ("* * * *", ValueError, "five fields .* not 4"),
        ("@dayly", ValueError, "Did you mean '@daily'"),
        ("0 0 * * 8", ValueError, "8"),
        ("0 0 * * mon-x7", ValueError, "x7"),
        ("0 0 30 2 *", ValueError, "never occurs"),
        ("0 0 ,1 * *", ParseException, "empty part"),
    ],
)
def test_a_line_that_means_nothing_says_why(line, error, said):
    with pytest.raises(error, match=said):
        cron.parse(line)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (crontab(), "* * * * *"),
        (crontab("*/5", [8, 9, 10, 12], "mon", {1, 15}), "*/5 8-10,12 1,15 * mon"),
        (crontab("1, 2"), "1,2 * * * *"),
        (crontab(0, range(24)), "0 * * * *"),
        (crontab(0, 0, second=30), "30 0 0 * * *"),
    ],
)
def test_a_crontab_is_written_as_a_line_that_reads_the_same(given, line):
    assert given.to_text() == cron.to_text(given) == line
    assert cron.parse(line) == given


def test_the_zone_is_given_beside_the_line():
    assert cron.parse("30 7 * * *", tz="Asia/Shanghai") == kind(30, 7, tz="Asia/Shanghai")
