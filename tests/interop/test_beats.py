"""Celery's beat feeds our workers, our beat feeds Celery's, and each takes over the other's schedule file."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.beats import BeatNode
from tests.interop import environments
from tests.servers import RedisServer, is_left_out

from sedano.testing.node import Node

pytestmark = [pytest.mark.celery, pytest.mark.redis]
PATIENCE_S = 60.0
PROJECT = """
import os
from datetime import timedelta
from celery import Celery
from celery.schedules import crontab

app = Celery("proj", broker=os.environ["STORE"])
app.conf.timezone = "Europe/Rome"
app.conf.beat_schedule = {
    "each-second": {"task": "proj.note", "schedule": timedelta(seconds=1), "args": ("ran",)},
    "daily": {"task": "proj.note", "schedule": crontab(hour=4, minute=0), "args": ("daily",)},
}

@app.task(bind=True)
def note(self, text):
    with open("notes", "a") as file:
        file.write(f"{text} {self.request.headers.get('celery_beat_task')}\\n")
"""
PAST = """
import json, sys
from proj import app
from celery.beat import PersistentScheduler
scheduler = PersistentScheduler(app, schedule_filename="schedule")
print(json.dumps({name: [entry.total_run_count, entry.last_run_at.isoformat(), type(entry).__module__]
    for name, entry in scheduler.schedule.items()}))
scheduler.close()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "proj.py").write_text(PROJECT)
    return tmp_path


@pytest.fixture
def store() -> Iterator[str]:
    if is_left_out("redis"):
        pytest.skip("SEDANO_WITHOUT names redis")
    with RedisServer() as server:
        yield server.url


def until(claim: Callable[[], bool], who: Node) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not claim():
        assert time.monotonic() < deadline, who.log()
        time.sleep(0.05)  # other processes: they can only be asked again


def notes(folder: Path) -> int:
    file = folder / "notes"
    return file.read_text().count("ran True\n") if file.exists() else 0


def celery_beat(folder: Path, store: str) -> BeatNode:
    celery = environments.celery_environment("5.7")
    return BeatNode(
        "proj",
        cwd=folder,
        options=["-s", "schedule"],
        environment=environments.clean_environment({"STORE": store}),
        command=[str(celery.python), "-m", "celery"],
    )


def our_beat(folder: Path, store: str, *more: str) -> BeatNode:
    return BeatNode("proj", cwd=folder, options=["-s", "schedule", *more], environment={"STORE": store})


def test_given_celerys_beat_when_it_sends_then_our_worker_runs_it_and_our_beat_takes_its_schedule_over(
    folder: Path, store: str
) -> None:
    with Node("proj", cwd=folder, concurrency=1, options=["-P", "solo"], environment={"STORE": store}) as worker:
        with celery_beat(folder, store) as beat:
            beat.wait_sent("each-second", 3)
            until(lambda: notes(folder) >= 3, worker)
            assert beat.stop() == 0
        count = beat.log().count("Sending due task each-second (")
        with our_beat(folder, store, "-S", "celery.beat:PersistentScheduler") as ours:
            ours.wait_sent("each-second", 2)
            until(lambda: notes(folder) >= count + 2, worker)
            assert ours.stop() == 0
        total = count + ours.log().count("Sending due task each-second (")
        assert "WARNING" not in ours.log()
        assert "ERROR" not in ours.log()
    # Celery reads what we have written.
    celery = environments.celery_environment("5.7")
    past = celery.run(PAST, folder=folder, variables={"STORE": store, "PYTHONPATH": str(folder)})
    assert f'"each-second": [{total}, ' in past
    assert "celery.beat" in past
    assert '"daily": [0, ' in past


def test_given_our_beat_when_it_sends_then_celerys_worker_runs_it(folder: Path, store: str) -> None:
    celery = environments.celery_environment("5.7")
    options = ("-P", "solo", "--without-gossip", "--without-mingle")
    log = folder / "celery.log"
    with (
        celery.worker(*options, app="proj", folder=folder, variables={"STORE": store}, log=log),
        our_beat(folder, store) as beat,
    ):
        until(lambda: notes(folder) >= 2, beat)
        assert beat.stop() == 0


def test_given_our_beat_with_remote_control_when_celery_inspects_then_it_answers_as_a_node(folder: Path, store: str) -> None:
    celery = environments.celery_environment("5.7")
    options = ["-s", "schedule", "--enable-remote-control", "-n", "h"]
    with BeatNode("proj", cwd=folder, options=options, environment={"STORE": store}) as beat:
        beat.wait_for_line("beat pidbox: Connected to")
        assert "    . remote control -> celerybeat@h" in beat.log()

        def answers() -> bool:
            done = subprocess.run(
                [celery.python, "-m", "celery", "-A", "proj", "inspect", "ping"],
                cwd=folder,
                env=environments.clean_environment({"STORE": store}),
                capture_output=True,
                text=True,
                timeout=PATIENCE_S,
                check=False,
            )
            return "celerybeat@h: OK" in done.stdout

        until(answers, beat)
