"""Run one begun call: from what is held to its settlement, with the log line that people look for."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Protocol

from sedano import signals
from sedano.app.attempt import Attempt, fail_attempt, run_attempt
from sedano.app.context import Context, running
from sedano.contracts import Outcome, ResultWrite, Settlement
from sedano.exceptions import OperationalError, SoftTimeLimitExceeded, UnreadableMessage
from sedano.log import LoggingProxy
from sedano.protocol.call import Body, read_body
from sedano.protocol.saferepr import saferepr
from sedano.worker import lines
from sedano.worker.held import Held, request_of
from sedano.worker.intake import Intake
from sedano.worker.row import Row
from sedano.worker.settle import Settler
from sedano.worker.teller import Teller

_logger = logging.getLogger("celery.worker.job")


class Guard(Protocol):
    """What knows whether the task's own code runs: only then may somebody interrupt it."""

    def begin(self) -> None:
        """The task's own code comes next. Raises what was meant for it already."""
        ...

    def over(self) -> None:
        """The task's own code is over. Safe twice."""
        ...


class UserCode:
    """Whether a task's own code runs now, and what SIGUSR1 does to it.

    It raises SoftTimeLimitExceeded inside the task, if the supervisor has marked this very call as over its limit, or sends
    the signal to terminate the call. Anywhere else it does nothing.
    """

    def __init__(self, row: Row) -> None:
        self._row = row
        self.runs = False

    def install(self) -> None:
        """Take the signal where it was left to us: a pool process ignores it until now. Elsewhere (solo) it is not ours."""
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN:
            signal.signal(signal.SIGUSR1, self._interrupt)

    def begin(self) -> None:
        """The task's own code comes next. Raises SoftTimeLimitExceeded when decoding its arguments took too long already."""
        self.runs = True
        if self._row.soft_limit_due():
            raise SoftTimeLimitExceeded

    def over(self) -> None:
        self.runs = False

    def _interrupt(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self.runs and (self._row.soft_limit_due() or self._row.terminate):
            self.runs = False
            raise SoftTimeLimitExceeded


class Performer:
    """Runs calls of one slot. `store(writes)` writes records at once: STARTED."""

    def __init__(
        self,
        settler: Settler,
        intake: Intake,
        node: str,
        user_code: Guard,
        store: Callable[[Sequence[ResultWrite]], None],
    ) -> None:
        self._settler = settler
        self._intake = intake
        self._node = node
        self._user_code = user_code
        self._store = store
        self._accept = settler.message_terms.accept
        self.teller = intake.teller
        self._pid = os.getpid()
        self._held: Held
        self._request: Context
        self._settlement: Settlement | None = None

    def guard_with(self, user_code: Guard) -> None:
        """From the next call on, `user_code` is told when a task's own code runs."""
        self._user_code = user_code

    def perform(self, held: Held, *, at_once: bool = True) -> Settlement:
        """`at_once`: who listens is to hear that it begins before it may take long.

        Raises only what must stop the process: SystemExit and KeyboardInterrupt of the task's own."""
        body = self._body_of(held)
        if isinstance(body, Settlement):
            return body
        request = self._take_up(held, body)
        if self.teller is not None and self.teller.on and held.terms.tells:
            self.teller.started(held.call.id, at_once=at_once)
        if held.terms.track_started:
            self._store_started(held, request)
        return self._end(held, request, self._run(held, request, body))

    def _body_of(self, held: Held) -> Body | Settlement:
        if held.body is not None:
            return held.body
        message = held.delivery.message
        assert message is not None
        try:
            return read_body(message, self._accept)
        except UnreadableMessage as exc:
            return self._intake.unreadable(held, exc)

    def _take_up(self, held: Held, body: Body) -> Context:
        self._held = held
        self._request = request_of(held.call, held.delivery, self._node, body)
        self._settlement = None
        return self._request

    def _end(self, held: Held, request: Context, attempt: Attempt) -> Settlement:
        settlement = self._settlement or self._internal_error(held, request, attempt)
        self._say(held, request, attempt)
        if self.teller is not None and self.teller.on and held.terms.tells:
            tell_attempt(self.teller, held, attempt)
        self._settlement = None
        del self._held, self._request  # a slot that waits for work does not keep the arguments of the call before
        return settlement

    def _run(self, held: Held, request: Context, body: Body) -> Attempt:
        task, user_code = held.terms.task, self._user_code
        try:
            user_code.begin()
            attempt = run_attempt(task, request, body.args, body.kwargs, self._prepare)
            user_code.over()
        except SoftTimeLimitExceeded as exc:  # it came when the task's own code was just over
            attempt = self._too_late(held, request, exc)
        return attempt

    def _too_late(self, held: Held, request: Context, exc: SoftTimeLimitExceeded) -> Attempt:
        self._user_code.over()
        attempt = fail_attempt(held.terms.task, request, exc, traceback.format_exc())
        with running(held.terms.task, request):
            self._prepare(attempt)
        return attempt

    def _prepare(self, attempt: Attempt) -> None:
        """Called when the body is over: its settlement is made before hooks and signals tell of the outcome."""
        self._user_code.over()
        stream = sys.stdout
        if type(stream) is LoggingProxy:
            stream.end_line()
        self._settlement = self._settler.settle(self._held, self._request, attempt)

    def _internal_error(self, held: Held, request: Context, attempt: Attempt) -> Settlement:
        """The end could not be worked out, not even as a failure; the reason is in the log already."""
        exc = (
            attempt.exc if isinstance(attempt.exc, Exception) else RuntimeError("the end of this call could not be worked out")
        )
        if signals.task_internal_error.receivers:
            signals.task_internal_error.send(
                sender=held.terms.task, task_id=held.call.id, args=request.args, kwargs=request.kwargs, request=request,
                exception=exc, traceback=exc.__traceback__, einfo=attempt.einfo,
            )  # fmt: skip
        return self._settler.broken(held, exc)

    def _store_started(self, held: Held, request: Context) -> None:
        write = self._settler.started(held, request, self._pid)
        if write is None:
            return
        try:
            self._store((write,))
        except OperationalError as exc:  # a state that only informs must not keep the call from running
            _logger.warning("STARTED of %s[%s] is not stored: %s", held.name, held.call.id, exc)

    # -- log lines ----------------------------------------------------------------------------------------------------

    def _say(self, held: Held, request: Context, attempt: Attempt) -> None:
        call, outcome = held.call, attempt.outcome
        if outcome is Outcome.SUCCESS:
            if lines.wants_success():
                args, kwargs = _arguments(held, request)
                lines.succeeded(
                    task_id=call.id, name=held.name, return_value=saferepr(attempt.value, held.terms.repr_length),
                    runtime=attempt.runtime_s, args=args, kwargs=kwargs,
                )  # fmt: skip
        elif outcome is Outcome.FAILURE:
            self._say_failed(held, request, attempt)
        elif outcome is Outcome.RETRY:
            lines.retried(task_id=call.id, name=held.name, reason=str(attempt.exc))
        elif outcome is Outcome.IGNORED:
            lines.ignored(task_id=call.id, name=held.name)
        elif outcome is Outcome.REJECTED:
            lines.rejected(task_id=call.id, name=held.name, exc=attempt.exc, text=saferepr(attempt.exc))

    def _say_failed(self, held: Held, request: Context, attempt: Attempt) -> None:
        assert attempt.exc is not None
        args, kwargs = _arguments(held, request)
        lines.failed(
            task_id=held.call.id, name=held.name, hostname=self._node, exc=attempt.exc, text=saferepr(attempt.exc),
            traceback=attempt.traceback, args=args, kwargs=kwargs, expected=isinstance(attempt.exc, held.terms.throws),
        )  # fmt: skip


def tell_attempt(teller: Teller, held: Held, attempt: Attempt) -> None:
    """Tell how it ended; of a call that was ignored nobody hears, as in Celery."""
    task_id, outcome, exc = held.call.id, attempt.outcome, attempt.exc
    if outcome is Outcome.SUCCESS:
        teller.succeeded(task_id, saferepr(attempt.value, held.terms.repr_length), attempt.runtime_s)
    elif outcome is Outcome.FAILURE:
        teller.failed(task_id, saferepr(exc, None), attempt.traceback)
    elif outcome is Outcome.RETRY:
        teller.retried(task_id, saferepr(getattr(exc, "exc", None), None), attempt.traceback)  # "None" without one
    elif outcome is Outcome.REJECTED:
        if not attempt.requeue:  # as Celery: a monitor would show it as running for ever
            teller.failed(task_id, saferepr(exc, None), attempt.traceback)
        if attempt.requeue or not held.terms.early:
            teller.rejected(task_id, requeue=attempt.requeue)


def _arguments(held: Held, request: Context) -> tuple[str, str]:
    call = held.call
    return call.argsrepr or saferepr(request.args), call.kwargsrepr or saferepr(request.kwargs)
