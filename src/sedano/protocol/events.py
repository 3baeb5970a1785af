"""Events: what nodes and clients announce, as messages (wire-protocol section 5).

An event is a map with at least `type`; those of Celery and ours also carry `hostname`, `utcoffset` (hours behind UTC), `pid`,
`clock` (Lamport) and `timestamp` (Unix seconds). A message holds one event, under the routing key of its type, or a list of
events of one group, under `<group>.multi`.

Two ways lead to a message. `event_message` takes maps and any serializer. `EventWriter` makes pieces: an event as JSON without
its `clock` and its last brace, so that one process can write events and another put them together, stamped, without reading
them.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sedano.exceptions import UnreadableMessage
from sedano.protocol.body import decode_body
from sedano.protocol.ids import new_id
from sedano.protocol.message import Message, VettedMessage
from sedano.protocol.serializers import dumps, json

EVENT_EXCHANGE = "celeryev"
EVERY_EVENT = "#"
MULTI = "task.multi"
"""The routing key of a list of events about tasks."""

TRANSIENT = 1
_LATEST = 1e12  # what a timestamp may say; Python's datetime ends long before
_MOST_CLOCK = 2**62
_NAMES = ("hostname", "uuid", "parent_id", "root_id")  # what those who follow events look others up by


def group_from(type: str) -> str:  # noqa: A002 - Celery's word
    """ "task" for "task-sent": what stands before the first dash."""
    return type.partition("-")[0]


def routing_key_of(type: str) -> str:  # noqa: A002 - Celery's word
    """ "task.sent" for "task-sent"."""
    return type.replace("-", ".")


def multi_key_of(group: str) -> str:
    return f"{group}.multi"


@functools.lru_cache(maxsize=256)
def _pattern(pattern: str) -> re.Pattern[str]:
    # Of words joined by dots `*` is one, `#` any number, none included: with its dot.
    written = ""
    for word in pattern.split("."):
        if word == "#":
            written += r"(?:(?:\.|^)[^.]*)*"
        else:
            written += r"(?:\.|^)" + (r"[^.]*" if word == "*" else re.escape(word))
    return re.compile(written, re.DOTALL)


def hears(pattern: str, routing_key: str) -> bool:
    """Whether a listener with this pattern hears the key, as a topic exchange of AMQP decides: `#`, `worker.#`, `task.*`."""
    return pattern in (EVERY_EVENT, routing_key) or _pattern(pattern).fullmatch(routing_key) is not None


def hears_message(pattern: str, message: Message) -> bool:
    """As `hears`; a message that does not say its key is heard."""
    key = routing_key_of_message(message)
    return not key or hears(pattern, key)


def routing_key_of_message(message: Message) -> str:
    """The key that an event message is published under, "" when it names none."""
    info = message.properties.get("delivery_info")
    key = info.get("routing_key") if isinstance(info, dict) else None
    return key if isinstance(key, str) else ""


# -- writing ------------------------------------------------------------------------------------------------------------


def event_message(
    body: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    *,
    hostname: str,
    routing_key: str,
    exchange: str = EVENT_EXCHANGE,
    serializer: str = "json",
    delivery_mode: int = TRANSIENT,
) -> Message:
    """One event, or a list of them. Raises `EncodeError` when the serializer cannot write a field."""
    content_type, content_encoding, data = dumps(body, serializer)
    return _message(data, content_type, content_encoding, hostname, exchange, routing_key, delivery_mode)


class EventWriter:
    """Writes pieces of one announcer. `utcoffset_h` as `clock.utcoffset_h` gives it."""

    __slots__ = ("_head", "_types")

    def __init__(self, hostname: str, pid: int, utcoffset_h: float = 0.0) -> None:
        self._head = json.encode({"hostname": hostname, "utcoffset": float(utcoffset_h), "pid": pid})[:-1]
        self._types: dict[str, bytes] = {}

    def piece(self, type: str, timestamp: float, fields: Mapping[str, Any]) -> bytes:  # noqa: A002 - Celery's word
        """An event without its clock. `fields` are its own, without those that all have. Raises `EncodeError`."""
        named = self._types.get(type)
        if named is None:
            named = self._types[type] = b',"type":' + json.encode(type)
        own = json.encode(fields)[1:-1]
        if own:
            own = b"," + own
        return b'%b%b,"timestamp":%b%b' % (self._head, own, repr(timestamp).encode(), named)


def encode_event(
    type: str,  # noqa: A002 - Celery's word
    fields: Mapping[str, Any],
    *,
    hostname: str,
    pid: int,
    timestamp: float,
    utcoffset_h: float = 0.0,
) -> bytes:
    """One piece; whoever writes many keeps an `EventWriter`."""
    return EventWriter(hostname, pid, utcoffset_h).piece(type, timestamp, fields)


def batch(
    pieces: Sequence[bytes], clocks: Sequence[int], *, hostname: str, exchange: str = EVENT_EXCHANGE, routing_key: str = MULTI
) -> Message:
    """A list of events of one group, each with its clock, as one message."""
    stamped = [_stamped(piece, clock) for piece, clock in zip(pieces, clocks, strict=True)]
    body = b"[%b]" % b",".join(stamped)
    return _message(body, "application/json", "utf-8", hostname, exchange, routing_key, TRANSIENT)


def single(
    piece: bytes,
    clock: int,
    type: str,  # noqa: A002 - Celery's word
    *,
    hostname: str,
    exchange: str = EVENT_EXCHANGE,
) -> Message:
    """One event of this type as a message."""
    body = _stamped(piece, clock)
    return _message(body, "application/json", "utf-8", hostname, exchange, routing_key_of(type), TRANSIENT)


# -- reading ------------------------------------------------------------------------------------------------------------


def read_events(message: Message, accept: Collection[str] | None = None) -> list[dict[str, Any]]:
    """The events of a message, in order. What in a list is no event is left out.

    Raises `UnreadableMessage` when the body cannot be read or holds no event, `ContentDisallowed` for a serializer that is not
    in `accept`.
    """
    body = decode_body(message, accept)
    if isinstance(body, list):
        return [event for event in body if is_event(event)]
    if not is_event(body):
        raise UnreadableMessage(
            "the message is no event: events are maps with a type, and numbers where a time or clock stands"
        )
    return [body]


def is_event(value: object) -> bool:
    """Whether `value` is a map that those who follow events can use: what they reckon with is of the right kind, or absent."""
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        return False
    clock = value.get("clock")
    return (
        all(isinstance(value.get(name), str | None) for name in _NAMES)
        and (clock is None or (type(clock) is int and abs(clock) <= _MOST_CLOCK))
        and _is_moment(value.get("timestamp"))
        and _is_moment(value.get("utcoffset"))
        and _is_moment(value.get("freq"))
    )


def _is_moment(value: object) -> bool:
    if value is None:
        return True
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= _LATEST and math.isfinite(value)


def _stamped(piece: bytes, clock: int) -> bytes:
    return b'%b,"clock":%d}' % (piece, clock)


def _message(
    data: bytes, content_type: str, content_encoding: str, hostname: str, exchange: str, routing_key: str, delivery_mode: int
) -> Message:
    properties = {
        "delivery_mode": delivery_mode,
        "delivery_info": {"exchange": exchange, "routing_key": routing_key},
        "priority": 0,
        "body_encoding": "base64",
        "delivery_tag": new_id(),
    }
    return VettedMessage(data, content_type, content_encoding, {"hostname": hostname}, properties)
