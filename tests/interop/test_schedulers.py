"""Schedulers of other packages as they are, under the alias: django-celery-beat in a Django project, and celery-redbeat.
Neither Celery nor Kombu is installed beside them."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.beats import BeatNode
from tests.interop import environments
from tests.servers import RedisServer, is_left_out

from sedano.testing.node import Node

pytestmark = pytest.mark.celery
PATIENCE_S = 60.0

DJANGO = {
    "pyproject.toml": "",
    "proj/__init__.py": 'from .celery import app as celery_app\n\n__all__ = ("celery_app",)\n',
    "proj/celery.py": """
import os
from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "proj.settings")
app = Celery("proj")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

@app.task(name="proj.note")
def note(*args, **kwargs):
    with open("notes", "a") as file:
        file.write(f"{args} {kwargs}\\n")
""",
    "proj/settings.py": """
SECRET_KEY = "x"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "proj.urls"
USE_TZ = True
TIME_ZONE = "Asia/Shanghai"
INSTALLED_APPS = [
    "django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions",
    "django.contrib.messages", "django_celery_beat",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
CONTEXT = ["template.context_processors.request", "contrib.auth.context_processors.auth",
           "contrib.messages.context_processors.messages"]
TEMPLATES = [{
    "BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True,
    "OPTIONS": {"context_processors": ["django." + name for name in CONTEXT]},
}]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3", "OPTIONS": {"timeout": 30}}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CELERY_TIMEZONE = TIME_ZONE
CELERY_BEAT_SCHEDULE = {"from-code": {"task": "proj.note", "schedule": 1.0, "args": ("from code",)}}
""",
    "proj/urls.py": """
from django.contrib import admin
from django.urls import path

urlpatterns = [path("admin/", admin.site.urls)]
""",
}
SET_UP = 'import os; os.environ["DJANGO_SETTINGS_MODULE"] = "proj.settings"\nimport django; django.setup()\n'
MODELS = "import json\nfrom django_celery_beat.models import *\n"


@dataclass
class Project:
    """A folder in which `python` runs with the alias."""

    folder: Path
    python: Path
    variables: dict[str, str]

    def run(self, code: str) -> str:
        """What the program prints. Fails with its errors."""
        done = subprocess.run(
            [self.python, "-c", code],
            cwd=self.folder,
            env=self.variables,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def beat(self, *options: str) -> BeatNode:
        return BeatNode(
            "proj", cwd=self.folder, options=options, environment=self.variables, command=[str(self.python), "-m", "sedano"]
        )

    def worker(self) -> Node:
        return Node(
            "proj",
            cwd=self.folder,
            concurrency=1,
            environment=self.variables,
            options=["-P", "solo"],
            command=[str(self.python), "-m", "sedano"],
        )

    def notes(self, text: str) -> int:
        """How often the task has noted this."""
        file = self.folder / "notes"
        return file.read_text().count(text) if file.exists() else 0


def until(claim: Callable[[], Any], beat: Node) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not claim():
        assert time.monotonic() < deadline, beat.log()
        time.sleep(0.05)  # other processes: they can only be asked again


def make_project(folder: Path, files: dict[str, str], **variables: str) -> Project:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    path = os.pathsep.join([str(environments.ROOT / "src"), str(folder)])
    python = environments.python_of(environments.schedulers())
    given = environments.clean_environment({"PYTHONPATH": path, "SEDANO_AS_CELERY": "1", **variables})
    return Project(folder, python, given)


# -- django-celery-beat -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def django(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project after `migrate`, as a tutorial has it."""
    project = make_project(tmp_path_factory.mktemp("django"), DJANGO)
    project.run(f"import sedano.as_celery\n{SET_UP}from django.core.management import call_command; call_command('migrate')")
    return project


@pytest.fixture(scope="module")
def served(django: Project) -> Iterator[tuple[Project, BeatNode]]:
    options = ("--scheduler", "django_celery_beat.schedulers:DatabaseScheduler", "--max-interval", "1")
    with django.worker() as worker, django.beat(*options) as beat:
        worker.wait_ready()
        beat.wait_for_line("beat: Starting")
        yield django, beat


def python_of(project: Project, code: str) -> str:
    return project.run(f"import sedano.as_celery\n{SET_UP}{MODELS}{code}")


def test_given_entries_of_the_settings_when_beat_runs_then_they_are_rows_and_are_sent(
    served: tuple[Project, BeatNode],
) -> None:
    project, beat = served
    assert "    . scheduler -> django_celery_beat.schedulers.DatabaseScheduler" in beat.log()
    until(lambda: project.notes("from code") >= 2, beat)
    row = python_of(project, "print(json.dumps(list(PeriodicTask.objects.filter(name='from-code').values('task', 'args'))))")
    assert json.loads(row) == [{"task": "proj.note", "args": '["from code"]'}]


def test_given_an_entry_that_is_made_while_beat_runs_then_it_is_sent_and_changed_and_disabled_without_a_restart(
    served: tuple[Project, BeatNode],
) -> None:
    project, beat = served
    python_of(
        project,
        "every, _ = IntervalSchedule.objects.get_or_create(every=1, period=IntervalSchedule.SECONDS)\n"
        "PeriodicTask.objects.create(interval=every, name='made', task='proj.note', args=json.dumps(['first']))",
    )
    until(lambda: project.notes("('first',)") >= 2, beat)
    python_of(
        project, "row = PeriodicTask.objects.get(name='made'); row.kwargs = '{\"a\": 1}'; row.args = '[\"other\"]'; row.save()"
    )
    until(lambda: project.notes("('other',) {'a': 1}") >= 2, beat)
    python_of(project, "row = PeriodicTask.objects.get(name='made'); row.enabled = False; row.save()")
    changes = beat.log().count("DatabaseScheduler: Schedule changed.")
    assert changes >= 2
    until(lambda: beat.log().count("DatabaseScheduler: Schedule changed.") >= changes, beat)
    sent = beat.log().count("Sending due task made (")
    before = beat.log().count("Sending due task from-code (")
    until(lambda: beat.log().count("Sending due task from-code (") >= before + 4, beat)
    assert beat.log().count("Sending due task made (") <= sent + 1  # one may have been under way


def test_given_crontab_clocked_and_one_off_entries_then_they_are_sent_as_they_say(served: tuple[Project, BeatNode]) -> None:
    project, beat = served
    python_of(
        project,
        "from django.utils import timezone\n"
        "from datetime import timedelta\n"
        "now = timezone.now()\n"
        "clocked, _ = ClockedSchedule.objects.get_or_create(clocked_time=now + timedelta(seconds=1))\n"
        "PeriodicTask.objects.create(clocked=clocked, one_off=True, name='once', task='proj.note', args='[\"once\"]')\n"
        "cron, _ = CrontabSchedule.objects.get_or_create(minute='*', timezone='Asia/Shanghai')\n"
        "PeriodicTask.objects.create(crontab=cron, name='cron', task='proj.note', args='[\"cron\"]',"
        " last_run_at=now - timedelta(hours=1))",
    )
    until(lambda: project.notes("('once',)") and project.notes("('cron',)"), beat)
    # That a one-off task is over is noticed when the scheduler reads its rows again.
    python_of(project, "PeriodicTasks.update_changed()")
    until(lambda: python_of(project, "print(PeriodicTask.objects.get(name='once').enabled)") == "False", beat)
    assert project.notes("('once',)") == 1


def test_given_the_admin_pages_when_they_are_opened_then_they_answer_and_tasks_can_be_run_from_there(django: Project) -> None:
    pages = python_of(
        django,
        "from django.contrib.auth.models import User\n"
        "from django.test import Client\n"
        "from django.test.utils import setup_test_environment\n"
        "setup_test_environment()\n"
        "user = User.objects.create_superuser('a', 'a@example.org', 'b')\n"
        "client = Client(); client.force_login(user)\n"
        "every, _ = IntervalSchedule.objects.get_or_create(every=10, period='seconds')\n"
        "row = PeriodicTask.objects.create(interval=every, name='admin', task='proj.note', args='[\"admin\"]', enabled=False)\n"
        "paths = ['/admin/']\n"
        "for kind in 'intervalschedule crontabschedule solarschedule clockedschedule periodictask'.split():\n"
        "    paths += [f'/admin/django_celery_beat/{kind}/', f'/admin/django_celery_beat/{kind}/add/']\n"
        "paths.append(f'/admin/django_celery_beat/periodictask/{row.pk}/change/')\n"
        "answers = {path: client.get(path) for path in paths}\n"
        "run = client.post('/admin/django_celery_beat/periodictask/',"
        " {'action': 'run_tasks', '_selected_action': [row.pk]}, follow=True)\n"
        "add = answers['/admin/django_celery_beat/periodictask/add/'].content.decode()\n"
        "print(json.dumps([{p: a.status_code for p, a in answers.items()}, 'proj.note' in add,"
        " [str(m) for m in run.context['messages']]]))",
    )
    codes, offers_task, messages = json.loads(pages)
    assert len(codes) == 12
    assert set(codes.values()) == {200}, codes
    assert offers_task
    assert any("was successfully run" in message for message in messages), messages


# -- redbeat ------------------------------------------------------------------------------------------------------------

REDBEAT = {
    "proj.py": """
import os
from celery import Celery
from celery.schedules import crontab

app = Celery("proj", broker=os.environ["STORE"])
app.conf.redbeat_redis_url = os.environ["STORE"]
app.conf.redbeat_key_prefix = "mine:"
app.conf.beat_schedule = {
    "from-code": {"task": "proj.note", "schedule": 1.0, "args": ("from code",)},
    "daily": {"task": "proj.note", "schedule": crontab(hour=4, minute=0)},
}

@app.task
def note(*args, **kwargs):
    with open("notes", "a") as file:
        file.write(f"{args} {kwargs}\\n")
""",
}
STORED = """
import sedano.as_celery
from proj import app
from celery.schedules import schedule
from redbeat import RedBeatSchedulerEntry
"""


@pytest.mark.redis
def test_given_redbeat_when_beat_runs_then_entries_of_the_settings_and_of_redis_are_sent_by_the_one_that_has_the_lock(
    tmp_path: Path,
) -> None:
    if is_left_out("redis"):
        pytest.skip("SEDANO_WITHOUT names redis")
    with RedisServer() as server:
        # redis-py, which redbeat uses, and Sedano both read this form.
        project = make_project(tmp_path, REDBEAT, STORE=f"unix://{server.socket}?db=0", PYTHONWARNINGS="ignore")
        options = ("-S", "redbeat.RedBeatScheduler", "--max-interval", "1")
        with project.worker() as worker, project.beat(*options) as beat:
            worker.wait_ready()
            beat.wait_for_line("beat: Acquired lock")
            assert "    . scheduler -> redbeat.schedulers.RedBeatScheduler" in beat.log()
            until(lambda: project.notes("from code") >= 2, beat)
            project.run(STORED + "RedBeatSchedulerEntry('made', 'proj.note', schedule(1), args=['made'], app=app).save()")
            until(lambda: project.notes("('made',)") >= 2, beat)
            project.run(STORED + "RedBeatSchedulerEntry.from_key('mine:made', app=app).delete()")
            known = server.command("ZRANGE", "mine::schedule", 0, -1)
            assert sorted(known) == [b"mine:daily", b"mine:from-code"]
            with project.beat(*options) as second:
                second.wait_for_line("beat: Starting")
                assert beat.stop() == 0
                second.wait_sent("from-code")
                assert "beat: Releasing lock" in beat.log()
                assert second.stop() == 0
