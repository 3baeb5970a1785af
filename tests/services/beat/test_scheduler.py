"""`Scheduler`: which entries are sent when, with what, and what happens when something is wrong with one of them."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.apps import MakeApp, sent
from tests.beats import Every, entry

from sedano import Celery, Task
from sedano.beat import BeatLazyFunc, ScheduleEntry, Scheduler, SchedulingError
from sedano.beat.scheduler import Stopped
from sedano.exceptions import OperationalError
from sedano.protocol.call import read
from sedano.schedules import crontab, schedule
from sedano.testing.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def ticking(app: Celery, clock: FakeClock) -> Any:
    """`ticking({"a": {...}})`: a scheduler of these entries by the test's clock."""

    def make(entries: dict[str, Any], kind: type[Scheduler] = Scheduler, **keywords: Any) -> Scheduler:
        @app.task(name="t")
        def t(*args: Any, **kwargs: Any) -> None: ...

        app.conf.beat_schedule = entries
        scheduler = type("Clocked", (kind,), {"clock": clock})(app, **keywords)
        assert isinstance(scheduler, Scheduler)
        return scheduler

    return make


def sent_names(app: Celery) -> list[str]:
    return [str(read(delivery.message).task) for delivery in sent(app, limit=1000)]


def test_given_an_entry_when_its_time_comes_then_it_is_sent_once_for_each_time(
    app: Celery, ticking: Any, clock: FakeClock
) -> None:
    scheduler = ticking({"a": entry(clock, 10)})
    assert scheduler.tick() == pytest.approx(9.99)
    clock.advance(10)
    assert scheduler.tick() == 0
    assert scheduler.tick() == pytest.approx(9.99)
    assert sent_names(app) == ["t"]
    assert scheduler.schedule["a"].total_run_count == 1
    assert scheduler.schedule["a"].last_run_at == Every(1, clock).now()


def test_given_several_entries_when_they_are_due_then_each_tick_sends_one_the_longest_due_first(
    app: Celery, ticking: Any, clock: FakeClock
) -> None:
    scheduler = ticking({"b": entry(clock, 3, task="b"), "a": entry(clock, 2, task="a"), "never": entry(clock, 1000)})
    scheduler.tick()
    clock.advance(4)
    assert [scheduler.tick(), scheduler.tick()] == [0, 0]
    assert sent_names(app) == ["a", "b"]
    assert scheduler.tick() == pytest.approx(1.99)


def test_given_no_entries_then_it_sleeps_as_long_as_it_may(app: Celery, ticking: Any) -> None:
    assert ticking({}).tick() == 300
    assert ticking({}, max_interval=7).tick() == 7
    app.conf.beat_max_loop_interval = 5
    assert ticking({}).tick() == 5


def test_given_arguments_and_options_when_it_is_sent_then_the_call_has_them_and_says_that_beat_sent_it(
    app: Celery, ticking: Any, clock: FakeClock
) -> None:
    numbers = iter([7, 8])
    given = {
        "args": (1, BeatLazyFunc(lambda: next(numbers))),
        "kwargs": {"z": BeatLazyFunc(max, 3, 4)},
        "options": {"queue": "mail", "priority": 3, "headers": {"mine": 1}},
    }
    scheduler = ticking({"a": entry(clock, 1, **given)})
    for _ in range(2):
        clock.advance(1)
        scheduler.tick()
        scheduler.tick()
    deliveries = sent(app, "mail")
    assert [app_body(app, delivery)[:2] for delivery in deliveries] == [[[1, 7], {"z": 4}], [[1, 8], {"z": 4}]]
    headers = deliveries[0].message.headers
    assert (headers["celery_beat_task"], headers["mine"]) == (True, 1)
    assert given["options"] == {"queue": "mail", "priority": 3, "headers": {"mine": 1}}


def app_body(app: Celery, delivery: Any) -> Any:
    from sedano.protocol.body import decode_body  # noqa: PLC0415

    return decode_body(delivery.message, app.accept_content)


def test_given_a_task_that_is_not_registered_when_it_is_due_then_it_is_sent_by_its_name(
    app: Celery, ticking: Any, clock: FakeClock
) -> None:
    scheduler = ticking({"a": entry(clock, 1, task="elsewhere.task")})
    clock.advance(1)
    scheduler.tick()
    assert sent_names(app) == ["elsewhere.task"]


def test_given_a_registered_task_when_it_is_due_then_its_own_apply_async_is_called(
    app: Celery, clock: FakeClock, ticking: Any
) -> None:
    heard: list[Any] = []

    class Mine(Task[..., Any, Any]):
        name = "mine"

        def run(self) -> None: ...

        def apply_async(self, args: Any = None, kwargs: Any = None, *more: Any, **options: Any) -> Any:
            heard.append((args, kwargs, options["headers"]))
            return super().apply_async(args, kwargs, *more, **options)

    app.register_task(Mine)
    scheduler = ticking({"a": entry(clock, 1, task="mine")})
    clock.advance(1)
    scheduler.tick()
    assert heard == [([], {}, {"celery_beat_task": True})]


def test_given_a_changed_schedule_when_it_ticks_then_new_and_changed_entries_count_and_removed_ones_do_not(
    app: Celery, ticking: Any, clock: FakeClock
) -> None:
    scheduler = ticking({"a": entry(clock, 10, task="a"), "gone": entry(clock, 10, task="gone")})
    scheduler.tick()
    scheduler.add(name="new", task="new", schedule=Every(1, clock))
    scheduler.schedule["a"] = ScheduleEntry("a", "a2", schedule=Every(2, clock), app=app)
    del scheduler.schedule["gone"]
    clock.advance(10)
    while scheduler.tick() == 0:
        pass
    assert sorted(sent_names(app)) == ["a2", "new"]


def test_given_an_entry_whose_next_run_cannot_be_worked_out_then_the_others_are_sent(
    app: Celery, ticking: Any, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Every):
        def is_due(self, last_run_at: datetime) -> tuple[bool, float]:
            raise RuntimeError("no calendar")

    scheduler = ticking({"bad": entry(clock, schedule=Broken(1, clock)), "good": entry(clock, 1, task="good")})
    with caplog.at_level(logging.ERROR, "celery.beat"):
        scheduler.tick()
        clock.advance(1)
        scheduler.tick()
    assert sent_names(app) == ["good"]
    assert "Cannot calculate the next run of 'bad', trying again in 5.00 minutes" in caplog.text


def test_given_an_entry_that_is_not_due_after_all_then_those_behind_it_get_their_turn(
    app: Celery, ticking: Any, clock: FakeClock
) -> None:
    class Hesitant(Every):
        asked = 0

        def is_due(self, last_run_at: datetime) -> tuple[bool, float]:
            self.asked += 1
            return (False, 1.0) if self.asked == 1 else (False, 60.0)

    scheduler = ticking({"late": entry(clock, schedule=Hesitant(1, clock)), "b": entry(clock, 2, task="b")})
    scheduler.tick()
    clock.advance(2)
    assert scheduler.tick() == 0
    assert scheduler.tick() == 0
    assert sent_names(app) == ["b"]


def test_given_an_argument_that_cannot_be_sent_then_it_is_logged_and_the_entry_is_due_again_at_its_next_time(
    app: Celery, ticking: Any, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler = ticking({"a": entry(clock, 5, args=(object(),))})
    clock.advance(5)
    scheduler.tick()
    assert "Message Error: Couldn't apply scheduled task a: " in caplog.text
    assert scheduler.tick() == pytest.approx(4.99)
    with pytest.raises(SchedulingError, match="scheduled task a"):
        scheduler.apply_async(scheduler.schedule["a"])
    assert scheduler.schedule["a"].total_run_count == 2


class Away:
    """Stands before `send_task` and refuses so many times, as when the broker is away."""

    def __init__(self, scheduler: Any, times: int) -> None:
        self.times, self.send = times, scheduler.send_task
        scheduler.send_task = self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.times:
            self.times -= 1
            raise OperationalError("no broker")
        return self.send(*args, **kwargs)


def test_given_a_broker_that_is_away_when_an_entry_is_due_then_the_same_tick_is_tried_until_it_is_sent(
    app: Celery, ticking: Any, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler = ticking({"a": entry(clock, 5, task="elsewhere")})
    waited: list[float] = []
    scheduler.pause = lambda seconds: not waited.append(seconds)
    Away(scheduler, 3)
    clock.advance(5)
    assert scheduler.tick() == 0
    assert sent_names(app) == ["elsewhere"]
    assert waited == [1.0, 2.0, 3.0]
    assert caplog.text.count("beat: Connection error: no broker. Trying again in") == 3
    assert scheduler.schedule["a"].total_run_count == 1


def test_given_a_broker_that_is_away_when_the_service_stops_then_the_entry_is_due_as_before(
    app: Celery, ticking: Any, clock: FakeClock
) -> None:
    scheduler = ticking({"a": entry(clock, 5, task="elsewhere")})
    scheduler.pause = lambda _seconds: False
    Away(scheduler, 1)
    before = scheduler.schedule["a"].last_run_at
    clock.advance(5)
    with pytest.raises(Stopped):
        scheduler.tick()
    assert (scheduler.schedule["a"].last_run_at, scheduler.schedule["a"].total_run_count) == (before, 0)


@pytest.mark.parametrize("where", ["entry", "setting"])
def test_given_that_calls_are_not_to_be_tried_again_when_the_broker_is_away_then_the_tick_is_given_up(
    app: Celery, ticking: Any, clock: FakeClock, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    app.conf.task_publish_retry = where != "setting"
    options = {"retry": False} if where == "entry" else {}
    scheduler = ticking({"a": entry(clock, 5, task="elsewhere", options=options)})
    scheduler.pause = lambda _seconds: True
    Away(scheduler, 1)
    clock.advance(5)
    assert scheduler.tick() == 0
    assert "Message Error" in caplog.text
    assert sent_names(app) == []


def test_given_that_the_clock_is_set_back_then_intervals_go_on_and_crontabs_do_not_run_twice(
    app: Celery, ticking: Any, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    now = Every(1, clock).now
    clock.advance(3600 - clock.wall() % 3600 - 5)
    scheduler = ticking(
        {
            "interval": entry(clock, schedule=schedule(10, nowfun=now), task="interval"),
            "hourly": entry(clock, schedule=crontab(minute=0, nowfun=now), task="hourly"),
        }
    )
    app.conf.timezone = "UTC"
    scheduler.tick()
    clock.advance(10)
    while scheduler.tick() == 0:
        pass
    assert sorted(sent_names(app)) == ["hourly", "interval"]
    clock.jump_wall(-1801)
    for _ in range(190):
        clock.advance(10)
        while scheduler.tick() == 0:
            pass
    assert "The clock was set by -1801.0 seconds" in caplog.text
    names = sent_names(app)
    assert (names.count("interval"), names.count("hourly")) == (pytest.approx(189, abs=2), 0)


@pytest.mark.setting("beat_sync_every")
def test_given_when_it_is_time_to_save_then_sync_is_called_by_the_clock_or_by_what_was_sent(
    app: Celery, ticking: Any, clock: FakeClock
) -> None:
    class Counting(Scheduler):
        synced = 0

        def sync(self) -> None:
            self.synced += 1

    app.conf.beat_sync_every = 2
    scheduler = ticking({"a": entry(clock, 1)}, Counting)
    counts = []
    for _ in range(5):
        clock.advance(1)
        scheduler.tick()
        counts.append(scheduler.synced)
        scheduler.tick()
    assert counts == [1, 1, 2, 2, 3]
    clock.advance(181)
    assert scheduler.should_sync()
    scheduler.close()
    assert scheduler.synced == 4


@pytest.mark.setting("beat_cron_starting_deadline")
@pytest.mark.parametrize(("deadline", "count"), [(None, 1), (7200, 1), (600, 0)])
def test_given_a_run_that_was_missed_by_more_than_the_deadline_when_beat_starts_then_it_is_not_made_up_for(
    app: Celery, ticking: Any, clock: FakeClock, deadline: int | None, count: int
) -> None:
    app.conf.beat_cron_starting_deadline = deadline
    nine = datetime(2026, 3, 4, 9, tzinfo=UTC)
    clock.jump_wall(nine.timestamp() - clock.wall() - 60)
    each_day = crontab(hour=9, minute=0, nowfun=Every(1, clock).now)
    scheduler = ticking({"a": entry(clock, schedule=each_day, task="a")})
    clock.advance(3600)
    scheduler.tick()
    assert len(sent_names(app)) == count


# -- entries that are wrong ---------------------------------------------------------------------------------------------


def test_given_entries_that_can_never_be_sent_then_each_is_named_with_the_reason_and_the_others_go_on(
    app: Celery, ticking: Any, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    wrong: dict[str, Any] = {
        "no schedule": {"task": "t"},
        "no task": {"schedule": Every(1, clock)},
        "words": entry(clock, schedule="every day"),
        "nothing": entry(clock, schedule=0),
        "below nothing": entry(clock, schedule=-5),
        "a list": ["t", 5],
    }
    scheduler = ticking({**wrong, "good": entry(clock, 1, task="good")})
    assert list(scheduler.schedule) == ["good"]
    for name in wrong:
        assert f"The entry {name!r} is left out: " in caplog.text
    assert "its schedule 'every day' is none: give seconds" in caplog.text
    assert "it names no task" in caplog.text


def test_given_an_entry_with_an_unknown_key_then_the_key_is_named_with_the_one_that_was_meant_and_ignored(
    ticking: Any, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler = ticking({"a": entry(clock, 1, arg=(1,)), "b": entry(clock, 1, colour="red")})
    assert "The entry 'a' has the unknown key 'arg', which is ignored. Did you mean 'args'?" in caplog.text
    assert "The entry 'b' has the unknown key 'colour', which is ignored. There are: task," in caplog.text
    assert set(scheduler.schedule) == {"a", "b"}


def test_given_arguments_that_do_not_fit_or_a_task_that_is_not_known_when_beat_starts_then_it_warns(
    app: Celery, ticking: Any, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    @app.task(name="proj.add")
    def add(x: int, y: int) -> int:
        return x + y

    @app.task(name="proj.bound", bind=True)
    def bound(self: Any, x: int) -> None: ...

    @app.task(name="proj.loose", typing=False)
    def loose() -> None: ...

    scheduler = ticking(
        {
            "short": entry(clock, task="proj.add", args=(1,)),
            "fits": entry(clock, task="proj.add", args=(BeatLazyFunc(int), 2)),
            "bound": entry(clock, task="proj.bound", kwargs={"x": 1}),
            "loose": entry(clock, task="proj.loose", args=(1,)),
            "elsewhere": entry(clock, task="proj.ad"),
        }
    )
    caplog.clear()
    scheduler.check_entries()
    assert len(caplog.records) == 2
    assert "The entry 'short' cannot be sent: its arguments do not fit the task 'proj.add'" in caplog.text
    assert "The entry 'elsewhere' sends the task 'proj.ad', which is not registered here" in caplog.text
    assert "Did you mean 'proj.add'?" in caplog.text


# -- Celery's face ------------------------------------------------------------------------------------------------------


def test_given_an_entry_then_it_moves_on_is_compared_and_updated_as_celerys(app: Celery, clock: FakeClock) -> None:
    first = ScheduleEntry("a", "t", schedule=Every(1, clock), args=(1,), options={"queue": "q"}, app=app)
    clock.advance(3)
    second = next(first)
    assert second.total_run_count == 1
    assert (second.last_run_at - first.last_run_at).total_seconds() == 3
    assert second == first
    assert second is not first
    other = ScheduleEntry("other", "u", schedule=Every(2, clock), args=(2,), app=app)
    assert other != first
    first.update(other)
    assert first == other
    assert (first.name, first.args) == ("a", (2,))
    assert sorted([first, second, other], key=id) == sorted([other, first, second])
    assert {**dict(first)}.keys() >= {"name", "task", "schedule", "args", "kwargs", "options", "last_run_at", "app"}


def test_given_a_schedule_as_a_function_or_entry_objects_then_they_are_taken(app: Celery, clock: FakeClock) -> None:
    made = ScheduleEntry("a", "t", schedule=Every(1, clock))
    scheduler = Scheduler(app, schedule=lambda: {"a": made}, lazy=True)
    assert scheduler.schedule == {"a": made}
    scheduler.update_from_dict({"b": made})
    assert scheduler.schedule["b"] is made
    assert made.app is app
    scheduler.schedule = {}
    assert scheduler.get_schedule() == {}


def test_given_results_that_no_store_removes_then_the_clean_up_is_an_entry(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app()
    monkeypatch.setattr(type(app.backend), "supports_autoexpire", False)
    entry_of = Scheduler(app).schedule
    assert "celery.backend_cleanup" not in entry_of  # the schedule of the settings wins over what is installed before it
    scheduler = Scheduler(app, lazy=True)
    scheduler.install_default_entries({})
    assert scheduler.schedule["celery.backend_cleanup"].options == {"expires": 43200}
    app.conf.result_expires = None
    scheduler = Scheduler(app, lazy=True)
    scheduler.install_default_entries({})
    assert scheduler.schedule == {}
