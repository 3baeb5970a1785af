"""Projects configured as tutorials do it, from their configuration to the result of a call."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.services.settings.apps import PATIENCE_S, Apps, deliveries, headers
from tests.services.settings.nodes import NodeProject

from sedano.app.base import Celery


@pytest.fixture
def project(tmp_path: Path) -> Iterator[NodeProject]:
    project = NodeProject(tmp_path / "project")
    yield project
    project.close()


class Project:
    """Files that can be imported during one test."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, **files: str) -> None:
        """`pkg__mod="..."` becomes `pkg/mod.py`."""
        for name, text in files.items():
            path = self._folder / (name.replace("__", "/").replace("/init", "/__init__") + ".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield Project(tmp_path)
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def test_given_a_package_with_its_configuration_beside_it_when_a_worker_is_started_by_its_name_then_it_runs_its_tasks(
    project: NodeProject,
) -> None:
    package = project.folder / "celery_demo"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from celery import Celery\napp = Celery('demo')\n"
        "app.config_from_object('celery_demo.celeryconfig')\nfrom . import tasks\n"
    )
    (package / "celeryconfig.py").write_text(
        f"broker_url = {project.url!r}\nresult_backend = {project.url!r}\ntask_serializer = 'json'\n"
        "result_serializer = 'json'\naccept_content = ['json']\ntimezone = 'Asia/Shanghai'\nenable_utc = True\n"
        "worker_pool = 'solo'\n"
        "beat_schedule = {'every-30-seconds': {'task': 'celery_demo.tasks.add', 'schedule': 30.0, 'args': (2, 3)}}\n"
    )
    (package / "tasks.py").write_text(
        "from . import app\n\n@app.task\ndef add(x, y):\n    return x + y\n\n"
        "@app.task\ndef when():\n    return app.now().utcoffset().total_seconds()\n"
    )

    project.start({}, app="celery_demo", concurrency=None)

    assert project.app.send_task("celery_demo.tasks.add", (2, 3)).get(timeout=PATIENCE_S) == 5
    assert project.app.send_task("celery_demo.tasks.when").get(timeout=PATIENCE_S) == 8 * 3600


def test_given_a_module_of_old_names_when_calls_are_sent_then_queues_and_routes_of_it_count(apps: Apps, files: Project) -> None:
    files.write(
        oldconfig="""
        from kombu import Exchange, Queue
        BROKER_URL = "memory://old-names"
        CELERY_RESULT_BACKEND = "memory://old-names"
        CELERY_QUEUES = (
            Queue("default", Exchange("default"), routing_key="default"),
            Queue("for_task_A", Exchange("for_task_A"), routing_key="for_task_A"),
        )
        CELERY_ROUTES = {"workers.worker_taskA": {"queue": "for_task_A", "routing_key": "for_task_A"}}
        CELERY_DEFAULT_QUEUE = "default"
        CELERY_TIMEZONE = "UTC"
        CELERYD_PREFETCH_MULTIPLIER = 1
        CELERY_ACKS_LATE = True
        CELERYBEAT_SCHEDULE = {"a": {"task": "workers.worker_taskA", "schedule": 2, "args": (5, 6)}}
        """.replace("kombu", "sedano.compat.kombu")
    )
    app = apps.adopt(Celery("old", config_source="oldconfig", set_as_current=False))

    @app.task(name="workers.worker_taskA", shared=False)
    def task_a(x: int, y: int) -> int:
        return x * y

    @app.task(name="workers.other", shared=False)
    def other() -> str:
        return "done"

    task_a.delay(5, 6)
    assert [headers(found)["task"] for found in deliveries(app, ["for_task_A"])] == ["workers.worker_taskA"]
    worker = apps.working(app)
    assert task_a.delay(5, 6).get(timeout=PATIENCE_S) == 30
    assert other.delay().get(timeout=PATIENCE_S) == "done"
    assert worker.plan.slot.queues == ("default", "for_task_A")
    assert worker.plan.slot.prefetch_cap == 1
    assert task_a.acks_late


def test_given_a_class_with_a_namespace_when_calls_are_sent_then_its_globs_and_queues_without_options_count(apps: Apps) -> None:
    class Config:
        CELERY_BROKER_URL = "memory://class"
        CELERY_RESULT_BACKEND = "memory://class"
        CELERY_TASK_SERIALIZER = "json"
        CELERY_RESULT_SERIALIZER = "json"
        CELERY_ACCEPT_CONTENT = ["json"]  # noqa: RUF012
        CELERY_TASK_ROUTES = {"tasks.email.*": {"queue": "email"}, "tasks.report.*": {"queue": "reports"}}  # noqa: RUF012
        CELERY_TASK_QUEUES = {"default": {}, "email": {}, "reports": {}}  # noqa: RUF012
        CELERY_TASK_DEFAULT_QUEUE = "default"

    app = apps.adopt(Celery("classy", set_as_current=False))
    app.config_from_object(Config, namespace="CELERY")

    @app.task(name="tasks.email.send", bind=True, shared=False)
    def send(self: Any) -> str:
        return str(self.request.delivery_info["routing_key"])

    worker = apps.working(app)

    assert send.delay().get(timeout=PATIENCE_S) == "email"
    assert worker.plan.slot.queues == ("default", "email", "reports")


def test_given_settings_of_a_framework_when_some_stand_there_under_old_names_then_these_count_too(
    apps: Apps, files: Project
) -> None:
    files.write(
        project_xyz__init="",
        project_xyz__conf="""
        class Lazy:
            SECRET_KEY = "x"
            INSTALLED_APPS = ["site"]
            TIME_ZONE = "America/Chicago"
            CELERY_BROKER_URL = "memory://framework"
            CELERY_RESULT_BACKEND = "memory://framework"
            CELERY_ACCEPT_CONTENT = ["application/json"]
            CELERY_TASK_SERIALIZER = "json"
            CELERY_TASK_TRACK_STARTED = True
            CELERYD_MAX_TASKS_PER_CHILD = 10
        settings = Lazy()
        """,
    )
    app = apps.adopt(Celery("project_name", set_as_current=False))
    app.config_from_object("project_xyz.conf:settings", namespace="CELERY")

    @app.task(name="t", bind=True, shared=False)
    def t(self: Any) -> str:
        return str(app.AsyncResult(self.request.id).state)

    worker = apps.working(app)

    assert t.delay().get(timeout=PATIENCE_S) == "STARTED"
    assert worker.plan.slot.max_tasks == 10
    assert str(app.timezone) == "America/Chicago"


def test_given_a_dotted_configuration_and_modules_to_discover_when_a_worker_starts_then_it_knows_their_tasks(
    apps: Apps, files: Project
) -> None:
    files.write(
        fastapp__init="",
        fastapp__core__init="",
        fastapp__core__celery_config="""
        broker_url = "memory://fast"
        result_backend = "memory://fast"
        task_serializer = "json"
        accept_content = ["json"]
        result_serializer = "json"
        timezone = "Asia/Shanghai"
        task_default_queue = "celery_fast"
        beat_schedule = {}
        """,
        fastapp__tasks__init="",
        fastapp__tasks__tasks="""
        from sedano import shared_task

        @shared_task()
        def add(a: int, b: int) -> int:
            return a + b
        """,
    )
    app = apps.adopt(Celery("ExampleCelery", set_as_current=False))
    app.config_from_object("fastapp.core.celery_config")
    app.autodiscover_tasks(["fastapp.tasks.tasks"])

    worker = apps.working(app)

    assert app.send_task("fastapp.tasks.tasks.add", args=[2, 3]).get(timeout=PATIENCE_S) == 5
    assert worker.plan.slot.queues == ("celery_fast",)


def test_given_an_update_of_many_settings_when_a_worker_starts_then_it_goes_by_them(apps: Apps) -> None:
    app = apps.make()
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        result_serializer="json",
        timezone="Asia/Shanghai",
        enable_utc=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        worker_concurrency=4,
    )

    @app.task(name="tasks.process_order", queue="high_priority", time_limit=300, soft_time_limit=240, shared=False)
    def process_order(order: int) -> int:
        return order

    worker = apps.working(app, queues=("high_priority",))

    assert process_order.delay(7).get(timeout=PATIENCE_S) == 7
    assert worker.plan.slot.prefetch_cap == 1
