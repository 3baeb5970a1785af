"""A worker inside the test's own process, for tests that want calls to really go through a broker.

    with start_worker(app) as worker:
        assert add.delay(2, 3).get(timeout=10) == 5

Supervisor, keeper and slot are threads here (pool `solo`), so the memory store (`memory://`) works, and the test can look at
what its tasks did. To break things, use `sedano.testing.node.Node`, which runs a real node in processes of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from sedano.worker.node import Worker
from sedano.worker.plan import WorkerOptions

READY_S = 60.0


class WorkerDidNotStop(RuntimeError):
    """A task still runs, or the store does not answer: the worker's threads go on."""


@contextmanager
def start_worker(
    app: Any, *, hostname: str = "test@embedded", shutdown_timeout: float = 10.0, **options: Any
) -> Generator[Worker]:
    """Run a worker of `app` for the time of the block; it consumes at entry, and everything it took is settled at exit.

    `options` are those of `WorkerOptions` (`queues=("mail",)`, ...). Logging, signals and streams are not touched. Raises
    what kept it from starting, and WorkerDidNotStop when it does not end within `shutdown_timeout` seconds.
    """
    given: dict[str, Any] = {"hostname": hostname, "pool": "solo", **options}
    worker = Worker(app, WorkerOptions(**given), embedded=True)
    errors: list[BaseException] = []

    def run() -> None:
        try:
            worker.start()
        except BaseException as exc:
            errors.append(exc)
        finally:
            worker.ready.set()

    thread = threading.Thread(target=run, name="sedano-test-worker", daemon=True)
    thread.start()
    if not worker.ready.wait(READY_S):
        worker.stop()
        raise TimeoutError(f"the worker is not ready after {READY_S:g} s: does its broker answer?")
    if errors:
        raise errors[0]
    try:
        yield worker
    finally:
        worker.stop()
        thread.join(shutdown_timeout)
    if thread.is_alive():
        raise WorkerDidNotStop(f"{worker.hostname} does not end within {shutdown_timeout:g} s")
    if errors:
        raise errors[0]
