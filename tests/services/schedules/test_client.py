"""`app.schedules`: entries that are made, changed and looked at while beats run."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from tests.services.schedules.conftest import sent_by

from sedano import Celery
from sedano.app.entries import CODE, define, write
from sedano.clock import SYSTEM_CLOCK
from sedano.contracts import Change
from sedano.exceptions import ImproperlyConfigured, ScheduleConflict, ScheduleNotFound
from sedano.schedules import clocked, crontab, schedule, solar

BERLIN = ZoneInfo("Europe/Berlin")


def of_code(app: Celery, name: str) -> None:
    """An entry as a beat brings it from `beat_schedule`."""
    definition = define(name, {"task": "add", "schedule": 60.0, "args": (1,)}, source=CODE)
    with closing(app.stores.open_schedules("proj")) as schedules:
        schedules.put([Change(name, write(definition), SYSTEM_CLOCK.wall() + 60)])


class TestCreate:
    def test_an_entry_is_as_it_was_given(self, app: Celery) -> None:
        before = SYSTEM_CLOCK.wall()
        made = app.schedules.create(
            "a",
            app.tasks["add"],
            30.0,
            (1,),
            {"y": 2},
            queue="q",
            priority=3,
            headers={"h": 1},
            jitter=0,
            description="for fun",
        )
        assert made == app.schedules.get("a")
        assert (made.task, made.args, made.kwargs) == ("add", [1], {"y": 2})
        assert made.options == {"queue": "q", "priority": 3, "headers": {"h": 1}}
        assert (made.source, made.paused, made.total, made.last_run) == ("runtime", False, 0, None)
        assert made.definition.description == "for fun"
        assert made.next_run is not None
        assert before + 30 <= made.next_run.timestamp() <= SYSTEM_CLOCK.wall() + 30
        assert made.next_run.tzinfo is not None

    @pytest.mark.parametrize(
        "when",
        [
            schedule(0.25),
            schedule(timedelta(hours=2), relative=True),
            crontab("*/7", "9-17", "mon-fri"),
            crontab("0", "3", tz="Asia/Tokyo"),
            crontab("1", second="30"),
            clocked(datetime(2099, 1, 2, 3, 4, tzinfo=BERLIN)),
            solar("sunrise", 52.5, 13.4),
        ],
        ids=repr,
    )
    def test_each_kind_of_schedule_comes_back_equal(self, app: Celery, when: Any) -> None:
        if isinstance(when, solar):
            pytest.importorskip("ephem", reason="sunrise needs the extra 'solar'")
        made = app.schedules.create("a", "add", when, (1,))
        assert app.schedules.get("a").schedule == when
        assert made.next_run is not None

    def test_one_of_the_name_is_replaced_only_when_asked(self, app: Celery) -> None:
        app.schedules.create("a", "add", 30, (1,))
        with pytest.raises(ScheduleConflict, match="replace=True"):
            app.schedules.create("a", "add", 40, (1,))
        assert app.schedules.create("a", "add", 40, (1,), replace=True).schedule == schedule(40)

    @pytest.mark.parametrize(
        ("given", "says"),
        [
            ({"schedule": 0}, "longer than nothing"),
            ({"schedule": "often"}, "give seconds"),
            ({"schedule": True}, "give seconds"),
            ({"schedule": float("nan")}, "cannot be"),
            ({"args": "text"}, "list or tuple"),
            ({"args": (object(),)}, "JSON"),
            ({"kwargs": [1]}, "mapping"),
            ({"misfire": "nver"}, "once, skip, all"),
            ({"overlap": 3}, "allow, skip, queue, cancel"),
            ({"max_runs": 0}, "from 1 on"),
            ({"jitter": -1}, "not below zero"),
            ({"start": "soon"}, "2030-12-31"),
            ({"task": ""}, "name of the task"),
        ],
    )
    def test_what_cannot_be_is_refused_by_name(self, app: Celery, given: dict[str, Any], says: str) -> None:
        words: dict[str, Any] = {"task": "add", "schedule": 30, "args": (1,), **given}
        with pytest.raises(ImproperlyConfigured, match=says) as caught:
            app.schedules.create("mine", **words)
        assert "'mine'" in str(caught.value)
        assert list(app.schedules.list()) == []

    def test_arguments_that_the_task_does_not_take_are_refused_at_once(self, app: Celery) -> None:
        with pytest.raises(TypeError, match="add"):
            app.schedules.create("a", "add", 30, (1, 2, 3))
        with pytest.raises(TypeError, match="no_such_option"):
            app.schedules.create("a", "add", 30, (1,), no_such_option=1)
        assert list(app.schedules.list()) == []

    def test_start_end_and_runs_bound_the_moments(self, app: Celery) -> None:
        start, end = datetime(2090, 1, 1, 12, 0), datetime(2090, 1, 1, 15, 30)
        app.schedules.create("a", "add", crontab(minute=0), (1,), start=start, end=end)
        hours = [run.hour for run in app.schedules.next_runs("a")]
        assert hours == [12, 13, 14, 15]
        app.schedules.create("b", "add", 3600, (1,), start=start, max_runs=2)
        assert app.schedules.next_runs("b") == [start.replace(tzinfo=BERLIN) + timedelta(hours=each) for each in range(2)]
        assert app.schedules.create("c", "add", 3600, (1,), end=datetime(2020, 1, 1, tzinfo=BERLIN)).is_over

    def test_jitter_is_the_same_for_everybody_and_within_its_bound(self, app: Celery) -> None:
        app.schedules.create("a", "add", crontab(minute=0), (1,), jitter=600)
        runs = app.schedules.next_runs("a", 50)
        assert runs == app.schedules.next_runs("a", 50)
        assert all(run.minute < 10 for run in runs)
        assert len({(run.minute, run.second) for run in runs}) > 25


class TestChange:
    def test_what_is_named_changes_and_the_rest_stays(self, app: Celery) -> None:
        app.schedules.create("a", "add", 3600, (1,), queue="q", overlap="skip", start=None)
        before = app.schedules.get("a")
        after = app.schedules.update("a", args=(5,), priority=1)
        assert (after.args, after.options) == ([5], {"queue": "q", "priority": 1})
        assert after.definition.overlap == "skip"
        assert after.next_run == before.next_run
        moved = app.schedules.update("a", schedule=7200)
        assert moved.next_run is not None
        assert before.next_run is not None
        assert moved.next_run - before.next_run >= timedelta(seconds=3600)

    def test_a_paused_entry_has_no_next_run_until_it_is_resumed(self, app: Celery) -> None:
        app.schedules.create("a", "add", 3600, (1,))
        assert app.schedules.pause("a").next_run is None
        assert app.schedules.next_runs("a") == []
        assert app.schedules.get("a").paused
        assert not app.schedules.get("a").is_over
        assert app.schedules.resume("a").next_run is not None

    def test_an_entry_of_code_is_changed_in_code_and_may_be_paused(self, app: Celery) -> None:
        of_code(app, "c")
        for change in (
            lambda: app.schedules.update("c", args=(2,)),
            lambda: app.schedules.delete("c"),
            lambda: app.schedules.create("c", "add", 5, (1,), replace=True),
        ):
            with pytest.raises(ScheduleConflict, match="beat_schedule"):
                change()
        assert app.schedules.pause("c").paused
        assert app.schedules.resume("c").next_run is not None

    def test_an_unknown_name_is_told_with_the_nearest(self, app: Celery) -> None:
        app.schedules.create("nightly", "add", 3600, (1,))
        for ask in (app.schedules.get, app.schedules.pause, app.schedules.delete, app.schedules.run_now, app.schedules.history):
            with pytest.raises(ScheduleNotFound, match="Did you mean 'nightly'"):
                ask("nigthly")

    def test_a_deleted_entry_is_gone(self, app: Celery) -> None:
        app.schedules.create("a", "add", 3600, (1,))
        app.schedules.delete("a")
        assert list(app.schedules.list()) == []


class TestRunNow:
    def test_its_call_is_sent_besides_its_moments_and_is_in_the_history(self, app: Celery) -> None:
        made = app.schedules.create("a", "add", 3600, (1,), headers={"h": 1})
        result = app.schedules.run_now("a")
        (message,) = sent_by(app)
        assert (message.headers["id"], message.headers["h"]) == (result.id, 1)
        assert app.schedules.get("a") == made
        (run,) = app.schedules.history("a")
        assert (run.task_id, run.manual, run.reason) == (result.id, True, "")

    def test_a_paused_one_as_well_and_each_time_another_call(self, app: Celery) -> None:
        app.schedules.create("a", "add", 3600, (1,), paused=True)
        assert app.schedules.run_now("a").id != app.schedules.run_now("a").id
        assert len(sent_by(app)) == 2


def test_entries_are_listed_by_name_and_prefix(app: Celery) -> None:
    for name in ("b.two", "a.one", "b.one"):
        app.schedules.create(name, "add", 3600, (1,))
    assert [entry.name for entry in app.schedules.list()] == ["a.one", "b.one", "b.two"]
    assert [entry.name for entry in app.schedules.list("b.")] == ["b.one", "b.two"]
