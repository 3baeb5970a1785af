"""`Task.retry` and autoretry: a call that asks to be run again.

Nothing is published here. In a worker `retry` raises `Retry` with the signature to send; it goes out with the settlement of
the attempt, so that the retry and the end of the attempt are one step.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import msgspec

from sedano.app import late
from sedano.app.context import Context, ignores_result
from sedano.app.functions import is_coroutine_function
from sedano.canvas.signature import Signature
from sedano.exceptions import Ignore, Retry
from sedano.rules.delays import DELAY_EXIT, DELAY_LEVELS, undelayed_key
from sedano.rules.retry import backoff_countdown


class RetryOrder(msgspec.Struct, frozen=True):
    """The arguments of `Task.retry`."""

    args: Sequence[Any] | None = None
    kwargs: Mapping[str, Any] | None = None
    exc: BaseException | None = None
    throw: bool = True
    eta: Any = None
    countdown: float | None = None
    max_retries: int | None = None
    options: Mapping[str, Any] | None = None


def retry(task: Any, request: Context, order: RetryOrder) -> Retry:
    """What `Task.retry` does; see there. Returns the `Retry` only with `throw=False`."""
    if request.called_directly:
        _reraise(order.exc or Retry("Task can be retried", None))
    retries = request.retries + 1
    if order.max_retries is not None:
        request.__dict__["_max_retries"] = order.max_retries
    limit = task.max_retries if order.max_retries is None else order.max_retries
    countdown = order.countdown
    if not order.eta and countdown is None:
        countdown = task.default_retry_delay
    args, kwargs = late.merge_changed(task.run, (request.args or (), request.kwargs or {}), (order.args, order.kwargs))
    extra = {**(order.options or {}), "countdown": countdown, "eta": order.eta, "retries": retries}
    signature = signature_from_request(task, request, args, kwargs, extra.pop("queue", None), extra)
    if limit is not None and retries > limit:
        if order.exc is not None:
            _reraise(order.exc)
        raise task.MaxRetriesExceededError(
            f"Can't retry {task.name}[{request.id}] args:{signature.args} kwargs:{signature.kwargs}",
            task_args=signature.args,
            task_kwargs=signature.kwargs,
        )
    reason = Retry(exc=order.exc, when=order.eta or countdown, is_eager=request.is_eager, sig=signature)
    if order.throw:
        raise reason
    if not request.is_eager:
        request.pending_retries = [*(request.pending_retries or ()), signature]
    return reason


def signature_from_request(
    task: Any, request: Context, args: Any, kwargs: Any, queue: Any, extra: Mapping[str, Any]
) -> Signature[Any]:
    """The call of `request` again, to the same queue unless `queue` says otherwise."""
    options = {**request.as_execution_options(), "ignore_result": ignores_result(task, request), **extra}
    info = request.delivery_info or {}
    if info.get("priority") is not None and "priority" not in extra:
        options["priority"] = info["priority"]
    if queue:
        options["queue"] = queue
    elif info.get("exchange") == "" and info.get("routing_key"):
        options["queue"] = info["routing_key"]
    elif str(info.get("exchange")).startswith(DELAY_LEVELS) and isinstance(info.get("routing_key"), str):
        # It came out of RabbitMQ's delay queues, and goes where that way ends.
        options.update(exchange=DELAY_EXIT, exchange_type="topic", routing_key=undelayed_key(info["routing_key"]))
    else:
        options.update({name: info[name] for name in ("exchange", "routing_key") if info.get(name) and name not in extra})
    args = request.args if args is None else args
    kwargs = request.kwargs if kwargs is None else kwargs
    return Signature(task, tuple(args or ()), dict(kwargs or {}), options, app=task.app)


def add_autoretry(task: Any, options: Mapping[str, Any]) -> None:
    """Wrap `task.run` so that the exceptions of `autoretry_for` retry the call. Once per task."""

    def option(name: str, default: Any) -> Any:
        return options.get(name, getattr(task, name, default))

    autoretry_for = tuple(option("autoretry_for", ()))
    if not autoretry_for or "_orig_run" in vars(task):
        return
    again = _Autoretry(
        task=task,
        wanted=autoretry_for,
        unwanted=(Ignore, Retry, *option("dont_autoretry_for", ())),
        retry_kwargs=dict(option("retry_kwargs", {})),
        backoff=option("retry_backoff", False),
        backoff_max=option("retry_backoff_max", 600),
        jitter=option("retry_jitter", True),
    )
    task._orig_run, task.run = task.run, again.wrap(task.run)


class _Autoretry(msgspec.Struct, frozen=True):
    task: Any
    wanted: tuple[type[BaseException], ...]
    unwanted: tuple[type[BaseException], ...]
    retry_kwargs: Mapping[str, Any]
    backoff: bool | int | float
    backoff_max: float
    jitter: bool

    def wrap(self, run: Callable[..., Any]) -> Callable[..., Any]:
        if is_coroutine_function(run):

            @functools.wraps(run)
            async def run_async(*args: Any, **kwargs: Any) -> Any:
                try:
                    return await run(*args, **kwargs)
                except self.unwanted:
                    raise
                except self.wanted as exc:
                    raise self._retry(exc) from exc

            return run_async

        @functools.wraps(run)
        def run_sync(*args: Any, **kwargs: Any) -> Any:
            try:
                return run(*args, **kwargs)
            except self.unwanted:
                raise
            except self.wanted as exc:
                raise self._retry(exc) from exc

        return run_sync

    def _retry(self, exc: BaseException) -> BaseException:
        request = self.task.request
        order = dict(self.retry_kwargs)
        if self.backoff:
            order["countdown"] = backoff_countdown(
                request.retries,
                factor=int(max(1.0, self.backoff)),
                maximum=self.backoff_max,
                jitter=self.jitter,
                randrange=late.randrange,
            )
        if "_max_retries" in vars(request):
            order["max_retries"] = vars(request)["_max_retries"]
        reason: BaseException = self.task.retry(exc=exc, **order)
        return reason


def _reraise(exc: BaseException) -> NoReturn:
    """Raise `exc`, with the exception that is being handled (if it is another one) as its cause."""
    handled = sys.exc_info()[1]
    if handled is None or handled is exc:
        raise exc
    if isinstance(exc, Retry):
        raise handled
    raise exc from handled
