"""`app.log`, and what tasks print without an end."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.services.worker.nodes import NodeWorld

STAMP = r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}: "
HEAD = """
import logging, os, sys
from sedano import Celery, signals
from sedano.log import get_task_logger
app = Celery("proj", broker="memory://", backend="disabled://")
"""


def run(code: str, folder: Path) -> tuple[str, str]:
    """What it writes to stdout and to stderr."""
    done = subprocess.run([sys.executable, "-c", HEAD + code], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_given_a_program_that_sets_logging_up_then_its_lines_are_a_workers(tmp_path: Path) -> None:
    out, err = run(
        "assert not app.log.already_setup\n"
        "assert app.log.setup(loglevel='info', redirect_stdouts=True, redirect_level='ERROR') == []\n"
        "assert app.log.already_setup and app.log.setup(loglevel='debug') is None\n"
        "logging.getLogger('mine').info('one')\n"
        "logging.getLogger('mine').debug('too much')\n"
        "get_task_logger('tasks').info('two')\n"
        "app.log.get_default_logger().warning('three')\n"
        "print('four')\n",
        tmp_path,
    )
    expected = [
        r"INFO/MainProcess\] one",
        r"INFO/MainProcess\] \?\?\?\[\?\?\?\]: two",
        r"WARNING/MainProcess\] three",
        r"ERROR/MainProcess\] four",
    ]
    assert out == ""
    for line, pattern in zip(err.splitlines(), expected, strict=True):
        assert re.fullmatch(STAMP + pattern, line)


def test_given_parts_that_are_set_up_alone_then_only_they_are(tmp_path: Path) -> None:
    out, err = run(
        "told = []\n"
        "signals.after_setup_task_logger.connect(lambda logger, **_: told.append(logger.name), weak=False)\n"
        "tasks = app.log.setup_task_loggers('INFO', format='T %(task_name)s %(message)s', propagate=True)\n"
        "assert (told, tasks.propagate, logging.getLogger().handlers) == (['celery.task'], True, [])\n"
        "get_task_logger('tasks').info('hello')\n"
        "mine = app.log.setup_handlers(logging.getLogger('mine'), 'mine.log', 'M %(message)s', False)\n"
        "mine.propagate = False\n"
        "mine.warning('to a file')\n"
        "app.log.redirect_stdouts_to_logger(mine, stderr=False)\n"
        "print('printed')\n"
        "sys.stderr.write('untouched\\n')\n"
        "assert app.log.supports_color() is False and app.log.supports_color(True) is True\n",
        tmp_path,
    )
    assert (out, err.splitlines()) == ("", ["T ??? hello", "untouched"])
    assert (tmp_path / "mine.log").read_text().splitlines() == ["M to a file", "M printed"]


def test_given_a_receiver_of_setup_logging_then_it_alone_sets_up(tmp_path: Path) -> None:
    run(
        "signals.setup_logging.connect(lambda **_: 'mine', weak=False)\n"
        "assert [answer for _, answer in app.log.setup(redirect_stdouts=True)] == ['mine']\n"
        "assert logging.getLogger().handlers == [] and sys.stdout is sys.__stdout__\n",
        tmp_path,
    )


def test_given_celerys_module_then_a_class_made_of_its_face_is_used(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "from celery import Celery\n"
        "from celery.app.log import Logging, TaskFormatter\n"
        "class Mine(Logging):\n"
        "    def setup_logging_subsystem(self, *args, **kwargs):\n"
        "        super().setup_logging_subsystem(*args, format='MINE %(message)s', **kwargs)\n"
        "app = Celery('proj', broker='memory://', backend='disabled://', log=Mine)\n"
        "app.log.setup('INFO')\n"
        "app.log.get_default_logger().info('hello')\n"
    )
    words = [sys.executable, "-m", "sedano.as_celery", "program.py"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True)
    assert done.stderr == "MINE hello\n"


@pytest.mark.parametrize("pool", ["prefork", "asyncio"])
def test_given_a_task_that_prints_without_an_end_when_it_is_over_then_the_line_is_logged(world: NodeWorld, pool: str) -> None:
    world.write_tasks(
        "@app.task\n"
        "def piece(text):\n"
        "    print(text, end='')\n"
        "    print('!', end='')\n"
        "@app.task\n"
        "async def apiece(text):\n"
        "    print(text, end='')\n"
        "@app.task\n"
        "def fails(text):\n"
        "    print(text, end='')\n"
        "    raise ValueError(text)\n"
    )
    node = world.ready(options=["-P", pool], concurrency=1)
    world.get("piece", "first piece")
    world.get("apiece", "second piece")
    with pytest.raises(ValueError, match="third piece"):
        world.get("fails", "third piece")
    node.wait_for_line(r"Task tasks\.fails\[.*\] raised unexpected")
    said = [line for line in node.lines if re.match(STAMP, line) and " received" not in line]
    texts = [re.sub(r".*?\] (Task tasks\.)?", "", line, count=1).partition("[")[0] for line in said if "piece" in line]
    assert texts == ["first piece!", "piece", "second piece", "apiece", "third piece", "fails"]


def test_given_a_log_class_of_the_apps_own_when_a_worker_starts_then_it_sets_up(world: NodeWorld) -> None:
    tasks = (world.folder / "tasks.py").read_text()
    mine = (
        "from sedano.worker.applog import Logging\n"
        "class Mine(Logging):\n"
        "    def setup_logging_subsystem(self, *args, **kwargs):\n"
        "        return super().setup_logging_subsystem(*args, format='MINE %(message)s', **kwargs)\n"
    )
    (world.folder / "tasks.py").write_text(mine + tasks.replace('Celery("tasks", ', 'Celery("tasks", log=Mine, '))
    node = world.ready()
    assert world.get("add", 1, 1) == 2
    node.wait_for_line(r"^MINE w1@test ready\.")
    node.wait_for_line(r"^MINE Task tasks\.add\[")
