from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sedano.worker.table import MAX_WINDOW, ROW_BYTES, CallNote, CallStatus, Cause, Phase, SharedTable


@pytest.fixture
def table() -> Iterator[SharedTable]:
    table = SharedTable.create(2)
    yield table
    table.close()


def notes(count: int) -> list[CallNote]:
    return [CallNote(f"tag{i}", "celery", f"id{i}", "app.add", True, hard_s=3.0 + i) for i in range(count)]


def in_child(body: object) -> int:
    """Run `body()` in a forked process; its exit status."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = body() or 0  # type: ignore[operator]
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_given_an_open_window_when_calls_start_and_finish_then_the_snapshot_tells_each_status(table: SharedTable) -> None:
    row = table.row(0)
    row.hold("celery@host/0/77/abc", 5, now=9.0)
    row.pid, row.phase = 77, Phase.BUSY
    row.open_window(notes(3))
    assert row.start(0, 10.0)
    assert row.finish(0, b"settled-0")
    assert row.start(1, 11.5)
    view = row.snapshot()
    assert (view.owner, view.fence, view.pid, view.phase) == ("celery@host/0/77/abc", 5, 77, Phase.BUSY)
    assert view.statuses == (CallStatus.FINISHED, CallStatus.STARTED, CallStatus.BEGUN)
    assert view.settlements == {"tag0": b"settled-0"}
    assert view.running == notes(3)[1]
    assert view.started_at == 11.5
    assert row.running() == (view.window, 1, 11.5)
    assert row.waiting() == 1
    assert (row.renewed_at, row.lost) == (9.0, False)


def test_given_a_running_call_when_the_rest_is_taken_back_then_the_slot_may_not_start_it(table: SharedTable) -> None:
    row = table.row(1)
    row.open_window(notes(4))
    assert row.start(0, 1.0)
    assert [note.tag for note in row.take_back()] == ["tag1", "tag2", "tag3"]
    assert row.take_back() == []
    assert not row.start(1, 2.0)
    assert row.finish(0, b"x")
    assert row.snapshot().statuses == (CallStatus.FINISHED, CallStatus.TAKEN, CallStatus.TAKEN, CallStatus.TAKEN)


def test_given_a_closed_window_when_looked_at_then_nothing_is_in_it(table: SharedTable) -> None:
    row = table.row(0)
    row.open_window(notes(2))
    row.start(0, 1.0)
    row.close_window()
    view = row.snapshot()
    assert (view.notes, view.current, view.running) == ((), -1, None)
    assert row.running() is None
    assert row.take_back() == []


def test_given_settlements_that_do_not_fit_when_finishing_then_false_and_the_call_stays_started(table: SharedTable) -> None:
    row = table.row(0)
    row.open_window(notes(2))
    row.start(0, 1.0)
    assert not row.finish(0, bytes(ROW_BYTES))
    assert row.snapshot().statuses[0] is CallStatus.STARTED
    assert row.finish(0, bytes(ROW_BYTES // 2))


def test_given_huge_names_when_a_window_opens_then_they_are_cut_and_tags_stay_exact(table: SharedTable) -> None:
    row = table.row(0)
    row.open_window([CallNote("tag", "celery", "i" * ROW_BYTES, "t" * ROW_BYTES, False)])
    (note,) = row.snapshot().notes
    assert (note.tag, note.task_id) == ("tag", "i" * 200)
    with pytest.raises(ValueError, match="room"):
        row.open_window([CallNote("t" * ROW_BYTES, "celery", "id", "task", False)])
    with pytest.raises(ValueError, match="at most"):
        row.open_window(notes(MAX_WINDOW + 1))


def test_given_a_full_window_when_every_call_finishes_then_every_settlement_is_kept(table: SharedTable) -> None:
    row = table.row(0)
    row.open_window(notes(256))
    for k in range(256):
        assert row.start(k, float(k))
        assert row.finish(k, b"settlement %d" % k)
    assert row.snapshot().settlements == {f"tag{k}": b"settlement %d" % k for k in range(256)}


def test_given_a_window_that_was_replaced_when_a_limit_of_the_old_call_is_acted_on_then_nothing_happens(
    table: SharedTable,
) -> None:
    row = table.row(0)
    row.open_window(notes(1))
    row.start(0, 1.0)
    window, k, _ = row.running() or (0, 0, 0.0)
    row.finish(0, b"done")
    assert not row.condemn(window, k, Cause.HARD_LIMIT)
    row.open_window(notes(1))
    row.start(0, 2.0)
    assert not row.condemn(window, k, Cause.HARD_LIMIT)
    assert not row.mark_soft(window, k)
    assert row.note(window, k) is None
    assert row.condemned is Cause.NONE


def test_given_a_condemned_slot_when_it_finishes_its_call_then_it_starts_no_other(table: SharedTable) -> None:
    row = table.row(0)
    child_ready, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        row.open_window(notes(2))
        row.start(0, 1.0)
        os.write(tell, b"s")
        while row.condemned is Cause.NONE:
            time.sleep(0.001)
        row.finish(0, b"in time")
        os.write(tell, b"f")
        row.start(1, 2.0)
        os._exit(0)
    try:
        assert os.read(child_ready, 1) == b"s"
        running = row.running()
        assert running is not None
        assert row.condemn(running[0], running[1], Cause.HARD_LIMIT)
        assert os.read(child_ready, 1) == b"f"
    finally:
        os.kill(pid, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        os.close(child_ready)
        os.close(tell)
    view = row.snapshot()
    assert view.statuses == (CallStatus.FINISHED, CallStatus.BEGUN)
    assert view.condemned is Cause.HARD_LIMIT


def test_given_a_soft_limit_mark_when_the_slot_asks_then_it_is_due_once_and_for_that_call_only(table: SharedTable) -> None:
    row = table.row(0)
    row.open_window(notes(2))
    row.start(0, 1.0)
    window, k, _ = row.running() or (0, 0, 0.0)
    assert not row.soft_limit_due()
    assert row.mark_soft(window, k)
    assert row.soft_limit_due()
    assert not row.soft_limit_due()
    assert row.mark_soft(window, k)
    row.finish(0, b"")
    row.start(1, 2.0)
    assert not row.soft_limit_due()


def test_given_another_process_when_it_writes_then_this_one_reads_it(table: SharedTable) -> None:
    row = table.row(0)

    def child() -> None:
        row.open_window(notes(2))
        row.start(0, 3.5)
        row.next_due = 99.5
        row.processed += 7

    assert in_child(child) == 0
    assert row.running() == (1, 0, 3.5)
    assert (row.next_due, row.processed) == (99.5, 7)


def test_given_a_process_killed_inside_its_lock_when_we_look_then_the_lock_is_free(table: SharedTable) -> None:
    row = table.row(0)

    def child() -> None:
        with row._locked():
            os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(child) == -signal.SIGKILL
    row.open_window(notes(1))
    assert row.start(0, 1.0)


def test_given_a_process_stopped_inside_its_lock_when_we_look_then_we_do_not_hang(table: SharedTable) -> None:
    row = table.row(0)
    row.open_window(notes(2))
    row.start(0, 1.0)
    ready, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        with row._locked():
            os.write(tell, b"x")
            signal.pause()
        os._exit(0)
    try:
        os.read(ready, 1)
        assert row.take_back() == []
        assert not row.condemn(1, 0, Cause.HARD_LIMIT)
        assert row.snapshot().running is not None
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(ready)
        os.close(tell)
    assert len(row.take_back()) == 1


def test_given_one_process_starting_and_one_taking_back_when_they_race_then_each_call_has_one_fate(table: SharedTable) -> None:
    row = table.row(0)
    count = 400
    row.open_window(notes(count))
    ready, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        started = 0
        for k in range(count):
            if row.start(k, 1.0):
                row.finish(k, b"")
                started += 1
            if k == 20:
                os.write(tell, b"x")
        row.processed = started
        os._exit(0)
    os.read(ready, 1)
    taken = row.take_back()
    os.waitpid(pid, 0)
    os.close(ready)
    os.close(tell)
    assert row.processed + len(taken) == count
    statuses = row.snapshot().statuses
    assert statuses.count(CallStatus.TAKEN) == len(taken)
    assert statuses.count(CallStatus.FINISHED) == row.processed


def test_given_two_threads_of_one_process_when_they_race_then_the_lock_holds_too(table: SharedTable) -> None:
    row = table.row(0)
    row.open_window(notes(300))
    taken: list[CallNote] = []
    gate = threading.Event()

    def take() -> None:
        gate.wait()
        taken.extend(row.take_back())

    thread = threading.Thread(target=take)
    thread.start()
    gate.set()
    started = sum(row.start(k, 1.0) for k in range(300))
    thread.join()
    assert started + len(taken) == 300


def test_given_a_program_started_by_exec_when_it_attaches_then_it_sees_the_same_rows(table: SharedTable) -> None:
    table.row(1).owner = "celery@host/1"
    code = (
        "import sys; from sedano.worker.table import SharedTable\n"
        "t = SharedTable.attach(int(sys.argv[1]), 2); assert t.row(1).owner == 'celery@host/1'; t.row(1).fence = 42"
    )
    subprocess.run([sys.executable, "-c", code, str(table.fd)], pass_fds=[table.fd], check=True)
    assert table.row(1).fence == 42


def test_given_a_used_row_when_reset_then_it_is_empty_and_the_counters_stay(table: SharedTable) -> None:
    row = table.row(0)
    row.owner, row.pid, row.lost, row.stop, row.phase = "x", 5, True, 1, Phase.BUSY
    row.processed, row.failed = 10, 3
    row.open_window(notes(2))
    row.start(0, 1.0)
    row.condemn(1, 0, Cause.TERMINATED)
    row.reset()
    view = row.snapshot()
    assert (view.owner, view.pid, view.phase, view.notes, view.condemned) == ("", 0, Phase.EMPTY, (), Cause.NONE)
    assert (row.lost, row.stop, row.processed, row.failed) == (False, 0, 10, 3)
    assert not table.supervisor_watches
    table.supervisor_watches = True
    assert table.supervisor_watches


def test_given_an_owner_name_that_is_too_long_when_written_then_the_error_says_so(table: SharedTable) -> None:
    with pytest.raises(ValueError, match="shorter name"):
        table.row(0).owner = "n" * 600


def test_given_a_path_when_created_then_the_table_lives_in_that_file(tmp_path: Path) -> None:
    table = SharedTable.create(1, path=str(tmp_path / "table"))
    table.row(0).pid = 123
    assert (tmp_path / "table").read_bytes()[4096] == 123
    table.close()


def test_given_a_call_that_is_about_to_start_when_the_rest_is_taken_back_then_it_is_left_to_the_slot(
    table: SharedTable,
) -> None:
    row = table.row(0)
    row.open_window(notes(3))
    assert row.start(0, 1.0)
    row.ints[24] = 1  # the slot has said that it wants to start call 1, and was put to sleep right there
    assert [note.tag for note in row.take_back()] == ["tag2"]
    assert row.start(1, 2.0)
    assert not row.start(2, 3.0)


def test_given_a_slot_on_its_way_to_the_next_call_when_it_is_condemned_for_the_one_before_then_nothing_happens(
    table: SharedTable,
) -> None:
    row = table.row(0)
    row.open_window(notes(2))
    assert row.start(0, 1.0)
    row.ints[24] = 1
    assert not row.condemn(row.window, 0, Cause.HARD_LIMIT)
    assert row.condemned is Cause.NONE


def test_given_a_supervisor_that_decides_when_a_call_wants_to_start_then_it_waits_for_the_decision(table: SharedTable) -> None:
    row = table.row(0)
    row.open_window(notes(1))
    started: list[bool] = []
    with row._locked(), row._intending():
        thread = threading.Thread(target=lambda: started.append(row.start(0, 1.0)))
        thread.start()
        thread.join(0.05)
        assert not started
        row._region[1024] = CallStatus.TAKEN
    thread.join(60)
    assert started == [False]
