"""An app with small tasks on each kind of store, and a worker in this process that runs them."""

from __future__ import annotations

from collections.abc import Generator
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.apps import MakeApp, make_app
from tests.servers import RedisServer, redis_server

from sedano import Celery, group
from sedano.testing.worker import start_worker

__all__ = ["make_app", "redis_server"]

_numbers = count(1)

STORES = ["sqlite", pytest.param("redis", marks=pytest.mark.redis), pytest.param("two", marks=pytest.mark.redis)]


class World(SimpleNamespace):
    """`app`, its tasks by name, and what the errbacks were told: `heard`, (form, id, error) each."""

    app: Celery
    heard: list[tuple[Any, ...]]

    def __getattr__(self, name: str) -> Any:
        return self.app.tasks[f"proj.{name}"]


@pytest.fixture(params=STORES)
def urls(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """The URLs of a broker and of a result store: the same one, or Redis and SQLite."""
    sqlite = f"sqlite:///{tmp_path}/store-{next(_numbers)}.db"
    if request.param == "sqlite":
        return sqlite, sqlite
    server: RedisServer = request.getfixturevalue("redis_server")
    server.command("FLUSHALL")
    return server.url, server.url if request.param == "redis" else sqlite


@pytest.fixture
def world(urls: tuple[str, str], make_app: MakeApp) -> Generator[World]:
    app = make_app(broker=urls[0], backend=urls[1], task_unknown_timeout=0)
    made = World(app=app, heard=[])
    declare_tasks(made)
    with start_worker(app):
        yield made


def declare_tasks(world: World) -> None:
    app, heard = world.app, world.heard

    def task(**options: Any) -> Any:
        return lambda function: app.task(name=f"proj.{function.__name__}", **options)(function)

    @task()
    def add(x: Any, y: Any) -> Any:
        return x + y

    @task()
    def total(values: Any) -> Any:
        return sum(values)

    @task()
    def same(value: Any) -> Any:
        return value

    @task(typing=False)
    def fail(*args: Any) -> None:
        raise LookupError(*(args[-1:] or ("no",)))

    @task()
    def told(request: Any, exc: Any, traceback: Any) -> None:
        heard.append(("told", request.id, exc))

    @task()
    def told_with(request: Any, exc: Any, traceback: Any, label: str) -> None:
        heard.append(("told_with", request.id, label))

    @task()
    def told_id(task_id: str) -> None:
        heard.append(("told_id", task_id))

    @task()
    def told_id_with(task_id: str, label: str) -> None:
        heard.append(("told_id_with", task_id, label))

    @task()
    def fail_told(request: Any, exc: Any, traceback: Any) -> None:
        heard.append(("fail_told", request.id, exc))
        raise KeyError("the errback fails too")

    @task(bind=True)
    def replaced(self: Any, signature: Any) -> Any:
        return self.replace(app.signature(signature))

    @task()
    def started() -> Any:
        return (add.s(1, 2) | group(add.s(1), add.s(2)) | total.s())()
