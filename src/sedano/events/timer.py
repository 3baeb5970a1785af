"""Calls that are repeated, in a thread of their own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from sedano.log import get_logger

logger = get_logger("celery.timer")


class Entry:
    """A repeated call. Calling it makes the call now."""

    def __init__(self, secs: float, fun: Callable[[], Any]) -> None:
        self.secs = secs
        self.fun = fun
        self.due = time.monotonic() + secs
        self.canceled = False

    def __call__(self) -> Any:
        return self.fun()

    def cancel(self) -> None:
        self.canceled = True


class Timer:
    """Calls each function every so many seconds. The thread begins with the first and ends with the last or by `stop`."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def call_repeatedly(self, secs: float, fun: Callable[[], Any]) -> Entry:
        """An error in `fun` is logged, and the next call comes all the same."""
        entry = Entry(secs, fun)
        with self._changed:
            self._entries.append(entry)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="sedano-events-timer", daemon=True)
                self._thread.start()
            self._changed.notify()
        return entry

    def stop(self) -> None:
        with self._changed:
            self._entries.clear()
            self._changed.notify()

    def _run(self) -> None:
        while (entry := self._next()) is not None:
            try:
                entry()
            except Exception:
                logger.exception("Error in timer: %r", entry.fun)
            entry.due = max(entry.due + entry.secs, time.monotonic())

    def _next(self) -> Entry | None:
        """The next that is due, when it is; None when there are no more."""
        with self._changed:
            while True:
                self._entries = [entry for entry in self._entries if not entry.canceled]
                if not self._entries:
                    self._thread = None
                    return None
                entry = min(self._entries, key=lambda one: one.due)
                wait_s = entry.due - time.monotonic()
                if wait_s <= 0:
                    return entry
                self._changed.wait(min(wait_s, 1.0))  # a cancelled entry does not tell
