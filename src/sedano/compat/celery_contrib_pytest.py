"""`celery.contrib.pytest`: fixtures for the tests of programs.

    pytest_plugins = ("celery.contrib.pytest",)

With `import sedano.as_celery` above it, or SEDANO_AS_CELERY=1 in the environment.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from sedano.app.base import Celery
from sedano.compat.celery_contrib_testing_app import TestApp, setup_default_app
from sedano.compat.celery_contrib_testing_worker import TestWorkController, start_worker

NO_WORKER = os.environ.get("NO_WORKER")
"""Set in the environment: the fixtures start no worker, one runs elsewhere."""


def pytest_configure(config: pytest.Config) -> None:
    """Makes the marker known."""
    config.addinivalue_line("markers", "celery(**overrides): settings of the app that this test gets")


@contextmanager
def _app_for(
    request: pytest.FixtureRequest, config: Mapping[str, Any], parameters: Mapping[str, Any], *, logs: bool, trap: bool
) -> Generator[Celery]:
    mark = request.node.get_closest_marker("celery")
    settings = {**config, **(mark.kwargs if mark else {})}
    options: dict[str, Any] = {"set_as_current": False, **parameters}
    app = TestApp(enable_logging=logs, config=settings, **options)
    with setup_default_app(app, use_trap=trap):
        if not trap:
            app.set_default()
            app.set_current()
        yield app


@pytest.fixture(scope="session")
def use_celery_app_trap() -> bool:
    """To be overridden: True makes an error of whatever uses the current app."""
    return False


@pytest.fixture(scope="session")
def celery_enable_logging() -> bool:
    """To be overridden: True lets the app set up loggers."""
    return False


@pytest.fixture(scope="session")
def celery_includes() -> Sequence[str]:
    """To be overridden: names of modules that are imported before a worker starts."""
    return ()


@pytest.fixture(scope="session")
def celery_class_tasks() -> Sequence[Any]:
    """To be overridden: tasks of a class of their own, registered before the session's worker starts."""
    return []


@pytest.fixture(scope="session")
def celery_config() -> Mapping[str, Any]:
    """To be overridden: settings of the app."""
    return {}


@pytest.fixture(scope="session")
def celery_parameters() -> Mapping[str, Any]:
    """To be overridden: keywords of the app's constructor."""
    return {}


@pytest.fixture(scope="session")
def celery_worker_pool() -> str:
    """To be overridden; a worker in a thread runs `solo` whatever it says."""
    return "solo"


@pytest.fixture(scope="session")
def celery_worker_parameters() -> Mapping[str, Any]:
    """To be overridden: options of the worker."""
    return {}


def _an_app(
    request: pytest.FixtureRequest,
    celery_config: Mapping[str, Any],
    celery_parameters: Mapping[str, Any],
    celery_enable_logging: bool,
    use_celery_app_trap: bool,
) -> Generator[Celery]:
    """An app: `celery_app` for one test, `celery_session_app` for all tests of the session."""
    with _app_for(
        request, celery_config, celery_parameters, logs=celery_enable_logging, trap=use_celery_app_trap
    ) as app:  # fmt: skip
        yield app


celery_session_app = pytest.fixture(scope="session", name="celery_session_app")(_an_app)
celery_app = pytest.fixture(name="celery_app")(_an_app)


@pytest.fixture(scope="session")
def celery_session_worker(
    celery_session_app: Celery,
    celery_includes: Sequence[str],
    celery_class_tasks: Sequence[Any],
    celery_worker_pool: str,
    celery_worker_parameters: Mapping[str, Any],
) -> Generator[TestWorkController | None]:
    """A worker of that app, for all tests of the session."""
    for task in celery_class_tasks:
        celery_session_app.register_task(task)
    yield from _worker_for(celery_session_app, celery_includes, celery_worker_pool, celery_worker_parameters)


@pytest.fixture
def celery_worker(
    celery_app: Celery,
    celery_includes: Sequence[str],
    celery_worker_pool: str,
    celery_worker_parameters: Mapping[str, Any],
) -> Generator[TestWorkController | None]:
    """A worker of that app, for one test."""
    yield from _worker_for(celery_app, celery_includes, celery_worker_pool, celery_worker_parameters)


@pytest.fixture
def depends_on_current_app(celery_app: Celery) -> None:
    """For tests whose subject uses the current app."""
    celery_app.set_current()


def _worker_for(
    app: Celery, modules: Sequence[str], pool: str, parameters: Mapping[str, Any]
) -> Generator[TestWorkController | None]:
    if NO_WORKER:
        yield None
        return
    for module in modules:
        app.loader.import_task_module(module)
    with start_worker(app, pool=pool, **parameters) as worker:
        yield worker
