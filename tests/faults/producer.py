"""A client that keeps sending while its store breaks, and remembers what was accepted.

It publishes each call once: a connection that breaks between the store's step and its answer leaves open whether the call
was stored, and a client that sends it again (`task_publish_retry`, as in Celery) may store it twice. Two messages are two
deliveries, each begun at most once; a test that looks for calls begun twice must not make them itself.
"""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Any

import pytest
from tests.faults.arena import Arena

from sedano.exceptions import OperationalError


class Producer:
    """Sends calls of `faulty.work` from a thread of its own for the time of the block; `errors` are those that were refused."""

    def __init__(self, run: Arena, *, pause_s: float = 0.002, **options: Any) -> None:
        self._run, self._pause_s, self._options = run, pause_s, options
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._send, daemon=True)
        self.errors: list[OperationalError] = []
        self.accepted: list[tuple[float, str]] = []  # monotonic time, task id
        self.broken: BaseException | None = None

    def _send(self) -> None:
        try:
            while not self._over.wait(self._pause_s):
                try:
                    task_id = self.one()
                    self.accepted.append((time.monotonic(), task_id))
                except OperationalError as exc:
                    self.errors.append(exc)
        except BaseException as exc:
            self.broken = exc

    def one(self) -> str:
        """Send one call; its id."""
        return self._run.send("work", 0.001, retry=False, **self._options)

    def wait_for(self, count: int, timeout_s: float = 60.0) -> None:
        """Until `count` more calls are accepted."""
        wanted, deadline = len(self.accepted) + count, time.monotonic() + timeout_s
        while len(self.accepted) < wanted:
            if time.monotonic() > deadline or self.broken is not None:
                last = self.errors[-1:] or self.broken
                pytest.fail(f"the store accepts nothing: {last!r}\n{self._run.logs()}", pytrace=False)
            time.sleep(0.005)  # another thread counts

    def __enter__(self) -> Producer:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join(60)
        assert not self._thread.is_alive()
        if self.broken is not None and error is None:
            raise self.broken
