"""A beat answers `inspect ping`, and falls silent when it does not tick."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from sedano import Celery
from sedano.beat import Scheduler, Service, beat_nodename
from sedano.beat.pidbox import BeatPidbox

PATIENCE_S = 60.0


class Idle(Scheduler):
    def tick(self, *_args: Any, **_kwargs: Any) -> Any:
        return 3600.0


def until_logged(caplog: pytest.LogCaptureFixture, text: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while text not in caplog.text:
        assert time.monotonic() < deadline, caplog.text
        time.sleep(0.01)  # it is another thread's line


@pytest.fixture
def running(app: Celery, caplog: pytest.LogCaptureFixture) -> Iterator[Service]:
    """A service whose pidbox listens."""
    caplog.set_level(logging.INFO, "celery.beat")
    app.conf.beat_enable_remote_control = True
    service = Service(app, scheduler_cls=Idle, hostname="h")
    thread = threading.Thread(target=service.start, daemon=True)
    thread.start()
    until_logged(caplog, "beat pidbox: Connected to")
    yield service
    service.stop(wait=True)
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


PONG = [{"celerybeat@h": {"ok": "pong"}}]


@pytest.mark.setting("beat_enable_remote_control")
def test_given_remote_control_when_it_is_pinged_then_it_answers_as_celerybeat(app: Celery, running: Service) -> None:
    assert app.control.ping(timeout=PATIENCE_S, limit=1) == PONG
    assert app.control.ping(destination=["celerybeat@h"], timeout=PATIENCE_S, limit=1) == PONG
    assert app.control.ping(destination=["celery@h"], timeout=0.2) == []
    assert app.control.inspect(timeout=0.2).active() is None


@pytest.mark.setting("beat_remote_control_max_tick_age")
def test_given_a_scheduler_that_does_not_tick_when_it_is_pinged_then_it_is_silent(
    app: Celery, running: Service, caplog: pytest.LogCaptureFixture
) -> None:
    app.conf.beat_remote_control_max_tick_age = 0.000001
    assert app.control.ping(timeout=0.2) == []
    until_logged(caplog, "beat pidbox: not answering ping, the scheduler has not ticked for")
    app.conf.beat_remote_control_max_tick_age = 0  # never
    assert app.control.ping(timeout=PATIENCE_S, limit=1) == PONG


def test_given_a_beat_that_starts_when_it_can_be_asked_then_its_age_is_known(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scheduler that hangs in its first tick must fall silent too."""
    ages: list[float | None] = []
    monkeypatch.setattr(BeatPidbox, "start", lambda pidbox: ages.append(pidbox.tick_age()))
    service = Service(app, scheduler_cls=Idle, remote_control=True)
    service.stop()
    service.start()
    assert ages != [None]
    assert len(ages) == 1


def test_given_no_age_then_it_is_twice_the_interval_and_a_minute_at_least(app: Celery) -> None:
    service = Service(app, scheduler_cls=Idle)
    pidbox = BeatPidbox(service)
    assert pidbox.max_tick_age == 600
    service.effective_max_interval = 5
    assert pidbox.max_tick_age == 60
    assert pidbox.tick_age() is None
    assert not pidbox.is_stale()


def test_given_a_name_then_its_codes_are_expanded() -> None:
    assert beat_nodename("mail@h") == "mail@h"
    assert beat_nodename("h") == "celerybeat@h"
    assert beat_nodename().startswith("celerybeat@")
