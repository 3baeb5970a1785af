"""`Service` and `EmbeddedService`: the loop, its signals, its end, and which scheduler it runs."""

from __future__ import annotations

import logging
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sedano import Celery, signals
from sedano.beat import EmbeddedService, PersistentScheduler, Scheduler, Service
from sedano.beat.service import find_scheduler
from sedano.exceptions import ImproperlyConfigured, OperationalError

PATIENCE_S = 60.0


class Ticking(Scheduler):
    """Notes its ticks; `wake` after `times` of them."""

    times = 1
    pauses_s = 3600.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.ticks = 0
        self.closed = 0
        self.ticked = threading.Event()

    def tick(self, *_args: Any, **_kwargs: Any) -> Any:
        self.ticks += 1
        if self.ticks < self.times:
            return 0
        self.ticked.set()
        return self.pauses_s

    def close(self) -> None:
        self.closed += 1
        super().close()


def run(service: Service) -> threading.Thread:
    thread = threading.Thread(target=service.start, daemon=True)
    thread.start()
    return thread


def test_given_a_service_when_it_is_stopped_from_another_thread_then_it_ends_at_once_and_the_schedule_is_closed(
    app: Celery, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "celery.beat")
    service = Service(app, scheduler_cls=Ticking)
    service.scheduler.times = 3
    thread = run(service)
    assert service.scheduler.ticked.wait(PATIENCE_S)
    service.stop(wait=True)
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert (service.scheduler.ticks, service.scheduler.closed) == (3, 1)
    for line in (
        "beat: Starting...",
        "beat: Ticking with max interval->5.00 minutes",
        "beat: Waking up in 1.00 hour.",
        "beat: Shutting down...",
    ):
        assert line in caplog.messages


def test_given_a_signal_while_it_sleeps_then_it_leaves_at_once_and_while_it_sends_after_the_tick(app: Celery) -> None:
    class Asked(Ticking):
        def tick(self, *args: Any, **kwargs: Any) -> Any:
            service.leave()  # as a signal handler does that comes in the middle of a tick
            return super().tick()

    service = Service(app, scheduler_cls=Asked)
    service.start()
    assert (service.scheduler.ticks, service.scheduler.closed) == (1, 1)
    with pytest.raises(SystemExit):
        service.leave()
    idle = Service(app, scheduler_cls=Ticking)
    with pytest.raises(SystemExit):
        idle.leave()


def test_given_receivers_when_it_starts_then_beat_init_comes_before_the_first_tick_with_the_service(app: Celery) -> None:
    heard: list[Any] = []

    def init(sender: Any, **_: Any) -> None:
        heard.append(("init", sender, sender.scheduler.ticks))
        sender.stop()

    def embedded(sender: Any, **_: Any) -> None:
        heard.append(("embedded", sender, sender.scheduler.ticks))

    signals.beat_init.connect(init)
    signals.beat_embedded_init.connect(embedded)
    try:
        alone = Service(app, scheduler_cls=Ticking)
        alone.start()
        beside = EmbeddedService(app, scheduler_cls=Ticking)
        beside.run()
    finally:
        signals.beat_init.disconnect(init)
        signals.beat_embedded_init.disconnect(embedded)
    assert heard == [("init", alone, 0), ("init", beside.service, 0), ("embedded", beside.service, 0)]


def test_given_a_broker_that_is_away_when_it_is_stopped_then_it_does_not_wait_for_the_broker(
    app: Celery, caplog: pytest.LogCaptureFixture
) -> None:
    waits = threading.Event()

    class Away(Scheduler):
        def tick(self, *_args: Any, **_kwargs: Any) -> Any:
            return self.apply_async(self.add(name="a", task="elsewhere", schedule=1))

        def send_task(self, *_args: Any, **_kwargs: Any) -> Any:
            waits.set()
            raise OperationalError("no broker")

    service = Service(app, scheduler_cls=Away)
    thread = run(service)
    assert waits.wait(PATIENCE_S)
    service.stop(wait=True)
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert "beat: Stopped while the broker is away" in caplog.text


def test_given_a_service_then_its_pickle_makes_it_again(make_app: Any) -> None:
    app = make_app(broker="memory://pickled")
    made, given = Service(app, 5, "file", "celery.beat:Scheduler", True, "h").__reduce__()
    again = made(*given)
    assert (again.max_interval, again.schedule_filename, again.remote_control, again.hostname) == (5, "file", True, "h")
    assert pickle.dumps(given[1:])


# -- embedded -----------------------------------------------------------------------------------------------------------


def test_given_an_embedded_one_then_it_ends_when_it_is_asked_to_and_answers_no_commands(app: Celery) -> None:
    beside = EmbeddedService(app, scheduler_cls=Ticking)
    assert beside.service.remote_control is False
    beside.start()
    assert beside.service.scheduler.ticked.wait(PATIENCE_S)
    beside.stop(PATIENCE_S)
    beside.stop()
    assert not beside.is_alive()
    EmbeddedService(app, scheduler_cls=Ticking).stop()


def test_given_an_embedded_one_that_fails_then_it_is_logged_and_it_begins_again(
    app: Celery, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[int] = []
    came_back = threading.Event()

    class Falls(Ticking):
        def tick(self, *_args: Any, **_kwargs: Any) -> Any:
            tries.append(1)
            if len(tries) < 3:
                raise RuntimeError("a bad moment")
            came_back.set()
            return super().tick()

    monkeypatch.setattr(EmbeddedService, "AGAIN_S", 0.01)
    beside = EmbeddedService(app, scheduler_cls=Falls)
    beside.start()
    assert came_back.wait(PATIENCE_S)
    beside.stop(PATIENCE_S)
    assert len([record for record in caplog.records if record.levelname == "CRITICAL"]) == 1
    assert "beat raised exception RuntimeError: a bad moment; it is tried again" in caplog.text


# -- which scheduler ----------------------------------------------------------------------------------------------------


@pytest.mark.setting("beat_scheduler")
def test_given_celerys_paths_then_they_mean_our_classes_without_the_alias(app: Celery) -> None:
    for path in ("celery.beat:PersistentScheduler", "celery.beat.PersistentScheduler", app.conf.beat_scheduler):
        assert find_scheduler(path) is PersistentScheduler
    assert find_scheduler("celery.beat:Scheduler") is Scheduler
    assert find_scheduler(Ticking) is Ticking


@pytest.mark.parametrize(
    ("name", "reason"),
    [("djanog", "there is no scheduler 'djanog'"), ("a.b:C", "'a.b:C' cannot be loaded"), ("celery.beat:Nothing", "Nothing")],
)
def test_given_a_scheduler_that_there_is_not_then_the_error_says_so_before_anything_starts(
    app: Celery, name: str, reason: str
) -> None:
    with pytest.raises(ImproperlyConfigured, match=reason):
        find_scheduler(name)
    with pytest.raises(ImproperlyConfigured, match=reason):
        EmbeddedService(app, scheduler_cls=name)


def test_given_an_installed_package_with_a_scheduler_then_its_short_name_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "mine-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[celery.beat_schedulers]\nmine = celery.beat:Scheduler\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert find_scheduler("mine") is Scheduler
    with pytest.raises(ImproperlyConfigured, match="Did you mean 'mine'"):
        find_scheduler("mien")


@pytest.mark.setting("beat_schedule_filename", "beat_max_loop_interval")
def test_given_settings_then_the_service_follows_them_and_arguments_win(app: Celery, tmp_path: Path) -> None:
    app.conf.update(beat_schedule_filename=str(tmp_path / "s"), beat_max_loop_interval=7)
    service = Service(app)
    with_arguments = Service(app, 9, str(tmp_path / "t"), remote_control=True)
    assert service.get_scheduler(lazy=True).info == f"    . db -> {tmp_path / 's'}"
    assert service.get_scheduler(lazy=True).max_interval == 7
    assert with_arguments.get_scheduler(lazy=True).info == f"    . db -> {tmp_path / 't'}"
    assert with_arguments.get_scheduler(lazy=True).max_interval == 9
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(autouse=True)
def _no_beats_are_left() -> Iterator[None]:
    yield
    assert not [thread for thread in threading.enumerate() if thread.name in ("Beat", "BeatPidbox")]
