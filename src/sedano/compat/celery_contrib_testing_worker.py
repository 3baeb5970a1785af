"""`celery.contrib.testing.worker`: a worker in a thread of the test's own process.

    with start_worker(app, perform_ping_check=False):
        assert add.delay(2, 2).get(timeout=10) == 4

Its pool is always `solo`, so that the store in memory works and nothing is forked from a thread. Loggers are set up only when
a log file or a level is asked for, or the app does not take the root logger: what collects log lines for the test goes on.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from sedano.app.base import Celery
from sedano.app.nodenames import anon_nodename
from sedano.compat import celery_contrib_testing_tasks as tasks
from sedano.result import allow_join_result
from sedano.signals import Signal
from sedano.worker.consumer import Consumer
from sedano.worker.controller import WorkController

WORKER_LOGLEVEL = os.environ.get("WORKER_LOGLEVEL", "error")
READY_S = 60.0

test_worker_starting: Any = Signal(name="test_worker_starting")
test_worker_started: Any = Signal(name="test_worker_started", providing_args={"worker", "consumer"})
test_worker_stopped: Any = Signal(name="test_worker_stopped", providing_args={"worker"})
for _signal in (test_worker_starting, test_worker_started, test_worker_stopped):
    _signal.__test__ = False


class TestWorkController(WorkController):
    """A node that can be waited for."""

    __test__ = False

    def __init__(self, *args: Any, **options: Any) -> None:
        self.failure: BaseException | None = None  # what kept it from starting, or ended it
        super().__init__(*args, **options)

    def on_consumer_ready(self, consumer: Consumer) -> None:
        super().on_consumer_ready(consumer)
        test_worker_started.send(sender=self.app, worker=self, consumer=consumer)

    def ensure_started(self) -> None:
        """Return when it is ready; to be called from another thread than its own. Raises what kept it from starting."""
        if not self.ready.wait(READY_S):
            raise TimeoutError(f"{self.hostname} is not ready after {READY_S:g} s: does its broker answer?")
        if self.failure is not None:
            raise self.failure

    def run(self) -> None:
        """As `start`, for a thread: what it raises is kept."""
        try:
            self.start()
        except BaseException as exc:
            self.failure = exc
        finally:
            self.ready.set()


@contextmanager
def start_worker(
    app: Celery,
    concurrency: int = 1,
    pool: str = "solo",
    loglevel: str | int | None = None,
    logfile: str | None = None,
    perform_ping_check: bool = True,
    ping_task_timeout: float = 10.0,
    shutdown_timeout: float = 10.0,
    **options: Any,
) -> Generator[TestWorkController]:
    """Run a worker of `app` for the time of the block, which begins when it is ready and has answered a ping, and ends when
    the running call is over. `options` are those of a worker: `queues="mail,sms"`, ...

    Raises what kept it from starting, and RuntimeError when it does not end within `shutdown_timeout` seconds.
    """
    del concurrency  # solo
    test_worker_starting.send(sender=app)
    worker = None
    try:
        kind = options.pop("WorkController", TestWorkController)
        if logfile or loglevel is not None or not app.conf.worker_hijack_root_logger:
            setup_app_for_worker(app, loglevel or WORKER_LOGLEVEL, logfile)
        else:
            _make_current(app)
        for name, default in (("without_heartbeat", True), ("without_mingle", True), ("without_gossip", True)):
            options.setdefault(name, default)
        hostname = options.pop("hostname", None) or anon_nodename()
        worker = kind(app=app, hostname=hostname, pool=pool, loglevel=loglevel or WORKER_LOGLEVEL, logfile=logfile, **options)
        thread = threading.Thread(target=worker.run, name="sedano-test-worker", daemon=True)
        thread.start()
        try:
            worker.ensure_started()
            if perform_ping_check:
                with allow_join_result():
                    assert _ping(app).apply_async(**_where(app)).get(timeout=ping_task_timeout) == "pong"
            yield worker
        finally:
            worker.stop()
            thread.join(shutdown_timeout)
            if thread.is_alive():
                raise RuntimeError(
                    f"{worker.hostname} does not end within {shutdown_timeout:g} s: give start_worker a longer "
                    "shutdown_timeout if a task takes so long"
                )
    finally:
        test_worker_stopped.send(sender=app, worker=worker)


def setup_app_for_worker(app: Celery, loglevel: str | int, logfile: str | None) -> None:
    """Make `app` the current one, and set up its loggers."""
    _make_current(app)
    app.log.already_setup = False
    app.log.setup(loglevel=loglevel, logfile=logfile)


def _make_current(app: Celery) -> None:
    app.finalize()
    app.set_current()
    app.set_default()


def _ping(app: Celery) -> Any:
    """The task that answers; an app that was made where tests forget shared tasks gets its own."""
    if "celery.ping" not in app.tasks:
        app.task(name="celery.ping")(tasks.ping.run)
    return app.tasks["celery.ping"]


def _where(app: Celery) -> dict[str, Any]:
    """A queue that this worker reads: it may have been told not to read the default one."""
    queues = list(app.amqp.queues.consume_from)
    return {} if app.conf.task_default_queue in queues or not queues else {"queue": queues[0]}


__all__ = [
    "WORKER_LOGLEVEL",
    "TestWorkController",
    "setup_app_for_worker",
    "start_worker",
    "test_worker_started",
    "test_worker_starting",
    "test_worker_stopped",
]
