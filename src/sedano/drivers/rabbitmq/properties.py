"""The properties of a message: fourteen names, a flag for each, the values behind. No I/O.

`headers` is a table, `delivery_mode` (1 transient, 2 persistent) and `priority` are bytes, `timestamp` is in seconds since
the epoch, everything else is short text: `expiration` too (milliseconds in digits).
"""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct, error
from typing import Any

from sedano.drivers.rabbitmq.errors import Malformed
from sedano.drivers.rabbitmq.shapes import Shapes
from sedano.drivers.rabbitmq.tables import encode_table, read_table
from sedano.exceptions import EncodeError

_TEXT, _TABLE, _OCTET, _TIME = range(4)

_FIELDS: tuple[tuple[int, str, int], ...] = tuple(
    (1 << (15 - place), name, kind)
    for place, (name, kind) in enumerate(
        (
            ("content_type", _TEXT),
            ("content_encoding", _TEXT),
            ("headers", _TABLE),
            ("delivery_mode", _OCTET),
            ("priority", _OCTET),
            ("correlation_id", _TEXT),
            ("reply_to", _TEXT),
            ("expiration", _TEXT),
            ("message_id", _TEXT),
            ("timestamp", _TIME),
            ("type", _TEXT),
            ("user_id", _TEXT),
            ("app_id", _TEXT),
            ("cluster_id", _TEXT),
        )
    )
)
_NAMES = frozenset(name for _, name, _ in _FIELDS)
_FLAGS = Struct(">H")
_U64 = Struct(">Q")
_SIZE = Struct(">I")
_CONTINUED = 1


def _read_headers(table: bytes) -> dict[str, Any]:
    return read_table(_SIZE.pack(len(table)) + table, 0, len(table) + 4)[0]


_headers = Shapes(_read_headers)  # of this process: what one message looks like, the next one does


def encode_properties(properties: Mapping[str, Any]) -> bytes:
    """Flags and values; None is as good as missing. Raises `EncodeError` for a value without a form, an unknown name."""
    flags, parts = 0, [b""]
    name, value = "", None
    try:
        for flag, name, kind in _FIELDS:
            value = properties.get(name)
            if value is None:
                continue
            flags |= flag
            if kind == _TEXT:
                text = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else bytes(value)
                parts.append(bytes((len(text),)) + text)
            elif kind == _TABLE:
                parts.append(encode_table(value))
            elif kind == _OCTET:
                parts.append(bytes((int(value),)))
            else:
                parts.append(_U64.pack(int(value)))
    except (error, ValueError, TypeError, OverflowError) as cause:
        raise EncodeError(f"no AMQP property {name}={value!r:.80}: {cause}") from cause
    unknown = properties.keys() - _NAMES
    if unknown:
        raise EncodeError(f"AMQP has no property {', '.join(sorted(map(str, unknown)))}")
    parts[0] = _FLAGS.pack(flags)
    return b"".join(parts)


def decode_properties(data: bytes) -> dict[str, Any]:
    """The properties that are there. Raises `Malformed`."""
    try:
        return _decode(data)
    except (error, IndexError) as cause:
        raise Malformed(f"broken properties: {cause}") from cause


def _decode(data: bytes) -> dict[str, Any]:
    flags: int = _FLAGS.unpack_from(data)[0]
    position, end = 2, len(data)
    more = flags
    while more & _CONTINUED:  # flags of properties that 0-9-1 does not have
        more = _FLAGS.unpack_from(data, position)[0]
        position += 2
    found: dict[str, Any] = {}
    for flag, name, kind in _FIELDS:
        if not flags & flag:
            continue
        if kind == _TEXT:
            begin = position + 1
            position = begin + data[position]
            found[name] = data[begin:position].decode("utf-8", "surrogateescape")
        elif kind == _TABLE:
            begin = position + 4
            position = begin + _SIZE.unpack_from(data, position)[0]
            if position <= end:
                found[name] = _headers.read(data[begin:position])
        elif kind == _OCTET:
            found[name], position = data[position], position + 1
        else:
            found[name], position = _U64.unpack_from(data, position)[0], position + 8
        if position > end:
            raise Malformed(f"the property {name} is cut off")
    return found
