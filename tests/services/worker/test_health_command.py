"""`sedano health`: the exit code says whether a worker takes calls; what it costs to ask."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.services.worker.conftest import Make
from tests.services.worker.nodes import NodeWorld

from sedano.cli.group import cli
from sedano.cli.probe import EX_OK, EX_UNAVAILABLE, EX_UNREADY, read
from sedano.cli.quickhealth import APP_VARIABLES, BROKER_VARIABLES, OTHERS_VARIABLES, parse

Done = subprocess.CompletedProcess[str]


OWN = 90
"""Modules of our own behind an answer: a container pays for each of them at every probe."""
# `typing_extensions`, which msgspec takes where it is installed, takes much else.
LISTING = (
    "import sys; sys.modules['typing_extensions'] = None; "
    "from sedano.cli.main import main; code = main(); print(*sys.modules, sep=chr(10)); sys.exit(code)"
)


def ask(
    world: NodeWorld, *words: str, before: tuple[str, ...] | None = None, python: tuple[str, ...] = ("-m", "sedano")
) -> Done:
    given = ("-b", world.url) if before is None else before
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("CELERY_", "SEDANO_"))}
    command = [sys.executable, *python, *given, "health", *words]
    return subprocess.run(command, cwd=world.folder, env=clean, capture_output=True, text=True, timeout=60, check=False)


def test_given_a_node_that_consumes_then_zero_else_one_with_the_reason_and_sixty_nine_for_nobody(make_world: Make, store: str):
    del store
    world = make_world()
    node = world.ready("w1@test", concurrency=1)
    done = ask(world, "-d", "w1@test")
    assert (done.returncode, done.stdout) == (EX_OK, "w1@test is ready\n"), done.stderr
    held = world.send("hold", "gate")
    world.until_started(held)
    node.signal(signal.SIGTERM)
    node.wait_for_line("Warm shutdown|warm shutdown")
    world.until(lambda: ask(world, "-d", "w1@test").returncode == EX_UNREADY)
    done = ask(world, "-d", "w1@test", "--json")
    assert done.returncode == EX_UNREADY
    answer = json.loads(done.stdout)
    assert answer["node"] == "w1@test"
    assert answer["ready"] is False
    assert "stopping" in answer["reason"]
    world.open_gate("gate")
    assert node.wait() == 0
    done = ask(world, "-d", "w1@test", "-t", "0.3", "-j")
    assert done.returncode == EX_UNAVAILABLE
    assert json.loads(done.stdout)["ready"] is None


def test_given_no_destination_then_the_node_is_asked_that_a_worker_of_this_host_is_by_default(world: NodeWorld):
    done = ask(world, "-t", "0.2")
    assert done.returncode == EX_UNAVAILABLE
    assert "celery@" in done.stderr
    assert "does not answer" in done.stderr


def test_given_the_broker_then_the_users_app_is_not_imported_nor_what_only_a_worker_needs(world: NodeWorld):
    world.ready("w1@test", concurrency=1)
    (world.folder / "broken.py").write_text("raise RuntimeError('imported')")
    done = ask(world, "-d", "w1@test", before=("-A", "broken", "-b", world.url), python=("-c", LISTING))
    assert done.returncode == EX_OK, done.stderr
    imported = set(done.stdout.splitlines())
    assert sum(name.partition(".")[0] == "sedano" for name in imported) <= OWN
    assert "sedano.cli.probe" in imported
    unwanted = {
        "rich",
        "sedano.worker.node",
        "sedano.worker.supervisor",
        "sedano.as_celery",
        "asyncio",
        "http",
        "broken",
        "click",
        "ssl",
        "inspect",
        "dataclasses",
        "importlib.resources",
        "tempfile",
        "difflib",
        "sedano.app.base",
        "sedano.app.task",
        "sedano.canvas",
        "sedano.result",
        "sedano.drivers.redis.broker",
        "sedano.drivers.redis.turns",
    }
    assert not imported & unwanted


def test_given_an_app_with_a_mailbox_of_its_own_then_it_is_asked_there_when_nobody_answers_elsewhere(make_world: Make):
    world = make_world(control_exchange="ours")
    world.ready("w1@test", concurrency=1)
    done = ask(world, "-d", "w1@test", "-t", "1", before=("-A", "tasks", "-b", world.url))
    assert done.returncode == EX_OK, done.stderr
    assert ask(world, "-d", "w1@test", before=("-A", "tasks")).returncode == EX_OK


def test_given_a_broker_that_is_away_or_silent_then_nobody_answers_in_time(world: NodeWorld, tmp_path: Path):
    done = ask(world, before=("-b", f"redis+socket://{tmp_path}/nothing.sock"))
    assert done.returncode == EX_UNAVAILABLE
    assert "broker cannot be asked" in done.stderr
    world.server.command("CLIENT", "PAUSE", 6000)
    began = time.monotonic()
    done = ask(world, "-t", "1")
    assert done.returncode == EX_UNAVAILABLE
    assert "said nothing" in done.stderr
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("words", [("-t", "soon"), ("-t", "0"), ("--jsn",), ("-d", "w@%x"), ("more",)])
def test_given_what_cannot_be_then_the_exit_code_is_two(world: NodeWorld, words: tuple[str, ...]):
    assert ask(world, *words).returncode == 2


def test_given_a_broker_url_that_cannot_be_then_the_exit_code_is_two(world: NodeWorld):
    assert ask(world, before=("-b", "nonsense://x")).returncode == 2


def test_given_a_node_that_does_not_know_the_question_then_it_is_not_taken_for_ready():
    ready, reason = read({"error": "KeyError('health')"})
    assert not ready
    assert "inspect ping" in reason


PLAIN = [
    ("-d", "w1@test", "-t", "0.2"),
    ("--destination=w1@test", "--timeout=0.2", "--json"),
    ("-t", "0.2", "-j", "-d", "nobody@test"),
    ("--http", "unix:nothing.sock"),
    ("--http=unix:nothing.sock", "--live", "-j"),
]


@pytest.mark.parametrize("words", PLAIN)
def test_given_a_plain_probe_then_the_quick_way_says_what_the_whole_command_says(world: NodeWorld, words: tuple[str, ...]):
    world.ready("w1@test", concurrency=1)
    whole = "import sys; from sedano.cli.group import run; sys.exit(run(sys.argv[1:]))"
    quick = (
        "import sys; from sedano.cli.main import main; code = main(); "
        "sys.exit(100 if 'sedano.cli.group' in sys.modules else code)"
    )
    ours, theirs = (ask(world, *words, python=("-c", code)) for code in (quick, whole))
    assert (ours.returncode, ours.stdout, ours.stderr) == (theirs.returncode, theirs.stdout, theirs.stderr)


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("status",),
        ("health", "--help"),
        ("health", "-d"),
        ("health", "-dw@h"),
        ("health", "-d", ""),
        ("health", "--debug"),
        ("--debug", "health"),
        ("--workdir", "/", "health"),
        ("-A", "health"),
        ("call", "x", "-a", "health"),
        ("health", "more"),
    ],
)
def test_given_words_of_another_kind_then_the_quick_way_leaves_them_to_the_whole_command(words: tuple[str, ...]):
    assert parse(words) is None


def test_given_a_variable_that_click_takes_for_an_option_then_the_quick_way_knows_of_it():
    options = {f"CELERY_{param.name.upper()}" for param in cli.params if param.name}
    for param in cli.params:
        given = param.envvar if isinstance(param.envvar, list | tuple) else [param.envvar] if param.envvar else []
        options.update(given)
    harmless = {"LOADER", "CELERY_LOADER", "CELERY_RESULT_BACKEND"}
    assert options - harmless <= OTHERS_VARIABLES | {*BROKER_VARIABLES, *APP_VARIABLES}
