"""`sedano events`: the dump, cameras, and its life as a program."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path

import pytest
from tests.servers import RedisServer, is_left_out
from tests.services.cli.conftest import Shell, make_project

from sedano import Celery

PATIENCE_S = 60.0

PROJECT = """
import click
from celery import Celery
from celery.signals import user_preload_options
app = Celery("proj", broker="sqlite:///calls.db")
app.conf.update({settings})
app.user_options["events"].add(click.Option(["--flavour"], default="plain"))
app.user_options["preload"].add(click.Option(["--colour"], default="blue"))

@user_preload_options.connect
def note(options=None, **kwargs):
    open("options.txt", "w").write(str(options))
"""

CAMERA = """
import os
from celery.events.snapshot import Polaroid
from celery.events.state import State, Task, Worker

class DumpCamera(Polaroid):
    clear_after = True

    def on_shutter(self, state):
        if state.event_count:
            with open("pictures.txt", "a") as file:
                file.write(f"{state.event_count} events, pid {os.getpid()}, uid {os.getuid()}, every {self.freq}\\n")
                self.logger.warning("a picture")
"""


@pytest.fixture
def make_shell(tmp_path: Path) -> Shell:
    return project(tmp_path)


def project(folder: Path, **settings: object) -> Shell:
    return make_project(folder, {"proj.py": PROJECT.format(settings=settings), "camera.py": CAMERA})


def sender(folder: Path) -> Celery:
    return Celery("sender", broker=f"sqlite:///{folder}/calls.db", set_as_current=False)


def send_until(folder: Path, path: Path, text: str) -> str:
    """Send events until the file says `text`; what it says then."""
    deadline = time.monotonic() + PATIENCE_S
    app = sender(folder)
    while text not in (said := path.read_text() if path.exists() else ""):
        assert time.monotonic() < deadline, said
        with app.events.default_dispatcher(hostname="me@here") as dispatcher:
            dispatcher.send("custom-thing", number=7)
        time.sleep(0.05)
    app.close()
    return said


def _hear_ctrl_c() -> None:
    """Tests that a shell runs in the background ignore SIGINT, and so do the programs that they start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def running(folder: Path, *words: str, before: tuple[str, ...] = ()) -> Generator[subprocess.Popen[bytes]]:
    with (folder / "output.txt").open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "sedano", "-A", "proj", *before, "events", *words],
            cwd=folder, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, "PYTHONUNBUFFERED": "1"},
            preexec_fn=_hear_ctrl_c,
        )  # fmt: skip
        try:
            yield process
        finally:
            process.terminate()
            process.wait(PATIENCE_S)


@pytest.mark.parametrize("word", ["--dump", "-d"])
def test_given_the_dump_when_events_come_then_each_is_a_line_and_sigterm_ends_it(tmp_path: Path, word: str) -> None:
    project(tmp_path)
    with running(tmp_path, word) as process:
        said = send_until(tmp_path, tmp_path / "output.txt", "custom thing: ")
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    assert said.startswith("-> evdump: starting capture...\nme@here [")
    assert "number=7" in said


def test_given_json_when_events_come_then_each_line_is_one_object_and_nothing_else(tmp_path: Path) -> None:
    project(tmp_path)
    with running(tmp_path, "--json", before=("-q",)) as process:
        said = send_until(tmp_path, tmp_path / "output.txt", '"number": 7')
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    events = [json.loads(line) for line in said.splitlines(keepends=True) if line.endswith("\n")]
    assert {(event["type"], event["hostname"]) for event in events} == {("custom-thing", "me@here")}
    assert events[0]["number"] == 7
    refused = project(tmp_path)("events", "--json", "-c", "camera.DumpCamera")
    assert refused.returncode == 2
    assert "--json belongs to --dump" in refused.stderr


def test_given_a_camera_when_events_come_then_it_takes_pictures_and_a_last_one(tmp_path: Path) -> None:
    project(tmp_path)
    with running(tmp_path, "-c", "camera.DumpCamera", "--frequency", "0.1", "-l", "info") as process:
        send_until(tmp_path, tmp_path / "pictures.txt", "events, pid")
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0
    said = (tmp_path / "output.txt").read_text()
    assert "-> evcam: Taking snapshots with camera.DumpCamera (every 0.1 secs.)" in said
    assert "a picture" in said
    with running(tmp_path, "-c", "camera:DumpCamera", "--freq=1000") as process:
        send_until(tmp_path, tmp_path / "output.txt", "every 1000")
        wait_for_listener(tmp_path)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    assert "every 1000.0" in (tmp_path / "pictures.txt").read_text()


def wait_for_listener(folder: Path) -> None:
    """Until somebody hears, and has had what it heard for a moment."""
    app = sender(folder)
    bus = app.stores.open_bus()
    deadline = time.monotonic() + PATIENCE_S
    heard = 0
    while heard < 20:
        assert time.monotonic() < deadline
        with app.events.default_dispatcher() as dispatcher:
            dispatcher.send("custom-thing")
        heard += bool(_has_listeners(folder))
        time.sleep(0.01)
    bus.close()
    app.close()


def _has_listeners(folder: Path) -> bool:
    import sqlite3  # noqa: PLC0415

    db = sqlite3.connect(folder / "calls.db")
    try:
        return bool(db.execute("SELECT 1 FROM listeners WHERE kind = 'events'").fetchone())
    finally:
        db.close()


@pytest.mark.setting("events_logfile", "events_pidfile")
def test_given_a_camera_that_is_detached_when_it_is_started_then_the_command_returns_and_it_stays(tmp_path: Path) -> None:
    shell = project(tmp_path, events_logfile="cam.log", events_pidfile="cam.pid")
    done = shell("events", "-c", "camera.DumpCamera", "-d", "-F", "0.1", "--flavour", "sweet", "--colour", "red")
    assert done.returncode == 0, done.stderr
    pid = int((tmp_path / "cam.pid").read_text())
    try:
        said = send_until(tmp_path, tmp_path / "pictures.txt", "events, pid")
        assert f"pid {pid}" in said
        send_until(tmp_path, tmp_path / "cam.log", "a picture")
        again = shell("events", "-c", "camera.DumpCamera")
        assert again.returncode == 1
        assert "already exists" in again.stderr
        assert (tmp_path / "options.txt").read_text() in ("{'colour': 'red'}", "{'colour': 'blue'}")
    finally:
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + PATIENCE_S
    while (tmp_path / "cam.pid").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.setting("events_uid", "events_gid", "events_umask")
def test_given_a_user_and_a_mask_when_a_camera_starts_then_its_files_are_that_users() -> None:
    if os.getuid() != 0:
        pytest.skip("only root can become somebody else")
    import tempfile  # noqa: PLC0415

    nobody = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to others
        folder = Path(name)
        project(folder, events_uid="nobody", events_gid=nobody.pw_gid, events_umask="027")
        folder.chmod(0o777)
        with running(folder, "-c", "camera.DumpCamera", "-F", "0.1"):
            deadline = time.monotonic() + PATIENCE_S
            while not (folder / "calls.db").exists():
                assert time.monotonic() < deadline, (folder / "output.txt").read_text()
                time.sleep(0.02)
            said = send_until(folder, folder / "pictures.txt", "events, pid")
        status = (folder / "pictures.txt").stat()
    assert f"uid {nobody.pw_uid}" in said
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (nobody.pw_uid, nobody.pw_gid, 0o640)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 1, "comes with the monitor"),
        (("--detach",), 1, "sedano events --dump"),
        (("-c", "nowhere.Camera"), 2, "leads to no class"),
        (("-c", "camera.Other"), 2, "leads to no class"),
        (("-c", "camera.DumpCamera", "-r", "often"), 2, "rate limit of 'often'"),
        (("-c", "camera.DumpCamera", "-F", "0"), 2, "Invalid value for '-F'"),
        (("-c", "camera.DumpCamera", "--uid", "no-such-user"), 2, "User does not exist"),
    ],
)
def test_given_what_cannot_be_when_asked_for_then_a_sentence_says_why(
    make_shell: Shell, words: tuple[str, ...], code: int, said: str
) -> None:
    done = make_shell("events", *words)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr


@pytest.mark.redis
def test_given_a_broker_that_goes_away_when_it_is_back_then_the_dump_goes_on(tmp_path: Path) -> None:
    if is_left_out("redis"):
        pytest.skip("SEDANO_WITHOUT names redis")
    said = tmp_path / "said.txt"
    with RedisServer() as server, said.open("w") as out:
        app = Celery("sender", broker=server.url, set_as_current=False)
        process = subprocess.Popen(
            [sys.executable, "-m", "sedano", "-b", server.url, "events", "--dump"], cwd=tmp_path, stdout=out, stderr=out
        )
        try:
            send_type_until(app, "custom-before", said, "custom before")
            server.restart()
            send_type_until(app, "custom-after", said, "custom after")
        finally:
            process.terminate()
            process.wait(PATIENCE_S)
            app.close()
    assert "-> Cannot connect: " in said.read_text()


def send_type_until(app: Celery, kind: str, said: Path, text: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while text not in said.read_text():
        assert time.monotonic() < deadline, said.read_text()
        with app.events.default_dispatcher() as dispatcher:
            dispatcher.send(kind)
        time.sleep(0.05)
