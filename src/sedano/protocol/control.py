"""Remote control requests and replies (wire-protocol section 4), as Kombu's mailbox writes them.

What a command takes and returns is the business of `worker/control` and `app/control`; here are the shapes all of them share.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from sedano.exceptions import UnreadableMessage
from sedano.protocol.body import decode_body
from sedano.protocol.ids import new_id
from sedano.protocol.message import Message
from sedano.protocol.serializers import dumps

PIDBOX_EXCHANGE = "celery.pidbox"
REPLY_EXCHANGE = "reply.celery.pidbox"
_LATEST = 2**62  # a logical clock that a node can still count on from


class ReplyTo(msgspec.Struct, frozen=True):
    """Where an answer goes: pass both to `Bus.reply`."""

    exchange: str
    routing_key: str


class ControlRequest(msgspec.Struct, frozen=True):
    """A command to nodes. `reply_to` None: no answer is wanted. `expires` is Unix seconds, 0 for never."""

    method: str
    arguments: dict[str, Any]
    destination: tuple[str, ...] | None = None
    pattern: str | None = None
    matcher: str | None = None
    ticket: str | None = None
    reply_to: ReplyTo | None = None
    clock: int = 0
    expires: float = 0.0

    def concerns(self, node: str) -> bool:
        """Whether the node of this name is meant. A matcher or a pattern that nobody knows matches no node."""
        if self.destination:
            return node in self.destination
        return not (self.pattern and self.matcher) or matches(node, self.pattern, self.matcher)


def matches(node: str, pattern: str, matcher: str | None) -> bool:
    """Whether a node's name fits; `matcher` is "glob" (None too) or "pcre". One that nobody knows matches no node."""
    try:
        if matcher in (None, "glob"):
            return fnmatch.fnmatch(node, pattern)
        return matcher == "pcre" and re.match(pattern, node) is not None
    # Not all that is wrong with a pattern is a re.error; where warnings are errors, what is merely odd is one, too.
    except (re.error, RecursionError, OverflowError, FutureWarning):
        return False


class ControlReply(msgspec.Struct, frozen=True):
    """An answer: `values` maps the node's name to what the command returned there."""

    values: dict[str, Any]
    ticket: str | None = None
    clock: int = 0


class _RequestBody(msgspec.Struct):
    method: str
    arguments: dict[str, Any] | None = None
    destination: tuple[str, ...] | None = None
    pattern: str | None = None
    matcher: str | None = None
    ticket: str | None = None
    reply_to: ReplyTo | None = None


def request(
    method: str,
    arguments: Mapping[str, Any] | None = None,
    *,
    destination: Sequence[str] | None = None,
    pattern: str | None = None,
    matcher: str | None = None,
    ticket: str | None = None,
    reply_to: ReplyTo | None = None,
    clock: int = 0,
    expires: float = 0.0,
    exchange: str = PIDBOX_EXCHANGE,
    serializer: str = "json",
) -> Message:
    """A broadcast. `ticket` and `reply_to` are sent only when an answer is wanted, that is when both are given."""
    body: dict[str, Any] = {
        "method": method,
        "arguments": dict(arguments or {}),
        "destination": list(destination) if destination is not None else None,
        "pattern": pattern,
        "matcher": matcher,
    }
    if ticket and reply_to:
        body["ticket"] = ticket
        body["reply_to"] = {"exchange": reply_to.exchange, "routing_key": reply_to.routing_key}
    return _message(body, serializer, {"clock": clock, "expires": expires}, ReplyTo(exchange, ""), delivery_mode=2)


def read_request(message: Message, accept: Collection[str] | None = None) -> ControlRequest:
    """Raises `UnreadableMessage`."""
    value = decode_body(message, accept)
    try:
        body = msgspec.convert(value, _RequestBody)
    except (msgspec.ValidationError, UnicodeError) as exc:
        raise UnreadableMessage(f"the control request cannot be read: {exc}") from exc
    return ControlRequest(
        method=body.method,
        arguments=body.arguments or {},
        destination=body.destination,
        pattern=body.pattern,
        matcher=body.matcher,
        ticket=body.ticket,
        reply_to=body.reply_to,
        clock=_clock(message),
        expires=_expires(message),
    )


def reply(node: str, value: Any, asked: ControlRequest, *, clock: int = 0, serializer: str = "json") -> Message:
    """The answer of `node` to `asked`, which must have a `reply_to`."""
    if asked.reply_to is None:
        raise ValueError(f"the request {asked.method!r} wants no answer")
    return _message({node: value}, serializer, {"ticket": asked.ticket, "clock": clock}, asked.reply_to, delivery_mode=1)


def read_reply(message: Message, accept: Collection[str] | None = None) -> ControlReply:
    """Raises `UnreadableMessage`."""
    values = decode_body(message, accept)
    if not isinstance(values, dict):
        raise UnreadableMessage(f"the control reply is a {type(values).__name__}, not a map of node names")
    ticket = message.headers.get("ticket")
    return ControlReply(values, ticket if isinstance(ticket, str) else None, _clock(message))


def _message(body: Any, serializer: str, headers: dict[str, Any], address: ReplyTo, *, delivery_mode: int) -> Message:
    content_type, content_encoding, data = dumps(body, serializer)
    properties = {
        "delivery_mode": delivery_mode,
        "delivery_info": {"exchange": address.exchange, "routing_key": address.routing_key},
        "priority": 0,
        "body_encoding": "base64",
        "delivery_tag": new_id(),
    }
    return Message(data, content_type, content_encoding, headers, properties)


def _clock(message: Message) -> int:
    clock = message.headers.get("clock")
    return clock if type(clock) is int and 0 <= clock <= _LATEST else 0


def _expires(message: Message) -> float:
    expires = message.headers.get("expires")
    try:
        return float(expires) if isinstance(expires, int | float) else 0.0
    except OverflowError:
        return 0.0
