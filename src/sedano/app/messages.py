"""From the options of a call to the message that carries it: routing, ETA, expiry, limits, links, headers.

Used by sending, by retries and by followups; does no I/O. The signals before_task_publish and after_task_publish are sent
from here and from `publishing.py`, because receivers may change a message's headers, properties and body.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sedano import signals
from sedano.app.context import worker_call
from sedano.app.drafts import LONGEST_REPR, Draft, origin
from sedano.app.options import PROPERTY_OPTIONS, check_call_options, check_call_values
from sedano.canvas.signature import merge, plain
from sedano.log import get_logger
from sedano.protocol import compression, serializers
from sedano.protocol.call import WORKFLOW_HEADER, build
from sedano.protocol.ids import new_id
from sedano.protocol.saferepr import saferepr

if TYPE_CHECKING:
    from sedano.app.base import Celery

logger = get_logger(__name__)


def draft(
    app: Celery,
    name: str,
    args: Sequence[Any] | None,
    kwargs: Mapping[str, Any] | None,
    options: Mapping[str, Any],
    *,
    task: Any = None,
    task_id: str | None = None,
) -> Draft:
    """Check `options`, route, serialise: everything that `apply_async` does before it publishes.

    `options` are those of `apply_async`, the task's own already merged in by the caller. Raises TypeError
    for wrong or unknown options, EncodeError for arguments that do not serialise, QueueNotFound.
    """
    if task_id is not None and not (type(task_id) is str and task_id.isascii()):
        check_call_values({"task_id": task_id})
    given, stencils = options, app.amqp.stencils
    made: Draft | None = stencils.draft(app, name, task_id, args or (), {} if kwargs is None else kwargs, given)
    if made is not None:
        return made
    terms = app.terms
    stamped = options.get("stamped_headers")
    check_call_options(options, stamped or ())
    check_call_values(options)
    call_id: str = task_id or options.get("task_id") or new_id()
    args, kwargs = args or (), kwargs or {}
    options, where = app.amqp.address(options, options.get("route_name") or name, args, kwargs, task)
    get = options.get
    eta, eta_s = _start(app, get("eta"), get("countdown"))
    if eta_s is not None:
        where = app.amqp.delayed(where, eta_s, get("countdown"))
    expires, expires_s = _end(app, get("expires"), call_id)
    root_id, parent_id, priority = _ancestry(app, get("root_id"), get("parent_id"), get("priority"))
    headers = get("headers")
    if headers is not None and not isinstance(headers, Mapping):
        raise TypeError(f"headers of task {name} must be a mapping, not {type(headers).__name__}")
    depth = terms.repr_depth
    serializer = get("serializer") or terms.serializer
    embed: dict[str, Any] = {
        "callbacks": plain_list(get("link")),
        "errbacks": plain_list(get("link_error")),
        "chain": plain_list(get("chain")),
        "chord": plain(get("chord")),
    }
    message = build(
        name,
        call_id,
        args,
        kwargs,
        eta=eta,
        expires=expires,
        retries=get("retries") or 0,
        root_id=root_id,
        parent_id=parent_id,
        group_id=get("group_id"),
        group_index=get("group_index"),
        time_limit=get("time_limit"),
        soft_time_limit=get("soft_time_limit"),
        shadow=get("shadow"),
        argsrepr=get("argsrepr") or saferepr(args, LONGEST_REPR, depth),
        kwargsrepr=get("kwargsrepr") or saferepr(kwargs, LONGEST_REPR, depth),
        origin=get("origin") or origin(),
        ignore_result=get("ignore_result"),
        replaced_task_nesting=get("replaced_task_nesting") or 0,
        stamped_headers=stamped,
        stamps={stamp: get(stamp) for stamp in stamped} if stamped else None,
        **embed,
        headers=_with_workflow(headers),
        reply_to=get("reply_to") or app.thread_oid,
        exchange=where.exchange,
        routing_key=where.routing_key,
        priority=_priority(priority),
        delivery_mode=where.delivery_mode,
        expiration_ms=None if expires_s is None else int(expires_s * 1000),
        properties=_properties(options),
        serializer=serializer,
        compression=get("compression") or terms.compression,
        protocol=terms.protocol,
        utc=terms.enable_utc,
    )
    retry = terms.retry if get("retry") is None else bool(get("retry"))
    policy = {**terms.retry_policy, **(get("retry_policy") or {})}
    body = (args, kwargs, embed)
    made = Draft(call_id, name, message, where, body, eta_s, get("ignore_result"), serializer, retry, policy)
    stencils.keep(app, given, options, made)
    return made


def draft_signature(
    app: Celery,
    signature: Mapping[str, Any],
    *,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    **options: Any,
) -> Draft:
    """As `draft` for the signature of one call (a map); `args` go before its own unless it is immutable, `kwargs` and `options`
    over its own.

    The options of a task that is registered here stand below the signature's, as when it is applied.
    """
    name = signature["task"]
    all_args, all_kwargs, all_options = merge(signature, args, kwargs, options)
    task = app.tasks.get(name)
    if task is not None:
        own = task._exec_options()
        own.update(all_options)
        own.setdefault("ignore_result", task.ignore_result)
        all_options = own
    task_id = all_options.pop("task_id", None)
    return draft(app, name, all_args, all_kwargs, all_options, task=task, task_id=task_id)


def announce(made: Draft) -> None:
    """Send before_task_publish; what receivers change of headers, properties and body goes into the message."""
    if not signals.before_task_publish.receivers:
        return
    message, where = made.message, made.address
    signals.before_task_publish.send(
        sender=made.task,
        body=made.body,
        exchange=where.exchange,
        routing_key=where.routing_key,
        declare=list(where.declare),
        headers=message.headers,
        properties=message.properties,
        retry_policy=made.retry_policy,
    )
    if message.headers.get("task") is not None:
        _, _, data = serializers.dumps(made.body, made.serializer)
        if "compression" in message.headers:
            data, _ = compression.compress(data, message.headers["compression"])
        message.body = data


def announced(made: Draft) -> None:
    """Send after_task_publish and the old task_sent."""
    where = made.address
    if signals.after_task_publish.receivers:
        signals.after_task_publish.send(
            sender=made.task,
            body=made.body,
            headers=made.message.headers,
            exchange=where.exchange,
            routing_key=where.routing_key,
        )
    if signals.task_sent.receivers:
        args, kwargs = made.body[:2]
        headers = made.message.headers
        signals.task_sent.send(
            sender=made.task,
            task_id=made.task_id,
            task=made.task,
            args=args,
            kwargs=kwargs,
            eta=headers.get("eta"),
            taskset=headers.get("group"),
        )


def plain_list(value: Any) -> list[Any] | None:
    """Signatures of `link` and the like as a list of maps; one alone may be given without a list."""
    if value is None:
        return None
    if isinstance(value, Mapping) or not isinstance(value, list | tuple):
        value = [value]
    return [plain(item) for item in value]


def _start(app: Celery, eta: Any, countdown: Any) -> tuple[str | None, float | None]:
    """(ISO text, Unix seconds) of the earliest start."""
    if countdown:
        moment = app.now() + timedelta(seconds=_seconds(countdown, "countdown"))
        return moment.isoformat(), moment.timestamp()
    if not eta:
        return None, None
    moment = _moment(app, eta, "eta")
    return (eta if isinstance(eta, str) and _is_aware(eta) else moment.isoformat()), moment.timestamp()


def _end(app: Celery, expires: Any, task_id: str) -> tuple[str | None, float | None]:
    """(ISO text, seconds from now but not below 0) of the expiry."""
    if expires is None:
        return None, None
    now = app.now()
    if isinstance(expires, str | datetime):
        moment = _moment(app, expires, "expires")
    else:
        moment = now + timedelta(seconds=_seconds(expires, "expires"))
    left = (moment - now).total_seconds()
    if left < 0:
        logger.warning(
            "%s expires in the past (%.3fs ago): no worker will run it, and RabbitMQ drops it unless a worker is waiting."
            " Look at the expires= that it was sent with.",
            task_id,
            -left,
        )
        left = 0.0
    return (expires if isinstance(expires, str) and _is_aware(expires) else moment.isoformat()), left


def _moment(app: Celery, value: Any, what: str) -> datetime:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError as exc:
            raise ValueError(f"{what}={value!r} is no ISO 8601 time such as 2026-11-21T08:30:00+00:00") from exc
    if not isinstance(value, datetime):
        raise TypeError(f"{what} must be a datetime or ISO 8601 text, not {type(value).__name__}")
    # A naive time is meant in the app's time zone, whatever the worker's is: say so on the wire.
    return value if value.tzinfo is not None else value.replace(tzinfo=app.timezone)


def _is_aware(text: str) -> bool:
    return datetime.fromisoformat(text).tzinfo is not None


def _seconds(value: Any, what: str) -> float:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{what} must be a number of seconds, not {value!r}")
    if not -(2**31) < value < 2**40:
        raise ValueError(f"{what} is out of range: {value!r}")
    return value


def _with_workflow(headers: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """What a call of a workflow sends is a part of it, too."""
    running = worker_call()
    workflow_id = None if running is None else running[1].sedano_workflow
    if workflow_id is None or (headers is not None and WORKFLOW_HEADER in headers):
        return headers
    return {**(headers or {}), WORKFLOW_HEADER: workflow_id}


def _priority(value: Any) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise TypeError(f"priority must be a whole number, not {value!r}")


def _ancestry(app: Celery, root_id: Any, parent_id: Any, priority: Any) -> tuple[Any, Any, Any]:
    """Root and parent of a call that a running call sends; its priority too when the app says so."""
    if root_id and parent_id:
        return root_id, parent_id, priority
    running = worker_call()
    if running is None:
        return root_id, parent_id, priority
    request = running[1]
    if priority is None and app.terms.inherit_priority:
        priority = (request.delivery_info or {}).get("priority")
    return root_id or request.root_id or request.id, parent_id or request.id, priority


def _properties(options: Mapping[str, Any]) -> dict[str, Any] | None:
    """Message properties that the caller set."""
    given = {name: options[name] for name in options.keys() & PROPERTY_OPTIONS if options[name] is not None}
    for name in ("content_type", "content_encoding", "mandatory", "immediate"):
        given.pop(name, None)
    if "expiration" in given:
        given["expiration"] = str(int(float(given["expiration"]) * 1000))
    return given or None
