"""What a listener to events that does not read may cost the file."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from tests.services.sqlite.stores import store_in

from sedano.drivers.sqlite import bus as boxes
from sedano.protocol.events import event_message, read_events
from sedano.protocol.message import Message
from sedano.testing.clock import FakeClock
from sedano.testing.contracts import StoreUnderTest


@pytest.fixture
def store(tmp_path: Path) -> Generator[StoreUnderTest]:
    with store_in(tmp_path) as store:
        yield store


def an_event(number: int) -> Message:
    return event_message({"type": "task-sent", "number": number}, hostname="a@b", routing_key="task.sent")


def stored(store: StoreUnderTest, sql: str = "SELECT count(*) FROM mail") -> Any:
    db = sqlite3.connect(store.url.removeprefix("sqlite:///"))
    try:
        return db.execute(sql).fetchone()[0]
    finally:
        db.close()


def test_given_a_listener_that_does_not_read_when_more_comes_than_a_box_holds_then_the_newest_are_kept(
    store: StoreUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boxes, "MOST_EVENTS", 20)
    bus = store.bus()
    lazy = store.closing(bus.open_events("lazy"))
    other = store.closing(bus.open_events("other", "worker.#"))
    for number in range(50):
        bus.emit([an_event(number)])
    assert stored(store) == 20
    assert [read_events(each)[0]["number"] for each in lazy.receive(1.0)] == list(range(30, 50))
    assert other.receive(0.0) == []


def test_given_old_events_when_another_is_emitted_then_they_are_gone(store: StoreUnderTest) -> None:
    bus = store.bus()
    store.closing(bus.open_events("lazy"))
    bus.emit([an_event(number) for number in range(3)])
    assert isinstance(store.clock, FakeClock)
    store.clock.advance(boxes.MAIL_KEPT_S + 1)
    bus.emit([an_event(3)])
    assert stored(store) == 1


def test_given_nobody_who_listens_when_emitted_then_nothing_is_written(store: StoreUnderTest) -> None:
    bus = store.bus()
    bus.open_events("gone").close()
    before = stored(store, "SELECT data_version FROM pragma_data_version")
    assert bus.emit([an_event(1)]) == 0
    assert stored(store) == 0
    assert stored(store, "SELECT data_version FROM pragma_data_version") == before
