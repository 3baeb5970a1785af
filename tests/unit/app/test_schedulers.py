"""Which scheduler a beat uses."""

from __future__ import annotations

from typing import Any

import pytest

from sedano import Celery
from sedano.app import connect
from sedano.app.schedulers import STORE, chosen_scheduler


def an_app(**settings: Any) -> Celery:
    return Celery("proj", broker="memory://", set_as_current=False, **settings)


def test_what_is_given_wins_then_the_setting_then_the_store() -> None:
    assert chosen_scheduler(an_app(), "mine:Class") == "mine:Class"
    assert chosen_scheduler(an_app(beat_scheduler="theirs:Class")) == "theirs:Class"
    assert chosen_scheduler(an_app()) == STORE


def test_where_the_broker_keeps_no_schedules_it_is_a_file_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connect.Stores, "carries_schedules", property(lambda _: False))
    assert chosen_scheduler(an_app()) == "celery.beat:PersistentScheduler"
    assert "Start one only" in caplog.text
