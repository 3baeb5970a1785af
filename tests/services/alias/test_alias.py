"""`import celery` means Sedano: the four ways to turn it on, and what it gives."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = """
from kombu import Exchange, Queue

import celery
from celery import Celery, Task, current_app, shared_task
from celery.exceptions import Ignore, MaxRetriesExceededError, Reject, Retry, SoftTimeLimitExceeded
from celery.result import AsyncResult
from celery.schedules import crontab
from celery.signals import celeryd_init, task_prerun, worker_ready
from celery.states import FAILURE, PENDING, SUCCESS
from celery.app.log import TaskFormatter
from celery.utils.log import get_task_logger
import celery.app.control

logger = get_task_logger(__name__)

class MyTask(celery.Task):
    def on_success(self, retval, task_id, args, kwargs):
        logger.info("done")

app = Celery("proj", broker="memory://", backend="memory://")
app.conf.task_queues = (Queue("feeds", Exchange("feeds", type="direct"), routing_key="feeds"),)
app.conf.task_default_queue = "feeds"

@app.task(base=MyTask, bind=True)
def add(self, x, y):
    return x + y

@shared_task
def shared(x):
    return x

ENGINE = Celery.__module__.partition(".")[0]
"""


def run(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("CELERY_", "SEDANO_"))}
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "proj.py").write_text(PROJECT)
    (tmp_path / "main.py").write_text("import proj, sys\nprint(proj.ENGINE, sys.argv[1:], __name__)\n")
    return tmp_path


def test_importing_the_module_turns_it_on(project: Path):
    done = run(project, "-c", "import sedano.as_celery; import proj; print(proj.ENGINE)")
    assert done.stdout == "sedano\n", done.stderr


def test_it_says_in_one_log_line_that_it_wins_over_an_installed_celery(project: Path):
    (project / "celery").mkdir()
    (project / "celery" / "__init__.py").write_text("Celery = None")
    log = "import logging; logging.basicConfig(level=20); "
    later = "import sedano.signals as s; s.after_setup_logger.send(None); s.after_setup_logger.send(None)"
    for program in (log + "import sedano.as_celery", "import sedano.as_celery; " + log + later):
        done = run(project, "-c", program + "; import celery; assert celery.Celery")
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("`import celery` means Sedano in this process") == 1


def test_a_script_and_a_module_can_be_run_with_it(project: Path):
    script = run(project, "-m", "sedano.as_celery", "main.py", "one", "two")
    assert script.stdout == "sedano ['one', 'two'] __main__\n", script.stderr
    module = run(project, "-m", "sedano.as_celery", "-m", "main", "three")
    assert module.stdout == "sedano ['three'] __main__\n", module.stderr


def test_the_environment_turns_it_on_in_children_too(project: Path):
    child = "import subprocess, sys; sys.exit(subprocess.call([sys.executable, 'main.py']))"
    done = run(project, "-c", child, SEDANO_AS_CELERY="1")
    assert done.stdout == "sedano [] __main__\n", done.stderr
    off = run(project, "-c", "import sys; print('sedano' in sys.modules)", SEDANO_AS_CELERY="0")
    assert off.stdout == "False\n"


def test_the_sedano_command_turns_it_on_before_it_loads_the_app(project: Path):
    done = run(project, "-m", "sedano", "-A", "proj", "report")
    assert done.returncode == 0, done.stderr
    without = run(project, "-m", "sedano", "--no-alias", "-A", "proj", "report")
    assert without.returncode != 0


def test_a_module_of_ours_has_two_names_and_is_one(project: Path):
    program = (
        "import sedano.as_celery, celery.exceptions, sedano.exceptions, celery.signals, sedano.signals, celery\n"
        "assert celery.exceptions is sedano.exceptions and celery.signals is sedano.signals\n"
        "assert celery.exceptions.Retry is sedano.exceptions.Retry\n"
        "import kombu.utils.uuid, kombu.exceptions\n"
        "assert issubclass(kombu.exceptions.OperationalError, Exception)\n"
        "print(celery.__version__.split('.')[0])"
    )
    done = run(project, "-c", program)
    assert done.stdout == "5\n", done.stderr


@pytest.mark.parametrize(
    ("statement", "advice"),
    [
        ("import celery.bin.amqp", "does not offer it"),
        ("from kombu import Consumer", "pip install kombu"),
        ("import kombu.transport.redis", "pip install kombu"),
    ],
)
def test_what_is_not_offered_says_what_to_do(project: Path, statement: str, advice: str):
    done = run(project, "-c", f"import sedano.as_celery\n{statement}")
    assert done.returncode == 1
    assert "Error" in done.stderr
    if "from kombu" in statement:
        assert "Consumer" in done.stderr
    else:
        assert advice in done.stderr


def test_hasattr_on_what_comes_later_is_false_and_from_import_an_import_error(project: Path):
    program = (
        "import sedano.as_celery, celery\n"
        "assert not hasattr(celery, 'nothing_of_the_kind')\n"
        "try:\n    from celery import nothing_of_the_kind\nexcept ImportError:\n    print('refused')"
    )
    done = run(project, "-c", program)
    assert done.stdout == "refused\n", done.stderr


def test_a_celery_that_was_imported_before_is_not_mixed_in(project: Path):
    (project / "celery.py").write_text("REAL = True\n")
    done = run(project, "-c", "import celery, sedano.as_celery")
    assert done.returncode == 1
    assert "imported already" in done.stderr


def test_an_installed_celery_is_outdone_and_a_log_line_says_so(project: Path):
    (project / "celery").mkdir()
    (project / "celery" / "__init__.py").write_text("REAL = True\n")
    program = (
        "import logging; logging.basicConfig(level='INFO')\n"
        "import sedano.as_celery, celery\nprint(hasattr(celery, 'REAL'), hasattr(celery, 'Celery'))"
    )
    done = run(project, "-c", program)
    assert done.stdout == "False True\n", done.stderr
    assert "means Sedano in this process" in done.stderr


EVENTS = """
import celery
from celery.app.events import Events
from celery.events import Event, EventDispatcher, EventReceiver, event_exchange, get_exchange, group_from
from celery.events.cursesmon import CursesMonitor, evtop
from celery.events.dispatcher import EventDispatcher as same_dispatcher
from celery.events.dumper import Dumper, evdump
from celery.events.event import Event as same_event
from celery.events.receiver import EventReceiver as same_receiver
from celery.events.snapshot import Polaroid, evcam
from celery.events.state import State, Task, Worker, heartbeat_expires

assert (same_dispatcher, same_event, same_receiver) == (EventDispatcher, Event, EventReceiver)
app = celery.Celery("proj", broker="memory://")
assert isinstance(app.events, Events)
assert issubclass(app.events.Receiver, EventReceiver) and issubclass(app.events.Dispatcher, EventDispatcher)
assert issubclass(app.events.State, State)
try:
    evtop(app)
except NotImplementedError as error:
    print(error)
"""


def test_given_the_paths_of_events_when_imported_then_they_are_ours_and_the_screen_says_what_to_use(tmp_path: Path) -> None:
    (tmp_path / "paths.py").write_text(EVENTS)
    done = run(tmp_path, "-m", "sedano.as_celery", "paths.py")
    assert done.returncode == 0, done.stderr
    assert "comes with the monitor" in done.stdout
    assert "sedano events --dump" in done.stdout
