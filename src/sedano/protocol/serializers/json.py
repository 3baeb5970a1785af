"""JSON exactly as Kombu 5.7 writes and reads it: the same keys, types and encodings, not the same spacing.

Typed values travel as `{"__type__": T, "__value__": V}` with exactly these two keys (wire-protocol 1.4). An object with a
`__json__` method is written as what that returns; NaN and the infinities are written as Python's `json` writes them; keys
that are int, float, bool or None become text; tuples become lists; sets, plain enums and dataclasses are refused.

Two roads lead to each result. `encode` and `decode` use msgspec where it provably does the same and the standard library
elsewhere; `plain_encode` and `plain_decode` are the standard library alone, and tests hold the two equal. msgspec alone would
write NaN as null, a datetime without its type, a dataclass as a map.
"""

from __future__ import annotations

import base64
import json
import math
import sys
import uuid
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import msgspec

from sedano.exceptions import DecodeError, EncodeError

_TYPE, _VALUE = "__type__", "__value__"
_TYPED_KEYS = {_TYPE, _VALUE}
_ATOMS = frozenset({str, int, bool, type(None)})
# Deeper values take the standard library's road, which also ends circular ones.
_PLAIN_DEPTH = 16

_writers: dict[type, tuple[str | None, Callable[[Any], Any]]] = {}
_readers: dict[str, Callable[[Any], Any]] = {
    "bytes": lambda value: value.encode("utf-8"),
    "base64": lambda value: base64.b64decode(value.encode("utf-8")),
}


def register_type(
    kind: type,
    marker: str | None,
    encoder: Callable[[Any], Any],
    decoder: Callable[[Any], Any] = lambda value: value,
) -> None:
    """Teach JSON a type: `encoder` makes a JSON value of it, `decoder` makes it again.

    With `marker` None the value is written without its type and read back as what `encoder` made of it. The first
    registered type that a value is an instance of decides.
    """
    _writers[kind] = (marker, encoder)
    if marker is not None:
        _readers[marker] = decoder


register_type(datetime, "datetime", datetime.isoformat, datetime.fromisoformat)  # before date: a datetime is a date too
register_type(date, "date", date.isoformat, lambda value: datetime.fromisoformat(value).date())
register_type(time, "time", time.isoformat, time.fromisoformat)
register_type(Decimal, "decimal", str, Decimal)
register_type(uuid.UUID, "uuid", lambda value: {"hex": value.hex}, lambda value: uuid.UUID(**value))


class Written:
    """A value that is plain, and written already: for what many messages have in common. It must not be changed."""

    __slots__ = ("raw", "value")

    def __init__(self, value: Any) -> None:
        self.value, self.raw = value, msgspec.Raw(_fast_encoder.encode(value))

    def __json__(self) -> Any:
        return self.value


def written(value: Any) -> Any:
    """`value` as `Written` if it can be, else as it is."""
    if is_plain(value):
        try:
            return Written(value)
        except (UnicodeEncodeError, OverflowError, msgspec.MsgspecError):
            pass
    return value


def encode(value: Any) -> bytes:
    """Raises `EncodeError` naming the type that JSON cannot carry."""
    if is_plain(value):
        try:
            return _fast_encoder.encode(value)
        except (UnicodeEncodeError, OverflowError, msgspec.MsgspecError):
            pass  # a lone surrogate or a very long integer: the standard library writes both
    return plain_encode(value)


def plain_encode(value: Any) -> bytes:
    """As `encode`, by the standard library alone."""
    try:
        return _plain_encoder.encode(value).encode()
    except RecursionError as exc:
        raise EncodeError("cannot write the value as JSON: it contains itself or is nested too deeply") from exc
    except EncodeError:
        raise
    except Exception as exc:  # a `__json__` method or an encoder of the user's may raise anything
        raise EncodeError(f"cannot write the value as JSON: {exc}") from exc


def decode(data: bytes) -> Any:
    """Raises `DecodeError` saying where the text stops being JSON, or which typed value is unknown or malformed."""
    # A key can spell __type__ with escapes; every character of it is below U+0100.
    if b"__type__" not in data and b"\\u00" not in data:
        try:
            return _fast_decoder.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            pass  # NaN, infinities, lone surrogates, or no JSON at all: the other road knows, and has the better message
    return plain_decode(data)


def plain_decode(data: bytes) -> Any:
    """As `decode`, by the standard library alone."""
    try:
        return _plain_decoder.decode(data.decode("utf-8"))
    except RecursionError as exc:
        raise DecodeError("the JSON text is nested too deeply") from exc
    except DecodeError:
        raise
    except Exception as exc:  # decoders of typed values are fed whatever came
        raise DecodeError(f"no JSON that can be read: {exc}") from exc


def is_plain(value: Any, depth: int = _PLAIN_DEPTH) -> bool:
    """Whether msgspec writes `value` as Kombu does: exact built-in types, text keys, finite floats, `depth` levels at most."""
    kind = type(value)
    if kind in _ATOMS:
        return True
    if kind is dict:
        for key in value:
            if type(key) is not str:
                return False
        value = value.values()
    elif kind is not list and kind is not tuple:
        return kind is float and math.isfinite(value)
    for member in value:
        kind = type(member)
        if kind in _ATOMS:
            continue
        if kind is float:
            if not math.isfinite(member):
                return False
        elif kind is dict or kind is list or kind is tuple:
            if member and (depth == 0 or not is_plain(member, depth - 1)):
                return False
        elif kind is not Written:
            return False
    return True


def _default(value: Any) -> Any:
    reduce = getattr(value, "__json__", None)
    if reduce is not None:
        return reduce()
    for kind, (marker, write) in _writers.items():
        if isinstance(value, kind):
            return write(value) if marker is None else {_TYPE: marker, _VALUE: write(value)}
    if isinstance(value, bytes):
        try:
            return {_TYPE: "bytes", _VALUE: value.decode("utf-8")}
        except UnicodeDecodeError:
            return {_TYPE: "base64", _VALUE: base64.b64encode(value).decode("ascii")}
    if _is_lazy_text(value):
        return str(value)
    raise EncodeError(
        f"cannot write {type(value).__module__}.{type(value).__qualname__} as JSON. Give it a __json__ method, convert it "
        "before sending, or choose a serializer that carries it (pickle)"
    )


def _is_lazy_text(value: Any) -> bool:
    """Django's lazy translations are written as text. Asked only when Django is loaded already."""
    module = sys.modules.get("django.utils.functional")
    return module is not None and isinstance(value, module.Promise)


def _object_hook(found: dict[str, Any]) -> Any:
    if found.keys() != _TYPED_KEYS:
        return found
    marker = found[_TYPE]
    read = _readers.get(marker) if isinstance(marker, str) else None
    if read is None:
        raise DecodeError(f"unknown typed value {marker!r} in JSON; known: {', '.join(sorted(_readers))}")
    return read(found[_VALUE])


def _raw_of(value: Any) -> Any:
    if type(value) is Written:
        return value.raw
    raise NotImplementedError(f"msgspec is not given a {type(value).__name__}")


_fast_encoder = msgspec.json.Encoder(enc_hook=_raw_of)
_fast_decoder = msgspec.json.Decoder()
_plain_encoder = json.JSONEncoder(default=_default, check_circular=False, separators=(",", ":"))
_plain_decoder = json.JSONDecoder(object_hook=_object_hook)
