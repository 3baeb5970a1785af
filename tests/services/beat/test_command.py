"""`sedano beat` and `sedano worker -B` as an operator types them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.beats import BeatNode
from tests.servers import RedisServer

from sedano.testing.faults import without_crashes
from sedano.testing.node import Node

PATIENCE_S = 60.0
PROJECT = """
import os
from sedano import Sedano

app = Sedano("proj")
app.conf.beat_schedule = {"each-second": {"task": "proj.note", "schedule": 1.0, "args": ("ran",)}}

@app.task
def note(text):
    with open("notes", "a") as file:
        file.write(f"{text} {os.getpid()}\\n")
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").touch()  # the embedded store lies beside it
    (tmp_path / "proj.py").write_text(PROJECT)
    return tmp_path


def command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sedano", "-A", "proj", *words],
        cwd=folder,
        env=without_crashes(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def until(claim: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while not (answer := claim()):
        assert time.monotonic() < deadline, what
        time.sleep(0.02)  # another process: it can only be asked again
    return answer


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.setting("beat_schedule")
def test_given_a_schedule_when_beat_runs_then_it_says_what_celerys_says_and_ends_by_a_signal(project: Path) -> None:
    options = ["-S", "celery.beat:PersistentScheduler", "--schedule", "celerybeat-schedule.db", "-n", "h"]
    with BeatNode("proj", cwd=project, options=options) as beat:
        beat.wait_sent("each-second", 2)
        assert beat.stop() == 0
        said = beat.log()
    lines = said.splitlines()
    assert lines[0].startswith("celery beat v")
    assert lines[0].endswith(" is starting.")
    assert lines[1] == "__    -    ... __   -        _"
    assert lines[2].startswith("LocalTime -> 20")
    assert lines[3] == "Configuration ->"
    assert lines[4].startswith("    . broker -> sqlite://")
    assert lines[5:10] == [
        "    . loader -> celery.loaders.app.AppLoader",
        "    . scheduler -> celery.beat.PersistentScheduler",
        "    . db -> celerybeat-schedule.db",
        "    . logfile -> [stderr]@%INFO",
        "    . maxinterval -> 5.00 minutes (300s)",
    ]
    assert lines[10].endswith(": INFO/MainProcess] beat: Starting...")
    assert lines[11].endswith(": INFO/MainProcess] Scheduler: Sending due task each-second (proj.note)")
    assert command(project, "purge", "-f").stdout.startswith("Purged 2 messages")
    assert not (project / "celerybeat-schedule.db.lock").exists()


def test_given_a_worker_with_beat_when_it_runs_then_its_tasks_are_sent_and_run_until_it_stops(project: Path) -> None:
    options = ["-B", "--scheduler", "celery.beat:PersistentScheduler", "-s", "embedded.db"]
    with Node("proj", cwd=project, concurrency=1, options=options) as node:
        node.wait_ready()
        until(lambda: (project / "notes").exists() and (project / "notes").read_text().count("ran") >= 2, node.log())
        assert "beat: Starting..." in node.log()
        second = command(project, "beat", *options[1:])
        assert second.returncode != 0
        assert f"in use by another beat (pid {node.pid})" in second.stdout + second.stderr
        assert node.stop() == 0
        assert "beat: Shutting down..." in node.log()
    assert not (project / "embedded.db.lock").exists()


def test_given_no_scheduler_when_two_beats_run_then_the_store_keeps_the_schedule_and_one_leads(project: Path) -> None:
    with BeatNode("proj", cwd=project) as first:
        first.wait_sent("each-second", 1)
        with BeatNode("proj", cwd=project) as second:
            until(lambda: "Standing by" in second.log(), "the second does not stand by")
            assert first.stop() == 0
            second.wait_sent("each-second", 1)
            assert second.stop() == 0
        assert "    . scheduler -> celery.beat.StoreScheduler\n    . store -> sqlite:///" in first.log()
    assert not list(project.glob("celerybeat-schedule*"))


@pytest.mark.parametrize("pool", ["solo", "threads"])
def test_given_another_pool_when_the_worker_has_a_beat_then_it_sends_too(project: Path, pool: str) -> None:
    with Node("proj", cwd=project, concurrency=1, options=["-B", "-P", pool]) as node:
        until(lambda: (project / "notes").exists(), node.log())
        assert node.stop() == 0


@pytest.fixture
def background(project: Path) -> Iterator[Path]:
    """The pidfile of a beat that a test puts into the background; it is ended whatever happens."""
    pidfile = project / "beat.pid"
    yield pidfile
    with contextlib.suppress(OSError, ValueError):
        os.kill(int(pidfile.read_text()), signal.SIGKILL)


def test_given_detach_when_beat_is_started_then_the_command_returns_and_beat_stays(project: Path, background: Path) -> None:
    words = ("beat", "--detach", "-l", "info", "--pidfile", "beat.pid", "--logfile", "beat.log")
    started = command(project, *words)
    assert started.returncode == 0, started.stderr
    assert "    . logfile -> beat.log@%INFO" in started.stdout
    pid = int(background.read_text())
    assert os.readlink(f"/proc/{pid}/fd/2") == os.devnull
    until(lambda: "Sending due task each-second" in (project / "beat.log").read_text(), "it sends nothing")
    again = command(project, *words)
    assert again.returncode == 73
    assert f"Seems we're already running? (pid: {pid})" in again.stderr
    os.kill(pid, signal.SIGTERM)
    until(lambda: not lives(pid), "it does not end")
    assert not background.exists()


@pytest.mark.setting("beat_logfile", "beat_pidfile", "beat_umask")
def test_given_settings_of_the_program_then_beat_follows_them(project: Path) -> None:
    settings = ["beat_logfile=set.log", "beat_pidfile=set.pid", "beat_umask=0077"]
    with BeatNode("proj", cwd=project, options=["--", *settings]) as beat:
        until(lambda: (project / "set.log").exists() and "Starting..." in (project / "set.log").read_text(), beat.log())
        assert (project / "set.pid").read_text().strip() == str(beat.pid)
        assert (project / "set.log").stat().st_mode & 0o777 == 0o600
        beat.stop()
    assert not (project / "set.pid").exists()


@pytest.mark.setting("beat_uid", "beat_gid")
def test_given_a_user_that_there_is_not_then_beat_says_so(project: Path) -> None:
    for setting in ("beat_uid", "beat_gid"):
        done = command(project, "beat", "--", f"{setting}=nobody-of-this-name")
        assert done.returncode == 2, done.stderr
        assert "nobody-of-this-name" in done.stderr


def test_given_a_word_that_is_no_setting_then_beat_says_so(project: Path) -> None:
    done = command(project, "beat", "--", "nonsense")
    assert done.returncode == 2
    assert "'nonsense' is no key=value" in done.stderr


def test_given_help_then_celerys_options_are_there(project: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sedano", "beat", "--help"], capture_output=True, text=True, timeout=60, check=True, cwd=project
    )
    for word in (
        "--schedule",
        "--scheduler",
        "--max-interval",
        "--enable-remote-control",
        "--detach",
        "--pidfile",
        "--loglevel",
    ):
        assert word in done.stdout


def test_given_app_beat_then_a_program_can_run_one_itself(project: Path) -> None:
    code = (
        "from proj import app\n"
        "from sedano import signals\n"
        "from sedano.beat import Service\n"
        "@signals.beat_init.connect\n"
        "def stop(sender, **_):\n"
        "    print(sender.scheduler.max_interval, isinstance(sender, Service))\n"
        "    sender.stop()\n"
        "beat = app.Beat(max_interval=7, quiet=True, redirect_stdouts=False)\n"
        "assert beat.app is app\n"
        "beat.run()\n"
    )
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, cwd=project, env=without_crashes(), capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "7 True\n", done.stderr


@pytest.mark.redis
def test_given_a_broker_that_goes_away_and_comes_back_when_beat_runs_then_the_tick_that_waited_is_sent(
    project: Path, redis_server: RedisServer
) -> None:
    redis_server.restart()
    options = ["-S", "celery.beat:PersistentScheduler"]
    with BeatNode("proj", cwd=project, options=options, environment={"CELERY_BROKER_URL": redis_server.url}) as beat:
        beat.wait_sent("each-second")
        redis_server.kill()
        beat.wait_for_line("beat: Connection error: .* Trying again in")
        tried = beat.log().count("Scheduler: Sending due task")
        redis_server.start()
        until(lambda: redis_server.command("LLEN", "celery"), beat.log())
        beat.wait_sent("each-second", tried + 1)
        assert "Message Error" not in beat.log()
        redis_server.kill()
        beat.wait_for_lines("beat: Connection error: .* Trying again in", 2)
        assert beat.stop() == 0
        assert "beat: Stopped while the broker is away" in beat.log()
    redis_server.start()


def test_given_a_store_that_comes_back_empty_when_beat_runs_then_its_entries_are_made_anew(
    project: Path, redis_server: RedisServer
) -> None:
    redis_server.restart()
    with BeatNode("proj", cwd=project, environment={"CELERY_BROKER_URL": redis_server.url}) as beat:
        beat.wait_sent("each-second")
        redis_server.kill()
        beat.wait_for_line("beat: Connection error: .* Trying again in")
        redis_server.start()
        beat.wait_for_line("beat: The store is there again")
        until(lambda: redis_server.command("LLEN", "celery"), beat.log())
        redis_server.command("FLUSHALL")
        until(lambda: redis_server.command("LLEN", "celery"), beat.log())
        assert beat.stop() == 0
        assert "Message Error" not in beat.log()


def test_given_app_worker_with_beat_then_its_process_sends(project: Path) -> None:
    code = (
        "from proj import app\n"
        "from sedano.signals import beat_embedded_init, worker_ready\n"
        "heard = []\n"
        "beat_embedded_init.connect(lambda sender, **_: heard.append(sender.schedule_filename), weak=False)\n"
        "@worker_ready.connect\n"
        "def stop(sender, **_):\n"
        "    sender.controller.stop()\n"
        "app.Worker(beat=True, schedule='mine', pool='solo', quiet=True, without_heartbeat=True).start()\n"
        "open('heard', 'w').write(' '.join(heard))\n"
    )
    words = [sys.executable, "-c", code]
    subprocess.run(words, cwd=project, env=without_crashes(), capture_output=True, text=True, timeout=60, check=True)
    assert (project / "heard").read_text() == "mine"
