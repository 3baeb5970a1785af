"""`sedano queues`: what waits, for how long, for whom; pausing and resuming from the command line."""

from __future__ import annotations

import json
import os
import re
import shlex
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.servers import RedisServer, redis_server
from tests.services.cli.conftest import Shell, lines, make_project

from sedano import Sedano
from sedano.exceptions import OperationalError
from sedano.signals import before_task_publish
from sedano.testing.node import Node

__all__ = ["redis_server"]

PROJECT = """
from sedano import Sedano

app = Sedano("proj")
app.conf.task_queues = {"celery": {}, "mail": {}}

@app.task
def add(x, y):
    return x + y
"""


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return make_project(tmp_path, {"proj.py": PROJECT})


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    folder = tmp_path_factory.mktemp("queues")
    with Node("proj", cwd=folder, name="mailer@test", concurrency=1, options=["-Q", "mail"]) as node:
        shell = make_project(folder, {"proj.py": PROJECT})
        node.wait_ready()
        yield shell


def row(shell: Shell, queue: str, *words: str) -> dict[str, Any]:
    rows: list[dict[str, Any]] = json.loads(shell("queues", "-Q", queue, "--json", *words).stdout)
    assert len(rows) == 1
    return rows[0]


def test_each_queue_shows_its_messages_their_age_and_who_consumes_it(served: Shell) -> None:
    for _ in range(2):
        served("call", "proj.add", "-a", "[1, 1]", "--queue", "celery")
    shown = row(served, "celery", "-t", "60")
    assert 0 <= shown.pop("oldest_s") < 300
    assert shown == {
        "queue": "celery", "ready": 2, "delayed": 0, "reserved": 0, "running": 0, "dead": 0, "parked": 0,
        "consumers": [], "paused": None,
    }  # fmt: skip
    assert row(served, "mail", "-t", "60")["consumers"] == ["mailer@test"]
    assert row(served, "mail", "-t", "0")["consumers"] is None
    table = lines(served("queues", "-t", "60").stdout)
    assert table[0].split("\t")[-3:] == ["oldest", "consumers", "paused"]
    assert table[2].split("\t") == ["mail", *"000000", "", "mailer@test", ""]


def test_the_age_is_written_for_people(shell: Shell) -> None:
    shell("call", "proj.add", "-a", "[1, 1]")
    (store,) = shell.folder.glob(".sedano/*.db")
    with sqlite3.connect(store) as database:
        database.execute("UPDATE messages SET since = since - 7260")
    database.close()
    assert "\t2 h 1 min\t" in shell("queues", "-Q", "celery").stdout
    assert 7260 <= row(shell, "celery")["oldest_s"] < 7560


def test_a_paused_queue_is_shown_with_its_reason_and_resumed_by_name_or_with_all_others(shell: Shell) -> None:
    before = time.time()
    done = shell("queues", "pause", "mail", "celery", "--reason", "the mail server is down")
    assert (done.returncode, done.stdout) == (0, "Paused mail, celery.\n")
    paused = row(shell, "mail")["paused"]
    assert before - 1 <= paused["since"] <= time.time() + 1
    assert (paused["queue"], paused["reason"]) == ("mail", "the mail server is down")
    assert paused["by"].endswith(f"@{os.uname().nodename}")
    assert "(the mail server is down)" in lines(shell("queues", "-Q", "mail").stdout)[1]

    done = shell("queues", "resume", "mail", "other", "--json")
    assert json.loads(done.stdout) == {"resumed": ["mail"], "not_paused": ["other"]}
    assert shell("queues", "resume", "--all").stdout == "Resumed celery.\n"
    done = shell("queues", "resume", "mail")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "not paused: mail\n")


def test_a_queue_that_nobody_knows_is_paused_only_by_force(shell: Shell) -> None:
    refused = shell("queues", "pause", "mali")
    assert refused.returncode == 2
    assert "nobody knows a queue 'mali'. Did you mean 'mail'? --force pauses it all the same" in refused.stderr
    done = shell("queues", "pause", "mali", "--force", "--json")
    assert json.loads(done.stdout) == {"paused": ["mali"], "not_heeded_by": {}}
    assert "mali" in [one["queue"] for one in json.loads(shell("queues", "--json").stdout)]


@pytest.mark.parametrize("words", [["resume"], ["resume", "--all", "mail"], ["--json", "pause", "mail"]])
def test_what_makes_no_sense_is_a_usage_error(shell: Shell, words: list[str]) -> None:
    shown = shell("queues", *words)
    assert (shown.returncode, shown.stdout) == (2, "")


# -- what other programs keep on the same server ----------------------------------------------------------------------

FOREIGN = {
    "string": ("SET", "value"),
    "hash": ("HSET", "field", "value"),
    "set": ("SADD", "member"),
    "zset": ("ZADD", "1", "member"),
    "stream": ("XADD", "*", "field", "value"),
}


@pytest.fixture
def asker(redis_server: RedisServer) -> Iterator[Any]:
    redis_server.command("FLUSHALL")
    app = Sedano("asker", broker=redis_server.url, set_as_current=False)
    yield app
    app.close()


@pytest.mark.redis
@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("key", ["mail", "mail\x06\x163"])
def test_given_a_foreign_key_with_a_queues_name_when_counted_then_the_error_names_key_kind_and_ways_out(
    redis_server: RedisServer, asker: Any, kind: str, key: str
) -> None:
    redis_server.command("LPUSH", "celery", "whatever")
    put(redis_server, kind, key)
    with pytest.raises(OperationalError) as raised:
        asker.control.queues(["celery", "mail"], timeout=None)
    for part in (repr(key), "'mail'", f"but a {kind}", "global_keyprefix"):
        assert part in str(raised.value)
    assert asker.control.queues(["celery"], timeout=None)[0].ready == 1


@pytest.mark.redis
def test_given_foreign_keys_when_the_command_is_typed_then_one_line_says_so(
    redis_server: RedisServer, asker: Any, tmp_path: Path
) -> None:
    put(redis_server, "hash", "celery")
    shown = make_project(tmp_path, {})("-b", redis_server.url, "queues", "-t", "0", app=None)
    assert (shown.returncode, shown.stdout, len(lines(shown.stderr))) == (75, "", 1)
    assert "but a hash" in shown.stderr


NAMES = st.one_of(
    st.sampled_from(["celery", "_kombu.binding.celery", "_kombu.binding.", "celery\x06\x163", "unacked", "celery.pidbox"]),
    st.text(min_size=1, max_size=12).map(lambda text: text.encode("utf-8", "replace").decode()),
)
BYTES = st.one_of(
    st.binary(max_size=40), st.sampled_from([b"a\x06\x16\x06\x16mail", b'"headers": {', b'{"headers": {"eta": 1e999}}'])
)


@pytest.mark.redis
@settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(
    keys=st.lists(st.tuples(NAMES, st.sampled_from([*FOREIGN, "list"]), BYTES), max_size=4),
    bindings=st.lists(BYTES, max_size=3),
)
def test_given_any_foreign_keys_when_all_queues_are_asked_for_then_there_is_an_answer_or_a_clear_error(
    redis_server: RedisServer, asker: Any, keys: list[tuple[str, str, bytes]], bindings: list[bytes]
) -> None:
    redis_server.command("FLUSHALL")
    for member in bindings:
        redis_server.command("SADD", "_kombu.binding.mail", member)
    for name, kind, value in keys:
        if not redis_server.command("EXISTS", name):
            put(redis_server, kind, name, value)
    try:
        states = asker.control.queues(timeout=None)
    except OperationalError as raised:
        error = str(raised)
    else:
        error = ""
        assert "celery" in [state.queue for state in states]
    assert not error or "another program uses this database" in error


def put(server: RedisServer, kind: str, key: str, value: bytes = b"value") -> None:
    if kind == "list":
        server.command("LPUSH", key, value)
    else:
        command, *words = FOREIGN[kind]
        server.command(command, key, *words[:-1], value)


# -- the pages of the manual ------------------------------------------------------------------------------------------

DOCS = Path(__file__).parents[3] / "docs"


def test_given_the_page_on_pausing_when_its_commands_are_typed_then_they_say_what_it_says(tmp_path: Path) -> None:
    shell = make_project(tmp_path, {"shop.py": PROJECT})
    blocks = re.findall(r"```console\n(.*?)```", (DOCS / "how-to" / "pause-queues.md").read_text(), re.DOTALL)
    typed = [line.split("#")[0] for block in blocks for line in block.splitlines() if line.startswith("$ sedano -A shop")]
    said = [line for block in blocks for line in block.splitlines() if not line.startswith("$")]
    outputs = [shell(*shlex.split(line)[4:], app="shop") for line in typed]
    assert [done.returncode for done in outputs] == [0] * len(typed)
    assert said == [done.stdout.strip() for done in outputs if "sumed" in done.stdout or done.stdout.startswith("Paused")]
    paused = next(number for number, line in enumerate(typed) if " pause " in line)
    assert "(the mail server is down)" in outputs[paused + 1].stdout


@pytest.mark.redis
def test_given_the_page_on_queues_when_its_example_runs_then_redis_knows_how_long_a_call_has_waited(asker: Any) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (DOCS / "reference" / "queues.md").read_text(), re.DOTALL)
    asker.send_task("proj.add", (1, 1))
    assert asker.control.queues(["celery"], timeout=None)[0].oldest_s is None
    asker.control.purge()
    names: dict[str, Any] = {}
    exec(example, names)
    try:
        asker.send_task("proj.add", (1, 1))
    finally:
        before_task_publish.disconnect(names["stamp"])
    age_s = asker.control.queues(["celery"], timeout=None)[0].oldest_s
    assert 0 <= age_s < 300
