"""Apps on each kind of store, and a small consumer that runs their calls in a thread."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from tests.apps import MakeApp, app, make_app
from tests.servers import RedisServer, redis_server

from sedano import Celery, states
from sedano.app.attempt import Attempt, run_attempt
from sedano.app.context import context_of, ignores_result
from sedano.app.followups import Followups, followups
from sedano.contracts import Begin, Delivery, Fate, Outcome, ResultWrite, Settlement
from sedano.protocol import results
from sedano.protocol.call import read, read_body

__all__ = ["app", "make_app", "redis_server"]

_numbers = count(1)


@pytest.fixture(params=["memory", "sqlite", pytest.param("redis", marks=pytest.mark.redis)])
def store_app(request: pytest.FixtureRequest, make_app: MakeApp, tmp_path: Path) -> Callable[..., Celery]:
    """`store_app(**settings)`: an app on a fresh store of each kind."""

    def make(**settings: Any) -> Celery:
        if request.param == "memory":
            return make_app(**settings)
        if request.param == "sqlite":
            url = f"sqlite:///{tmp_path}/store-{next(_numbers)}.db"
        else:
            server: RedisServer = request.getfixturevalue("redis_server")
            server.command("FLUSHALL")
            url = server.url
        return make_app(broker=url, backend=url, **settings)

    return make


class Consumer:
    """Runs the calls of an app one by one, in a thread, through the contract of a broker: no worker needed."""

    def __init__(self, app: Celery, *queues: str) -> None:
        self._app = app
        self._queues = queues or ("celery",)
        self._stop, self._stopped = os.pipe()
        self._thread = threading.Thread(target=self._run, name="consumer", daemon=True)
        self.error: BaseException | None = None

    def __enter__(self) -> Consumer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.write(self._stopped, b".")
        self._thread.join(10)
        os.close(self._stop)
        os.close(self._stopped)
        assert self.error is None, self.error

    def _run(self) -> None:
        try:
            self._serve()
        except BaseException as exc:  # shown by the test that used it
            self.error = exc

    def _serve(self) -> None:
        broker = self._app.stores.open_broker()
        lease = broker.register(f"consumer-{os.getpid()}-{next(_numbers)}", "test")
        settled: list[Settlement] = []
        while True:
            reply = broker.turn(lease, settle=settled, reserve=1, queues=self._queues)
            settled = []
            for delivery in reply.reserved:
                broker.turn(lease, begin=[Begin(delivery.tag, early=True)])
                settled.append(self._settlement(delivery))
            if not settled:
                broker.wait(self._queues, 10.0, (self._stop,))
                if self._is_stopped():
                    break
        broker.retire(lease)
        broker.close()

    def _is_stopped(self) -> bool:
        os.set_blocking(self._stop, False)
        try:
            return bool(os.read(self._stop, 1))
        except BlockingIOError:
            return False

    def _settlement(self, delivery: Delivery) -> Settlement:
        assert delivery.message is not None
        app = self._app
        call = read(delivery.message, tz=app.timezone)
        request = context_of(call, read_body(delivery.message, app.accept_content), hostname="consumer@test")
        task = app.tasks[call.task]
        ready: list[Followups] = []

        def prepare(attempt: Attempt) -> None:
            results.encode_meta(results.state(call.id, attempt.state, attempt.value))
            ready[:] = [followups(task, request, attempt)]

        attempt = run_attempt(task, request, request.args, request.kwargs, prepare)
        after = ready[0]
        write = None
        if not ignores_result(task, request) and attempt.state in (states.SUCCESS, states.FAILURE, states.RETRY):
            value = attempt.value if attempt.state == states.SUCCESS else getattr(attempt.exc, "exc", None) or attempt.exc
            done = datetime.now(UTC).isoformat() if attempt.state != states.RETRY else None
            meta = results.state(
                call.id, attempt.state, value, traceback=attempt.traceback, children=after.children or (), date_done=done
            )
            write = ResultWrite(call.id, results.encode_meta(meta), 3600.0, attempt.state != states.RETRY)
        return Settlement(delivery.tag, Outcome(attempt.outcome), Fate.ACK, call.id, call.retries, write, after.messages_out)
