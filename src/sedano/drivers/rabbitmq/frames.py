"""Bytes from a server into what they say, and messages into frames. No I/O.

`Frames` takes bytes in pieces of any size. What they say lies in `events` afterwards: (channel, method number, arguments),
where a message that was delivered, got or returned is one event with its header and its whole body.
"""

from __future__ import annotations

from collections import deque
from struct import Struct

import msgspec

from sedano.drivers.rabbitmq.errors import Malformed
from sedano.drivers.rabbitmq.methods import (
    BASIC,
    BASIC_DELIVER,
    FRAME_BODY,
    FRAME_END,
    FRAME_HEADER,
    FRAME_HEARTBEAT,
    FRAME_METHOD,
    FRAME_OVERHEAD_BYTES,
    WITH_CONTENT,
    Deliver,
    Got,
    Method,
    Return,
    parse,
)

MOST_BODY_BYTES = 1 << 30
"""RabbitMQ takes no message above 512 MiB: who announces more than twice that sends no message."""

_MOST_ROUTES = 512
_FRAME = Struct(">BHI")
_HEADER = Struct(">HHQ")
_HEADER_FRAME = Struct(">BHIHHQ")
_METHOD_ID = Struct(">I")
_DELIVERY = Struct(">QB")


class Incoming(msgspec.Struct, gc=False):
    """A message from the server. `header` is what `properties.decode_properties` reads. `left`: of `get` only."""

    consumer_tag: str
    delivery_tag: int
    redelivered: bool
    exchange: str
    routing_key: str
    header: bytes = b""
    body: bytes = b""
    left: int = 0


class Returned(msgspec.Struct, gc=False):
    """A mandatory message that no queue took: `code` 312 is "no route"."""

    code: int
    text: str
    exchange: str
    routing_key: str
    header: bytes = b""
    body: bytes = b""


Event = tuple[int, int, Method | Incoming | Returned]


class _Content:
    """A message whose header or body is still to come."""

    __slots__ = ("message", "method", "missing", "parts")

    def __init__(self, method: int, message: Incoming | Returned) -> None:
        self.method, self.message = method, message
        self.missing = -1  # bytes of the body; -1: the header is not there yet
        self.parts: list[bytes] = []


class Frames:
    """`frame_max` bounds a frame from the server, in bytes. After `Malformed` the bytes that follow mean nothing."""

    def __init__(self, frame_max: int) -> None:
        self.events: deque[Event] = deque()
        self.frame_max = frame_max
        self._rest: list[bytes] = []
        self._rest_bytes = 0
        self._wanted = 0  # bytes without which it is not worth looking at the rest again
        self._contents: dict[int, _Content] = {}
        self._routes: dict[bytes, tuple[str, str]] = {}
        self._tags: dict[bytes, str] = {}

    def feed(self, data: bytes) -> None:
        """Take what was received. Raises `Malformed`."""
        if self._rest_bytes:
            self._rest.append(data)
            self._rest_bytes += len(data)
            if self._rest_bytes < self._wanted:
                return
            data = b"".join(self._rest)
            self._rest.clear()
        position = self._parse(data)
        self._rest_bytes = len(data) - position
        if self._rest_bytes:
            self._rest.append(data[position:])

    def _parse(self, data: bytes) -> int:
        """Where the first frame begins that is not whole."""
        position, end = 0, len(data)
        longest = self.frame_max - FRAME_OVERHEAD_BYTES
        contents, events = self._contents, self.events
        unpack_frame, unpack_header = _FRAME.unpack_from, _HEADER.unpack_from
        while end - position >= FRAME_OVERHEAD_BYTES:
            kind, channel, size = unpack_frame(data, position)
            if size > longest:
                raise Malformed(
                    f"a frame of {size} bytes, more than the agreed {self.frame_max} ({data[position : position + 8]!r})"
                )
            begin = position + 7
            stop = begin + size
            if stop >= end:
                self._wanted = size + FRAME_OVERHEAD_BYTES
                return position
            if data[stop] != 0xCE:
                raise Malformed(f"a frame does not end where it should ({data[position : position + 8]!r})")
            position = stop + 1
            if kind == FRAME_METHOD:
                self._method(channel, data, begin, stop)
                continue
            if kind == FRAME_HEADER:
                content = contents.get(channel)
                if content is None or content.missing >= 0 or size < 14:
                    raise Malformed("a content header that nothing announced")
                class_id, _, body_bytes = unpack_header(data, begin)
                if class_id != BASIC or body_bytes > MOST_BODY_BYTES:
                    raise Malformed(f"a message of class {class_id} and {body_bytes} bytes")
                content.message.header = data[begin + 12 : stop]
                content.missing = body_bytes
                if not body_bytes:
                    del contents[channel]
                    events.append((channel, content.method, content.message))
            elif kind == FRAME_BODY:
                content = contents.get(channel)
                if content is None or content.missing < size:
                    raise Malformed("a piece of a body that nothing announced")
                missing = content.missing = content.missing - size
                if missing:
                    content.parts.append(data[begin:stop])
                    continue
                if content.parts:
                    content.parts.append(data[begin:stop])
                    content.message.body = b"".join(content.parts)
                else:
                    content.message.body = data[begin:stop]
                del contents[channel]
                events.append((channel, content.method, content.message))
            elif kind != FRAME_HEARTBEAT or channel:
                raise Malformed(f"a frame of type {kind}")
        self._wanted = FRAME_OVERHEAD_BYTES
        return position

    def _method(self, channel: int, data: bytes, begin: int, stop: int) -> None:
        if stop - begin < 4:
            raise Malformed("a method without a number")
        method: int = _METHOD_ID.unpack_from(data, begin)[0]
        if method == BASIC_DELIVER:
            message: Incoming | Returned = self._delivery(data, begin + 4, stop)
        else:
            found = parse(method, data, begin + 4, stop)
            if method not in WITH_CONTENT:
                if channel in self._contents:
                    del self._contents[channel]  # the channel was closed in the middle of a message
                self.events.append((channel, method, found))
                return
            message = _message_of(found)
        if channel in self._contents:
            raise Malformed("a message begins in the middle of another one")
        self._contents[channel] = _Content(method, message)

    def _delivery(self, data: bytes, position: int, stop: int) -> Incoming:
        tag_end = position + 1 + data[position]
        route_begin = tag_end + 9
        if route_begin + 2 > stop:
            raise Malformed("a delivery that is cut off")
        tag_bytes = data[position:tag_end]
        tag = self._tags.get(tag_bytes)
        if tag is None:
            tag = self._tag(tag_bytes)
        route_bytes = data[route_begin:stop]
        route = self._routes.get(route_bytes)
        if route is None:
            route = self._route(route_bytes)
        number, flags = _DELIVERY.unpack_from(data, tag_end)
        return Incoming(tag, number, flags & 1 != 0, route[0], route[1])

    def _tag(self, data: bytes) -> str:
        if len(self._tags) >= _MOST_ROUTES:
            self._tags.clear()
        tag = self._tags[data] = data[1:].decode("utf-8", "surrogateescape")
        return tag

    def _route(self, data: bytes) -> tuple[str, str]:
        """Exchange and routing key, of which there are few: they are not decoded for each message."""
        middle = 1 + data[0]
        if middle >= len(data) or middle + 1 + data[middle] > len(data):
            raise Malformed("a delivery that is cut off")
        if len(self._routes) >= _MOST_ROUTES:
            self._routes.clear()
        names = data[1:middle], data[middle + 1 : middle + 1 + data[middle]]
        route = self._routes[data] = names[0].decode("utf-8", "surrogateescape"), names[1].decode("utf-8", "surrogateescape")
        return route


def _message_of(found: Method) -> Incoming | Returned:
    if isinstance(found, Got):
        return Incoming("", found.delivery_tag, found.redelivered, found.exchange, found.routing_key, left=found.left)
    if isinstance(found, Deliver):
        return Incoming(found.consumer_tag, found.delivery_tag, found.redelivered, found.exchange, found.routing_key)
    assert isinstance(found, Return)
    return Returned(found.code, found.text, found.exchange, found.routing_key)


def content(channel: int, header: bytes, body: bytes, frame_max: int) -> bytes:
    """Header and body of a published message as frames, none longer than `frame_max`."""
    size = len(body)
    head = _HEADER_FRAME.pack(FRAME_HEADER, channel, 12 + len(header), BASIC, 0, size)
    if not size:
        return b"".join((head, header, FRAME_END))
    longest = frame_max - FRAME_OVERHEAD_BYTES
    if size <= longest:
        return b"".join((head, header, FRAME_END, _FRAME.pack(FRAME_BODY, channel, size), body, FRAME_END))
    parts: list[bytes | memoryview] = [head, header, FRAME_END]
    view = memoryview(body)
    for begin in range(0, size, longest):
        piece = view[begin : begin + longest]
        parts += (_FRAME.pack(FRAME_BODY, channel, len(piece)), piece, FRAME_END)
    return b"".join(parts)
