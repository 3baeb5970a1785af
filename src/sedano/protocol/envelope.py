"""Kombu's Redis envelope: a message as one JSON map. The sqlite and memory stores keep the same bytes.

    {"body", "content-encoding", "content-type", "headers", "properties"}

`properties.body_encoding` says how the body is written: "base64", or absent for plain text. A message keeps its way of writing
through `decode` and `encode`. Headers and properties follow the rules of `serializers/json.py`, typed values included.
"""

from __future__ import annotations

import binascii
from typing import Any

import msgspec

from sedano.exceptions import DecodeError, EncodeError, UnreadableMessage
from sedano.protocol.message import Message, VettedMessage
from sedano.protocol.serializers import json

DELIVERIES_HEADER = "x-sedano-deliveries"
PARKED_HEADER = "x-sedano-parked-until"
# What a message says of these is written by anybody; stores can hold so much.
_MOST_DELIVERIES = 2**31
_LATEST = 1e12

_PARTS: dict[str, tuple[type, str]] = {
    "body": (str, "text"),
    "content-encoding": (str, "text"),
    "content-type": (str, "text"),
    "headers": (dict, "a map"),
    "properties": (dict, "a map"),
}


_KINDS: dict[type, str] = {
    type(None): "null",
    dict: "a map",
    list: "a list",
    str: "text",
    bool: "a boolean",
    int: "a number",
    float: "a number",
}


class _Written(msgspec.Struct):
    body: bytes  # msgspec writes bytes as base64
    content_encoding: str = msgspec.field(name="content-encoding")
    content_type: str = msgspec.field(name="content-type")
    headers: dict[str, Any]
    properties: dict[str, Any]


class _Read(msgspec.Struct):
    body: str
    content_encoding: str = msgspec.field(name="content-encoding")
    content_type: str = msgspec.field(name="content-type")
    headers: dict[str, Any]
    properties: dict[str, Any]


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Read)


def encode(message: Message) -> bytes:
    """The stored form of `message`. Raises `EncodeError` when a header or property cannot be written as JSON."""
    headers, properties = message.headers, message.properties
    if type(message) is VettedMessage or (
        properties.get("body_encoding") == "base64" and json.is_plain(headers) and json.is_plain(properties)
    ):
        written = _Written(message.body, message.content_encoding, message.content_type, headers, properties)
        try:
            return _encoder.encode(written)
        except (UnicodeEncodeError, OverflowError, msgspec.MsgspecError):
            pass  # a lone surrogate or a very long integer: the standard library writes both
    return plain_encode(message)


def plain_encode(message: Message) -> bytes:
    """As `encode`, without msgspec."""
    properties = message.properties
    if "body_encoding" not in properties:
        try:
            body = message.body.decode("utf-8")
        except UnicodeDecodeError:
            properties = {**properties, "body_encoding": "base64"}
    encoding = properties.get("body_encoding")
    if encoding == "base64":
        body = binascii.b2a_base64(message.body, newline=False).decode("ascii")
    elif encoding is not None:
        raise EncodeError(f"property body_encoding of the message is {encoding!r}; use 'base64' or leave it out")
    else:
        body = message.body.decode("utf-8")
    return json.plain_encode(
        {
            "body": body,
            "content-encoding": message.content_encoding,
            "content-type": message.content_type,
            "headers": message.headers,
            "properties": properties,
        }
    )


def decode(raw: bytes) -> Message:
    """The message in `raw`. Raises `UnreadableMessage` saying which part is wrong.

    Content type, content encoding, headers and properties may be missing or null, as in Kombu; they are empty then.
    """
    # Typed values can only hide where one of these stands (see serializers/json.py).
    if b"__type__" not in raw and b"\\u00" not in raw:
        try:
            read = _decoder.decode(raw)
            if read.properties.get("body_encoding") == "base64":
                body = binascii.a2b_base64(read.body)
                return Message(body, read.content_type, read.content_encoding, read.headers, read.properties)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            pass  # the other road accepts more, and says what is wrong
    return plain_decode(raw)


def plain_decode(raw: bytes) -> Message:
    """As `decode`, without msgspec."""
    try:
        found = json.plain_decode(raw)
    except DecodeError as exc:
        raise UnreadableMessage(f"the envelope cannot be read: {exc}") from exc
    if not isinstance(found, dict):
        raise UnreadableMessage(f"the envelope is {_kind(found)}, not a map")
    parts: dict[str, Any] = {}
    for name, (kind, wanted) in _PARTS.items():
        part = found.get(name)
        if part is None and name != "body":
            part = kind()
        elif not isinstance(part, kind):
            problem = f"is {_kind(part)}, not {wanted}" if name in found else "is missing"
            raise UnreadableMessage(f"{name!r} of the envelope {problem}")
        parts[name] = part
    body = _body(parts["body"], parts["properties"].get("body_encoding"))
    return Message(body, parts["content-type"], parts["content-encoding"], parts["headers"], parts["properties"])


def redelivered(message: Message, deliveries: int) -> Message:
    """A copy marked as redelivered, with the number of earlier deliveries that were begun and lost."""
    info = message.properties.get("delivery_info")
    properties = {**message.properties, "delivery_info": {**(info if isinstance(info, dict) else {}), "redelivered": True}}
    headers = {**message.headers, "redelivered": True, DELIVERIES_HEADER: deliveries}
    headers.pop(PARKED_HEADER, None)  # somebody knew it
    return Message(message.body, message.content_type, message.content_encoding, headers, properties)


def deliveries_of(message: Message) -> int:
    """Earlier deliveries that were begun and lost; 0 for a fresh message."""
    count = message.headers.get(DELIVERIES_HEADER, 0)
    return min(count, _MOST_DELIVERIES) if type(count) is int and count > 0 else 0


def parked(message: Message, until: float) -> Message:
    """A copy that says until when (Unix seconds) somebody may come who knows its task."""
    headers = {**message.headers, PARKED_HEADER: until}
    return Message(message.body, message.content_type, message.content_encoding, headers, message.properties)


def parked_until(message: Message) -> float | None:
    """What `parked` wrote, None for a message that was never parked."""
    until = message.headers.get(PARKED_HEADER)
    if isinstance(until, bool) or not isinstance(until, int | float) or not abs(until) <= _LATEST:
        return None
    return float(until)


def is_redelivered(message: Message) -> bool:
    """Kombu's flag, in the headers or in the delivery info."""
    if message.headers.get("redelivered"):
        return True
    info = message.properties.get("delivery_info")
    return isinstance(info, dict) and bool(info.get("redelivered"))


def _body(text: str, encoding: Any) -> bytes:
    try:
        if encoding is None:
            return text.encode("utf-8")
        if encoding == "base64":
            return binascii.a2b_base64(text)
    except ValueError as exc:
        raise UnreadableMessage(f"the body of the envelope is no {encoding or 'UTF-8'} text: {exc}") from exc
    raise UnreadableMessage(f"property 'body_encoding' of the envelope is {encoding!r}, which is neither 'base64' nor absent")


def _kind(value: object) -> str:
    return _KINDS.get(type(value), f"a {type(value).__name__}")
