"""Calls, requests, replies and events as AMQP carries them: a content header of fourteen properties and a body. No I/O.

What Kombu puts into the properties of an envelope and AMQP has no place for is left out on the way to the server
(`delivery_tag`, `body_encoding`) or said by the server itself on the way back (`delivery_info`). Everything else is what a
Celery on the other end writes and reads, to the byte.
"""

from __future__ import annotations

from typing import Any

from sedano.contracts.settlement import Outgoing
from sedano.drivers.rabbitmq.errors import Malformed
from sedano.drivers.rabbitmq.properties import decode_properties, encode_properties
from sedano.exceptions import EncodeError, UnreadableMessage
from sedano.protocol.message import Message

PERSISTENT = 2

MOST_BODY_BYTES = 128 * 1024 * 1024
"""What RabbitMQ takes by default (`max_message_size`) since 3.8; it closes the channel on more."""

# Taken from the message as they are, when they are there.
_PLAIN = (
    "correlation_id", "reply_to", "expiration", "message_id", "timestamp", "type", "user_id", "app_id", "cluster_id",
)  # fmt: skip
_HIGHEST_PRIORITY = 255


def to_amqp(outgoing: Outgoing) -> tuple[bytes, bytes]:
    """The content header (from its property flags on) and the body. Raises `EncodeError` for what AMQP cannot carry."""
    return encode_message(outgoing.message, outgoing.priority)


def encode_message(message: Message, priority: int | None = None) -> tuple[bytes, bytes]:
    """As `to_amqp`; `priority` None is the message's own."""
    given = message.properties
    level: int = (given.get("priority") or 0) if priority is None else priority
    if not 0 <= level <= _HIGHEST_PRIORITY:
        raise EncodeError(f"{_named(message)}: priority {level} is not between 0 and {_HIGHEST_PRIORITY}")
    properties: dict[str, Any] = {
        "content_type": message.content_type,
        "content_encoding": message.content_encoding,
        "headers": message.headers,
        "delivery_mode": given.get("delivery_mode") or PERSISTENT,
        "priority": level,
    }
    for name in _PLAIN:
        value = given.get(name)
        if value is not None:
            properties[name] = value
    try:
        return encode_properties(properties), message.body
    except EncodeError as error:
        raise EncodeError(f"{_named(message)}: {_culprit(message.headers) or error}") from error


def from_amqp(header: bytes, body: bytes, exchange: str, routing_key: str, redelivered: bool) -> Message:
    """The message that was delivered. Raises `UnreadableMessage` when the header is broken; the body is looked at by nobody.

    `properties` is what the header says without content type, encoding and headers, with `delivery_info`: where the message
    was published, as the server says it, and `redelivered` when it is, by the server's word or by that of whoever published it
    again. A message that is stored elsewhere keeps its body as base64.
    """
    try:
        properties = decode_properties(header)
    except Malformed as error:
        raise UnreadableMessage(f"the AMQP header of the message cannot be read: {error}") from error
    info: dict[str, Any] = {"exchange": exchange, "routing_key": routing_key}
    if redelivered or properties.get("headers", {}).get("redelivered"):
        info["redelivered"] = True
    properties["delivery_info"] = info
    properties["body_encoding"] = "base64"
    take = properties.pop
    return Message(body, take("content_type", ""), take("content_encoding", ""), take("headers", {}), properties)


def _named(message: Message) -> str:
    task = message.headers.get("task")
    return f"a message for task {task!r} cannot be sent" if isinstance(task, str) else "a message cannot be sent"


def _culprit(headers: dict[str, Any]) -> str:
    """Which header it is that has no AMQP form, "" when it is none of them."""
    for name, value in headers.items():
        try:
            encode_properties({"headers": {name: value}})
        except EncodeError as error:
            return f"header {name!r} has no form in AMQP ({error.__cause__ or error})"
    return ""
