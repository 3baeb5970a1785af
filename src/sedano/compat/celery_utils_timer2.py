"""`celery.utils.timer2`: calls after a time, in a thread."""

from __future__ import annotations

import sched
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sedano.log import get_logger

logger = get_logger("celery.timer")


class Entry:
    """A call that waits. `tref` is itself, as in Celery."""

    def __init__(self, fun: Callable[..., Any], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> None:
        self.fun, self.args, self.kwargs = fun, args, dict(kwargs or {})
        self.canceled = False
        self.tref = self

    @property
    def cancelled(self) -> bool:
        return self.canceled

    def __call__(self) -> Any:
        return self.fun(*self.args, **self.kwargs)

    def cancel(self) -> None:
        self.canceled = True


class Timer(threading.Thread):
    """Starts with the first call that is to be made; what raises is logged, and the others are made all the same."""

    def __init__(self, schedule: Any = None, on_tick: Any = None, on_start: Any = None, **_: Any) -> None:
        super().__init__(daemon=True, name="sedano-timer")
        del schedule
        self.on_tick, self.on_start = on_tick, on_start
        self._changed = threading.Condition()
        self._queue = sched.scheduler(time.monotonic)
        self._ends = False

    @property
    def running(self) -> bool:
        return self.is_alive()

    @property
    def queue(self) -> list[Any]:
        return list(self._queue.queue)

    def ensure_started(self) -> None:
        if not self.is_alive() and not self._ends:
            if self.on_start:
                self.on_start(self)
            self.start()

    def run(self) -> None:
        while True:
            with self._changed:
                if self._ends:
                    return
                wait_s = self._queue.queue[0].time - time.monotonic() if not self._queue.empty() else None
                if wait_s is None or wait_s > 0:
                    if self.on_tick and wait_s:
                        self.on_tick(wait_s)
                    self._changed.wait(wait_s)
                    continue
                due = self._queue.queue[0]
                self._queue.cancel(due)
            entry = due.argument[0]
            if not entry.canceled:
                self._apply(entry)

    def stop(self) -> None:
        """Make no more calls, and wait for the one that runs."""
        with self._changed:
            self._ends = True
            self._changed.notify()
        if self.is_alive() and threading.current_thread() is not self:
            self.join()

    def enter_after(self, delay: float, entry: Entry, priority: int = 0, time: Any = None) -> Entry:  # noqa: ARG002 - Celery's
        self.ensure_started()
        with self._changed:
            self._queue.enter(delay, priority, entry.__call__, (entry,))
            self._changed.notify()
        return entry

    def enter(self, entry: Entry, eta: datetime | None, priority: int = 0) -> Entry:
        """At a time; now for None."""
        return self.enter_after(0.0 if eta is None else eta.timestamp() - time.time(), entry, priority)

    def call_after(
        self, delay: float, fun: Callable[..., Any], args: Sequence[Any] = (), kwargs: Any = None, priority: int = 0
    ) -> Entry:
        return self.enter_after(delay, Entry(fun, args, kwargs), priority)

    def call_at(
        self, eta: datetime, fun: Callable[..., Any], args: Sequence[Any] = (), kwargs: Any = None, priority: int = 0
    ) -> Entry:
        return self.enter(Entry(fun, args, kwargs), eta, priority)

    def call_repeatedly(
        self, delay: float, fun: Callable[..., Any], args: Sequence[Any] = (), kwargs: Any = None, priority: int = 0
    ) -> Entry:
        """Until the entry is cancelled."""

        def again(*given: Any, **named: Any) -> None:
            try:
                fun(*given, **named)
            finally:
                if not entry.canceled:
                    self.enter_after(delay, entry, priority)

        entry = Entry(again, args, kwargs)
        return self.enter_after(delay, entry, priority)

    def exit_after(self, secs: float, priority: int = 10) -> None:
        self.call_after(secs, sys.exit, priority=priority)

    def cancel(self, tref: Entry) -> None:
        tref.cancel()

    def clear(self) -> None:
        with self._changed:
            for event in self._queue.queue:
                self._queue.cancel(event)

    def empty(self) -> bool:
        return self._queue.empty()

    def __len__(self) -> int:
        return len(self._queue.queue)

    def __bool__(self) -> bool:
        return True

    def _apply(self, entry: Entry) -> None:
        try:
            entry()
        except Exception:
            logger.exception("Error in timer: %r", entry.fun)


__all__ = ["Entry", "Timer"]
