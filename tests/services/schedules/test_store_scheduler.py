"""Beats that share a store: each moment is sent once, by whoever leads."""

from __future__ import annotations

import logging
import time
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import pytest
from tests.services.schedules.stage import START, Stage, settle

from sedano import states
from sedano.app.entries import read
from sedano.beat import leading, storescheduler
from sedano.beat.entry import BeatLazyFunc
from sedano.beat.storescheduler import all_entries
from sedano.beat.ticking import Ticking
from sedano.exceptions import LeadershipLost, OperationalError
from sedano.protocol.serializers import json
from sedano.schedules import crontab, schedule

EVERY_10 = {"task": "add", "schedule": 10.0, "args": (2, 3)}


class TestSending:
    def test_what_is_due_is_sent_once_as_beat_sends_it(self, stage: Stage) -> None:
        beat = stage.scheduler(a=EVERY_10, b={"task": "unknown.here", "schedule": timedelta(seconds=20), "kwargs": {"k": 1}})
        settle(beat)
        assert stage.sent() == []
        stage.after(10.0, beat)
        (message,) = [delivery.message for delivery in stage.sent()]
        assert message is not None
        assert (message.headers["task"], message.headers["celery_beat_task"]) == ("add", True)
        assert json.decode(message.body)[:2] == [[2, 3], {}]
        stage.after(9.9, beat)
        assert stage.sent() == []
        stage.after(0.1, beat)
        assert sorted(str(each.message.headers["task"]) for each in stage.sent() if each.message) == ["add", "unknown.here"]

    def test_options_and_arguments_made_at_the_moment_are_used(self, stage: Stage) -> None:
        made: list[int] = []
        lazy = BeatLazyFunc(lambda: made.append(1) or len(made))
        beat = stage.scheduler(
            a={**EVERY_10, "args": (lazy, 3), "options": {"priority": 3, "headers": {"mine": 1}, "expires": 60}}
        )
        settle(beat)
        stage.after(10.0, beat)
        stage.after(10.0, beat)
        messages = [delivery.message for delivery in stage.sent()]
        assert [json.decode(message.body)[0] for message in messages if message] == [[1, 3], [2, 3]]
        assert [(message.headers["mine"], message.properties["priority"]) for message in messages if message] == [(1, 3)] * 2

    def test_a_schedule_of_ones_own_class_is_asked(self, stage: Stage) -> None:
        class EachMinute(schedule):
            def next_after(self, instant: float, tz: Any = None) -> float | None:
                del tz
                return instant // 60 * 60 + 60

        beat = stage.scheduler(a={"task": "add", "schedule": EachMinute(1.0)})
        settle(beat)
        stage.after(39.0, beat)
        assert stage.ids() == []
        stage.after(1.0, beat)
        assert len(stage.ids()) == 1

    def test_a_class_that_overrides_is_due_alone_is_asked_as_celerys_beat_asks_it(self, stage: Stage) -> None:
        class WhenAsked(schedule):
            answers: ClassVar[list[tuple[bool, float]]] = [(False, 7.0), (True, 3.0), (False, 100.0)]
            asked: ClassVar[list[float]] = []

            def is_due(self, last_run_at: datetime) -> tuple[bool, float]:
                self.asked.append(last_run_at.timestamp() - START)
                return self.answers.pop(0)

        beat = stage.scheduler(a={"task": "add", "schedule": WhenAsked(1.0)})
        settle(beat)
        stage.after(1.0, beat)
        stage.after(6.9, beat)
        assert stage.ids() == []
        stage.after(0.1, beat)
        assert len(stage.ids()) == 1
        stage.after(3.0, beat)
        stage.after(50.0, beat)
        assert stage.ids() == []
        assert WhenAsked.asked == pytest.approx([1.0, 1.0, 8.0])

    def test_an_argument_that_does_not_fit_stops_no_other_entry(self, quick_stage: Stage) -> None:
        stage = quick_stage
        app = stage.app()
        beat = stage.scheduler(app, bad={**EVERY_10, "args": (1, 2, 3)}, good=EVERY_10)
        settle(beat)
        stage.after(10.0, beat)
        assert len(stage.ids()) == 1
        (run,) = app.schedules.history("bad")
        assert run.task_id is None
        assert "TypeError" in run.reason

    def test_a_message_that_the_store_refuses_stops_no_other_entry(self, stage: Stage) -> None:
        app = stage.app()
        nowhere = {**EVERY_10, "options": {"exchange": "nowhere", "routing_key": "x", "exchange_type": "topic"}}
        beat = stage.scheduler(app, bad=nowhere, good=EVERY_10)
        settle(beat)
        stage.after(10.0, beat)
        assert len(stage.ids()) == 1
        (run,) = app.schedules.history("bad")
        assert (run.task_id, "could not be" in run.reason) == (None, True)
        stage.after(10.0, beat)
        assert len(app.schedules.history("bad")) == 2

    def test_entries_that_cannot_be_are_named_and_the_others_go_on(
        self, quick_stage: Stage, caplog: pytest.LogCaptureFixture
    ) -> None:
        beat = quick_stage.scheduler(
            typo={**EVERY_10, "overlapp": "skip"},
            policy={**EVERY_10, "misfire": "sometimes"},
            never={**EVERY_10, "schedule": 0},
            good=EVERY_10,
        )
        settle(beat)
        quick_stage.after(10.0, beat)
        assert len(quick_stage.ids()) == 1
        assert "'overlap'" in caplog.text
        assert "choose one of once, skip, all" in caplog.text
        assert "'never'" in caplog.text

    @pytest.mark.setting("schedule_history")
    def test_of_the_history_as_much_is_kept_as_the_setting_says(self, stage: Stage) -> None:
        app = stage.app(schedule_history=3)
        beat = stage.scheduler(app, a=EVERY_10)
        settle(beat)
        for _ in range(5):
            stage.after(10.0, beat)
        assert [run.due.timestamp() - START for run in app.schedules.history("a")] == pytest.approx([50.0, 40.0, 30.0])


@pytest.mark.setting("schedule_store")
def test_the_schedule_can_live_in_another_store(quick_stage: Stage, tmp_path: Any) -> None:
    app = quick_stage.app(schedule_store=f"sqlite:///{tmp_path}/schedule.db")
    beat = quick_stage.scheduler(app, a=EVERY_10)
    settle(beat)
    quick_stage.after(10.0, beat)
    assert len(quick_stage.ids()) == 1
    assert (tmp_path / "schedule.db").exists()


class TestSeveralBeats:
    def test_one_leads_and_when_it_stops_the_next_goes_on_at_once(self, stage: Stage) -> None:
        one, two = stage.scheduler(a=EVERY_10), stage.scheduler(a=EVERY_10)
        settle(one)
        settle(two)
        stage.after(10.0, two, one)
        stage.after(10.0, one, two)
        one.close()
        stage.after(10.0, two)
        assert len(stage.ids()) == 3

    def test_one_that_slept_through_its_time_sends_nothing_twice(self, stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
        """It looked, and another had the lead before it could send."""
        caplog.set_level(logging.INFO)
        one, two = stage.scheduler(a=EVERY_10), stage.scheduler(a=EVERY_10)
        settle(one)
        stage.clock.advance(10.0)
        schedules, leading = one.opened()
        fence = leading.hold()
        assert fence is not None
        due = schedules.look(stage.clock.wall()).entries
        leading.resign()  # as when its time runs out
        settle(two)
        with pytest.raises(LeadershipLost):
            one.fire(schedules, fence, due, stage.clock.wall())
        settle(one)
        assert len(stage.ids()) == 1
        assert "Standing by" in caplog.text

    def test_two_that_both_send_send_each_moment_once(self, stage: Stage) -> None:
        entries = {f"e{number}": EVERY_10 for number in range(40)}
        beats = [stage.scheduler(stage.app(), **entries) for _ in range(2)]
        settle(beats[0])
        stage.clock.advance(10.0)
        found = [beat.opened()[0].look(stage.clock.wall()).entries for beat in beats]
        for beat, entries_due in zip(beats, found, strict=True):
            assert len(entries_due) == 40
            beat.fire(beat.opened()[0], None, entries_due, stage.clock.wall())  # type: ignore[arg-type]  # no fence at all
        ids = stage.ids()
        assert len(ids) == len(set(ids)) == 40

    def test_one_that_needs_longer_for_all_than_it_leads_goes_on_in_steps(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The calls that a failure has left for the next leader can be many, and its machine slow."""
        monkeypatch.setattr(leading, "TTL_S", 0.5)
        monkeypatch.setattr(leading, "RENEW_S", 0.1)
        monkeypatch.setattr(storescheduler, "STEP_S", 0.1)
        make = Ticking.due

        def slowly(*given: Any) -> Any:
            time.sleep(0.02)
            stage.clock.advance(0.02)
            return make(*given)

        beat = stage.scheduler(**dict[str, Any]({f"e{number}": EVERY_10 for number in range(60)}))
        settle(beat)
        monkeypatch.setattr(Ticking, "due", slowly)
        stage.after(10.0, beat)
        assert len(stage.ids()) == 60


class TestEntriesOfCode:
    def test_at_the_start_they_are_brought_in_line_by_name(self, stage: Stage) -> None:
        first = stage.scheduler(stays=EVERY_10, changes=EVERY_10, goes=EVERY_10)
        settle(first)
        stage.after(5.0, first)
        first.close()
        second = stage.scheduler(stays=EVERY_10, changes={**EVERY_10, "args": (5, 5)}, comes=EVERY_10)
        settle(second)
        entries = {entry.name: entry for entry in all_entries(second.opened()[0])}
        assert list(entries) == ["changes", "comes", "stays"]
        assert entries["stays"].due == pytest.approx(START + 10)
        assert entries["comes"].due == pytest.approx(START + 15)
        assert read(entries["changes"].definition).arguments()[0] == [5, 5]

    def test_a_new_argument_is_no_new_beginning_and_a_new_schedule_keeps_the_count(self, stage: Stage) -> None:
        """A deploy an hour must not keep an entry of a day from being sent."""
        app = stage.app()
        first = stage.scheduler(app, a=EVERY_10, b=EVERY_10)
        settle(first)
        stage.after(17.0, first)
        first.close()
        second = stage.scheduler(a={**EVERY_10, "args": (5, 5)}, b={**EVERY_10, "schedule": 20.0})
        settle(second)
        entries = {entry.name: entry for entry in app.schedules.list()}
        assert entries["a"].next_run is not None
        assert entries["b"].next_run is not None
        assert entries["a"].next_run.timestamp() == pytest.approx(START + 20)
        assert entries["b"].next_run.timestamp() == pytest.approx(START + 37)
        assert (entries["a"].total, entries["b"].total) == (1, 1)
        assert entries["b"].last_id

    def test_one_that_an_operator_paused_stays_paused(self, stage: Stage) -> None:
        app = stage.app()
        first = stage.scheduler(app, a=EVERY_10)
        settle(first)
        app.schedules.pause("a")
        first.close()
        second = stage.scheduler(a={**EVERY_10, "args": (7, 7)})
        settle(second)
        stage.after(100.0, second)
        assert stage.ids() == []
        assert app.schedules.get("a").paused

    def test_one_made_at_run_time_keeps_its_name(self, stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
        app = stage.app()
        app.schedules.create("a", "add", 1e6, (9, 9))
        settle(stage.scheduler(app, a=EVERY_10))
        assert app.schedules.get("a").args == [9, 9]
        assert "made at run time" in caplog.text


class TestLate:
    @pytest.mark.parametrize(
        ("policy", "sent", "missed"),
        [
            ({}, 1, 2),
            ({"misfire": "skip", "misfire_grace": 1}, 0, 3),
            ({"misfire": "all"}, 3, 0),
            ({"misfire": "all", "misfire_window": 12}, 2, 1),
        ],
    )
    def test_what_was_missed_is_caught_up_by_the_policy(
        self, quick_stage: Stage, policy: dict[str, Any], sent: int, missed: int
    ) -> None:
        app = quick_stage.app()
        beat = quick_stage.scheduler(app, a={**EVERY_10, **policy})
        settle(beat)
        quick_stage.after(32.0, beat)
        runs = app.schedules.history("a")
        assert len(quick_stage.ids()) == sent
        assert [bool(run.task_id) for run in runs].count(False) == missed
        assert all(run.reason for run in runs if run.task_id is None)

    @pytest.mark.setting("beat_cron_starting_deadline")
    def test_a_crontab_that_is_later_than_celerys_deadline_is_missed_and_an_interval_is_not(self, quick_stage: Stage) -> None:
        app = quick_stage.app(beat_cron_starting_deadline=60)
        cron = {"task": "add", "schedule": crontab(minute="*/5")}
        beat = quick_stage.scheduler(app, cron=cron, interval={"task": "add", "schedule": 300.0})
        settle(beat)
        quick_stage.after(300.0 + 61.0, beat)  # 03:39:21: 61 s after the interval's, 261 s after the crontab's
        assert [bool(run.task_id) for run in app.schedules.history("cron")] == [False]
        assert [bool(run.task_id) for run in app.schedules.history("interval")] == [True]
        quick_stage.after(50.0, beat)  # 03:40:11
        assert app.schedules.history("cron")[0].task_id

    def test_a_store_that_is_away_is_waited_for(
        self, quick_stage: Stage, caplog: pytest.LogCaptureFixture, monkeypatch: Any
    ) -> None:
        caplog.set_level(logging.INFO)
        beat = quick_stage.scheduler(a=EVERY_10)
        settle(beat)
        schedules = beat.opened()[0]

        def away(*_: Any, **__: Any) -> Any:
            raise OperationalError("no route")

        with monkeypatch.context() as patched:
            patched.setattr(schedules, "look", away)
            quick_stage.clock.advance(15.0)
            waits = [beat.tick() for _ in range(6)]
        assert waits == [0.5, 1.0, 2.0, 4.0, 4.0, 4.0]
        settle(beat)
        assert len(quick_stage.ids()) == 1
        assert caplog.text.count("Connection error") == 1
        assert "is there again" in caplog.text


class TestClock:
    def test_set_forward_by_an_hour_each_is_sent_once_and_goes_on(self, stage: Stage) -> None:
        beat = stage.scheduler(a=EVERY_10, cron={"task": "add", "schedule": crontab(minute=0)})
        settle(beat)
        stage.clock.jump_wall(3600.0)
        settle(beat)
        assert len(stage.ids()) == 2
        stage.after(10.0, beat)
        assert len(stage.ids()) == 1

    def test_set_back_while_another_leads_then_the_next_leader_has_noticed(self, stage: Stage) -> None:
        one, two = stage.scheduler(a=EVERY_10), stage.scheduler(a=EVERY_10)
        settle(one)
        settle(two)
        stage.clock.jump_wall(-3600.0)
        settle(two)
        one.close()
        settle(two)
        stage.after(10.0, two)
        assert len(stage.ids()) == 1

    def test_set_back_by_an_hour_intervals_go_on_and_the_calendar_sends_nothing_again(self, stage: Stage) -> None:
        cron = {"task": "add", "schedule": crontab(minute=0), "args": (0, 0)}
        beat = stage.scheduler(a=EVERY_10, cron=cron)
        settle(beat)
        stage.after(1600.0, beat)  # 04:00:00
        assert sorted(arguments(stage)) == [[0, 0], [2, 3]]
        stage.clock.jump_wall(-3600.0)
        settle(beat)
        for _ in range(3):
            stage.after(10.0, beat)
        assert arguments(stage) == [[2, 3]] * 3
        stage.after(3600.0 - 30.0, beat)
        assert [0, 0] not in arguments(stage)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Asia/Shanghai", "Australia/Lord_Howe"])
@pytest.mark.parametrize("wall", [(2, 30), (1, 45), (2, 15)])
def test_once_a_day_is_once_a_day_where_the_clocks_change(quick_stage: Stage, zone: str, wall: tuple[int, int]) -> None:
    app = quick_stage.app()
    entry = {"task": "add", "schedule": crontab(hour=wall[0], minute=wall[1], tz=zone)}
    beat = quick_stage.scheduler(app, a=entry)
    settle(beat)
    for _ in range(24 * 366):
        quick_stage.clock.advance(3600.0)
        beat.tick()
    settle(beat)
    days = [run.due.astimezone(ZoneInfo(zone)).date() for run in app.schedules.history("a", limit=1000)]
    start = datetime.fromtimestamp(START, ZoneInfo(zone)).date()
    assert len(days) == len(set(days)) == 100
    assert (max(days) - start).days in (366, 365)
    assert len(quick_stage.ids()) in (365, 366, 367)


class TestOverlap:
    def test_skip_waits_for_the_result_of_the_call_before(self, stage: Stage) -> None:
        app = stage.app()
        beat = stage.scheduler(app, a={**EVERY_10, "overlap": "skip"})
        settle(beat)
        stage.after(10.0, beat)
        (first,) = stage.ids()
        stage.after(10.0, beat)
        assert stage.ids() == []
        assert first in app.schedules.history("a", limit=1)[0].reason
        app.backend.store_result(first, 5, states.SUCCESS)
        stage.after(10.0, beat)
        assert len(stage.ids()) == 1

    def test_queue_sends_the_next_within_a_second_of_the_end(self, stage: Stage) -> None:
        app = stage.app()
        beat = stage.scheduler(app, a={**EVERY_10, "overlap": "queue"})
        settle(beat)
        stage.after(10.0, beat)
        (first,) = stage.ids()
        stage.after(10.0, beat)
        assert stage.ids() == []
        app.backend.store_result(first, ValueError("no"), states.FAILURE)
        stage.after(1.0, beat)
        assert len(stage.ids()) == 1
        assert app.schedules.history("a", limit=1)[0].lateness == pytest.approx(1.0)

    def test_a_result_that_cannot_be_read_is_a_result(self, quick_stage: Stage) -> None:
        app = quick_stage.app()
        beat = quick_stage.scheduler(app, a={**EVERY_10, "overlap": "skip"})
        settle(beat)
        quick_stage.after(10.0, beat)
        (first,) = quick_stage.ids()
        app.backend.store_result(first, "no exception", states.FAILURE)
        quick_stage.after(10.0, beat)
        assert len(quick_stage.ids()) == 1

    def test_cancel_terminates_the_call_before_and_sends_the_next(self, stage: Stage) -> None:
        app = stage.app()
        beat = stage.scheduler(app, a={**EVERY_10, "overlap": "cancel"})
        settle(beat)
        stage.after(10.0, beat)
        (first,) = stage.ids()
        stage.after(10.0, beat)
        (second,) = stage.ids()
        with closing(app.stores.open_coordination()) as coordination:
            orders = {order.task_id: order for order in coordination.revokes()[1]}
        assert orders[first].terminate
        assert second not in orders

    def test_without_results_nobody_can_tell_and_it_is_said_at_the_start(
        self, quick_stage: Stage, caplog: pytest.LogCaptureFixture
    ) -> None:
        app = quick_stage.app(task_ignore_result=True)
        beat = quick_stage.scheduler(app, a={"task": "other", "schedule": 10.0, "overlap": "skip"})
        settle(beat)
        quick_stage.after(10.0, beat)
        quick_stage.after(10.0, beat)
        assert len(quick_stage.ids()) == 2
        assert "its calls overlap" in caplog.text


def arguments(stage: Stage) -> list[list[int]]:
    return [json.decode(delivery.message.body)[0] for delivery in stage.sent() if delivery.message is not None]
