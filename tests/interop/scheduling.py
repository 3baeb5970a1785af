"""Answers questions about schedules, with whichever engine runs it: a program of the standard library and `celery` alone.

    python scheduling.py QUESTIONS ANSWERS        JSON files, lists of the same length

A question is a map: `kind` names one of the functions below, the rest are its arguments. An answer is what it returns, or
{"error": the name of the exception's class}.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from zoneinfo import ZoneInfo


def moment(seconds, zone):
    """Aware, in a zone."""
    return datetime.fromtimestamp(seconds, UTC).astimezone(ZoneInfo(zone))


def app_of(zone, now, deadline=None):
    conf = SimpleNamespace(beat_cron_starting_deadline=deadline, enable_utc=True)
    return SimpleNamespace(conf=conf, timezone=ZoneInfo(zone), now=lambda: moment(now, zone))


def crontab(engine, fields, zone, last, now, deadline=None):
    """Seconds that remain; whether it is due, and seconds until the next look."""
    made = engine.schedules.crontab(*fields, app=app_of(zone, now, deadline))
    last = moment(last, zone)
    return [made.remaining_estimate(last).total_seconds(), *made.is_due(last)]


def values(engine, fields):
    """The sets of a crontab."""
    made = engine.schedules.crontab(*fields)
    return [sorted(s) for s in (made.minute, made.hour, made.day_of_week, made.day_of_month, made.month_of_year)]


def line(engine, text):
    return repr(engine.schedules.crontab.from_string(text))


def interval(engine, every, relative, zone, last, now):
    """As `crontab`."""
    made = engine.schedules.schedule(timedelta(seconds=every), relative, app=app_of(zone, now))
    last = moment(last, zone)
    return [made.remaining_estimate(last).total_seconds(), *made.is_due(last)]


def solar(engine, event, lat, lon, last, now):
    made = engine.schedules.solar(event, lat, lon, app=app_of("UTC", now))
    last = moment(last, "UTC")
    return [made.remaining_estimate(last).total_seconds(), *made.is_due(last)]


def time(engine, call, arguments):
    """What a function of `celery.utils.time` makes of it, as text."""
    return repr(getattr(engine.time, call)(*(eval(one) if isinstance(one, str) else one for one in arguments)))


def names(engine):
    return {"time": sorted(engine.time.__all__), "schedules": sorted(engine.schedules.__all__)}


def answer(engine, questions):
    found = []
    for question in questions:
        asked = dict(question)
        function = globals()[asked.pop("kind")]
        try:
            found.append(function(engine, **asked))
        except Exception as exc:
            found.append({"error": type(exc).__name__})
    return found


if __name__ == "__main__":
    from celery import schedules
    from celery.utils import time as celery_time

    with open(sys.argv[1]) as file:
        questions = json.load(file)
    with open(sys.argv[2], "w") as file:
        json.dump(answer(SimpleNamespace(schedules=schedules, time=celery_time), questions), file)
