"""Writing task messages: every header, property and embed field of wire-protocol 1.1 (protocol 2) and 1.3 (protocol 1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sedano.protocol.compression import compress
from sedano.protocol.ids import new_id
from sedano.protocol.message import Message
from sedano.protocol.saferepr import saferepr
from sedano.protocol.serializers import dumps


def build(
    task: str,
    id: str,  # noqa: A002 - the header's name
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    eta: str | None = None,
    expires: str | None = None,
    retries: int = 0,
    root_id: str | None = None,
    parent_id: str | None = None,
    group_id: str | None = None,
    group_index: int | None = None,
    time_limit: float | None = None,
    soft_time_limit: float | None = None,
    shadow: str | None = None,
    argsrepr: str | None = None,
    kwargsrepr: str | None = None,
    origin: str = "",
    ignore_result: bool | None = False,
    replaced_task_nesting: int = 0,
    stamped_headers: Sequence[str] | None = None,
    stamps: Mapping[str, Any] | None = None,
    callbacks: Sequence[Any] | None = None,
    errbacks: Sequence[Any] | None = None,
    chain: Sequence[Any] | None = None,
    chord: Mapping[str, Any] | None = None,
    headers: Mapping[str, Any] | None = None,
    reply_to: str = "",
    correlation_id: str | None = None,
    exchange: str = "",
    routing_key: str = "",
    priority: int | None = None,
    delivery_mode: int = 2,
    expiration_ms: int | None = None,
    delivery_tag: str | None = None,
    properties: Mapping[str, Any] | None = None,
    serializer: str | None = "json",
    compression: str | None = None,
    protocol: int = 2,
    utc: bool = True,
) -> Message:
    """A task message. `eta` and `expires` are ISO text; `headers` are custom ones, kept flat beside the others.

    `root_id` None means the call's own id; `argsrepr`/`kwargsrepr` None are made here; `delivery_tag` None makes a new one;
    `properties` are added to (and win over) those made here. Raises `EncodeError` when the arguments cannot be serialized,
    `TypeError` when they are no list and map.
    """
    arguments = _mapping(task, args, kwargs)
    body: Any
    made: dict[str, Any]
    if protocol == 2:
        body = (args, arguments, {"callbacks": callbacks, "errbacks": errbacks, "chain": chain, "chord": chord})
        made = {
            "lang": "py",
            "task": task,
            "id": id,
            "shadow": shadow,
            "eta": eta,
            "expires": expires,
            "group": group_id,
            "group_index": group_index,
            "retries": retries,
            "timelimit": [time_limit, soft_time_limit],
            "root_id": root_id or id,
            "parent_id": parent_id,
            "argsrepr": saferepr(args) if argsrepr is None else argsrepr,
            "kwargsrepr": saferepr(arguments) if kwargsrepr is None else kwargsrepr,
            "origin": origin,
            "ignore_result": ignore_result,
            "replaced_task_nesting": replaced_task_nesting,
            "stamped_headers": stamped_headers,
            "stamps": stamps or {},
        }
    elif protocol == 1:
        made = {}
        body = {
            "task": task,
            "id": id,
            "args": args,
            "kwargs": arguments,
            "group": group_id,
            "group_index": group_index,
            "retries": retries,
            "eta": eta,
            "expires": expires,
            "utc": utc,
            "callbacks": callbacks,
            "errbacks": errbacks,
            "timelimit": [time_limit, soft_time_limit],
            "taskset": group_id,
            "chord": chord,
        }
    else:
        raise ValueError(f"task_protocol is {protocol!r}; use 2 or 1")
    if headers:
        made.update(headers)
    beside: dict[str, Any] = {
        "correlation_id": correlation_id or id,
        "reply_to": reply_to,
        "delivery_mode": delivery_mode,
        "delivery_info": {"exchange": exchange, "routing_key": routing_key},
        "priority": priority or 0,
        "body_encoding": "base64",
        "delivery_tag": delivery_tag or new_id(),
    }
    if expiration_ms is not None:
        beside["expiration"] = str(expiration_ms)
    if properties:
        beside.update(properties)
    return _message(body, made, beside, serializer, compression)


def _mapping(task: str, args: Any, kwargs: Mapping[str, Any] | None) -> dict[str, Any]:
    """`kwargs` as a dict; Celery's two type errors for what is no argument list and no map."""
    if not isinstance(args, (list, tuple)):
        raise TypeError(f"args of task {task} must be a list or tuple, not {type(args).__name__}")
    if kwargs is None:
        return {}
    if isinstance(kwargs, dict):
        return kwargs
    if isinstance(kwargs, Mapping):
        return dict(kwargs)
    raise TypeError(f"kwargs of task {task} must be a mapping, not {type(kwargs).__name__}")


def _message(
    body: Any, headers: dict[str, Any], properties: dict[str, Any], serializer: str | None, compression: str | None
) -> Message:
    content_type, content_encoding, data = dumps(body, serializer)
    if compression:
        data, headers["compression"] = compress(data, compression)
    return Message(data, content_type, content_encoding, headers, properties)
