"""`celery.contrib.testing.app`: apps for tests, on a store in this process's memory."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

from sedano import current
from sedano.app.base import Celery
from sedano.worker.applog import Logging

DEFAULT_TEST_CONFIG: dict[str, Any] = {
    "accept_content": {"json"},
    "broker_heartbeat": 0,
    "broker_url": "memory://",
    "enable_utc": True,
    "result_backend": "cache+memory://",
    "timezone": "UTC",
    "worker_hijack_root_logger": False,
    "worker_log_color": False,
}


class Trap:
    """Stands where the current app would: whoever uses it is told that the test depends on it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_is_coroutine":
            raise AttributeError(name)
        raise RuntimeError(f"Test depends on current_app (it asks it for {name!r})")


class UnitLogging(Logging):
    """`app.log` of an app that leaves the loggers of the tests alone."""

    def setup(self, *args: Any, **options: Any) -> Any:
        """Does nothing."""
        del args, options

    def setup_logging_subsystem(self, *args: Any, **options: Any) -> Any:
        """Does nothing."""
        del args, options


def TestApp(  # noqa: N802 - Celery's name
    name: str | None = None,
    config: Mapping[str, Any] | None = None,
    enable_logging: bool = False,
    set_as_current: bool = False,
    log: Any = UnitLogging,
    backend: str | None = None,
    broker: str | None = None,
    **options: Any,
) -> Celery:
    """An app with the settings of `DEFAULT_TEST_CONFIG`, those of `config` above them."""
    settings = {**deepcopy(DEFAULT_TEST_CONFIG), **(config or {})}
    if broker is not None:
        del settings["broker_url"]
    if backend is not None:
        del settings["result_backend"]
    app = Celery(
        name or "celery.tests",
        set_as_current=set_as_current,
        log=None if enable_logging else log,
        broker=broker,
        backend=backend,
        **options,
    )
    app.add_defaults(settings)
    return app


TestApp.__test__ = False  # type: ignore[attr-defined]


@contextmanager
def set_trap(app: Any) -> Generator[None]:
    """Within it, whatever falls back on the current app raises RuntimeError."""
    del app
    with current.kept():
        current.set_default(trap := Trap())
        current.set_app(trap)
        yield


@contextmanager
def setup_default_app(app: Celery, use_trap: bool = False) -> Generator[None]:
    """Within it the test may make `app`, or anything, the current app; at its end `app` is closed and all is as before."""
    before = current.get_app()
    with current.kept():
        if use_trap:
            with set_trap(app):
                yield
        else:
            yield
    if app is not before:
        app.close()


__all__ = ["DEFAULT_TEST_CONFIG", "TestApp", "Trap", "UnitLogging", "set_trap", "setup_default_app"]
