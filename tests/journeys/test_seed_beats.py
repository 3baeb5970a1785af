"""What the tutorials show of periodic tasks, typed as there, with a Redis and without a server."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.beats import BeatNode
from tests.servers import RedisServer

from sedano.beat import ScheduleEntry
from sedano.beat.schedulefile import ScheduleFile, files_of
from sedano.schedules import crontab
from sedano.testing.node import Node

PATIENCE_S = 60.0
CELERY = (sys.executable, "-m", "celery")  # the alias's
NOTE = """
def note(text):
    with open(os.environ["NOTES"], "a") as file:
        file.write(text + "\\n")
"""
FASTAPI = {
    "app/__init__.py": "",
    "app/core/__init__.py": "",
    "app/core/celery.py": """
import os
from celery import Celery

celery_app = Celery("fastapi-common-tmpl")
celery_app.config_from_object("app.conf.celery_config")
celery_app.autodiscover_tasks(["app.tasks.scheduler_tasks"], related_name=None)
""",
    "app/conf/__init__.py": "",
    "app/conf/celery_config.py": """
import os
from celery.schedules import crontab

task_serializer = "json"
accept_content = ["json"]
result_serializer = "json"
timezone = "Asia/Shanghai"
if os.environ.get("STORE"):
    broker_url = result_backend = os.environ["STORE"]
task_default_queue = "fastapi-common-tmpl"
beat_schedule = {
    'get_current_time': {
        'task': 'app.tasks.scheduler_tasks.get_current_time',
        'schedule': crontab(minute='*/1'),  # Every minute
    },
}
""",
    "app/tasks/__init__.py": "",
    "app/tasks/scheduler_tasks.py": f"""
import os
from datetime import datetime
from app.core.celery import celery_app
{NOTE}
@celery_app.task
def get_current_time():
    note("time")
    return datetime.now().isoformat()
""",
}
BASICS = {
    "celery_demo.py": f"""
import os
from datetime import timedelta
from celery import Celery
from celery.schedules import crontab
{NOTE}
app = Celery("celery_demo", **({{"broker": os.environ["STORE"]}} if os.environ.get("STORE") else {{}}))
app.conf.update(
    timezone="Asia/Shanghai",
    enable_utc=True,
    beat_schedule={{
        "add-every-second": {{"task": "celery_demo.add", "schedule": timedelta(seconds=1), "args": (16, 16)}},
        "monday": {{"task": "celery_demo.add", "schedule": crontab(hour=9, minute=0, day_of_week=1), "args": (1, 2)}},
    }},
)

@app.on_after_configure.connect
def setup_periodic_tasks(sender, **kwargs):
    sender.add_periodic_task(1.0, hello.s("hello"), name="say hello")
    sender.add_periodic_task(1.0, hello.s("world"), expires=10)
    sender.add_periodic_task(crontab(hour=7, minute=30, day_of_week=1), hello.s("Happy Mondays!"))

@app.task
def add(x, y):
    note(str(x + y))

@app.task
def hello(text):
    note(text)
"""
}


@dataclass
class Desk:
    """Where somebody follows a tutorial."""

    folder: Path
    variables: dict[str, str]

    def beat(self, app: str, *options: str) -> BeatNode:
        return BeatNode(app, cwd=self.folder, options=options, environment=self.variables, command=CELERY)

    def worker(self, app: str, *options: str) -> Node:
        return Node(app, cwd=self.folder, concurrency=1, options=options, environment=self.variables, command=CELERY)

    def until_noted(self, *texts: str, by: Node) -> None:
        deadline = time.monotonic() + PATIENCE_S
        file = Path(self.variables["NOTES"])
        while not (file.exists() and set(texts) <= set(file.read_text().splitlines())):
            assert time.monotonic() < deadline, by.log()
            time.sleep(0.02)  # other processes: they can only be asked again


@pytest.fixture
def desk_of(store: str, tmp_path: Path) -> Iterator[Callable[[dict[str, str]], Desk]]:
    servers: list[RedisServer] = []

    def make(files: dict[str, str]) -> Desk:
        for name, text in {"pyproject.toml": "", **files}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        variables = {"SEDANO_AS_CELERY": "1", "NOTES": str(tmp_path / "notes"), "STORE": ""}
        if store == "redis":
            servers.append(RedisServer())
            servers[-1].start()
            variables["STORE"] = servers[-1].url
        return Desk(tmp_path, variables)

    yield make
    for server in servers:
        server.close()


def test_given_the_fastapi_tutorial_when_beat_is_started_again_then_its_lines_are_there_and_the_task_runs(
    desk_of: Callable[[dict[str, str]], Desk],
) -> None:
    desk = desk_of(FASTAPI)
    name, task = "get_current_time", "app.tasks.scheduler_tasks.get_current_time"
    # Beat has run before: that is why the tutorial's first line comes at once, and not at the full minute.
    with ScheduleFile(str(desk.folder / "celerybeat-schedule.db")) as file:
        past = datetime.now(UTC) - timedelta(minutes=5)
        file["entries"] = {name: ScheduleEntry(name, task, past, 7, schedule=crontab(minute="*/1"))}
    options = ("--schedule", "celerybeat-schedule.db")
    with desk.worker("app.core.celery") as worker, desk.beat("app.core.celery", *options) as beat:
        beat.wait_for_line(rf"INFO/MainProcess\] Scheduler: Sending due task {name} \({task}\)$")
        for line in (
            r"is starting\.$",
            r"^LocalTime -> 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d$",
            r"^    \. scheduler -> celery\.beat\.StoreScheduler$",
            r"^    \. store -> \w",
            r"^    \. logfile -> \[stderr\]@%INFO$",
            r"^    \. maxinterval -> 5\.00 minutes \(300s\)$",
            r"INFO/MainProcess\] beat: Starting\.\.\.$",
        ):
            beat.wait_for_line(line)
        desk.until_noted("time", by=worker)
        worker.wait_for_line(rf"Task {task}\[.*\] succeeded in ")
        assert beat.stop() == 0
    assert files_of(str(desk.folder / "celerybeat-schedule.db"))


def test_given_periodic_tasks_from_settings_and_from_handlers_when_beat_runs_then_all_are_sent(
    desk_of: Callable[[dict[str, str]], Desk],
) -> None:
    desk = desk_of(BASICS)
    with desk.worker("celery_demo") as worker, desk.beat("celery_demo") as beat:
        desk.until_noted("32", "hello", "world", by=worker)
        beat.wait_sent("say hello")
        beat.wait_sent(r"celery_demo\.hello\('world'\)")
        assert beat.stop() == 0


def test_given_worker_with_the_option_beat_then_one_process_sends_and_runs(desk_of: Callable[[dict[str, str]], Desk]) -> None:
    desk = desk_of(BASICS)
    with desk.worker("celery_demo", "--beat") as worker:
        desk.until_noted("32", "hello", "world", by=worker)
        assert worker.stop() == 0
