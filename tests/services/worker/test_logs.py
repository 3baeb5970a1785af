"""What a worker's log looks like, in a process of its own: the set-up is for the whole process."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

STAMP = r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}: "


def run(code: str, cwd: Path) -> str:
    """stderr of a program that has set up logging by `plan`."""
    head = (
        "import logging, sys, multiprocessing\n"
        "from sedano import signals\n"
        "from sedano.worker.logs import LogPlan, prepare_slot_logs, setup_logs\n"
    )
    done = subprocess.run([sys.executable, "-c", head + code], cwd=cwd, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    return done.stderr


def test_given_the_default_settings_when_a_worker_logs_then_the_lines_are_celerys(tmp_path: Path) -> None:
    lines = run(
        "setup_logs(LogPlan('w@x', level=logging.INFO))\n"
        "logging.getLogger('celery.worker.strategy').info('Task a[1] received')\n"
        "logging.getLogger('celery.worker.strategy').debug('too much')\n"
        "multiprocessing.current_process().name = 'ForkPoolWorker-3'\n"
        "logging.getLogger('mine').error('from my own module')\n"
        "from sedano.log import get_task_logger\n"
        "get_task_logger('tasks').info('hello')\n"
        "print('printed by a task')\n"
        "print('to stderr', file=sys.stderr)\n",
        tmp_path,
    ).splitlines()
    expected = [
        STAMP + r"INFO/MainProcess\] Task a\[1\] received",
        STAMP + r"ERROR/ForkPoolWorker-3\] from my own module",
        STAMP + r"INFO/ForkPoolWorker-3\] \?\?\?\[\?\?\?\]: hello",
        STAMP + r"WARNING/ForkPoolWorker-3\] printed by a task",
        STAMP + r"WARNING/ForkPoolWorker-3\] to stderr",
    ]
    assert len(lines) == len(expected)
    for line, pattern in zip(lines, expected, strict=True):
        assert re.fullmatch(pattern, line)


def test_given_a_receiver_of_setup_logging_when_a_worker_starts_then_it_leaves_logging_alone(tmp_path: Path) -> None:
    assert (
        run(
            "signals.setup_logging.connect(lambda **kwargs: None, weak=False)\n"
            "setup_logs(LogPlan('w@x', level=logging.DEBUG, redirect=False))\n"
            "assert logging.getLogger().handlers == []\n"
            "assert logging.getLogger('celery.task').handlers == []\n",
            tmp_path,
        )
        == ""
    )


def test_given_a_root_logger_of_the_users_own_when_it_is_not_to_be_hijacked_then_it_stays(tmp_path: Path) -> None:
    out = run(
        "logging.basicConfig(format='mine %(message)s')\n"
        "setup_logs(LogPlan('w@x', hijack_root=False))\n"
        "logging.getLogger('celery').warning('hello')\n",
        tmp_path,
    )
    assert out == "mine hello\n"


def test_given_a_log_file_per_process_when_a_slot_starts_then_it_has_its_own(tmp_path: Path) -> None:
    run(
        "plan = LogPlan('w@x', level=logging.INFO, file='%n%I.log')\n"
        "setup_logs(plan)\n"
        "logging.getLogger('celery').info('main')\n"
        "prepare_slot_logs(plan, 2)\n"
        "logging.getLogger('celery').info('slot')\n",
        tmp_path,
    )
    assert (tmp_path / "w.log").read_text().endswith("] main\n")
    assert (tmp_path / "w-2.log").read_text().endswith("] slot\n")


def test_given_receivers_of_the_logging_signals_when_it_is_set_up_then_they_get_the_loggers(tmp_path: Path) -> None:
    out = run(
        "@signals.after_setup_logger.connect(weak=False)\n"
        "def root(logger, loglevel, **kwargs): logger.handlers[0].setFormatter(logging.Formatter('root %(message)s'))\n"
        "@signals.after_setup_task_logger.connect(weak=False)\n"
        "def task(logger, **kwargs): logger.handlers[0].setFormatter(logging.Formatter('task %(message)s'))\n"
        "setup_logs(LogPlan('w@x', redirect=False))\n"
        "logging.warning('a'); logging.getLogger('celery.task').warning('b')\n",
        tmp_path,
    )
    assert out == "root a\ntask b\n"
