"""How a message goes out: to which exchange, under which key, with which header. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from sedano.contracts import Outgoing
from sedano.drivers.rabbitmq import asides
from sedano.drivers.rabbitmq.delays import Levels
from sedano.drivers.rabbitmq.messages import to_amqp
from sedano.drivers.rabbitmq.properties import decode_properties, encode_properties
from sedano.drivers.rabbitmq.publishing import Ready
from sedano.drivers.rabbitmq.stored import read, unpack
from sedano.exceptions import UnreadableMessage
from sedano.protocol import envelope

LevelsOf = Callable[[str], Levels]


def whole_seconds(left_s: float) -> int:
    """How long the server is to hold what is due in `left_s`: never for too long; 0: the node holds it for the rest."""
    return max(0, math.floor(left_s))


def ready(message: Outgoing, now: float, levels_of: LevelsOf) -> Ready:
    """A producer's message, or one that a settlement sends. Raises EncodeError."""
    if message.parked:
        return asides.parked(message, now)
    header, body = to_amqp(message)
    queue = "" if message.exchange else message.routing_key
    if message.due is not None and queue and (seconds := whole_seconds(message.due - now)):
        return _held_back(header, body, queue, seconds, levels_of)
    return Ready(message.exchange, message.routing_key, header, body, queue=queue, mandatory=message.exchange_type != "fanout")


def same(raw: bytes, queue: str) -> Ready:
    """The message as it came, back to the tail of its queue."""
    _, _, header, body = unpack(raw)
    return Ready("", queue, header, body, queue=queue)


def delayed(raw: bytes, queue: str, left_s: float, levels_of: LevelsOf) -> Ready | None:
    """The message as it came, to be held by the server; None when it is due too soon for that."""
    seconds = whole_seconds(left_s)
    if not seconds:
        return None
    _, _, header, body = unpack(raw)
    return _held_back(header, body, queue, seconds, levels_of)


def redelivered(raw: bytes, queue: str) -> Ready:
    """To the tail of its queue, counted as lost once more; what cannot be read goes as it is."""
    _, _, header, body = unpack(raw)
    try:
        message = read(raw)
    except UnreadableMessage:
        return Ready("", queue, header, body, queue=queue)
    counted = envelope.redelivered(message, envelope.deliveries_of(message) + 1)
    return Ready("", queue, _with_headers(header, counted.headers), body, queue=queue)


def counted(raw: bytes, queue: str) -> Ready | None:
    """As `redelivered`; None for what cannot be read, and so is not begun."""
    try:
        read(raw)
    except UnreadableMessage:
        return None
    return redelivered(raw, queue)


def _held_back(header: bytes, body: bytes, queue: str, seconds: int, levels_of: LevelsOf) -> Ready:
    properties = decode_properties(header)
    if (
        properties.pop("expiration", None) is not None
    ):  # it would leave the delay queue with it; the header says when it expires
        header = encode_properties(properties)
    levels = levels_of(queue)
    return Ready(levels.entry, levels.routing_key(seconds, queue), header, body, queue=queue, delayed_to=queue)


def _with_headers(header: bytes, headers: dict[str, Any]) -> bytes:
    return encode_properties({**decode_properties(header), "headers": headers})
