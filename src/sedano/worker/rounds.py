"""A thread of the supervisor that does its rounds: wakes at set times, or when somebody wants it, and can be stopped."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable

from sedano.polling import POLLIN, new_poll

_logger = logging.getLogger("celery.worker")
_AFTER_ERROR_S = 5.0


class Rounds:
    """Calls `round_()` again and again; it returns in how many seconds to come back, None for only when woken.

    `end()` runs in the same thread after the last round. An exception that a round did not expect is logged, and the next
    round comes after some seconds: a node whose keeper is gone would lose everything it holds.
    """

    def __init__(self, name: str, round_: Callable[[], float | None], end: Callable[[], None]) -> None:
        self._round, self._end = round_, end
        self._pipe = os.pipe()
        for fd in self._pipe:
            os.set_blocking(fd, False)
        self._stopping = False
        self._closed = False
        self._pipe_lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def stopping(self) -> bool:
        """A round that waits for something should look at it."""
        return self._stopping

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def fileno(self) -> int:
        """Readable when the thread is wanted: for rounds that wait on something of their own."""
        return self._pipe[0]

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Have the next round begin now. From any thread."""
        with self._pipe_lock:  # a number that was closed is soon somebody else's file, a database for example
            if not self._closed:
                with contextlib.suppress(BlockingIOError):
                    os.write(self._pipe[1], b"w")

    def stop(self) -> None:
        """Have the thread end after the round that it is in. Safe twice, and before `start`."""
        self._stopping = True
        self.wake()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end; False when it did not come in time."""
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def pause(self, seconds: float | None) -> None:
        """Wait until `seconds` are over or somebody wants this thread."""
        poll = new_poll()
        poll.register(self._pipe[0], POLLIN)
        if poll.poll(None if seconds is None else max(0.0, seconds) * 1000):
            with contextlib.suppress(BlockingIOError):
                os.read(self._pipe[0], 4096)

    def _run(self) -> None:
        try:
            while not self._stopping:
                self.pause(self._one_round())
        finally:
            try:
                self._end()
            except Exception:
                _logger.exception("%s: an error at the end", self._thread.name)
            with self._pipe_lock:
                self._closed = True
                for fd in self._pipe:
                    os.close(fd)

    def _one_round(self) -> float | None:
        try:
            return self._round()
        except Exception:
            _logger.critical("%s: an error that nobody expected; going on", self._thread.name, exc_info=True)
            return _AFTER_ERROR_S


class Schedule:
    """When each of a few repeated chores is due, on the monotonic clock."""

    def __init__(self, every_s: dict[str, float]) -> None:
        self._every_s = every_s
        self._next = dict.fromkeys(every_s, 0.0)

    def take(self, chore: str) -> bool:
        """Whether `chore` is due; if so, its next time is set."""
        now = time.monotonic()
        if now < self._next[chore]:
            return False
        self._next[chore] = now + self._every_s[chore]
        return True

    def hasten(self, chore: str, seconds: float) -> None:
        """Have `chore` due in `seconds`, unless it is sooner."""
        self._next[chore] = min(self._next[chore], time.monotonic() + max(0.0, seconds))

    def set(self, chore: str, seconds: float) -> None:
        """Have `chore` due in `seconds`, and not before."""
        self._next[chore] = time.monotonic() + seconds

    def seconds_left(self) -> float:
        """Until the first chore is due."""
        return max(0.0, min(self._next.values()) - time.monotonic())
