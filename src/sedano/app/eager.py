"""Run a call here and now: `Task.apply`, and what `apply_async` does under `task_always_eager`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from sedano import states
from sedano.app.attempt import Attempt, run_attempt
from sedano.app.context import Context, ignores_result, newest
from sedano.app.drafts import hostname
from sedano.app.followups import call_errbacks
from sedano.app.messages import plain_list
from sedano.app.options import check_call_options
from sedano.canvas.plan import Planner, after_failure, after_success
from sedano.canvas.signature import Signature
from sedano.exceptions import Ignore, Reject, Retry
from sedano.log import get_logger
from sedano.protocol import serializers
from sedano.protocol.ids import new_id
from sedano.result import EagerResult, denied_join_result

if TYPE_CHECKING:
    from sedano.app.base import Celery
    from sedano.app.publishing import CallToSend

logger = get_logger("celery.app.trace")

_NO_FAILURES = (Retry, Ignore, Reject)  # what a task raises to say what becomes of the call


class EagerCall(msgspec.Struct):
    """The arguments of `Task.apply`."""

    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = msgspec.field(default_factory=dict)
    link: Any = None
    link_error: Any = None
    task_id: str | None = None
    retries: int = 0
    throw: bool | None = None
    logfile: str | None = None
    loglevel: int | None = None
    headers: Mapping[str, Any] | None = None
    options: dict[str, Any] = msgspec.field(default_factory=dict)


def apply(task: Any, call: EagerCall) -> Any:
    """Run `task`; an `EagerResult`. A retry runs again at once, without its countdown, up to `max_retries`."""
    app = task.app
    throw = bool(app.conf.typed("task_eager_propagates")) if call.throw is None else call.throw
    while True:
        request = _request_of(task, call)
        attempt = run_attempt(task, request, call.args, call.kwargs)
        if attempt.state != states.RETRY or attempt.retry is None:
            break
        call = _again(attempt.retry, call)
    _report(task, request, attempt)
    _store(task, request, attempt)
    _send_links(task, request, attempt)
    if throw and attempt.exc is not None and attempt.state != states.SUCCESS and not isinstance(attempt.exc, _NO_FAILURES):
        raise attempt.exc
    value = attempt.value if attempt.state == states.SUCCESS else attempt.exc
    return EagerResult(request.id or "", value, attempt.state, traceback=attempt.traceback, name=task.name)


def apply_instead(app: Celery, call: CallToSend) -> Any:
    """Run what `apply_async` would send. The arguments take the way through the serializer, as they would on the wire."""
    options = dict(call.options)
    check_call_options(options, options.get("stamped_headers") or ())
    serializer = options.get("serializer") or app.terms.serializer
    content_type, encoding, data = serializers.dumps((call.args or (), call.kwargs or {}), serializer)
    args, kwargs = serializers.loads(data, content_type, encoding, frozenset({content_type}))
    link, link_error = options.pop("link", None), options.pop("link_error", None)
    with denied_join_result():
        return call.task.apply(args, kwargs, task_id=call.task_id or new_id(), link=link, link_error=link_error, **options)


def _request_of(task: Any, call: EagerCall) -> Context:
    parent = newest()
    parent_request = parent[1] if parent is not None else None
    options = call.options
    task_id = call.task_id or new_id()
    request = Context(
        id=task_id,
        task=task.name,
        args=call.args,
        kwargs=call.kwargs,
        called_directly=False,
        is_eager=True,
        retries=call.retries,
        parent_id=options.get("parent_id") or (parent_request.id if parent_request is not None else None),
        root_id=options.get("root_id") or (parent_request.root_id if parent_request is not None else None) or task_id,
        group=options.get("group_id"),
        group_index=options.get("group_index"),
        shadow=options.get("shadow"),
        logfile=call.logfile,
        loglevel=call.loglevel or 0,
        hostname=hostname(),
        callbacks=plain_list(call.link),
        errbacks=plain_list(call.link_error),
        headers=call.headers,
        timelimit=_limits(task, options),
        ignore_result=options.get("ignore_result", task.ignore_result),
        delivery_info={
            "is_eager": True,
            "exchange": options.get("exchange"),
            "routing_key": options.get("routing_key"),
            "priority": options.get("priority"),
        },
    )
    stamped = options.get("stamped_headers")
    if stamped:
        request.update(stamped_headers=list(stamped), stamps={stamp: options.get(stamp) for stamp in stamped})
    return request


def _limits(task: Any, options: Mapping[str, Any]) -> list[Any] | None:
    hard = options.get("time_limit", task.time_limit)
    soft = options.get("soft_time_limit", task.soft_time_limit)
    return None if hard is None and soft is None else [hard, soft]


def _again(signature: Signature[Any], call: EagerCall) -> EagerCall:
    options = dict(signature.options)
    return EagerCall(
        args=tuple(signature.args),
        kwargs=dict(signature.kwargs),
        link=options.pop("link", None),
        link_error=options.pop("link_error", None),
        task_id=options.pop("task_id", None),
        retries=options.pop("retries", call.retries + 1),
        throw=call.throw,
        logfile=call.logfile,
        loglevel=call.loglevel,
        headers=options.pop("headers", None),
        options={**call.options, **options},
    )


def _report(task: Any, request: Context, attempt: Attempt) -> None:
    where = f"{request.shadow or task.name}[{request.id}]"
    if attempt.state == states.SUCCESS:
        logger.info("Task %s succeeded in %ss: %r", where, attempt.runtime_s, attempt.value)
    elif attempt.state == states.FAILURE:
        if isinstance(attempt.exc, task.throws):
            logger.info("Task %s raised expected: %r", where, attempt.exc)
        else:
            logger.error("Task %s raised unexpected: %r", where, attempt.exc, exc_info=attempt.exc)


def _store(task: Any, request: Context, attempt: Attempt) -> None:
    """Eager results are kept by `task_store_eager_result` only."""
    if not task.store_eager_result or attempt.state not in states.READY_STATES or ignores_result(task, request):
        return
    value = attempt.value if attempt.state == states.SUCCESS else attempt.exc
    task.backend.store_result(request.id, value, attempt.state, traceback=attempt.traceback, request=request)


def _send_links(task: Any, request: Context, attempt: Attempt) -> None:
    """Callbacks and errbacks: run here too under `task_always_eager`, sent otherwise."""
    task_id, root_id = request.id or "", request.root_id
    planner = Planner(new_id, task.app.thread_oid)
    if attempt.state == states.SUCCESS and request.callbacks:
        after_success(
            planner,
            attempt.value,
            task_id=task_id,
            root_id=root_id,
            callbacks=request.callbacks,
            chain=None,
            priority=None,
        )
    elif attempt.state == states.FAILURE and request.errbacks:
        to_send = call_errbacks(task.app, request, attempt.exc, attempt.traceback)
        after_failure(planner, to_send, task_id=task_id, root_id=root_id)
    if planner.plan.chords:
        task.backend.start_chords(planner.plan.sizes())
    for send in planner.plan.sends:
        Signature.from_dict(send.signature, app=task.app).apply_async(send.args, send.kwargs, **send.options)
