"""Configurations as tutorials write them, in all of their ways."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from sedano.protocol.queues import Exchange, Queue
from sedano.settings import Settings, UnknownSettingWarning
from sedano.settings.validation import check


def test_given_a_module_of_old_names_when_read_then_all_take_effect() -> None:
    queues = (Queue("default", Exchange("default"), routing_key="default"), Queue("for_task_A", Exchange("for_task_A")))
    module = SimpleNamespace(
        Exchange=Exchange,
        Queue=Queue,
        BROKER_URL="redis://47.106.106.220:5000/1",
        CELERY_RESULT_BACKEND="redis://47.106.106.220:5000/2",
        CELERY_QUEUES=queues,
        CELERY_ROUTES={"workers.worker_taskA": {"queue": "for_task_A", "routing_key": "for_task_A"}},
        CELERY_TIMEZONE="UTC",
        CELERYBEAT_SCHEDULE={"taskA_schedule": {"task": "tasks.taskA", "schedule": 2, "args": (5, 6)}},
        CELERYD_LOG_FILE="logs/worker.log",
        CELERYBEAT_LOG_FILE="logs/beat.log",
    )
    conf = Settings(source=module, environ={})

    assert conf.broker_url.endswith("/1")
    assert conf.result_backend.endswith("/2")
    assert conf.task_queues is queues
    assert conf.task_routes["workers.worker_taskA"]["queue"] == "for_task_A"
    assert conf.timezone == "UTC"
    assert conf.beat_schedule["taskA_schedule"]["schedule"] == 2
    assert (conf.worker_logfile, conf.beat_logfile) == ("logs/worker.log", "logs/beat.log")
    assert set(conf.table()) == {
        "broker_url",
        "result_backend",
        "task_queues",
        "task_routes",
        "timezone",
        "beat_schedule",
        "worker_logfile",
        "beat_logfile",
    }
    assert check(conf) == []


def test_given_a_settings_module_of_django_when_read_with_its_namespace_then_all_take_effect() -> None:
    module = SimpleNamespace(
        INSTALLED_APPS=["django_celery_beat"],
        SECRET_KEY="x",
        TIME_ZONE="America/Chicago",
        USE_TZ=True,
        CELERY_BROKER_URL="redis://redis:6379/0",
        CELERY_RESULT_BACKEND="redis://redis:6379/1",
        CELERY_ACCEPT_CONTENT=["application/json"],
        CELERY_RESULT_SERIALIZER="json",
        CELERY_TASK_SERIALIZER="json",
        CELERY_TIMEZONE="Asia/Shanghai",
        CELERY_BEAT_SCHEDULER="django_celery_beat.schedulers:DatabaseScheduler",
        DJANGO_CELERY_BEAT_TZ_AWARE=False,
        CELERY_TASK_ROUTES={"tasks.email.*": {"queue": "email"}},
        CELERY_TASK_QUEUES={"default": {}, "email": {}},
    )
    conf = Settings(source=module, namespace="CELERY", environ={})

    assert (conf.broker_url, conf.result_backend) == ("redis://redis:6379/0", "redis://redis:6379/1")
    assert conf.typed("accept_content") == ("application/json",)
    assert conf.timezone == "Asia/Shanghai"
    assert conf.beat_scheduler == "django_celery_beat.schedulers:DatabaseScheduler"
    assert conf.task_queues == {"default": {}, "email": {}}
    assert conf.DJANGO_CELERY_BEAT_TZ_AWARE is False
    assert not conf.deprecated_settings
    assert check(conf) == []


def test_given_settings_by_update_when_read_then_all_take_effect() -> None:
    conf = Settings(automatic={"broker_url": "redis://localhost:6379/0"}, environ={})
    conf.update(
        task_serializer="json",
        accept_content=["json"],
        timezone="Asia/Shanghai",
        enable_utc=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        worker_concurrency=4,
    )

    assert conf.given("worker_prefetch_multiplier") == 1
    assert conf.typed("worker_concurrency") == 4
    assert len(conf.table()) == 9
    assert check(conf) == []


def test_given_prefixed_names_without_a_namespace_when_read_then_those_that_nothing_reads_are_reported() -> None:
    class Config:
        CELERY_BROKER_URL = "redis://localhost:6379/0"
        CELERY_RESULT_BACKEND = "redis://localhost:6379/1"
        CELERY_TASK_ROUTES = {"tasks.email.*": {"queue": "email"}}  # noqa: RUF012

    conf = Settings(source=Config, environ={})

    with pytest.warns(UnknownSettingWarning, match=r"CELERY_BROKER_URL .*namespace='CELERY'.*CELERY_TASK_ROUTES"):
        assert conf.result_backend == "redis://localhost:6379/1"
    assert conf.broker_url is None
