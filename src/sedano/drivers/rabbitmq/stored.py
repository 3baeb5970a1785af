"""A message as it is handed from the connection to whoever runs it: nothing of it is read on the way.

    1 byte exchange length | 1 byte routing key length | 4 bytes header length | exchange | routing key | header | body

`header` is the content header from its property flags on. The slot's process reads it (`fill`): of what a node does for a call,
that is the dearest part, and a node has one thread that talks to the server.
"""

from __future__ import annotations

import struct

from sedano.contracts import Delivery
from sedano.drivers.rabbitmq.messages import from_amqp
from sedano.exceptions import UnreadableMessage
from sedano.protocol import envelope
from sedano.protocol.message import Message

_LENGTHS = struct.Struct(">BBI")
_TASK = b"\x04taskS"  # the header "task" of a table, with the type of its value: long text
_ETA = b"\x03etaS"
_REDELIVERED = b"\x0bredeliveredt\x01"  # true
_LENGTH = struct.Struct(">I")
_MOST_NAME = 1024


def pack(exchange: str, routing_key: str, header: bytes, body: bytes) -> bytes:
    source, key = exchange.encode(), routing_key.encode()
    return b"".join((_LENGTHS.pack(len(source), len(key), len(header)), source, key, header, body))


def unpack(raw: bytes) -> tuple[str, str, bytes, bytes]:
    """(exchange, routing key, header, body)."""
    in_source, in_key, in_header = _LENGTHS.unpack_from(raw)
    key_at = _LENGTHS.size + in_source
    header_at = key_at + in_key
    body_at = header_at + in_header
    exchange, key = raw[_LENGTHS.size : key_at].decode(), raw[key_at:header_at].decode()
    return exchange, key, raw[header_at:body_at], raw[body_at:]


def read(raw: bytes, *, redelivered: bool = False) -> Message:
    """Raises `UnreadableMessage`."""
    exchange, key, header, body = unpack(raw)
    return from_amqp(header, body, exchange, key, redelivered=redelivered)


def fill(delivery: Delivery) -> None:
    """Read `raw` into what a delivery says of its message, or say why it cannot be read."""
    try:
        message = read(delivery.raw, redelivered=delivery.redelivered)
    except UnreadableMessage as error:
        delivery.unreadable = str(error)
        return
    delivery.message = message
    priority = message.properties.get("priority")
    delivery.priority = priority if type(priority) is int else 0
    delivery.redelivered = delivery.redelivered or envelope.is_redelivered(message)
    delivery.deliveries = envelope.deliveries_of(message)


def is_marked(raw: bytes) -> bool:
    """Whether somebody published the message again because it was delivered before; as far as it can be seen so."""
    in_source, in_key, in_header = _LENGTHS.unpack_from(raw)
    return raw.find(_REDELIVERED, 0, _LENGTHS.size + in_source + in_key + in_header) >= 0


def task_of(raw: bytes) -> str | None:
    """The name of the task, as far as it can be seen without reading; for choosing a window, not for more."""
    at = raw.find(_TASK)
    if at < 0:
        return None
    start = at + len(_TASK) + _LENGTH.size
    if start > len(raw):
        return None
    (length,) = _LENGTH.unpack_from(raw, at + len(_TASK))
    if length > _MOST_NAME:
        return None
    try:
        return raw[start : start + length].decode()
    except UnicodeDecodeError:
        return None


def may_wait(raw: bytes) -> bool:
    """Whether the call seems to have an ETA: it is looked at before it is begun."""
    return _ETA in raw
