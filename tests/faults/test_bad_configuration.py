"""What a person can get wrong before anything runs: URLs, settings, the app's module, the command line; the error of each."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.servers import RedisServer, is_left_out

from sedano.testing.node import Node

APP = """
import os
from sedano import Sedano

app = Sedano("proj", broker=os.environ["URL"], backend=os.environ.get("RESULTS") or None)

@app.task
def add(x, y):
    return x + y
"""
WORKER = ("-A", "proj", "worker", "-c", "1", "-n", "bad@test")
CALL = ("-A", "proj", "call", "proj.add", "-a", "[2, 3]")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "proj.py").write_text(APP)
    (tmp_path / "pyproject.toml").touch()
    return tmp_path


def run(folder: Path, *words: str, before: tuple[str, ...] = (), **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*before, sys.executable, "-m", "sedano", *words],
        cwd=folder,
        env={**os.environ, "URL": "memory://", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def check(done: subprocess.CompletedProcess[str], code: int, *reasons: str) -> None:
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    assert "Traceback" not in said
    for reason in reasons:
        assert re.search(reason, said), said


# -- URLs that are none ------------------------------------------------------------------------------------------------

WRONG_URLS = {
    "scheme": ("foo://host/0", "no driver for foo://. Supported: .*redis://"),
    "scheme of a later version": ("postgresql://guest@localhost/", "not built yet"),
    "no scheme": ("localhost", "is no URL: it has no '://'"),
    "port is text": ("redis://localhost:port/0", "the host or port is wrong"),
    "port out of range": ("redis://localhost:99999/0", "the host or port is wrong.*0-65535"),
    "database is text": ("redis://:secret@localhost/zero", "the database is a number, not 'zero'"),
    "parameter of another type": ("redis://localhost/0?socket_timeout=soon", "no URL of a Redis server.*'soon'"),
    "socket without a path": ("redis+socket://", "the path of the socket is missing"),
    "sqlite with a host": ("sqlite://host/x.db", "names a host, 'host'"),
    "sqlite without a file": ("sqlite:///", "give a file"),
    "sqlite parameter": ("sqlite:///x.db?bussy_timeout=5", "Did you mean busy_timeout"),
    "sqlite parameter out of range": ("sqlite:///x.db?busy_timeout=-1", "busy_timeout=-1 is no number of seconds above 0"),
}


@pytest.mark.parametrize("words", [WORKER, CALL], ids=["worker", "sender"])
@pytest.mark.parametrize(("url", "reason"), WRONG_URLS.values(), ids=WRONG_URLS)
def test_given_a_url_that_is_none_then_the_error_says_which_part_is_wrong(
    folder: Path, words: tuple[str, ...], url: str, reason: str
) -> None:
    done = run(folder, *words, URL=url)
    check(done, 2, reason)
    assert "secret" not in done.stdout + done.stderr


@pytest.mark.parametrize("words", [WORKER, CALL], ids=["worker", "sender"])
def test_given_a_result_url_that_is_none_then_the_error_says_so(folder: Path, words: tuple[str, ...]) -> None:
    check(run(folder, *words, URL=f"sqlite:///{folder}/x.db", RESULTS="nothing://x"), 2, "no driver for nothing://")


# -- files that are no store -------------------------------------------------------------------------------------------


def missing_folder(folder: Path) -> str:
    return str(folder / "missing" / "x.db")


def a_directory(folder: Path) -> str:
    (folder / "place").mkdir()
    return str(folder / "place")


def no_database(folder: Path) -> str:
    (folder / "x.db").write_text("Dear diary, this is no database. " * 50)
    return str(folder / "x.db")


def another_programs(folder: Path) -> str:
    database = sqlite3.connect(folder / "x.db")
    database.execute("CREATE TABLE songs (name)")
    database.close()
    return str(folder / "x.db")


def of_a_newer_version(folder: Path) -> str:
    path = folder / "x.db"
    check(run(folder, *CALL, URL=f"sqlite:///{path}"), 0)
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 999")
    database.close()
    return str(path)


WRONG_FILES = {
    missing_folder: "there is no directory .*missing. Create it first",
    a_directory: "is a directory: name a file in it",
    no_database: "is no SQLite database",
    another_programs: "a SQLite database of another program",
    of_a_newer_version: r"written by a newer Sedano \(schema 999; this one knows up to \d+\). Upgrade",
}


@pytest.mark.parametrize("words", [WORKER, CALL], ids=["worker", "sender"])
@pytest.mark.parametrize(("make", "reason"), WRONG_FILES.items(), ids=[make.__name__ for make in WRONG_FILES])
def test_given_a_file_that_is_no_store_then_the_error_names_it_and_nothing_runs(
    folder: Path, words: tuple[str, ...], make, reason: str
) -> None:
    check(run(folder, *words, URL=f"sqlite:///{make(folder)}"), 2, reason)


def test_given_results_in_a_file_that_is_no_store_then_the_worker_does_not_start(folder: Path) -> None:
    done = run(folder, *WORKER, URL=f"sqlite:///{folder}/broker.db", RESULTS=f"sqlite:///{no_database(folder)}")
    check(done, 2, "is no SQLite database")


@pytest.mark.parametrize("words", [WORKER, CALL], ids=["worker", "sender"])
def test_given_a_store_that_cannot_be_written_then_the_error_says_so(folder: Path, words: tuple[str, ...]) -> None:
    store = folder / "store"
    store.mkdir()
    url = f"sqlite:///{store}/x.db"
    check(run(folder, *CALL, URL=url), 0)
    before: tuple[str, ...] = ()
    if os.geteuid() == 0:  # whom no mode keeps out
        unshare = shutil.which("unshare")
        mount = f"mount --bind {store} {store} && mount -o remount,ro,bind {store}"
        if unshare is None or subprocess.run([unshare, "-m", "sh", "-c", mount], capture_output=True, check=False).returncode:
            pytest.skip("an administrator who may not mount can write everywhere")
        before = (unshare, "-m", "sh", "-c", f'{mount} && exec "$@"', "sh")
    else:
        (store / "x.db").chmod(0o444)
        store.chmod(0o555)
    check(run(folder, *words, URL=url, before=before), 2, f"the store {store}/x.db .*(read-only|may not)")
    store.chmod(0o755)


# -- servers that are away ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded() -> Iterator[RedisServer]:
    """A server that wants a password."""
    if is_left_out("redis"):
        pytest.skip("SEDANO_WITHOUT names redis")
    with RedisServer() as server:
        server.command("CONFIG", "SET", "requirepass", "sesame")
        yield server


AWAY = {
    "nobody there": ("redis://localhost:1/0", "Connection refused"),
    "no such host": ("redis://nowhere.invalid/0", "no connection to redis://nowhere.invalid"),
    "no such socket": ("redis+socket:///nowhere/redis.sock", "No such file"),
    "no password": ("redis+socket://{socket}?virtual_host=0", "NOAUTH"),
    "wrong password": ("redis+socket://:secret@{socket}?virtual_host=0", "WRONGPASS"),
    "wrong database": ("redis+socket://:sesame@{socket}?virtual_host=99", "DB index is out of range"),
}


@pytest.mark.parametrize(("url", "reason"), AWAY.values(), ids=AWAY)
def test_given_a_server_that_does_not_let_us_in_then_the_sender_is_told_to_try_again(
    folder: Path, guarded: RedisServer, url: str, reason: str
) -> None:
    done = run(folder, *CALL, URL=url.format(socket=guarded.socket))
    check(done, 75, "the call was not sent", reason)
    assert "secret" not in done.stdout + done.stderr


@pytest.mark.parametrize(("url", "reason"), AWAY.values(), ids=AWAY)
def test_given_a_server_that_does_not_let_us_in_then_the_worker_says_why_and_tries_again(
    folder: Path, guarded: RedisServer, url: str, reason: str
) -> None:
    environment = {"URL": url.format(socket=guarded.socket)}
    with Node("proj", cwd=folder, name="bad@test", concurrency=1, environment=environment) as node:
        node.wait_for_line(rf"consumer: Cannot connect to redis.*{reason}")
        node.wait_for_line(r"Trying again in 2.00 seconds... \(1\)")
        assert node.stop() == 0
    assert "Traceback" not in node.log()
    assert "secret" not in node.log()
    assert "Connection to broker lost" not in node.log()  # it never had one


# -- settings ----------------------------------------------------------------------------------------------------------


def test_given_many_wrong_settings_then_all_are_told_together(folder: Path) -> None:
    (folder / "wrong.py").write_text(
        "from sedano import Sedano\napp = Sedano('wrong', broker='memory://')\n"
        "app.conf.update(task_time_limit='soon', worker_lease_time=-1, worker_concurrency='many', task_queues=5,"
        " accept_content='json', result_expires='x', task_routes=7)\n"
    )
    done = run(folder, "-A", "wrong", "worker")
    check(
        done,
        2,
        "7 settings are wrong",
        "task_time_limit='soon': expected seconds",
        "worker_lease_time=-1: expected .*0.5 or more",
        "worker_concurrency='many': expected a whole number",
        "task_queues=5: expected a list of Queue objects",
        "accept_content='json': expected a list of names",
        "result_expires='x': expected seconds",
        "task_routes=7: expected a dict",
    )
    assert "ready" not in done.stdout


def test_given_settings_that_contradict_each_other_then_all_are_told_together(folder: Path) -> None:
    words = ("task_time_limit=10", "task_soft_time_limit=20", "worker_window_time=30", "worker_lease_time=20")
    done = run(folder, *WORKER, "--", *words)
    check(done, 2, "2 settings are wrong", "task_soft_time_limit=20 never comes", "worker_window_time=30 is not within")


def test_given_an_unknown_setting_then_the_worker_names_the_nearest(folder: Path) -> None:
    done = run(folder, *WORKER, "--", "task_acks_lat=1", "worker_lease_time=-1")
    check(done, 2, "worker_lease_time=-1")
    (folder / "typo.py").write_text("from proj import app\napp.conf.task_acks_lat = True\n")
    with Node("typo", cwd=folder, name="bad@test", environment={"URL": f"sqlite:///{folder}/x.db"}) as node:
        node.wait_for_line("task_acks_lat is no setting: did you mean task_acks_late?")


# -- the app's module --------------------------------------------------------------------------------------------------

MODULES = {
    "SyntaxError": ("def f(:\n", 2, ("could not be loaded", "bad.py", "SyntaxError")),
    "ImportError": ("import no_such_thing\n", 2, ("could not be loaded", 'bad.py", line 1', "no_such_thing")),
    "an exception": ("x = 1\nraise ValueError('boom')\n", 2, ("could not be loaded", 'bad.py", line 2', "ValueError: boom")),
    "sys.exit": ("import sys\nsys.exit(0)\n", 2, ("could not be loaded", r"it calls sys.exit\(\)", 'bad.py", line 2')),
    "no app": ("x = 1\n", 2, ("no app found", "bad.app")),
    "something else called app": ("app = 5\n", 2, ("no app found", "builtins.int, not an app")),
}


@pytest.mark.parametrize("command", [("worker",), ("call", "t")], ids=["worker", "sender"])
@pytest.mark.parametrize(("text", "code", "reasons"), MODULES.values(), ids=MODULES)
def test_given_a_module_without_a_usable_app_then_the_error_shows_its_own_line(
    folder: Path, command: tuple[str, ...], text: str, code: int, reasons: tuple[str, ...]
) -> None:
    (folder / "bad.py").write_text(text)
    done = run(folder, "-A", "bad", *command)
    check(done, code, *reasons)
    assert "importlib" not in done.stderr


def test_given_two_apps_in_a_module_then_the_first_is_taken_and_either_can_be_named(folder: Path) -> None:
    (folder / "two.py").write_text(
        "from sedano import Sedano\none = Sedano('one', broker='first://x')\ntwo = Sedano('two', broker='second://x')\n"
    )
    for name, url in (("two", "first://x"), ("two:one", "first://x"), ("two:two", "second://x")):
        check(run(folder, "-A", name, "worker"), 2, f"broker_url='{url}'")


def test_given_a_module_that_does_not_exist_then_the_error_says_what_was_tried(folder: Path) -> None:
    check(run(folder, "-A", "nowhere", "worker"), 2, "no app found. Tried: module nowhere")
    check(run(folder, "-A", "proj:nothing", "worker"), 2, "Tried: module proj, proj.nothing")


def test_given_no_app_then_the_worker_says_that_it_knows_no_task(folder: Path) -> None:
    check(run(folder, "worker", "--", "worker_lease_time=-1"), 2, "No app is given: .*sedano -A proj worker")


def test_given_no_result_backend_then_the_node_runs_calls_without_a_word(folder: Path) -> None:
    url = f"sqlite:///{folder}/x.db"
    with Node("proj", cwd=folder, name="bad@test", concurrency=1, environment={"URL": url}) as node:
        node.wait_ready()
        check(run(folder, *CALL, URL=url), 0)
        node.wait_for_line(r"Task proj.add\[.*succeeded")
        assert node.stop() == 0
    assert not re.search("CRITICAL|ERROR|Traceback", node.log())


# -- the command line --------------------------------------------------------------------------------------------------

COMMAND_LINES = {
    "unknown command": (("wroker",), "Did you mean 'worker'"),
    "unknown option": (("-A", "proj", "worker", "--concurency", "2"), "No such option.*--concurency"),
    "fewer than no slots": (("-A", "proj", "worker", "-c", "-2"), "non-negative integer or 'auto', got '-2'"),
    "slots in words": (("-A", "proj", "worker", "-c", "many"), "non-negative integer or 'auto', got 'many'"),
    "unknown pool": (("-A", "proj", "worker", "-P", "fast"), "Invalid value for '-P'"),
    "unknown level": (("-A", "proj", "worker", "-l", "loud"), "loud"),
    "limit in words": (("-A", "proj", "worker", "--time-limit", "soon"), "Invalid value for '--time-limit'"),
    "hard limit before the start": (("-A", "proj", "worker", "--time-limit", "-3"), "'--time-limit'.*-3.* give 0 or more"),
    "soft limit before the start": (
        ("-A", "proj", "worker", "--soft-time-limit=-1"),
        "'--soft-time-limit'.*-1.* give 0 or more",
    ),
    "unknown scheduler": (("-A", "proj", "beat", "-S", "djanog"), "there is no scheduler 'djanog'"),
    "a scheduler that is not there": (
        ("-A", "proj", "worker", "-P", "solo", "-B", "--scheduler", "a.b:C"),
        "'a.b:C' cannot be loaded",
    ),
    "a folder for the schedule that is not there": (
        ("-A", "proj", "beat", "-S", "celery.beat:PersistentScheduler", "-s", "/nowhere/s"),
        "/nowhere/s.*--schedule",
    ),
    "misplaced -A": (("worker", "-A", "proj"), "stand before the command"),
    "a word that is no setting": (("-A", "proj", "worker", "--", "nonsense"), "nonsense"),
    "arguments that are no JSON": (("-A", "proj", "call", "proj.add", "-a", "[2, "), "'\\[2, ' is no JSON"),
    "no such folder": (("--workdir", "/nowhere", "-A", "proj", "worker"), "nowhere"),
}


@pytest.mark.parametrize(("words", "reason"), COMMAND_LINES.values(), ids=COMMAND_LINES)
def test_given_a_wrong_command_line_then_the_error_says_what_is_wrong(
    folder: Path, words: tuple[str, ...], reason: str
) -> None:
    done = run(folder, *words)
    said = done.stdout + done.stderr
    assert done.returncode in (1, 2), said
    assert "Traceback" not in said
    assert re.search(reason, said), said
