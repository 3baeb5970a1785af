"""A call as Celery shows it in answers: the *request* map of wire-protocol 4."""

from __future__ import annotations

from typing import Any

from sedano.contracts import Delivery
from sedano.exceptions import UnreadableMessage
from sedano.protocol.call import Call, read, read_body
from sedano.worker.held import is_harmless
from sedano.worker.intake import DECODED_AT_ONCE
from sedano.worker.rowview import CallNote

_PLAIN = frozenset({"application/json"})
"""What is read here: the supervisor runs nobody's code, whatever the app accepts."""


def call_of(delivery: Delivery) -> Call | None:
    """None for what cannot be read, or not without running somebody's code."""
    if delivery.message is None:
        return None
    try:
        return read(delivery.message, accept=_PLAIN)
    except UnreadableMessage:
        return None


def request_map(
    node: str,
    delivery: Delivery,
    call: Call,
    *,
    safe: bool = False,
    time_start: float | None = None,
    acknowledged: bool = False,
    worker_pid: int | None = None,
) -> dict[str, Any]:
    """`time_start` is Unix seconds. Arguments stand as they are, or as text: with `safe`, and where nobody should read them."""
    args, kwargs = _arguments(delivery, call, safe=safe)
    return {
        "id": call.id,
        "name": call.shadow or call.task,
        "args": args,
        "kwargs": kwargs,
        "type": call.task,
        "hostname": node,
        "time_start": time_start,
        "acknowledged": acknowledged,
        "delivery_info": {
            "exchange": call.delivery_info.get("exchange"),
            "routing_key": call.delivery_info.get("routing_key"),
            "priority": call.properties.get("priority"),
            "redelivered": delivery.redelivered,
        },
        "worker_pid": worker_pid,
    }


def noted_map(node: str, note: CallNote, *, time_start: float, worker_pid: int) -> dict[str, Any]:
    """A running call of whose message no more is known than its slot wrote down."""
    return {
        "id": note.task_id,
        "name": note.task,
        "args": "",
        "kwargs": "",
        "type": note.task,
        "hostname": node,
        "time_start": time_start,
        "acknowledged": note.early,
        "delivery_info": {"exchange": "", "routing_key": note.queue, "priority": None, "redelivered": note.deliveries > 0},
        "worker_pid": worker_pid,
    }


def _arguments(delivery: Delivery, call: Call, *, safe: bool) -> tuple[Any, Any]:
    message = delivery.message
    is_plain = (
        message is not None
        and is_harmless(message)
        and len(message.body) <= DECODED_AT_ONCE
        and "compression" not in message.headers
    )
    if is_plain and not safe:
        assert message is not None
        try:
            body = read_body(message, _PLAIN)
        except UnreadableMessage:
            pass
        else:
            return list(body.args), body.kwargs
    return call.argsrepr or "", call.kwargsrepr or ""
