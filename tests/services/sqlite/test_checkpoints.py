"""The log stays short however many write, and what keeps it from being written back fails nobody."""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from sedano.contracts import OpenOptions
from sedano.drivers import sqlite
from sedano.drivers.sqlite import checkpoints
from sedano.testing.contracts.messages import batch


def publish(url: str, calls: int, body: bytes = b"x" * 1000) -> None:
    broker = sqlite.open_broker(url, OpenOptions())
    for number in range(calls):
        broker.publish(batch("q", [str(number)], body=body))
    broker.close()


def test_given_two_busy_writers_when_they_have_written_much_then_the_log_was_begun_anew_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "GROWTH", 400)
    monkeypatch.setattr(checkpoints, "_WORTH_PAGES", 50)
    url = f"sqlite:///{tmp_path}/store.db"
    keeper = sqlite.open_broker(url, OpenOptions())
    keeper.queues()  # so that the log is not deleted when the writers leave
    threads = [threading.Thread(target=publish, args=(url, 1500)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Each call writes several pages; without beginning anew the log would hold all of them.
    written_bytes = 3000 * 4 * 2048
    assert os.path.getsize(tmp_path / "store.db-wal") < written_bytes / 3
    assert keeper.depth(["q"])[0].ready == 3000
    keeper.close()


def test_given_a_stranger_that_reads_all_the_time_when_the_log_cannot_begin_anew_then_nobody_notices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "GROWTH", 40)
    monkeypatch.setattr(checkpoints, "_WORTH_PAGES", 10)
    url = f"sqlite:///{tmp_path}/store.db"
    publish(url, 1)
    stranger = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    stranger.execute("BEGIN")
    stranger.execute("SELECT count(*) FROM messages").fetchone()
    publish(url, 300)
    assert stranger.execute("SELECT count(*) FROM messages").fetchone() == (1,)
    stranger.execute("COMMIT")
    assert stranger.execute("SELECT count(*) FROM messages").fetchone() == (301,)
    stranger.close()


def test_the_log_may_have_an_eighth_of_the_room_on_its_disk_and_no_more_than_on_a_large_one() -> None:
    assert checkpoints.longest_log(1 << 40, 2048) == checkpoints.SAFETY_PAGES
    assert checkpoints.longest_log(16 << 20, 2048) == 1024
    assert checkpoints.longest_log(0, 2048) == checkpoints.LEAST_PAGES


def test_given_a_small_disk_when_much_is_written_and_taken_then_the_log_does_not_take_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=8 << 20))
    url = f"sqlite:///{tmp_path}/store.db"
    keeper = sqlite.open_broker(url, OpenOptions())
    keeper.queues()  # so that the log is not deleted when the writers leave
    for _ in range(8):
        publish(url, 60, body=b"x" * 20_000)
        keeper.purge("q")
    assert os.path.getsize(tmp_path / "store.db-wal") < 4 << 20, "10 MB were written"
    keeper.close()
