"""`WorkController`: a node with the constructor, the hooks and the questions of Celery's class.

`app.Worker` and `app.WorkController` are subclasses of it that know their app, for programs that start a node themselves:

    app.Worker(hostname="mail@%h", queues="mail,celery", loglevel="INFO").start()

`start` blocks until the node has ended and returns its exit code. In the main thread it hears signals as the command does; in
another thread it leaves signals, streams and logging alone, and its pool is solo: nothing can be forked safely from there.
"""

from __future__ import annotations

import logging
import os
import platform
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from sedano.app import late
from sedano.nearest import hint
from sedano.worker.answers import usage
from sedano.worker.consumer import Consumer
from sedano.worker.node import Worker
from sedano.worker.plan import WorkerOptions

_logger = logging.getLogger("celery.worker")
_OURS = frozenset(field.name for field in fields(WorkerOptions))
_RENAMED = {
    "O": "optimization",
    "discard": "purge",
    "events": "task_events",
    "pool_cls": "pool",
    "schedule": "schedule_filename",
    "scheduler_cls": "scheduler",
    "state_db": "statedb",
    "task_soft_time_limit": "soft_time_limit",
    "task_time_limit": "time_limit",
}
_SETTINGS = {
    "disable_rate_limits": "worker_disable_rate_limits",
    "pool_restarts": "worker_pool_restarts",
    "pool_start_method": "worker_pool_start_method",
}
_WITHOUT_EFFECT = frozenset(
    (
        "autoscaler_cls", "consumer_cls", "detach", "executable", "gid", "pool_putlocks", "redirect_stdouts",
        "redirect_stdouts_level", "timer_cls", "timer_precision", "uid", "umask", "workdir", "worker_lost_wait",
    )
)  # fmt: skip
_LISTS = ("queues", "exclude_queues", "include")


def start_worker(app: Any, options: WorkerOptions, *, settled: Callable[[], None] | None = None) -> int:
    """Run a node in this process until it is stopped; the exit code. To be called in the main thread.

    `settled` is called once everything that can be wrong with settings, files and rights is known to be right, before the
    first process of the pool starts. Raises ImproperlyConfigured for settings and options that cannot be.
    """
    given = {field.name: getattr(options, field.name) for field in fields(WorkerOptions)}
    code: int = app.Worker(settled=settled, **given).start()
    return code


class WorkController(Worker):
    """A node. `app` None means the class's own, else the current one; `options` are those of `sedano worker`, under Celery's
    names as well. `ready_callback(consumer)` is called when the node is ready.

    To be overridden: `on_before_init(**options)`, `on_after_init(**options)`, `on_start()`, `on_consumer_ready(consumer)`,
    `on_close()`, `on_stopped()`.

    Raises TypeError for an option that there is not.
    """

    app: Any = None

    def __init__(
        self,
        app: Any = None,
        hostname: str | None = None,
        ready_callback: Callable[[Any], Any] | None = None,
        settled: Callable[[], None] | None = None,
        **options: Any,
    ) -> None:
        self.app = app or type(self).app or late.current_app()
        self.on_before_init(**options)
        self._began = time.monotonic()
        self._ready_callback = ready_callback
        super().__init__(self.app, worker_options({"hostname": hostname, **options}), settled=settled)
        self.on_after_init(**options)

    # -- hooks --------------------------------------------------------------------------------------------------------

    def on_before_init(self, **options: Any) -> None:
        """Called first of all."""

    def on_after_init(self, **options: Any) -> None:
        """Called when the node is made, before it starts."""

    def on_start(self) -> None:
        """Called when it starts."""

    def on_stopped(self) -> None:
        """Called when it has ended."""

    def on_consumer_ready(self, consumer: Consumer) -> None:
        if self._ready_callback is not None:
            self._ready_callback(consumer)

    # -- life ---------------------------------------------------------------------------------------------------------

    def start(self) -> int:
        """Run until stopped; the exit code."""
        if not _is_main_thread():
            self._embed()
        self.on_start()
        try:
            return super().start()
        finally:
            self.on_stopped()

    def _embed(self) -> None:
        pool = self.options.pool or str(self.app.conf.typed("worker_pool"))
        if pool != "solo":
            _logger.warning("a node in a thread that is not the main one runs the pool solo, not %s", pool)
        self.embedded, self.options = True, replace(self.options, pool="solo")

    def stop(self, in_sighandler: bool = False, exitcode: int | None = None) -> None:
        """Begin a warm stop. From any thread; safe twice."""
        del in_sighandler, exitcode
        super().stop()

    def terminate(self, in_sighandler: bool = False) -> None:
        """Begin a cold stop."""
        del in_sighandler
        super().terminate()

    # -- questions ----------------------------------------------------------------------------------------------------

    def stats(self) -> dict[str, Any]:
        """As `inspect stats`; of a node that does not run, or takes no commands, what is known of the process."""
        stats = self.commands.get("stats")
        known = {} if stats is None or self.table is None else stats()
        return {"total": {}, "rusage": usage(), **self.info(), **known}

    def info(self) -> dict[str, Any]:
        """`pid`, `clock` (text) and `uptime` (seconds), and what the user's steps tell of themselves."""
        known = {"pid": self.pid, "clock": str(self.app.clock.value), "uptime": round(time.monotonic() - self._began)}
        for step in self.steps:
            known.update(step.info(self) or {})
        return known

    def rusage(self) -> dict[str, float]:
        """What this process has used. Raises NotImplementedError on platforms that do not tell."""
        used = usage()
        if isinstance(used, str):
            raise NotImplementedError("rusage not supported by this platform")
        return used

    @property
    def concurrency(self) -> int:
        """How many calls it runs at once; 0 before it was started and where no number was given."""
        if self.plan is not None:
            return self.plan.concurrency
        asked = self.options.concurrency
        return asked if isinstance(asked, int) else 0

    @property
    def loglevel(self) -> int | str:
        return self.options.loglevel

    @property
    def logfile(self) -> str | None:
        return self.options.logfile

    @property
    def pool_cls(self) -> str | None:
        """The pool that was asked for."""
        return self.options.pool

    def __repr__(self) -> str:
        return f"<Worker: {self.hostname} ({'running' if self.supervisor is not None else 'INIT'})>"

    def __str__(self) -> str:
        return self.hostname


def worker_options(given: Mapping[str, Any]) -> WorkerOptions:
    """The options that keywords of Celery's worker stand for. Raises TypeError for others than `sedano worker` has."""
    options: dict[str, Any] = {}
    settings: dict[str, Any] = dict(given.get("settings") or {})
    for name, value in given.items():
        if name in _WITHOUT_EFFECT or name == "settings":
            continue
        if name in _SETTINGS:
            if value is not None:
                settings[_SETTINGS[name]] = value
        elif name == "no_color":
            options.setdefault("color", None if value is None else not value)
        elif (ours := _RENAMED.get(name, name)) in _OURS:
            if value is not None:
                options[ours] = value
        else:
            raise TypeError(f"a worker has no option {name!r}.{hint(name, sorted(_OURS | _RENAMED.keys() | _WITHOUT_EFFECT))}")
    for name in _LISTS:
        if name in options:
            options[name] = _words(options[name])
    if isinstance(pool := options.get("pool"), type):
        options["pool"] = f"{pool.__module__}:{pool.__qualname__}"
    if isinstance(bounds := options.get("autoscale"), Sequence) and not isinstance(bounds, str):
        options["autoscale"] = ",".join(map(str, bounds))
    return WorkerOptions(**options, settings=settings)


def _words(value: Any) -> tuple[str, ...]:
    listed = value.split(",") if isinstance(value, str) else value
    return tuple(str(word).strip() for word in listed)


__all__ = ["WorkController", "start_worker", "worker_options"]


def _is_main_thread() -> bool:
    """Asked of the system where it can tell: in a process that eventlet has patched, Python's own answer is another one."""
    if platform.system() == "Linux":
        return threading.get_native_id() == os.getpid()
    return threading.current_thread() is threading.main_thread()
