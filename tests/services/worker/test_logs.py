"""What a worker's log looks like, in a process of its own: the set-up is for the whole process."""

from __future__ import annotations

import json
import os
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
            "setup_logs(LogPlan('w@x', level=logging.DEBUG))\n"
            "assert logging.getLogger().handlers == []\n"
            "assert logging.getLogger('celery.task').handlers == []\n"
            "assert (sys.stdout, sys.stderr) == (sys.__stdout__, sys.__stderr__)\n",
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


COUNT = "lines = []\nlogging.getLogger('celery.redirected').addFilter(lambda record: lines.append(record) or True)\n"


def test_given_a_stderr_that_nobody_reads_when_a_worker_logs_then_it_does_not_complain_about_that_in_the_log(
    tmp_path: Path,
) -> None:
    run(
        "import os\nread, write = os.pipe()\nos.close(read)\nos.dup2(write, 2)\n"
        "setup_logs(LogPlan('w@x', level=logging.INFO))\n"
        f"{COUNT}logging.getLogger('celery.worker').error('broken')\n"
        "open('count', 'w').write(str(len(lines)))\nos._exit(0)\n",
        tmp_path,
    )
    assert (tmp_path / "count").read_text() == "0"


def test_given_a_log_file_on_a_full_disk_when_a_worker_logs_then_it_says_so_once_on_stderr(tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to("/dev/full")
    said = run(
        "setup_logs(LogPlan('w@x', level=logging.INFO, file='log'))\n"
        f"{COUNT}logging.getLogger('celery.worker').error('no room')\nassert not lines\nimport os\nos._exit(0)\n",
        tmp_path,
    )
    assert said.count("No space left on device") == 1


SPY = (
    "heard = {}\n"
    "def spy(name):\n"
    "    def hear(signal, sender, **named): heard[name] = (sender, named)\n"
    "    getattr(signals, name).connect(hear, weak=False)\n"
)


def test_given_the_logging_signals_when_they_are_sent_then_with_celerys_arguments(tmp_path: Path) -> None:
    run(
        SPY + "for name in ('after_setup_logger', 'after_setup_task_logger'): spy(name)\n"
        "setup_logs(LogPlan('w@x', level=logging.INFO, file='%n.log', format='F %(message)s', task_format='T %(message)s'))\n"
        "shared = {'loglevel': 20, 'logfile': 'w.log', 'colorize': False}\n"
        "root, tasks = logging.getLogger(), logging.getLogger('celery.task')\n"
        "assert heard['after_setup_logger'] == (None, {'logger': root, 'format': 'F %(message)s', **shared}), heard\n"
        "assert heard['after_setup_task_logger'] == (None, {'logger': tasks, 'format': 'T %(message)s', **shared}), heard\n",
        tmp_path,
    )
    run(
        SPY + "spy('setup_logging')\n"
        "setup_logs(LogPlan('w@x', level=logging.INFO, format='F', color=True))\n"
        "assert heard['setup_logging'] == (None, {'loglevel': 20, 'logfile': None, 'format': 'F', 'colorize': True}), heard\n",
        tmp_path,
    )


def test_given_a_receiver_of_setup_logging_that_fails_when_a_worker_starts_then_it_fails_too(tmp_path: Path) -> None:
    run(
        "@signals.setup_logging.connect\n"
        "def broken(**kwargs): raise ValueError('no such file')\n"
        "logging.raiseExceptions = False; logging.lastResort = None\n"
        "try: setup_logs(LogPlan('w@x'))\n"
        "except ValueError as error: assert str(error) == 'no such file'\n"
        "else: raise AssertionError('it went on')\n",
        tmp_path,
    )


def test_given_prints_in_pieces_when_they_are_logged_then_a_line_is_a_line(tmp_path: Path) -> None:
    lines = run(
        "setup_logs(LogPlan('w@x', format='%(levelname)s %(message)s', redirect_level='INFO', level=logging.INFO))\n"
        "print('a', 1, [2], sep=', ')\n"
        "print('b', end=''); print('c', end=' '); print('d')\n"
        "print()\n"
        "print('e\\nf')\n"
        "sys.stderr.write('g'); sys.stdout.flush()\n",
        tmp_path,
    ).splitlines()
    assert lines == ["INFO a, 1, [2]", "INFO bc d", "INFO e", "INFO f", "INFO g"]


def test_given_a_warning_when_it_is_issued_then_it_is_one_record_of_the_log(tmp_path: Path) -> None:
    out = run(
        "setup_logs(LogPlan('w@x', format='<%(name)s|%(message)s>'))\nimport warnings\nwarnings.warn('old', stacklevel=1)\n",
        tmp_path,
    )
    assert re.match(r"<py\.warnings\|.*: UserWarning: old", out)
    assert out.count("<py.warnings") == 1


# -- JSON --------------------------------------------------------------------------------------------------------------------

JSON_LOGS = "setup_logs(LogPlan('w@x', level=logging.INFO, format='json', task_format='json', color=True))\n"


def test_given_json_when_a_worker_logs_then_each_line_is_one_object(tmp_path: Path) -> None:
    lines = run(
        JSON_LOGS + "logging.getLogger('mine').warning('hello\\n%s', 'world')\n"
        "from sedano.worker import lines\n"
        "lines.succeeded(task_id='1', name='t', return_value='5', runtime=0.5, args='()', kwargs='{}')\n"
        "print('printed')\n"
        "odd = {'user': 'anna', 'odd': object, 'big': 2**70, 'half': '\\ud800', 'deep': {1: (2, float('nan'))}}\n"
        "logging.getLogger('mine').error('x', extra=odd)\n"
        "try: 1 / 0\n"
        "except ZeroDivisionError: logging.getLogger('mine').exception('failed')\n",
        tmp_path,
    ).splitlines()
    hello, succeeded, printed, extra, failed = (json.loads(line) for line in lines)

    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", hello.pop("time"))
    assert hello.pop("pid") != os.getpid()
    assert hello == {"level": "WARNING", "logger": "mine", "process": "MainProcess", "message": "hello\nworld"}
    assert succeeded["message"] == "Task t[1] succeeded in 0.5s: 5"
    assert succeeded["data"]["id"] == "1"
    assert succeeded["data"]["runtime"] == 0.5
    assert (printed["logger"], printed["message"]) == ("celery.redirected", "printed")
    assert (extra["user"], extra["odd"], extra["big"]) == ("anna", "<class 'object'>", str(2**70))
    assert (extra["half"], extra["deep"]) == ("\\ud800", {"1": [2, None]})
    assert "ZeroDivisionError" in failed["exception"]


def test_given_json_when_a_task_logs_then_its_lines_name_the_call(tmp_path: Path) -> None:
    lines = run(
        JSON_LOGS + "from sedano import Sedano\n"
        "from sedano.log import get_task_logger\n"
        "app = Sedano('x', broker='memory://')\n"
        "@app.task(name='greet')\n"
        "def greet(): get_task_logger('tasks').info('hello')\n"
        "greet.apply(task_id='17')\n",
        tmp_path,
    ).splitlines()
    (shown,) = (line for line in map(json.loads, lines) if line["logger"] == "tasks")
    assert (shown["task_name"], shown["task_id"], shown["message"]) == ("greet", "17", "hello")
