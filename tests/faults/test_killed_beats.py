"""Beats that are killed, frozen and started at random: each moment of each entry is sent once, by the store of runs."""

from __future__ import annotations

import collections
import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.servers import RedisServer

from sedano import Celery
from sedano.testing.faults import without_crashes

PROJECT = """
import os
from sedano import Celery

app = Celery("proj", broker=os.environ["STORE"], schedule_history=100_000)
app.conf.beat_schedule = {
    f"e{number:03}": {"task": "nobody.waits", "schedule": 1.0, "args": (number,), "misfire": "all"} for number in range(200)
}
"""
ENTRIES = 200


class Beats:
    """Up to two beats of one project. `log` has what they said."""

    def __init__(self, url: str, folder: Path) -> None:
        (folder / "proj.py").write_text(PROJECT)
        self.log = folder / "beats.log"
        self._environment = {**without_crashes(), "STORE": url, "PYTHONUNBUFFERED": "1"}
        self._folder = folder
        self._running: list[subprocess.Popen[bytes]] = []

    @property
    def running(self) -> int:
        return len(self._running)

    def start(self) -> None:
        command = [sys.executable, "-m", "sedano", "-q", "-A", "proj", "beat", "-l", "warning"]
        with self.log.open("ab") as log:
            self._running.append(subprocess.Popen(command, cwd=self._folder, env=self._environment, stdout=log, stderr=log))

    def signal(self, which: int, number: int) -> None:
        os.kill(self._running[which].pid, number)

    def end(self, which: int, number: int) -> None:
        process = self._running.pop(which)
        process.send_signal(number)
        process.wait(60)

    def close(self) -> None:
        for process in self._running:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait(60)


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.redis)])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Celery]:
    url = f"sqlite:///{tmp_path}/store.db"
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        server.command("FLUSHALL")
        url = server.url
    app = Celery("proj", broker=url, set_as_current=False, schedule_history=100_000)
    yield app
    app.close()


@pytest.mark.parametrize("seconds", [15, pytest.param(600, marks=pytest.mark.long)])
def test_given_two_beats_when_they_die_and_come_back_then_each_moment_is_sent_once(
    app: Celery, tmp_path: Path, seconds: int
) -> None:
    rng = random.Random(seconds)
    with ExitStack() as stack:
        beats = Beats(app.stores.broker_url, tmp_path)
        stack.callback(beats.close)
        beats.start()
        beats.start()
        ends_at = time.monotonic() + seconds
        while time.monotonic() < ends_at:
            time.sleep(rng.uniform(0.5, 3.0))  # the fault's own time, not a wait for something
            which = rng.randrange(beats.running)
            fault = rng.choice(["kill", "kill", "stop", "freeze"])
            if fault == "freeze":  # longer than it may lead
                beats.signal(which, signal.SIGSTOP)
                time.sleep(rng.uniform(1.0, 5.0))
                beats.signal(which, signal.SIGCONT)
            else:
                beats.end(which, signal.SIGKILL if fault == "kill" else signal.SIGTERM)
                beats.start()
        _wait_for_all(app, time.time(), beats)
    _each_once(app, beats.log)


def _wait_for_all(app: Celery, until: float, beats: Beats) -> None:
    """A beat has caught up with what was due at `until`."""
    deadline = time.monotonic() + 120
    while True:
        due = [entry.next_run.timestamp() for entry in app.schedules.list() if entry.next_run is not None]
        if len(due) == ENTRIES and min(due) > until:
            return
        assert time.monotonic() < deadline, beats.log.read_text()
        time.sleep(0.2)


def _each_once(app: Celery, log: Path) -> None:
    moments: dict[str, list[float]] = collections.defaultdict(list)
    ids: list[str] = []
    for run in app.schedules.history(limit=10_000_000):
        assert run.task_id, f"{run}\n{log.read_text()}"
        moments[run.name].append(run.due.timestamp())
        ids.append(run.task_id)
    assert len(moments) == ENTRIES
    for name, found in moments.items():
        found.sort()
        gaps = {round(later - earlier, 3) for earlier, later in itertools.pairwise(found)}
        assert gaps == {1.0}, f"{name}: {gaps}\n{log.read_text()}"
    assert len(set(ids)) == len(ids)
    (depth,) = app.control.queues(["celery"], timeout=None)
    assert depth.ready == len(ids)
