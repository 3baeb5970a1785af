"""`sedano worker` as an operator types it: names, files, users, the background, reloading, and what is only accepted."""

from __future__ import annotations

import contextlib
import grp
import json
import os
import pwd
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.services.cli.conftest import Shell, make_project

from sedano.testing.node import Node

PATIENCE_S = 60.0
PROJECT = """
import os
from sedano import Sedano

app = Sedano("proj")

@app.task
def who():
    return [os.getpid(), os.getuid(), os.getgid(), os.umask(0o22)]

@app.task
def version():
    return 1
"""


@pytest.fixture
def project(tmp_path: Path) -> Shell:
    return make_project(tmp_path, {"proj.py": PROJECT})


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


@pytest.fixture
def background(project: Shell) -> Iterator[Path]:
    """The pidfile of a worker that a test puts into the background; it is ended whatever happens."""
    pidfile = project.folder / "w1.pid"
    yield pidfile
    with contextlib.suppress(OSError, ValueError):
        os.kill(int(pidfile.read_text()), signal.SIGKILL)


DETACHED = ("worker", "-D", "-c", "1", "-l", "info", "-n", "w1@h", "--pidfile", "%n.pid", "--logfile", "%n%I.log")


def test_given_detach_when_a_worker_is_started_then_the_command_returns_and_the_worker_stays(
    project: Shell, background: Path
) -> None:
    started = project(*DETACHED)
    assert started.returncode == 0, started.stderr
    assert "w1@h" in started.stdout  # the banner, before it lets go of the terminal
    pid = int(background.read_text())
    assert os.getsid(pid) not in (pid, os.getsid(0))
    assert os.readlink(f"/proc/{pid}/fd/2") == os.devnull
    log = project.folder / "w1.log"
    until(lambda: "w1@h ready." in log.read_text(), "it does not get ready")
    slots_log = project.folder / "w1-1.log"

    task_id = project("call", "proj.who").stdout.strip()
    shown = project("result", task_id, "--timeout", "60")
    assert shown.returncode == 0, log.read_text()
    assert "succeeded in" in slots_log.read_text()

    again = project(*DETACHED)
    assert again.returncode == 73
    assert f"Seems we're already running? (pid: {pid})" in again.stderr

    os.kill(pid, signal.SIGHUP)  # starts the program again, as the same process
    until(lambda: log.read_text().count("w1@h ready.") == 2, "it does not start again")
    assert int(background.read_text()) == pid

    os.kill(pid, signal.SIGTERM)
    until(lambda: not lives(pid), "it does not end")
    assert not background.exists()


def test_given_detach_when_the_worker_cannot_start_then_the_terminal_hears_why(project: Shell) -> None:
    missing = project("worker", "-D", app="nowhere")
    assert missing.returncode == 2
    assert missing.stderr.count("Unable to load celery application.") == 1
    wrong = project("worker", "-D", "--logfile", "nowhere/w.log")
    assert wrong.returncode == 1
    assert "nowhere/w.log" in wrong.stderr
    together = project("worker", "-D", "--reload")
    assert together.returncode == 2
    assert "leave --detach out" in together.stderr


@pytest.fixture
def anybodys_folder() -> Iterator[Path]:
    """pytest's own folders are closed to other users."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        yield Path(folder)


# Python itself may be out of another user's reach: what the worker needs is loaded while it is root.
LOADED = "import sqlite3\nimport sedano.drivers.sqlite\napp.finalize()\n"


@pytest.mark.setting("worker_uid", "worker_gid", "worker_umask")
@pytest.mark.parametrize("by_setting", [False, True])
def test_given_a_user_and_a_mask_when_a_worker_starts_then_tasks_and_files_are_that_users(
    anybodys_folder: Path, by_setting: bool
) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can become somebody else")
    nobody = pwd.getpwnam("nobody")
    source = f"{PROJECT}\n{LOADED}"
    project = make_project(anybodys_folder, {"proj.py": source})
    given = {"uid": "nobody", "umask": "027", **({"gid": grp.getgrgid(nobody.pw_gid).gr_name} if by_setting else {})}
    if by_setting:
        (project.folder / "proj.py").write_text(
            source + "".join(f"\napp.conf.worker_{name} = {value!r}" for name, value in given.items())
        )
    words = [] if by_setting else [word for name, value in given.items() for word in (f"--{name}", value)]
    with Node("proj", cwd=project.folder, name="w1@h", concurrency=1, options=[*words, "--pidfile", "w1.pid"]) as node:
        node.wait_ready()
        task_id = until(lambda: project("call", "proj.who").stdout.strip(), "the call is not sent")
        pid, uid, gid, mask = json.loads(project("result", task_id, "--timeout", "60").stdout)
        assert (uid, gid, mask) == (nobody.pw_uid, nobody.pw_gid, 0o27)
        assert pid in node.slots()
        status = (project.folder / "w1.pid").stat()
        assert (status.st_uid, status.st_mode & 0o777) == (nobody.pw_uid, 0o640)
        assert "SecurityWarning" not in node.log()


def test_given_reload_when_a_source_file_changes_then_the_worker_starts_again_gracefully(project: Shell) -> None:
    source = project.folder / "proj.py"

    def answer() -> str:
        return project("result", project("call", "proj.version").stdout.strip(), "--timeout", "60").stdout.strip()

    with Node("proj", cwd=project.folder, name="w1@h", concurrency=1, options=["--reload"]) as node:
        node.wait_ready()
        assert answer() == "1"

        source.write_text(PROJECT.replace("return 1", "return 22"))
        node.wait_for_line(r"Reload: proj\.py changed\.")
        until(lambda: node.log().count("w1@h ready.") == 2, "it does not start again")
        assert "Warm shutdown" in node.log()
        assert answer() == "22"

        source.write_text("this is no Python")
        node.wait_for_line("starts again when a source file changes")
        assert "SyntaxError" in node.log()
        source.write_text(PROJECT.replace("return 1", "return 333"))
        until(lambda: node.log().count("w1@h ready.") == 3, "it does not start after the error")
        assert answer() == "333"

        below = node.processes()[1:]
        assert node.stop() == 0
        until(lambda: not any(lives(pid) for pid in below), "something is left behind")


def test_given_ctrl_c_under_reload_when_it_comes_once_then_the_worker_hears_it_once(project: Shell) -> None:
    with Node("proj", cwd=project.folder, name="w1@h", concurrency=1, options=["--reload"]) as node:
        node.wait_ready()
        worker = node.processes()[1]
        assert os.getpgid(worker) not in (node.pid, os.getpgid(0))  # a terminal's signal reaches it through the watcher alone
        os.killpg(node.pid, signal.SIGINT)  # as a terminal does: the whole group in the foreground
        assert node.wait() == 1
        assert node.log().count("Warm shutdown") == 1
        assert "Cold shutdown" not in node.log()


def test_given_codes_in_names_when_a_worker_starts_then_they_are_filled_in(project: Shell) -> None:
    words = ["--pidfile", "%n-%h-%d-%i%I.pid", "--logfile", "%p.log"]
    with Node("proj", cwd=project.folder, name="w%i%I@%h.x", concurrency=1, options=words) as node:
        host = f"{socket.gethostname()}.x"
        domain = host.partition(".")[2]
        pidfile = project.folder / f"w0-{host}-{domain}-0.pid"
        log = project.folder / f"w0@{host}.log"
        until(lambda: log.exists() and f"w0@{host} ready." in log.read_text(), node.log())
        assert int(pidfile.read_text()) == node.pid


def test_given_queues_and_modules_when_a_worker_starts_then_it_takes_from_these_and_knows_those(project: Shell) -> None:
    (project.folder / "more.py").write_text("from sedano import shared_task\n@shared_task\ndef extra():\n    return 'more'\n")
    words = ["-Q", "feeds,celery", "-X", "celery", "-I", "more", "--purge"]
    project("call", "more.extra", "--queue", "feeds")
    with Node("proj", cwd=project.folder, name="w1@h", concurrency=1, options=words) as node:
        node.wait_ready()
        assert "purge: Erased 1 message from the queue." in node.log()
        assert ".> feeds" in node.log()
        assert ".> celery" not in node.log()
        task_id = project("call", "more.extra", "--queue", "feeds").stdout.strip()
        assert project("result", task_id, "--timeout", "60").stdout == "more\n"


ACCEPTED = (
    ("-O", "fair"),
    ("-S", "state.db"),
    ("--executable", "/usr/bin/python"),
)
NAMES = {"-O": "--optimization", "-S": "--statedb"}


def test_given_options_without_a_meaning_when_a_worker_starts_then_each_is_named_and_it_works(project: Shell) -> None:
    words = [word for option in ACCEPTED for word in option]
    with Node("proj", cwd=project.folder, name="w1@h", concurrency=1, options=words) as node:
        node.wait_ready()
        said = [line.split()[0] for line in node.lines if line.startswith("--") and "has no effect" in line]
    assert sorted(said) == sorted(NAMES.get(option[0], option[0]) for option in ACCEPTED)


def test_given_the_environment_of_celerys_scripts_when_a_worker_starts_then_it_is_obeyed(project: Shell) -> None:
    environment = {
        "CELERYD_LOG_FILE": "%n.log",
        "CELERYD_PID_FILE": "%n.pid",
        "CELERY_WORKER_MAX_TASKS_PER_CHILD": "7",
        "CELERY_WORKER_QUEUES": "feeds",
    }
    with Node("proj", cwd=project.folder, name="w1@h", concurrency=1, environment=environment) as node:
        log = project.folder / "w1.log"
        until(lambda: log.exists() and "w1@h ready." in log.read_text(), node.log())
        assert int((project.folder / "w1.pid").read_text()) == node.pid
        assert ".> feeds" in node.log()
    assert project("worker", CELERYD_LOG_LEVEL="LOUD").returncode == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["-Q", "feeds,", "celery"], "commas and without spaces"),
        (["-P", "nope"], "Invalid value for '-P' / '--pool'"),
        (["-c", "-2"], "must be a non-negative integer or 'auto'"),
        (["-l", "loud"], "Invalid value for '-l' / '--loglevel'"),
        (["--autoscale", "1,2,3"], "Expected two comma separated integers"),
        (["--uid", "no-such-user"], "User does not exist: no-such-user"),
        (["--gid", "no-such-group"], "Group does not exist: no-such-group"),
        (["--umask", "9z"], "'9z' is no number"),
        (["--", "no_such_setting=1"], "there is no such setting"),
    ],
)
def test_given_words_that_cannot_be_when_a_worker_is_to_start_then_it_says_so_and_does_not(
    project: Shell, words: list[str], told: str
) -> None:
    shown = project("worker", *words)
    assert shown.returncode in (1, 2)
    assert told in shown.stderr
    assert "Traceback" not in shown.stderr


def test_given_a_script_of_the_users_when_it_is_the_worker_then_detach_and_reload_work_there_too(
    project: Shell, background: Path
) -> None:
    (project.folder / "script.py").write_text(
        PROJECT + "\nimport sys\nif __name__ == '__main__':\n    app.worker_main(sys.argv[1:])\n"
    )
    done = subprocess.run(
        [sys.executable, "script.py", *DETACHED], cwd=project.folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    pid = int(background.read_text())
    until(lambda: "w1@h ready." in (project.folder / "w1.log").read_text(), "it does not get ready")
    os.kill(pid, signal.SIGTERM)
    until(lambda: not lives(pid), "it does not end")


OWN_OPTIONS = """
import click
from sedano import signals

app.user_options["worker"].add(click.Option(["--region"], default="north", help="Where it runs."))
app.user_options["preload"].add(click.Option(["-Z", "--site"], default="here"))

@signals.celeryd_init.connect
def init(options, **_):
    print("region", options["region"])

@signals.user_preload_options.connect
def preload(options, **_):
    print("preload", options)
"""


TYPED = ["--region", "south", "-Z", "there"]


@pytest.mark.parametrize(("words", "region", "site"), [(TYPED, "south", "there"), ([], "north", "here")])
def test_given_options_of_the_apps_own_when_they_are_typed_or_not_then_hooks_hear_them(
    project: Shell, words: list[str], region: str, site: str
) -> None:
    (project.folder / "own.py").write_text(PROJECT + OWN_OPTIONS)
    with Node("own", cwd=project.folder, name="w1@h", concurrency=1, options=words) as node:
        node.wait_ready()
        assert f"region {region}" in node.log()
        assert f"preload {{'site': {site!r}}}" in node.log()
    unknown = project("worker", "--regoin", "south", app="own")
    assert unknown.returncode == 2
    assert "No such option" in unknown.stderr


def test_given_an_included_module_when_a_worker_starts_then_its_receivers_hear_from_the_beginning(project: Shell) -> None:
    (project.folder / "hooks.py").write_text(
        "from sedano import signals\n@signals.celeryd_init.connect\ndef init(sender, **_):\n    print('heard', sender)\n"
    )
    (project.folder / "own.py").write_text(PROJECT + "app.conf.include = ['hooks']\n")
    with Node("own", cwd=project.folder, name="w1@h", concurrency=1) as node:
        node.wait_ready()
        assert "heard w1@h" in node.log()
    missing = project("worker", "-I", "nosuch.module", app="own")
    assert missing.returncode == 2
    assert missing.stderr.endswith("Error: -I nosuch.module: there is no module 'nosuch'\n")
