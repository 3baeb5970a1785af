"""Field tables: a dictionary of named, typed values, as AMQP writes headers and arguments. No I/O.

Types are those that py-amqp writes, so that every Celery reads them: bytes become strings, whole numbers 32 bits where they
fit and 64 bits (`L`, signed) where they do not. Every type that RabbitMQ and its clients write is read.
"""

from __future__ import annotations

import calendar
import contextlib
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from struct import Struct, error
from typing import Any

from sedano.drivers.rabbitmq.errors import Malformed
from sedano.exceptions import EncodeError

MOST_NESTED = 100
"""Tables and lists inside each other; more is refused, in both directions."""

_U32 = Struct(">I")
_INT = Struct(">ci")
_LONG = Struct(">cq")
_FLOAT = Struct(">cd")
_DECIMAL = Struct(">cBi")
_TIME = Struct(">cQ")
_STRING = Struct(">cI")
_INT_MIN, _INT_MAX = -(2**31) + 1, 2**31 - 1
_MOST_DECIMALS = 255
_STRING_HEAD = _STRING.pack

_MOST_NAMES = 512
_NAMES: dict[str, bytes] = {}
_READ_NAMES: dict[bytes, str] = {}

_NUMBERS: Mapping[int, Struct] = {
    ord(letter): Struct(">" + form)
    for letter, form in (
        ("b", "b"),
        ("B", "B"),
        ("s", "h"),
        ("U", "h"),
        ("u", "H"),
        ("I", "i"),
        ("i", "I"),
        ("l", "q"),
        ("L", "q"),
        ("f", "f"),
        ("d", "d"),
    )
}
_S, _X, _T, _V, _F, _A, _D, _TIMESTAMP = (ord(letter) for letter in "SxtVFADT")
_SCALED = Struct(">Bi")
_U64 = Struct(">Q")
_SIZE = _U32.unpack_from


def encode_table(values: Mapping[str, Any]) -> bytes:
    """The table with its length in front. Raises `EncodeError` for a value or a name that has no AMQP form."""
    try:
        body = _pairs(values, 0)
    except (error, OverflowError, UnicodeError) as cause:
        raise EncodeError(f"no AMQP table: {cause}") from cause
    return _U32.pack(len(body)) + body


def decode_table(data: bytes) -> dict[str, Any]:
    """What `encode_table` made. Raises `Malformed`."""
    return read_table(data, 0, len(data))[0]


def read_table(data: bytes, position: int, end: int) -> tuple[dict[str, Any], int]:
    """The table that begins at `position`, and where it ends, which is not behind `end`. Raises `Malformed`."""
    try:
        return _read_table(data, position, end, 0)
    except (error, IndexError, OverflowError, OSError) as cause:
        raise Malformed(f"a broken table: {cause}") from cause


# -- writing ----------------------------------------------------------------------------------------------------------


def _pairs(values: Mapping[str, Any], depth: int) -> bytes:
    parts: list[bytes] = []
    for name, value in values.items():
        parts.append(_NAMES.get(name) or _name(name))
        if value is None:
            parts.append(b"V")
        elif type(value) is str:
            data = value.encode("utf-8", "surrogatepass")
            parts.append(_STRING_HEAD(b"S", len(data)))
            parts.append(data)
        else:
            parts.append(_item(value, depth))
    return b"".join(parts)


def _name(name: object) -> bytes:
    """A name with its length in front. There are few, and they are kept."""
    key = name.encode("utf-8", "surrogatepass") if isinstance(name, str) else name
    if not isinstance(key, bytes) or len(key) > 255:
        raise EncodeError(f"a name in an AMQP table is text of at most 255 bytes, not {str(name)[:64]!r}")
    written = bytes((len(key),)) + key
    if isinstance(name, str):
        if len(_NAMES) >= _MOST_NAMES:
            _NAMES.clear()
        _NAMES[name] = written
    return written


def _item(value: Any, depth: int) -> bytes:
    write = _WRITERS.get(type(value))
    if write is None:
        write = next((one for kind, one in _WRITERS.items() if isinstance(value, kind)), None)
        if write is None:
            raise EncodeError(f"a value of type {type(value).__name__} has no form in an AMQP table")
    if depth > MOST_NESTED:
        raise EncodeError(f"an AMQP table is nested deeper than {MOST_NESTED}")
    return write(value, depth)


def _write_text(value: str, _: int) -> bytes:
    return _write_bytes(value.encode("utf-8", "surrogatepass"), 0)


def _write_bytes(value: bytes, _: int) -> bytes:
    return _STRING.pack(b"S", len(value)) + value


def _write_bool(value: bool, _: int) -> bytes:
    return b"t\x01" if value else b"t\x00"


def _write_int(value: int, _: int) -> bytes:
    return _INT.pack(b"I", value) if _INT_MIN <= value <= _INT_MAX else _LONG.pack(b"L", value)


def _write_float(value: float, _: int) -> bytes:
    return _FLOAT.pack(b"d", value)


def _write_none(_value: None, _: int) -> bytes:
    return b"V"


def _write_decimal(value: Decimal, _: int) -> bytes:
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int) or abs(exponent) > _MOST_DECIMALS:
        raise EncodeError(f"{value} has no form in an AMQP table")
    whole = int("".join(map(str, digits)) or "0") * 10 ** max(exponent, 0)
    return _DECIMAL.pack(b"D", max(-exponent, 0), -whole if sign else whole)


def _write_time(value: datetime, _: int) -> bytes:
    return _TIME.pack(b"T", calendar.timegm(value.utctimetuple()))


def _write_mapping(value: Mapping[str, Any], depth: int) -> bytes:
    body = _pairs(value, depth + 1)
    return _STRING.pack(b"F", len(body)) + body


def _write_list(value: Iterable[Any], depth: int) -> bytes:
    body = b"".join([_item(one, depth + 1) for one in value])
    return _STRING.pack(b"A", len(body)) + body


_WRITERS: Mapping[type, Callable[[Any, int], bytes]] = {
    str: _write_text,
    bytes: _write_bytes,
    bool: _write_bool,  # before int, of which it is one
    int: _write_int,
    float: _write_float,
    type(None): _write_none,
    dict: _write_mapping,
    list: _write_list,
    tuple: _write_list,
    Decimal: _write_decimal,
    datetime: _write_time,
}


# -- reading ----------------------------------------------------------------------------------------------------------


def _read_table(data: bytes, position: int, end: int, depth: int) -> tuple[dict[str, Any], int]:
    position, stop = _span(data, position, end)
    values: dict[str, Any] = {}
    while position < stop:
        begin = position + 1
        position = begin + data[position]
        if position >= stop:
            raise Malformed("a name is longer than its table")
        key = data[begin:position]
        name = _READ_NAMES.get(key) or _read_name(key)
        letter = data[position]
        if letter == _V:
            values[name] = None
            position += 1
        elif letter == _S:
            begin = position + 5
            position = begin + _SIZE(data, position + 1)[0]
            if position > stop:
                raise Malformed("a value is longer than what it stands in")
            try:
                values[name] = data[begin:position].decode()
            except UnicodeDecodeError:  # whoever wrote bytes had only this type for them
                values[name] = data[begin:position]
        else:
            values[name], position = _read_item(data, position, stop, depth)
    return values, stop


def _read_name(key: bytes) -> str:
    if len(_READ_NAMES) >= _MOST_NAMES:
        _READ_NAMES.clear()
    name = _READ_NAMES[key] = key.decode("utf-8", "surrogateescape")
    return name


def _read_list(data: bytes, position: int, end: int, depth: int) -> tuple[list[Any], int]:
    position, stop = _span(data, position, end)
    values: list[Any] = []
    while position < stop:
        value, position = _read_item(data, position, stop, depth)
        values.append(value)
    return values, stop


def _span(data: bytes, position: int, end: int) -> tuple[int, int]:
    """Where something with its length in front begins and ends."""
    begin = position + 4
    stop = begin + _U32.unpack_from(data, position)[0]
    if stop > end:
        raise Malformed("a value is longer than what it stands in")
    return begin, stop


def _read_item(data: bytes, position: int, end: int, depth: int) -> tuple[Any, int]:
    if position >= end:
        raise Malformed("a value is missing")
    letter, position = data[position], position + 1
    value: Any
    number = _NUMBERS.get(letter)
    if number is not None:
        value, stop = number.unpack_from(data, position)[0], position + number.size
    elif letter == _S:
        begin, stop = _span(data, position, end)
        value = data[begin:stop]
        with contextlib.suppress(UnicodeDecodeError):  # whoever wrote bytes had only this type for them
            value = value.decode()
    elif letter == _V:
        value, stop = None, position
    elif letter == _T:
        value, stop = data[position] != 0, position + 1
    elif letter in (_F, _A):
        if depth >= MOST_NESTED:
            raise Malformed(f"nested deeper than {MOST_NESTED}")
        value, stop = (_read_table if letter == _F else _read_list)(data, position, end, depth + 1)
    elif letter == _X:
        begin, stop = _span(data, position, end)
        value = data[begin:stop]
    elif letter == _TIMESTAMP:
        value, stop = _time(_U64.unpack_from(data, position)[0]), position + 8
    elif letter == _D:
        decimals, whole = _SCALED.unpack_from(data, position)
        value, stop = Decimal(whole).scaleb(-decimals), position + 5
    else:
        raise Malformed(f"unknown type {chr(letter)!r} in a table")
    if stop > end:
        raise Malformed("a value is longer than what it stands in")
    return value, stop


def _time(seconds: int) -> datetime | int:
    """UTC without a zone, as py-amqp gives it to its users; a number that is no date stays one."""
    try:
        return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
    except (ValueError, OverflowError, OSError):
        return seconds
