"""The methods of AMQP 0-9-1 that a client writes and reads, with RabbitMQ's own. No I/O.

A builder returns a whole frame as bytes. What the server answers must be waited for, which the methods of `Channel` do: bytes
for `Connection.write` are those that have no answer, or are built with `nowait`. `parse` reads what a server sends into one of
the structures below, or `OK` for an answer that says nothing more. A method is known by one number: its class in the upper 16
bits, itself in the lower.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from struct import Struct, error
from typing import Any

import msgspec

from sedano.drivers.rabbitmq.errors import Malformed
from sedano.drivers.rabbitmq.tables import encode_table, read_table
from sedano.exceptions import EncodeError

PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
FRAME_METHOD, FRAME_HEADER, FRAME_BODY, FRAME_HEARTBEAT = 1, 2, 3, 8
FRAME_END = b"\xce"
FRAME_OVERHEAD_BYTES = 8
LEAST_FRAME_BYTES = 4096
HEARTBEAT = b"\x08\x00\x00\x00\x00\x00\x00\xce"
BASIC = 60

CONNECTION_START, CONNECTION_START_OK = 10 << 16 | 10, 10 << 16 | 11
CONNECTION_SECURE, CONNECTION_SECURE_OK = 10 << 16 | 20, 10 << 16 | 21
CONNECTION_TUNE, CONNECTION_TUNE_OK = 10 << 16 | 30, 10 << 16 | 31
CONNECTION_OPEN, CONNECTION_OPEN_OK = 10 << 16 | 40, 10 << 16 | 41
CONNECTION_CLOSE, CONNECTION_CLOSE_OK = 10 << 16 | 50, 10 << 16 | 51
CONNECTION_BLOCKED, CONNECTION_UNBLOCKED = 10 << 16 | 60, 10 << 16 | 61
CONNECTION_UPDATE_SECRET, CONNECTION_UPDATE_SECRET_OK = 10 << 16 | 70, 10 << 16 | 71
CHANNEL_OPEN, CHANNEL_OPEN_OK = 20 << 16 | 10, 20 << 16 | 11
CHANNEL_FLOW, CHANNEL_FLOW_OK = 20 << 16 | 20, 20 << 16 | 21
CHANNEL_CLOSE, CHANNEL_CLOSE_OK = 20 << 16 | 40, 20 << 16 | 41
EXCHANGE_DECLARE, EXCHANGE_DECLARE_OK = 40 << 16 | 10, 40 << 16 | 11
EXCHANGE_DELETE, EXCHANGE_DELETE_OK = 40 << 16 | 20, 40 << 16 | 21
EXCHANGE_BIND, EXCHANGE_BIND_OK = 40 << 16 | 30, 40 << 16 | 31
EXCHANGE_UNBIND, EXCHANGE_UNBIND_OK = 40 << 16 | 40, 40 << 16 | 51
QUEUE_DECLARE, QUEUE_DECLARE_OK = 50 << 16 | 10, 50 << 16 | 11
QUEUE_BIND, QUEUE_BIND_OK = 50 << 16 | 20, 50 << 16 | 21
QUEUE_PURGE, QUEUE_PURGE_OK = 50 << 16 | 30, 50 << 16 | 31
QUEUE_DELETE, QUEUE_DELETE_OK = 50 << 16 | 40, 50 << 16 | 41
QUEUE_UNBIND, QUEUE_UNBIND_OK = 50 << 16 | 50, 50 << 16 | 51
BASIC_QOS, BASIC_QOS_OK = 60 << 16 | 10, 60 << 16 | 11
BASIC_CONSUME, BASIC_CONSUME_OK = 60 << 16 | 20, 60 << 16 | 21
BASIC_CANCEL, BASIC_CANCEL_OK = 60 << 16 | 30, 60 << 16 | 31
BASIC_PUBLISH = 60 << 16 | 40
BASIC_RETURN, BASIC_DELIVER = 60 << 16 | 50, 60 << 16 | 60
BASIC_GET, BASIC_GET_OK, BASIC_GET_EMPTY = 60 << 16 | 70, 60 << 16 | 71, 60 << 16 | 72
BASIC_ACK, BASIC_REJECT = 60 << 16 | 80, 60 << 16 | 90
BASIC_RECOVER, BASIC_RECOVER_OK = 60 << 16 | 110, 60 << 16 | 111
BASIC_NACK = 60 << 16 | 120
CONFIRM_SELECT, CONFIRM_SELECT_OK = 85 << 16 | 10, 85 << 16 | 11

WITH_CONTENT = frozenset((BASIC_RETURN, BASIC_DELIVER, BASIC_GET_OK))

_METHOD = Struct(">BHII")  # a method frame up to its arguments
_CLOSE = Struct(">H")
_TUNE = Struct(">HIH")
_TWO_SHORTS = Struct(">HH")
_QOS = Struct(">IHB")
_ACK = Struct(">BHIIQBB")
_U16, _U32, _U64 = Struct(">H"), Struct(">I"), Struct(">Q")
_EMPTY_SHORT, _RESERVED = b"\x00", b"\x00\x00"
_END = 0xCE


# -- what a server says -----------------------------------------------------------------------------------------------


class Ok(msgspec.Struct, frozen=True):
    """An answer without arguments that matter."""


OK = Ok()


class Start(msgspec.Struct, frozen=True):
    version: tuple[int, int]
    properties: dict[str, Any]
    mechanisms: tuple[str, ...]
    locales: tuple[str, ...]


class Tune(msgspec.Struct, frozen=True):
    """What the server allows; 0 is no limit, and no heartbeat."""

    channel_max: int
    frame_max: int
    heartbeat_s: int


class Close(msgspec.Struct, frozen=True):
    """Of the connection or of a channel. `method` is (class id, method id), (0, 0) when it is about none."""

    code: int
    text: str
    method: tuple[int, int]


class Text(msgspec.Struct, frozen=True):
    """One string: the challenge of secure, the reason of blocked."""

    text: str


class Flow(msgspec.Struct, frozen=True):
    active: bool


class Declared(msgspec.Struct, frozen=True):
    """A queue; the counts are of that moment."""

    name: str
    messages: int
    consumers: int


class Count(msgspec.Struct, frozen=True):
    """Messages that were purged or went with their queue."""

    messages: int


class Consumer(msgspec.Struct, frozen=True):
    """The tag of a consumer: in consume-ok, cancel-ok, and cancel, which the server sends when the queue is gone."""

    tag: str


class Confirm(msgspec.Struct, frozen=True):
    """ack or nack of published messages; with `multiple` all up to `number`, 0 for all there are."""

    number: int
    multiple: bool


class Deliver(msgspec.Struct, frozen=True):
    consumer_tag: str
    delivery_tag: int
    redelivered: bool
    exchange: str
    routing_key: str


class Got(msgspec.Struct, frozen=True):
    delivery_tag: int
    redelivered: bool
    exchange: str
    routing_key: str
    left: int


class Return(msgspec.Struct, frozen=True):
    code: int
    text: str
    exchange: str
    routing_key: str


Method = Ok | Start | Tune | Close | Text | Flow | Declared | Count | Consumer | Confirm | Deliver | Got | Return


def parse(method: int, data: bytes, position: int, end: int) -> Method:
    """The arguments of `method`, which lie in `data` from `position` to `end`. Raises `Malformed`."""
    read = _PARSERS.get(method)
    if read is None:
        raise Malformed(f"the server sent method {method >> 16}.{method & 0xFFFF}, which is none of a server")
    try:
        found, position = read(data, position, end)
    except (error, IndexError) as cause:
        raise Malformed(f"broken arguments of method {method >> 16}.{method & 0xFFFF}: {cause}") from cause
    if position > end:
        raise Malformed(f"the arguments of method {method >> 16}.{method & 0xFFFF} are cut off")
    return found


_Read = tuple[Method, int]


def _short(data: bytes, position: int) -> tuple[str, int]:
    begin = position + 1
    stop = begin + data[position]
    return data[begin:stop].decode("utf-8", "surrogateescape"), stop


def _long(data: bytes, position: int) -> tuple[str, int]:
    begin = position + 4
    stop: int = begin + _U32.unpack_from(data, position)[0]
    return data[begin:stop].decode("utf-8", "replace"), stop


def _ok(_data: bytes, _position: int, end: int) -> _Read:
    return OK, end


def _start(data: bytes, position: int, end: int) -> _Read:
    version = data[position], data[position + 1]
    properties, position = read_table(data, position + 2, end)
    mechanisms, position = _long(data, position)
    locales, position = _long(data, position)
    return Start(version, properties, tuple(mechanisms.split()), tuple(locales.split())), position


def _tune(data: bytes, position: int, _end: int) -> _Read:
    return Tune(*_TUNE.unpack_from(data, position)), position + _TUNE.size


def _close(data: bytes, position: int, _end: int) -> _Read:
    text, after = _short(data, position + 2)
    return Close(_CLOSE.unpack_from(data, position)[0], text, _TWO_SHORTS.unpack_from(data, after)), after + 4


def _reason(data: bytes, position: int, _end: int) -> _Read:
    text, position = _short(data, position)
    return Text(text), position


def _challenge(data: bytes, position: int, _end: int) -> _Read:
    text, position = _long(data, position)
    return Text(text), position


def _flow(data: bytes, position: int, _end: int) -> _Read:
    return Flow(data[position] & 1 != 0), position + 1


def _declared(data: bytes, position: int, _end: int) -> _Read:
    name, position = _short(data, position)
    return Declared(name, _U32.unpack_from(data, position)[0], _U32.unpack_from(data, position + 4)[0]), position + 8


def _count(data: bytes, position: int, _end: int) -> _Read:
    return Count(_U32.unpack_from(data, position)[0]), position + 4


def _consumer(data: bytes, position: int, end: int) -> _Read:
    tag, position = _short(data, position)
    return Consumer(tag), max(position, end)  # a bit stands behind it in cancel, nothing in the others


def _confirm(data: bytes, position: int, _end: int) -> _Read:
    return Confirm(_U64.unpack_from(data, position)[0], data[position + 8] & 1 != 0), position + 9


def _deliver(data: bytes, position: int, _end: int) -> _Read:
    tag, position = _short(data, position)
    number = _U64.unpack_from(data, position)[0]
    redelivered = data[position + 8] & 1 != 0
    exchange, position = _short(data, position + 9)
    routing_key, position = _short(data, position)
    return Deliver(tag, number, redelivered, exchange, routing_key), position


def _got(data: bytes, position: int, _end: int) -> _Read:
    number = _U64.unpack_from(data, position)[0]
    redelivered = data[position + 8] & 1 != 0
    exchange, position = _short(data, position + 9)
    routing_key, position = _short(data, position)
    return Got(number, redelivered, exchange, routing_key, _U32.unpack_from(data, position)[0]), position + 4


def _return(data: bytes, position: int, _end: int) -> _Read:
    code = _U16.unpack_from(data, position)[0]
    text, position = _short(data, position + 2)
    exchange, position = _short(data, position)
    routing_key, position = _short(data, position)
    return Return(code, text, exchange, routing_key), position


_PARSERS: Mapping[int, Callable[[bytes, int, int], _Read]] = {
    CONNECTION_START: _start,
    CONNECTION_SECURE: _challenge,
    CONNECTION_TUNE: _tune,
    CONNECTION_OPEN_OK: _ok,
    CONNECTION_CLOSE: _close,
    CONNECTION_CLOSE_OK: _ok,
    CONNECTION_BLOCKED: _reason,
    CONNECTION_UNBLOCKED: _ok,
    CONNECTION_UPDATE_SECRET_OK: _ok,
    CHANNEL_OPEN_OK: _ok,
    CHANNEL_FLOW: _flow,
    CHANNEL_FLOW_OK: _flow,
    CHANNEL_CLOSE: _close,
    CHANNEL_CLOSE_OK: _ok,
    EXCHANGE_DECLARE_OK: _ok,
    EXCHANGE_DELETE_OK: _ok,
    EXCHANGE_BIND_OK: _ok,
    EXCHANGE_UNBIND_OK: _ok,
    QUEUE_DECLARE_OK: _declared,
    QUEUE_BIND_OK: _ok,
    QUEUE_PURGE_OK: _count,
    QUEUE_DELETE_OK: _count,
    QUEUE_UNBIND_OK: _ok,
    BASIC_QOS_OK: _ok,
    BASIC_CONSUME_OK: _consumer,
    BASIC_CANCEL: _consumer,
    BASIC_CANCEL_OK: _consumer,
    BASIC_RETURN: _return,
    BASIC_DELIVER: _deliver,
    BASIC_GET_OK: _got,
    BASIC_GET_EMPTY: _ok,
    BASIC_ACK: _confirm,
    BASIC_NACK: _confirm,
    BASIC_RECOVER_OK: _ok,
    CONFIRM_SELECT_OK: _ok,
}


# -- what a client says -----------------------------------------------------------------------------------------------


def start_ok(properties: Mapping[str, Any], mechanism: str, response: bytes, locale: str = "en_US") -> bytes:
    answer = _U32.pack(len(response)) + response
    return _frame(0, CONNECTION_START_OK, encode_table(properties), _pack(mechanism), answer, _pack(locale))


def secure_ok(response: bytes) -> bytes:
    return _frame(0, CONNECTION_SECURE_OK, _U32.pack(len(response)), response)


def tune_ok(channel_max: int, frame_max: int, heartbeat_s: int) -> bytes:
    return _frame(0, CONNECTION_TUNE_OK, _TUNE.pack(channel_max, frame_max, heartbeat_s))


def open_connection(vhost: str) -> bytes:
    return _frame(0, CONNECTION_OPEN, _pack(vhost), _EMPTY_SHORT, b"\x00")


def close_connection(code: int = 200, text: str = "") -> bytes:
    return _frame(0, CONNECTION_CLOSE, _CLOSE.pack(code), _pack(text), _TWO_SHORTS.pack(0, 0))


def close_connection_ok() -> bytes:
    return _frame(0, CONNECTION_CLOSE_OK)


def update_secret(secret: bytes, reason: str) -> bytes:
    return _frame(0, CONNECTION_UPDATE_SECRET, _U32.pack(len(secret)), secret, _pack(reason))


def open_channel(channel: int) -> bytes:
    return _frame(channel, CHANNEL_OPEN, _EMPTY_SHORT)


def flow(channel: int, *, active: bool) -> bytes:
    return _frame(channel, CHANNEL_FLOW, _bits(active))


def flow_ok(channel: int, *, active: bool) -> bytes:
    return _frame(channel, CHANNEL_FLOW_OK, _bits(active))


def close_channel(channel: int, code: int = 200, text: str = "") -> bytes:
    return _frame(channel, CHANNEL_CLOSE, _CLOSE.pack(code), _pack(text), _TWO_SHORTS.pack(0, 0))


def close_channel_ok(channel: int) -> bytes:
    return _frame(channel, CHANNEL_CLOSE_OK)


def declare_exchange(
    channel: int,
    name: str,
    kind: str,
    *,
    passive: bool = False,
    durable: bool = True,
    auto_delete: bool = False,
    internal: bool = False,
    nowait: bool = False,
    arguments: Mapping[str, Any] | None = None,
) -> bytes:
    bits = _bits(passive, durable, auto_delete, internal, nowait)
    return _frame(channel, EXCHANGE_DECLARE, _RESERVED, _pack(name), _pack(kind), bits, encode_table(arguments or {}))


def delete_exchange(channel: int, name: str, *, if_unused: bool = False, nowait: bool = False) -> bytes:
    return _frame(channel, EXCHANGE_DELETE, _RESERVED, _pack(name), _bits(if_unused, nowait))


def bind_exchange(
    channel: int,
    destination: str,
    source: str,
    routing_key: str = "",
    arguments: Mapping[str, Any] | None = None,
    *,
    nowait: bool = False,
) -> bytes:
    names = _RESERVED, _pack(destination), _pack(source), _pack(routing_key)
    return _frame(channel, EXCHANGE_BIND, *names, _bits(nowait), encode_table(arguments or {}))


def unbind_exchange(
    channel: int,
    destination: str,
    source: str,
    routing_key: str = "",
    arguments: Mapping[str, Any] | None = None,
    *,
    nowait: bool = False,
) -> bytes:
    names = _RESERVED, _pack(destination), _pack(source), _pack(routing_key)
    return _frame(channel, EXCHANGE_UNBIND, *names, _bits(nowait), encode_table(arguments or {}))


def declare_queue(
    channel: int,
    name: str = "",
    *,
    passive: bool = False,
    durable: bool = True,
    exclusive: bool = False,
    auto_delete: bool = False,
    nowait: bool = False,
    arguments: Mapping[str, Any] | None = None,
) -> bytes:
    bits = _bits(passive, durable, exclusive, auto_delete, nowait)
    return _frame(channel, QUEUE_DECLARE, _RESERVED, _pack(name), bits, encode_table(arguments or {}))


def bind_queue(
    channel: int,
    queue: str,
    exchange: str,
    routing_key: str = "",
    arguments: Mapping[str, Any] | None = None,
    *,
    nowait: bool = False,
) -> bytes:
    names = _RESERVED, _pack(queue), _pack(exchange), _pack(routing_key)
    return _frame(channel, QUEUE_BIND, *names, _bits(nowait), encode_table(arguments or {}))


def unbind_queue(
    channel: int, queue: str, exchange: str, routing_key: str = "", arguments: Mapping[str, Any] | None = None
) -> bytes:
    names = _RESERVED, _pack(queue), _pack(exchange), _pack(routing_key)
    return _frame(channel, QUEUE_UNBIND, *names, encode_table(arguments or {}))


def purge_queue(channel: int, queue: str, *, nowait: bool = False) -> bytes:
    return _frame(channel, QUEUE_PURGE, _RESERVED, _pack(queue), _bits(nowait))


def delete_queue(channel: int, queue: str, *, if_unused: bool = False, if_empty: bool = False, nowait: bool = False) -> bytes:
    return _frame(channel, QUEUE_DELETE, _RESERVED, _pack(queue), _bits(if_unused, if_empty, nowait))


def qos(channel: int, count: int, *, per_channel: bool = False) -> bytes:
    """`count` unacknowledged messages at most: for each consumer made from now on, or for the channel as a whole."""
    return _frame(channel, BASIC_QOS, _QOS.pack(0, count, per_channel))


def consume(
    channel: int,
    queue: str,
    tag: str = "",
    *,
    no_local: bool = False,
    no_ack: bool = False,
    exclusive: bool = False,
    nowait: bool = False,
    arguments: Mapping[str, Any] | None = None,
) -> bytes:
    bits = _bits(no_local, no_ack, exclusive, nowait)
    return _frame(channel, BASIC_CONSUME, _RESERVED, _pack(queue), _pack(tag), bits, encode_table(arguments or {}))


def cancel(channel: int, tag: str, *, nowait: bool = False) -> bytes:
    return _frame(channel, BASIC_CANCEL, _pack(tag), _bits(nowait))


def cancel_ok(channel: int, tag: str) -> bytes:
    return _frame(channel, BASIC_CANCEL_OK, _pack(tag))


def publish(channel: int, exchange: str, routing_key: str, *, mandatory: bool = False) -> bytes:
    """The method alone; `frames.content` makes what must follow it."""
    return _frame(channel, BASIC_PUBLISH, _RESERVED, _pack(exchange), _pack(routing_key), _bits(mandatory))


def get(channel: int, queue: str, *, no_ack: bool = False) -> bytes:
    return _frame(channel, BASIC_GET, _RESERVED, _pack(queue), _bits(no_ack))


def ack(channel: int, tag: int, multiple: bool = False) -> bytes:
    """With `multiple` everything up to `tag`."""
    return _ACK.pack(1, channel, 13, BASIC_ACK, tag, multiple, _END)


def reject(channel: int, tag: int, *, requeue: bool) -> bytes:
    return _ACK.pack(1, channel, 13, BASIC_REJECT, tag, requeue, _END)


def nack(channel: int, tag: int, *, multiple: bool = False, requeue: bool = True) -> bytes:
    return _ACK.pack(1, channel, 13, BASIC_NACK, tag, multiple | requeue << 1, _END)


def recover(channel: int, *, requeue: bool = True) -> bytes:
    return _frame(channel, BASIC_RECOVER, _bits(requeue))


def confirm_select(channel: int, *, nowait: bool = False) -> bytes:
    return _frame(channel, CONFIRM_SELECT, _bits(nowait))


def _frame(channel: int, method: int, *arguments: bytes) -> bytes:
    size = 4 + sum(map(len, arguments))
    return b"".join((_METHOD.pack(FRAME_METHOD, channel, size, method), *arguments, FRAME_END))


def _pack(text: str) -> bytes:
    """A short string."""
    data = text.encode("utf-8", "surrogateescape")
    if len(data) > 255:
        raise EncodeError(f"AMQP takes at most 255 bytes here, not {len(data)}: {text[:64]!r}…")
    return bytes((len(data),)) + data


def _bits(*flags: bool) -> bytes:
    return bytes((sum(1 << place for place, flag in enumerate(flags) if flag),))
