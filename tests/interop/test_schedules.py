"""Schedules beside Celery's own: the same questions, ten thousand of them at random, with the time passed in.

What differs is checked to be one of the rows of docs/differences.md about schedules, and nothing else.
"""

from __future__ import annotations

import base64
import json
import pickle
import random
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from tests.interop import scheduling
from tests.interop.environments import Environment, celery_environment

from sedano import schedules
from sedano.compat import celery_utils_time
from sedano.protocol.serializers import pickle as wire
from sedano.schedules.patterns import Pattern
from sedano.schedules.walls import changes, instants_of

pytestmark = [pytest.mark.celery]

ZONES = (
    "UTC", "Europe/Berlin", "America/New_York", "Asia/Shanghai", "Australia/Lord_Howe", "America/Santiago", "Africa/Cairo",
    "Asia/Kolkata", "Pacific/Auckland", "Atlantic/Azores", "America/Sao_Paulo",
)  # fmt: skip
LIMITS = ((0, 59), (0, 23), (0, 6), (1, 31), (1, 12))
STARS = (0.2, 0.4, 0.6, 0.6, 0.6)
FIRST = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
YEARS_S = 3 * 365 * 86400

Question = dict[str, Any]


@pytest.fixture(scope="module")
def celery() -> Environment:
    return celery_environment("5.7")


def ask(environment: Environment, questions: list[Question], folder: Path) -> tuple[list[Any], list[Any]]:
    """Our answers and Celery's, in the order of the questions."""
    asked, answered = folder / "questions.json", folder / "answers.json"
    asked.write_text(json.dumps(questions))
    words = [scheduling.__file__, str(asked), str(answered)]
    program = f"import runpy, sys; sys.argv = {words!r}; runpy.run_path(sys.argv[0], run_name='__main__')"
    environment.run(program, folder=folder, variables={})
    engine = SimpleNamespace(schedules=schedules, time=celery_utils_time)
    ours = json.loads(json.dumps(scheduling.answer(engine, questions)))
    return ours, json.loads(answered.read_text())


def some_part(rng: random.Random, low: int, high: int) -> str:
    first, last = rng.randint(low, high), rng.randint(low, high)
    shape = rng.choice(["*/{step}", "{first}-{last}", "{first}-{last}/{step}", "{first}", "{first}"])
    return shape.format(first=first, last=last, step=rng.randint(1, high))


def some_field(rng: random.Random, place: int) -> Any:
    low, high = LIMITS[place]
    kind = rng.random()
    if kind < STARS[place]:
        return "*"
    if rng.random() < 0.2:
        return sorted({rng.randint(low, high) for _ in range(rng.randint(1, 4))})
    return ",".join(some_part(rng, low, high) for _ in range(rng.choice([1, 1, 1, 2, 3])))


@cache
def changes_of(zone: str) -> list[int]:
    return [change.at for change in changes(int(FIRST), int(FIRST + YEARS_S), ZoneInfo(zone))]


def some_instant(rng: random.Random, zone: str) -> float:
    """Any in three years, half of them near a change of the clocks."""
    instant = FIRST + rng.random() * YEARS_S
    if changes_of(zone) and rng.random() < 0.5:
        instant = rng.choice(changes_of(zone)) + rng.uniform(-30_000, 8_000)
    return instant // 60 * 60 if rng.random() < 0.3 else instant


def some_times(rng: random.Random) -> Question:
    zone = rng.choice(ZONES)
    last = some_instant(rng, zone)
    return {"zone": zone, "last": last, "now": last + rng.choice([0, 1, 60, 3600, 3 * 86400]) * rng.random()}


def goes_its_own_way(pattern: Pattern, start: float, zone: ZoneInfo) -> bool:
    """Whether Celery, which adds on the wall clock, is expected to find another run after `start`."""
    moment = datetime.fromtimestamp(start, zone)
    if moment.fold:
        return True  # it takes the next time for one of the first pass, which is over
    wall = pattern.next_wall(moment.replace(tzinfo=None) + timedelta(seconds=1))
    assert wall is not None
    if not instants_of(wall, zone):
        return True  # what is missing comes later by the length of the gap
    ours = pattern.next_after(start, zone)
    assert ours is not None
    return bool(datetime.fromtimestamp(ours, zone).fold)  # a rhythm: Celery pauses for the doubled hour


def test_given_ten_thousand_crontabs_when_asked_for_the_next_run_then_celery_says_the_same(
    celery: Environment, tmp_path: Path
) -> None:
    rng = random.Random(20261122)
    questions = [
        {
            "kind": "crontab",
            "fields": [some_field(rng, place) for place in range(5)],
            "deadline": rng.choice([None, None, 100, 5000]),
            **some_times(rng),
        }
        for _ in range(10_000)
    ]
    ours, theirs = ask(celery, questions, tmp_path)
    own_way = 0
    for question, our, their in zip(questions, ours, theirs, strict=True):
        if our == their:
            continue
        assert isinstance(our, list), (question, our, their)
        assert isinstance(their, list), (question, our, their)
        pattern, zone = schedules.crontab(*question["fields"]).pattern, ZoneInfo(question["zone"])
        expected = [goes_its_own_way(pattern, question[start], zone) for start in ("last", "now")]
        assert any(expected), (question, our, their)
        own_way += 1
        if not expected[0]:
            assert our[:2] == their[:2], (question, our, their)
    assert 0 < own_way < 200
    errors = sum(isinstance(answer, dict) for answer in ours)
    assert errors < 1000, "most questions are about crontabs that there can be"


def test_given_a_missing_wall_time_then_celery_runs_as_much_later_and_we_at_the_end_of_the_gap(
    celery: Environment, tmp_path: Path
) -> None:
    """The rows of docs/differences.md, in Berlin: 29 March and 25 October 2026."""
    zone = ZoneInfo("Europe/Berlin")

    def asked(minute: str, hour: str, *wall: int, fold: int = 0) -> Question:
        last = datetime(2026, *wall, tzinfo=zone, fold=fold).timestamp()
        return {"kind": "crontab", "fields": [minute, hour], "zone": "Europe/Berlin", "last": last, "now": last}

    questions = [
        asked("30", "2", 3, 29, 1, 30),
        asked("*/15", "*", 10, 25, 2, 45),
        asked("0", "*", 10, 25, 2, 0),
        asked("45", "2", 10, 25, 2, 30, fold=1),
    ]
    ours, theirs = ask(celery, questions, tmp_path)
    minutes = [(our[0] / 60, their[0] / 60) for our, their in zip(ours, theirs, strict=True)]
    assert minutes == [(30, 60), (15, 75), (60, 120), (24 * 60 + 15, -45)]
    # A beat that starts in the second of the two hours sends such an entry without a pause.
    assert theirs[3][1:] == [True, 0]


def test_given_intervals_relative_or_not_then_celery_says_the_same(celery: Environment, tmp_path: Path) -> None:
    rng = random.Random(7)
    every = [0, 0.5, 1, 10, 30, 60, 90, 1800, 3600, 5400, 7200, 86400, 2 * 86400]
    questions = [
        {
            "kind": "interval",
            "every": rng.choice([*every, rng.randint(1, 100_000)]),
            "relative": rng.random() < 0.8,
            **some_times(rng),
        }
        for _ in range(3_000)
    ]
    ours, theirs = ask(celery, questions, tmp_path)
    assert [pair for pair in zip(questions, ours, theirs, strict=True) if pair[1] != pair[2]] == []


def test_given_any_text_as_a_field_then_celery_reads_the_same_or_raises_the_same(celery: Environment, tmp_path: Path) -> None:
    rng = random.Random(11)
    questions: list[Question] = []
    for _ in range(4_000):
        fields = ["*"] * 5
        fields[rng.randrange(5)] = "".join(rng.choice("0123456789*/-,, monjanfrL@ 5") for _ in range(rng.randint(0, 6)))
        questions.append({"kind": "values", "fields": fields})
    listed: list[Any] = [None, 1.5, [0, 30], [1.0], ["1"], True, {}, -1, 60, [61]]
    questions += [{"kind": "values", "fields": [field]} for field in listed]
    questions += [
        {"kind": "values", "fields": ["*", "*", "*", day, month]} for day, month in (("30", "2"), (31, "4,6"), (29, 2))
    ]
    lines = ["* * * * *", "*/5 1 2 3 mon", "* * * *", "*  * * * *", "", "@daily"]
    questions += [{"kind": "line", "text": text} for text in lines]
    ours, theirs = ask(celery, questions, tmp_path)
    differ = [pair for pair in zip(questions, ours, theirs, strict=True) if pair[1] != pair[2]]
    # An empty field never matches, and what follows a range is a mistake: refused. Celery lets both pass.
    passed = [question for question, our, _ in differ if our == {"error": "ParseException"} and "-" in str(question)]
    assert [pair for pair in differ if pair[0] not in passed and pair[0]["fields"] != [{}]] == []
    assert len(passed) < 10


TIMES = [
    ("delta_resolution", "datetime(2026, 5, 13, 12, 34, 56, 789)", "timedelta(days=2)"),
    ("delta_resolution", "datetime(2026, 5, 13, 12, 34, 56, 789)", "timedelta(hours=2)"),
    ("delta_resolution", "datetime(2026, 5, 13, 12, 34, 56, 789)", "timedelta(minutes=2)"),
    ("delta_resolution", "datetime(2026, 5, 13, 12, 34, 56, 789)", "timedelta(seconds=2)"),
    ("humanize_seconds", 59.999),
    ("humanize_seconds", 0.001),
    ("humanize_seconds", 90061, "'in'", "' '"),
    ("humanize_seconds", 0.5, "'in'", "' '", "'now'", True),
    ("rate", "'10/m'"),
    ("rate", "'0.7/h'"),
    ("rate", "'1'"),
    ("rate", "None"),
    ("rate", 5),
    ("rate", "'1/d'"),
    ("weekday", "'Friday'"),
    ("weekday", "'jan'"),
    ("yearmonth", "'december'"),
    ("maybe_timedelta", 30),
    ("maybe_timedelta", "timedelta(1)"),
    ("maybe_timedelta", "None"),
    ("is_naive", "datetime(2026, 1, 1)"),
    ("get_exponential_backoff_interval", 2, 3, 600),
    ("adjust_timestamp", 1000.0, 2, "lambda: -1"),
    ("ffwd", 2026),
    ("subtract_datetimes", "datetime(2026, 1, 2)", "datetime(2026, 1, 1)"),
    ("add_seconds_to_datetime", "datetime(2026, 1, 1)", 90),
    ("maybe_iso8601", "None"),
    ("maybe_iso8601", "'2026-01-01T10:00:00'"),
    ("maybe_iso8601", "'20260101T100000'"),
]


def test_given_the_functions_of_celery_utils_time_then_they_say_the_same(celery: Environment, tmp_path: Path) -> None:
    questions: list[Question] = [{"kind": "time", "call": call, "arguments": arguments} for call, *arguments in TIMES]
    ours, theirs = ask(celery, [*questions, {"kind": "names"}], tmp_path)
    assert ours[:-1] == theirs[:-1]
    for module, names in theirs[-1].items():
        assert set(names) <= set(ours[-1][module]), module


def test_given_schedules_that_celery_pickled_then_they_are_ours_and_it_reads_what_we_pickle(
    celery: Environment, tmp_path: Path
) -> None:
    write = """
import base64, pickle
from datetime import timedelta
from celery.schedules import crontab, schedule
made = [crontab(30, "7-9/2", day_of_week=[1, 5]), schedule(timedelta(seconds=30), True)]
print(base64.b64encode(pickle.dumps(made)).decode())
"""
    kept = wire.decode(base64.b64decode(celery.run(write, folder=tmp_path, variables={})))
    made = [schedules.crontab(30, "7-9/2", day_of_week=[1, 5]), schedules.schedule(30, True)]
    assert kept == made
    assert [type(one).__module__.partition(".")[0] for one in kept] == ["sedano", "sedano"]
    read = f"import base64, pickle; print(pickle.loads(base64.b64decode({base64.b64encode(wire.encode(made))!r})))"
    assert celery.run(read, folder=tmp_path, variables={}) == repr(made)
    assert pickle.loads(pickle.dumps(made)) == made
