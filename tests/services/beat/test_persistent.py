"""`PersistentScheduler`: what it remembers, whose files it takes, and what it does with those that it cannot read."""

from __future__ import annotations

import dbm.dumb
import pickle
import shelve
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from tests.beats import Every, entry

from sedano import Celery
from sedano.app.timezones import LocalZone
from sedano.beat import BeatLazyFunc, PersistentScheduler, ScheduleEntry, picklenames
from sedano.beat.schedulefile import ScheduleFile, ScheduleFileInUse, files_of
from sedano.exceptions import ImproperlyConfigured
from sedano.schedules import schedule
from sedano.testing.clock import FakeClock

Open = Callable[..., PersistentScheduler]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def filename(tmp_path: Path) -> str:
    return str(tmp_path / "schedule")


@pytest.fixture
def open_beat(app: Celery, clock: FakeClock, filename: str) -> Any:
    """`open_beat({"a": {...}})`: a scheduler of these entries on the test's file; all are closed at the end."""
    opened: list[PersistentScheduler] = []
    kind = type("Clocked", (PersistentScheduler,), {"clock": clock})

    def make(entries: dict[str, Any], **keywords: Any) -> PersistentScheduler:
        app.conf.beat_schedule = entries
        scheduler: PersistentScheduler = kind(app, schedule_filename=filename, **keywords)
        opened.append(scheduler)
        return scheduler

    yield make
    for scheduler in opened:
        scheduler.close()


def test_given_a_schedule_that_was_saved_when_beat_starts_again_then_entries_keep_their_past(
    open_beat: Open, clock: FakeClock
) -> None:
    first = open_beat({"a": entry(clock, 10), "gone": entry(clock, 10)})
    first.tick()
    clock.advance(10)
    first.tick()
    first.tick()
    past = first.schedule["a"].last_run_at
    first.close()
    clock.advance(3)

    second = open_beat({"a": entry(clock, 20, args=(2,)), "new": entry(clock, 10)})
    assert set(second.schedule) == {"a", "new"}
    again = second.schedule["a"]
    assert (again.last_run_at, again.total_run_count, again.args, again.schedule.seconds) == (past, 1, (2,), 20)


def test_given_an_entry_that_was_missed_while_beat_was_away_then_it_is_sent_once_at_the_start(
    open_beat: Open, clock: FakeClock
) -> None:
    open_beat({"a": entry(clock, 10)}).close()
    clock.advance(1000)
    scheduler = open_beat({"a": entry(clock, 10)})
    assert scheduler.tick() == 0
    assert scheduler.tick() > 0
    assert scheduler.schedule["a"].total_run_count == 1


def test_given_a_run_that_is_still_to_come_because_the_clock_was_wrong_then_an_interval_is_reckoned_from_now(
    open_beat: Open, clock: FakeClock
) -> None:
    every = schedule(10, nowfun=Every(1, clock).now)
    first = open_beat({"a": entry(clock, schedule=every)})
    first.close()
    clock.jump_wall(-86400)
    second = open_beat({"a": entry(clock, schedule=every)})
    assert second.schedule["a"].last_run_at == every.now()


@pytest.mark.parametrize(("setting", "value"), [("timezone", "Europe/Rome"), ("enable_utc", False)])
def test_given_another_time_zone_then_the_past_is_forgotten(
    app: Celery, open_beat: Open, clock: FakeClock, caplog: pytest.LogCaptureFixture, setting: str, value: Any
) -> None:
    app.conf.timezone = "UTC"
    first = open_beat({"a": entry(clock, 10)})
    first.schedule["a"].total_run_count = 5
    first.close()
    setattr(app.conf, setting, value)
    assert open_beat({"a": entry(clock, 10)}).schedule["a"].total_run_count == 0
    assert "Reset: " in caplog.text


def test_given_a_file_that_another_beat_has_then_the_second_one_says_so_and_takes_over_when_the_first_has_ended(
    open_beat: Open, clock: FakeClock, filename: str
) -> None:
    first = open_beat({"a": entry(clock, 10)})
    with pytest.raises(ScheduleFileInUse, match="in use by another beat"):
        open_beat({})
    assert set(first.schedule) == {"a"}
    first.close()
    assert set(open_beat({"b": entry(clock, 10)}).schedule) == {"b"}


def test_given_a_scheduler_that_was_closed_then_nothing_but_the_schedule_is_left(
    open_beat: Open, clock: FakeClock, filename: str, tmp_path: Path
) -> None:
    scheduler = open_beat({"a": entry(clock, 10)})
    scheduler.close()
    scheduler.close()
    assert set(tmp_path.iterdir()) == set(files_of(filename))


def test_given_a_file_that_cannot_be_written_then_the_error_names_it_and_what_to_do(app: Celery, tmp_path: Path) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"nowhere/schedule' cannot be opened: .*--schedule"):
        PersistentScheduler(app, schedule_filename=str(tmp_path / "nowhere" / "schedule"))


@pytest.mark.parametrize("content", [b"no database", b""], ids=["text", "empty"])
def test_given_a_file_that_is_none_then_it_is_set_aside_and_a_new_one_begun(
    open_beat: Open, clock: FakeClock, filename: str, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    Path(filename).write_bytes(content)
    scheduler = open_beat({"a": entry(clock, 10)})
    assert set(scheduler.schedule) == {"a"}
    if content:
        assert Path(f"{filename}.unreadable-1").read_bytes() == content
        assert f"set aside as {filename}.unreadable-1" in caplog.text


def test_given_entries_that_cannot_be_read_twice_then_both_files_are_kept(
    open_beat: Open, clock: FakeClock, filename: str, caplog: pytest.LogCaptureFixture
) -> None:
    for number in (1, 2):
        with ScheduleFile(filename) as file:
            file.dict[b"entries"] = b"\x80\x04nonsense"
        open_beat({"a": entry(clock, 10)}).close()
        assert files_of(f"{filename}.unreadable-{number}")
    assert caplog.text.count("cannot be read, and was set aside") == 2


def test_given_entries_that_are_no_mapping_then_the_file_is_set_aside(open_beat: Open, clock: FakeClock, filename: str) -> None:
    with shelve.open(filename) as file:
        file["entries"] = [1]
    open_beat({"a": entry(clock, 10)}).close()
    assert files_of(f"{filename}.unreadable-1")


def test_given_a_file_of_another_kind_of_dbm_then_it_is_taken(open_beat: Open, clock: FakeClock, filename: str) -> None:
    with dbm.dumb.open(filename, "c") as file:
        file["entries"] = pickle.dumps({})
    assert set(open_beat({"a": entry(clock, 10)}).schedule) == {"a"}
    assert Path(f"{filename}.dat").exists()
    assert not files_of(f"{filename}.unreadable-1")


# -- pickles ------------------------------------------------------------------------------------------------------------


def test_given_what_a_file_may_hold_when_it_is_written_and_read_then_it_is_the_same() -> None:
    values = {
        "zone": datetime(2026, 1, 1, tzinfo=ZoneInfo("Europe/Rome")),
        "utc": datetime(2026, 1, 1, tzinfo=UTC),
        "local": LocalZone(),
        "numbers": [1, 2.5, 3j, True, None, {1, 2}, frozenset([3]), range(3), b"x", bytearray(b"y"), timedelta(1)],
    }
    again = picklenames.loads(picklenames.dumps(values), {})
    assert repr(again.pop("local")) == repr(values.pop("local"))
    assert again == values
    assert str(again["zone"].tzinfo) == "Europe/Rome"


def test_given_a_pickle_of_ours_then_it_names_celerys_classes_and_nothing_of_sedano(clock: FakeClock) -> None:
    data = picklenames.dumps({"a": BeatLazyFunc(max, 1, 2)})
    assert b"celery.beat" in data
    assert b"sedano" not in data


def test_given_a_pickle_that_names_anything_else_then_nothing_of_it_is_imported_or_called(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return eval, (f"open({str(tmp_path / 'touched')!r}, 'w')",)

    for value in (Evil(), {"x": [Evil()]}):
        picklenames.loads(pickle.dumps(value), {})
    assert not (tmp_path / "touched").exists()
    read = picklenames.loads(b"cno_such_module\nThing\n(I1\ntR}(X\x01\x00\x00\x00aI2\nub.", {})
    assert isinstance(read, picklenames.Unknown)
    assert "no_such_module" not in sys.modules
    attribute = picklenames.loads(b"cbuiltins\ngetattr\n(cbuiltins\nset\nX\x03\x00\x00\x00poptR.", {})
    assert attribute is picklenames.Unknown


def test_given_arguments_that_have_no_pickle_when_it_is_saved_then_the_past_is(open_beat: Open, clock: FakeClock) -> None:
    entries = {"a": entry(clock, 10, args=(lambda: 1,)), "b": entry(clock, 10)}
    first = open_beat(entries)
    first.schedule["a"].total_run_count = 3
    first.close()
    second = open_beat(entries)
    assert second.schedule["a"].total_run_count == 3
    assert second.schedule["a"].args == entries["a"]["args"]


def test_given_entries_of_a_class_of_ones_own_then_the_file_brings_them_back(
    app: Celery, clock: FakeClock, filename: str
) -> None:
    app.conf.beat_schedule = {"a": entry(clock, 10)}
    for expected in (0, 1):
        scheduler = OwnScheduler(app, schedule_filename=filename)
        kept = scheduler.schedule["a"]
        assert type(kept) is OwnEntry
        assert kept.total_run_count == expected
        scheduler.reserve(kept)
        scheduler.close()


class OwnEntry(ScheduleEntry):
    pass


class OwnScheduler(PersistentScheduler):
    Entry = OwnEntry


def test_given_a_subclass_with_a_shelf_of_its_own_then_that_is_opened(app: Celery, clock: FakeClock, filename: str) -> None:
    class Shelved(PersistentScheduler):
        persistence = shelve

    scheduler = Shelved(app, schedule_filename=filename)
    assert isinstance(scheduler._store, shelve.Shelf)
    assert not isinstance(scheduler._store, ScheduleFile)
    scheduler.close()
    assert scheduler.info == f"    . db -> {filename}"
