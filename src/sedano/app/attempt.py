"""Run one attempt of a call: used by the worker for every delivery and by eager mode.

This is the hot path: what can be known when a task is registered (which hooks its class overrides, whether its function is
`async def`) stands in its `TaskPlan`; a signal costs a look at its `receivers` while nobody listens.

The order is Celery's: task_prerun, before_start, the body, `prepare` (what must not fail after a success was announced),
on_success / on_retry / on_failure, task_success / task_retry / task_failure, after_return, task_postrun.
"""

from __future__ import annotations

import time
import traceback as tracebacks
from collections.abc import Callable
from types import CoroutineType
from typing import Any

import msgspec

from sedano import current, signals, states
from sedano.app import late
from sedano.app.context import Context, pop_request, push_request
from sedano.contracts.settlement import Outcome
from sedano.exceptions import Ignore, Reject, Retry
from sedano.log import get_logger

logger = get_logger("celery.app.trace")
OUR_FILES = {__file__}  # whose frames stand between the worker and the user's code


class CallEnded(BaseException):
    """Raised inside a call from outside, to end it: whoever does so settles the call. `except Exception` does not catch it."""


LEAVES = (SystemExit, KeyboardInterrupt, GeneratorExit, CallEnded)
"""What passes through a call: it ends the process, or the call has an outcome already."""


class ExceptionInfo:
    """What hooks get as `einfo`: `exception`, `type`, `traceback` (text); `str()` is the traceback."""

    __slots__ = ("exception", "internal", "tb", "traceback", "type")

    def __init__(self, exception: BaseException, traceback: str, *, internal: bool = False) -> None:
        self.exception = exception
        self.type = type(exception)
        self.traceback = traceback
        self.tb = exception.__traceback__
        self.internal = internal

    @property
    def exc_info(self) -> tuple[type[BaseException], BaseException, Any]:
        return self.type, self.exception, self.tb

    def __str__(self) -> str:
        return self.traceback

    def __repr__(self) -> str:
        return f"<ExceptionInfo: {self.exception!r}>"


class Attempt(msgspec.Struct):
    """What an attempt came to.

    `state` is SUCCESS, FAILURE or RETRY, which are stored, or REJECTED or IGNORED, which are not (except that a Reject
    without requeue is stored as FAILURE). `value` is the return value of a success; `exc` the exception otherwise: for RETRY
    the `Retry` itself, whose `exc` is the one that caused it and is stored. `retry` is the signature to send again, None
    when the task raised a bare `Retry`. `requeue` belongs to REJECTED. `runtime_s` is the time of the body alone.
    """

    outcome: Outcome
    state: str
    value: Any = None
    exc: BaseException | None = None
    traceback: str | None = None
    einfo: ExceptionInfo | None = None
    runtime_s: float = 0.0
    retry: Any = None
    requeue: bool = False


Prepare = Callable[[Attempt], None]


def run_attempt(task: Any, request: Context, args: Any, kwargs: Any, prepare: Prepare | None = None) -> Attempt:
    """Call `task` with `args` and `kwargs` under `request`; hooks and signals included.

    `prepare(attempt)` is called inside the request, after the body and before the hooks: it encodes the result and builds
    what goes out (`followups.py`), so that a result that does not encode is a FAILURE before anybody was told of a success.
    What it raises turns a SUCCESS into a FAILURE and a RETRY into a REJECTED; then it is called again with that attempt, and
    what it raises then is logged.

    Never raises, except what must stop the process or has ended the call (`LEAVES`): SystemExit (WorkerShutdown,
    WorkerTerminate), KeyboardInterrupt, CallEnded. Publishes and stores nothing.
    """
    plan = task.plan
    token, running = push_request(task, request), current.push_task(task)
    attempt: Attempt | None = None
    try:
        attempt = close_attempt(task, request, args, kwargs, _run_body(task, plan, request, args, kwargs), prepare)
        return attempt
    finally:
        try:
            say_over(task, request, args, kwargs, attempt)
        finally:
            current.pop_task(running)
            pop_request(token)


def close_attempt(task: Any, request: Context, args: Any, kwargs: Any, attempt: Attempt, prepare: Prepare | None) -> Attempt:
    """What comes after the body: `prepare`, then hooks and signals of the outcome."""
    if prepare is not None:
        attempt = _prepare(attempt, prepare)
    _tell(task, task.plan, request, args, kwargs, attempt)
    return attempt


def say_over(task: Any, request: Context, args: Any, kwargs: Any, attempt: Attempt | None) -> None:
    """task_postrun; `attempt` None when the call was ended in the middle."""
    if signals.task_postrun.receivers:
        retval, state = _shown(attempt)
        signals.task_postrun.send(
            sender=task, task_id=request.id, task=task, args=args, kwargs=kwargs, retval=retval, state=state
        )


def fail_attempt(task: Any, request: Context, exc: BaseException, traceback: str | None = None) -> Attempt:
    """A FAILURE that the body did not raise (hard time limit, lost process), with on_failure and task_failure."""
    attempt = _failure(exc, 0.0, traceback or traceback_text(exc))
    attempt.traceback = traceback
    token, running = push_request(task, request), current.push_task(task)
    try:
        _tell_failure(task, task.plan, request, attempt)
    finally:
        current.pop_task(running)
        pop_request(token)
    return attempt


def traceback_text(exc: BaseException) -> str:
    """The traceback of `exc` as Python prints it, which from here on begins with the user's frames."""
    tb = exc.__traceback__
    while tb is not None and tb.tb_frame.f_code.co_filename in OUR_FILES:
        tb = tb.tb_next
    # Without a frame of the user's (arguments that do not fit, say) ours is all that there is to show.
    if tb is not None:
        exc.__traceback__ = tb
    return "".join(tracebacks.format_exception(exc))


def _run_body(task: Any, plan: Any, request: Context, args: Any, kwargs: Any) -> Attempt:
    if signals.task_prerun.receivers:
        signals.task_prerun.send(sender=task, task_id=request.id, task=task, args=args, kwargs=kwargs)
    start = time.monotonic()
    try:
        if plan.before_start is not None:
            plan.before_start(request.id, args, kwargs)
        value = (task.run if plan.direct else task)(*args, **kwargs)
        if type(value) is CoroutineType:
            value = late.run_coroutine(value)
        return Attempt(Outcome.SUCCESS, states.SUCCESS, value, runtime_s=time.monotonic() - start)
    except BaseException as exc:  # the edge: what the user's code raised is the outcome, a CancelledError of its own loop too
        if isinstance(exc, LEAVES) or (request.is_eager and not isinstance(exc, Exception)):
            raise
        return raised_attempt(exc, time.monotonic() - start)


def raised_attempt(exc: BaseException, runtime_s: float) -> Attempt:
    """The attempt whose body raised `exc`."""
    if isinstance(exc, Retry):
        text = traceback_text(exc)
        info = ExceptionInfo(exc, text)
        return Attempt(
            Outcome.RETRY, states.RETRY, exc=exc, traceback=text, einfo=info, runtime_s=runtime_s, retry=exc.sig
        )  # fmt: skip
    if isinstance(exc, Reject):
        return rejected_attempt(exc, runtime_s)
    if isinstance(exc, Ignore):
        info = ExceptionInfo(exc, traceback_text(exc), internal=True)
        return Attempt(Outcome.IGNORED, states.IGNORED, exc=exc, einfo=info, runtime_s=runtime_s)
    return _failure(exc, runtime_s, traceback_text(exc))


def _failure(exc: BaseException, runtime_s: float, text: str) -> Attempt:
    info = ExceptionInfo(exc, text)
    return Attempt(Outcome.FAILURE, states.FAILURE, exc=exc, traceback=text, einfo=info, runtime_s=runtime_s)


def rejected_attempt(exc: Reject, runtime_s: float = 0.0) -> Attempt:
    """The attempt that ended in `exc`."""
    info = ExceptionInfo(exc, traceback_text(exc), internal=True)
    return Attempt(
        Outcome.REJECTED,
        states.REJECTED,
        exc=exc,
        traceback=info.traceback,
        einfo=info,
        runtime_s=runtime_s,
        requeue=bool(exc.requeue),
    )


def _prepare(attempt: Attempt, prepare: Prepare) -> Attempt:
    try:
        prepare(attempt)
        return attempt
    except Exception as exc:  # whatever cannot be encoded or built must not end the slot
        if attempt.state == states.RETRY:
            changed = rejected_attempt(Reject(exc, requeue=False), attempt.runtime_s)
        else:
            changed = _failure(exc, attempt.runtime_s, traceback_text(exc))
    try:
        prepare(changed)
    except Exception as exc:  # the outcome stands; only what should have gone out with it is missing
        logger.exception("Cannot build what follows from a %s: %r", changed.state, exc)
    return changed


def _tell(task: Any, plan: Any, request: Context, args: Any, kwargs: Any, attempt: Attempt) -> None:
    state = attempt.state
    if state == states.SUCCESS:
        if plan.on_success is not None:
            _call_hook("on_success", task, request, plan.on_success, attempt.value, request.id, args, kwargs)
        if signals.task_success.receivers:
            signals.task_success.send(sender=task, result=attempt.value, runtime=attempt.runtime_s)
    elif state == states.RETRY:
        cause = getattr(attempt.exc, "exc", None)
        if plan.on_retry is not None:
            _call_hook("on_retry", task, request, plan.on_retry, cause, request.id, args, kwargs, attempt.einfo)
        if signals.task_retry.receivers:
            signals.task_retry.send(sender=task, request=request, reason=attempt.exc, einfo=attempt.einfo)
    elif state == states.FAILURE:
        _tell_failure(task, plan, request, attempt)
    if plan.after_return is not None and state in (states.SUCCESS, states.FAILURE):
        retval, _ = _shown(attempt)
        _call_hook("after_return", task, request, plan.after_return, state, retval, request.id, args, kwargs, None)


def _tell_failure(task: Any, plan: Any, request: Context, attempt: Attempt) -> None:
    exc, einfo = attempt.exc, attempt.einfo
    args, kwargs = request.args, request.kwargs
    if plan.on_failure is not None:
        _call_hook("on_failure", task, request, plan.on_failure, exc, request.id, args, kwargs, einfo)
    if signals.task_failure.receivers:
        signals.task_failure.send(
            sender=task,
            task_id=request.id,
            exception=exc,
            args=args,
            kwargs=kwargs,
            traceback=getattr(exc, "__traceback__", None) or str(einfo),  # a text where nothing was raised, as in Celery
            einfo=einfo,
        )


def _call_hook(name: str, task: Any, request: Context, hook: Callable[..., Any], *arguments: Any) -> None:
    try:
        hook(*arguments)
    except Exception as exc:  # the outcome stands whatever a hook does
        if request.is_eager:
            raise
        logger.exception("Task %s[%s] %s handler raised: %r", task.name, request.id, name, exc)


def _shown(attempt: Attempt | None) -> tuple[Any, str | None]:
    """(retval, state) as hooks and signals show them; nothing when the process is being stopped."""
    if attempt is None:
        return None, None
    return (attempt.value if attempt.state == states.SUCCESS else attempt.exc), attempt.state
