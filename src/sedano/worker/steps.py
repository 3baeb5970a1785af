"""Runs the parts that users add to a node (`app.steps`, see `bootsteps.py`): in the node's own process, never in its pool's.

When: the steps of the worker are made and started when the pool has been forked from what the app loaded, and stopped when the
last call is over; those of the consumer are started when the node is ready, just before `worker_ready`, and stopped as soon as
it begins to stop. `close` is called on all when it begins to stop. A cold end calls `terminate`.

`ConsumerStep`s share a thread with a Kombu connection of its own, which comes back when it is lost.
"""

from __future__ import annotations

import importlib
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sedano.exceptions import ImproperlyConfigured
from sedano.log import redact_url
from sedano.worker.bootsteps import ConsumerStep, Step, in_order

if TYPE_CHECKING:
    from sedano.app.base import Celery
    from sedano.worker.consumer import Consumer

_logger = logging.getLogger("celery.worker.steps")
_DRAIN_S = 0.2
_LONGEST_S = 30.0
_GOODBYE_S = 10.0
_KOMBU_SPEAKS = ("redis", "rediss", "redis+socket", "sentinel", "amqp", "amqps", "pyamqp")


class Steps:
    """The steps of one node; does nothing at all where the app has none. To be used from the node's process."""

    def __init__(self, worker: Any, consumer: Consumer, options: Mapping[str, Any]) -> None:
        self._worker, self._consumer, self._options = worker, consumer, options
        self._app: Celery = worker.app
        self._feed: Feed | None = None
        self._is_stopping = False
        worker.steps, consumer.steps = [], []

    def start_of_worker(self) -> None:
        """Make all steps, and start those of the worker. Raises what a step raises, and ImproperlyConfigured for a
        ConsumerStep that cannot work here."""
        for parent, kind in ((self._worker, "worker"), (self._consumer, "consumer")):
            for made in in_order(self._app.steps[kind]):
                made(parent, **self._options).include(parent)
        feeders = [step for step in self._consumer.steps if isinstance(step, ConsumerStep)]
        if feeders:
            self._feed = Feed(self._app, self._consumer, feeders)
        for step in self._worker.steps:
            step.start(self._worker)

    def start_of_consumer(self) -> bool:
        """Start those of the consumer; False when one could not be started, which the log says."""
        for step in self._consumer.steps:
            if not isinstance(step, ConsumerStep):
                try:
                    step.start(self._consumer)
                except Exception:  # whatever the user's code raises: the node must end in order
                    _logger.critical("the step %s cannot be started: the worker stops", step.alias, exc_info=True)
                    return False
        if self._feed is not None:
            self._feed.start()
        return True

    def begin_to_stop(self, *, cold: bool) -> None:
        """Close all, stop those of the consumer. Safe twice."""
        if self._is_stopping:
            return
        self._is_stopping = True
        for parent in (self._consumer, self._worker):
            for step in reversed(parent.steps):
                self._call(step, "close", parent)
        if self._feed is not None:
            self._feed.stop()
        for step in reversed(self._consumer.steps):
            if not isinstance(step, ConsumerStep):
                self._call(step, "terminate" if cold else "stop", self._consumer)

    def stop_of_worker(self, *, cold: bool) -> None:
        """Stop those of the worker, the last one first."""
        self.begin_to_stop(cold=cold)
        if self._feed is not None:
            self._feed.join()
        for step in reversed(self._worker.steps):
            self._call(step, "terminate" if cold else "stop", self._worker)

    def _call(self, step: Step, method: str, parent: Any) -> None:
        function: Callable[[Any], Any] = getattr(step, method)
        try:
            function(parent)
        except Exception:  # whatever the user's code raises: the others have to be stopped too
            _logger.exception("the step %s raised in %s", step.alias, method)


class Feed:
    """The thread of the `ConsumerStep`s. Raises ImproperlyConfigured where it could not work."""

    def __init__(self, app: Celery, consumer: Consumer, steps: Sequence[ConsumerStep]) -> None:
        self._app, self._consumer, self._steps = app, consumer, steps
        self._kombu = _kombu(app, steps)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sedano-consumers", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Begin to end; the consumers are cancelled by the thread itself."""
        self._over.set()

    def join(self) -> None:
        if self._thread.ident is not None:
            self._thread.join(_GOODBYE_S)

    def _run(self) -> None:
        wait_s = 0.5
        urls = self._app.stores.broker_urls or (self._app.stores.broker_url,)
        while not self._over.is_set():
            connection: Any = None
            try:
                connection = self._kombu.Connection(
                    ";".join(urls),
                    ssl=self._app.conf.typed("broker_use_ssl") or False,
                    transport_options=dict(self._app.conf.typed("broker_transport_options")),
                )
                self._consumer.connection = connection
                for step in self._steps:
                    step.start(self._consumer)
                wait_s = 0.5
                self._drain(connection)
            except Exception as exc:  # a lost connection, or what the user's callback raised: consume again
                _logger.error(
                    "consumers (%s) on %s: %r; they are started again in %g s",
                    ", ".join(step.alias for step in self._steps), redact_url(urls[0]), exc, wait_s, exc_info=True,
                )  # fmt: skip
                self._over.wait(wait_s)
                wait_s = min(_LONGEST_S, wait_s * 2)
            finally:
                for step in reversed(self._steps):
                    step.stop(self._consumer)
                if connection is not None:
                    connection.close()

    def _drain(self, connection: Any) -> None:
        while not self._over.is_set():
            try:
                connection.drain_events(timeout=_DRAIN_S)
            except TimeoutError:  # nothing came
                continue


def _kombu(app: Celery, steps: Sequence[ConsumerStep]) -> Any:
    names = ", ".join(step.alias for step in steps)
    scheme = app.stores.broker_url.partition(":")[0]
    if scheme not in _KOMBU_SPEAKS:
        raise ImproperlyConfigured(
            f"app.steps['consumer'] has {names}, which consumes through Kombu, and Kombu does not speak to "
            f"{redact_url(app.stores.broker_url)}: use a Redis broker, or leave the step out"
        )
    try:
        kombu = importlib.import_module("kombu")
    except ImportError:
        kombu = None
    if kombu is None or not hasattr(kombu, "Consumer"):  # ours, which stands in for it, has none
        raise ImproperlyConfigured(
            f"app.steps['consumer'] has {names}, which consumes through Kombu, and Kombu is not installed: "
            "pip install 'kombu[redis]'"
        )
    return kombu
