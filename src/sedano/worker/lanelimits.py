"""Time limits and terminations of calls that share a process: a thread that sleeps until the first of them is due.

    soft limit ......... SoftTimeLimitExceeded is raised in the call
    hard limit, end .... LaneEnded is raised in it; if it has not ended `grace_s` later, it is settled as if it had

It starts with the first call that has a limit. In a green process it is a greenlet, as every thread there. Above it stands the
supervisor, which ends the whole process when a call outlives its hard limit and nobody here could do anything about it.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable

from sedano.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded
from sedano.worker import lines
from sedano.worker.lanecall import Crew, LaneCall, LaneEnded
from sedano.worker.rowview import CallNote, Cause

_logger = logging.getLogger("celery.worker")
_AGAIN_S = 0.5
_LONGEST_WAIT_S = 3600.0  # a limit may lie further away than a lock can be waited for


class _Watched:
    """A call with what is due next: exactly one of the three times is the earliest."""

    __slots__ = ("abandon_at", "call", "hard_at", "note", "soft_at")

    def __init__(self, call: LaneCall, note: CallNote, now: float) -> None:
        self.call, self.note = call, note
        self.soft_at = now + note.soft_s if note.soft_s else math.inf
        self.hard_at = now + note.hard_s if note.hard_s else math.inf
        self.abandon_at = math.inf

    @property
    def next_at(self) -> float:
        return min(self.soft_at, self.hard_at, self.abandon_at)


class LaneLimits:
    """`give_up(call)` settles an abandoned call, unless it is over after all; it may take its time."""

    def __init__(self, crew: Crew, give_up: Callable[[LaneCall], None]) -> None:
        self._crew, self._give_up = crew, give_up
        self._watched: dict[LaneCall, _Watched] = {}
        self._wake = threading.Condition()
        self._until = math.inf
        self._thread: threading.Thread | None = None
        self._closed = False

    def watch(self, call: LaneCall, note: CallNote, now: float) -> None:
        """The call starts."""
        if note.soft_s or note.hard_s:
            self._add(call, _Watched(call, note, now))

    def forget(self, call: LaneCall) -> None:
        """The call is over."""
        self._watched.pop(call, None)

    def soft(self, call: LaneCall, note: CallNote) -> None:
        """As if its soft limit were over."""
        self._end_at(call, note, soft=True)

    def end(self, call: LaneCall, note: CallNote, signum: int) -> None:
        """An operator has terminated it, and named this signal."""
        call.signum = signum
        call.cause = Cause.TERMINATED
        self._end_at(call, note, soft=False)

    def close(self) -> None:
        with self._wake:
            self._closed = True
            self._wake.notify()

    def _end_at(self, call: LaneCall, note: CallNote, *, soft: bool) -> None:
        now = time.monotonic()
        watched = self._watched.get(call) or _Watched(call, note, now)
        if soft:
            watched.soft_at = now
        else:
            watched.hard_at = now
        self._add(call, watched)

    def _add(self, call: LaneCall, watched: _Watched) -> None:
        with self._wake:
            self._watched[call] = watched
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="sedano-limits", daemon=True)
                self._thread.start()
            elif watched.next_at < self._until:
                self._wake.notify()

    # -- the thread ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._wake:
                if self._closed:
                    return
                now = time.monotonic()
                self._until = min((watched.next_at for watched in list(self._watched.values())), default=math.inf)
                if self._until > now:
                    self._wake.wait(min(self._until - now, _LONGEST_WAIT_S))
                    continue
                due = [watched for watched in list(self._watched.values()) if watched.next_at <= now]
            for watched in due:
                try:
                    self._act(watched, now)
                except Exception:  # the other calls have limits, too
                    _logger.exception("the limit of task %s cannot be kept", watched.note.task_id)
                    self.forget(watched.call)

    def _act(self, watched: _Watched, now: float) -> None:
        note, call = watched.note, watched.call
        if watched.hard_at <= now:
            watched.soft_at = watched.hard_at = math.inf
            watched.abandon_at = now + self._crew.grace_s
            if call.cause is Cause.NONE:
                call.cause = Cause.HARD_LIMIT
                lines.handler_error(TimeLimitExceeded(note.hard_s))
                lines.hard_limit(task_id=note.task_id, name=note.task, seconds=note.hard_s or 0.0)
            call.code.interrupt(LaneEnded)
        elif watched.abandon_at <= now:
            if not self._crew.abandon(call):
                watched.abandon_at = now + _AGAIN_S
                return
            self.forget(call)
            if not call.lost:
                return  # it ended in this very moment
            _logger.warning(
                "Task %s[%s] does not end: it is settled, and what it still does goes on beside the others",
                lines.one_line(note.task), lines.one_line(note.task_id),
            )  # fmt: skip
            threading.Thread(target=self._give_up, args=(call,), name="sedano-given-up", daemon=True).start()
        else:
            watched.soft_at = math.inf
            if note.soft_s:
                lines.soft_limit(task_id=note.task_id, name=note.task, seconds=note.soft_s)
            call.code.interrupt(SoftTimeLimitExceeded)
