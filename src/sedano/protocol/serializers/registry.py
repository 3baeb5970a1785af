"""Serializers by name and by MIME type. json and pickle are built in; what others bring is added with `register`."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from sedano.exceptions import ContentDisallowed, DecodeError, EncodeError, ImproperlyConfigured
from sedano.protocol.serializers import json, pickle

JSON = "application/json"
PICKLE = "application/x-python-serialize"
RAW = "application/data"

# Content that Kombu hands out as it came, whatever is accepted: nothing in it is ever executed.
_UNCHECKED = frozenset({RAW, "application/text"})
_BINARY = frozenset({"binary", "ascii-8bit"})
# Names that Celery knows and we do not bring yet: (MIME type, how to get it).
_MISSING = {
    "yaml": (
        "application/x-yaml",
        "install PyYAML and call serializers.register('yaml', yaml.safe_dump, yaml.safe_load, 'application/x-yaml')",
    ),
    "msgpack": (
        "application/x-msgpack",
        (
            "install msgpack and call serializers.register('msgpack', msgpack.packb, msgpack.unpackb, "
            "'application/x-msgpack', 'binary')"
        ),
    ),
    "auth": (RAW, "signed messages are not supported yet; send them with task_serializer='json'"),
}


@dataclass(frozen=True, slots=True)
class _Serializer:
    name: str
    encoder: Callable[[Any], str | bytes] | None
    decoder: Callable[[bytes], Any] | None
    content_type: str
    content_encoding: str


_by_name: dict[str, _Serializer] = {}
_by_type: dict[str, _Serializer] = {}
_json_only = frozenset({JSON})


def register(
    name: str,
    encoder: Callable[[Any], str | bytes] | None,
    decoder: Callable[[bytes], Any] | None,
    content_type: str,
    content_encoding: str = "utf-8",
) -> None:
    """Add or replace a serializer. One without encoder only reads, one without decoder only writes."""
    added = _Serializer(name, encoder, decoder, content_type, content_encoding)
    _by_name[name] = added
    _by_type[content_type] = added


def unregister(name: str) -> None:
    """Forget a serializer. Raises `KeyError` when there is none of that name."""
    gone = _by_name.pop(name)
    if _by_type.get(gone.content_type) is gone:
        del _by_type[gone.content_type]


def known_type(name: str) -> str | None:
    """The MIME type that `name` stands for, whether its serializer is there or not; None for an unknown name."""
    found = _by_name.get(name)
    if found is not None:
        return found.content_type
    return _MISSING[name][0] if name in _MISSING else None


def dumps(value: Any, name: str | None = "json") -> tuple[str, str, bytes]:
    """(content type, content encoding, bytes). None sends str and bytes raw and everything else as json.

    Raises `EncodeError` when the value cannot be written, or no such serializer is registered.
    """
    if name == "json":
        return JSON, "utf-8", _encoded(_by_name["json"], value)
    if name == "raw" or (name is None and isinstance(value, bytes | str)):
        return _raw(value, RAW if name == "raw" or isinstance(value, bytes) else "text/plain")
    found = _by_name.get(name or "json")
    if found is None or found.encoder is None:
        raise EncodeError(f"there is no serializer {name!r} to write with: {_remedy(name or 'json')}")
    return found.content_type, found.content_encoding, _encoded(found, value)


def loads(body: bytes, content_type: str, content_encoding: str, accept: Collection[str] | None = None) -> Any:
    """The value. `accept` holds MIME types (from `accept_types`) or names; None accepts json only.

    Raises `ContentDisallowed` for another type, `DecodeError` for bytes that are no such value or a missing library.
    """
    content_type = content_type or RAW
    accepted = _json_only if accept is None else accept
    found = _by_type.get(content_type)
    if content_type not in accepted and content_type not in _UNCHECKED:
        name = found.name if found else _missing_name(content_type) or content_type
        if name not in accepted:
            raise ContentDisallowed(
                f"Refusing to deserialize untrusted content of type {name} ({content_type}). "
                f"Add {name!r} to accept_content if you trust whoever can write to the broker"
            )
    if found is None or found.decoder is None:
        missing = _missing_name(content_type)
        if missing is not None and content_type != RAW:
            raise DecodeError(f"there is no serializer for {content_type}: {_remedy(missing)}")
        return _text(body, content_encoding)
    try:
        return found.decoder(body)
    except DecodeError:
        raise
    except Exception as exc:  # a serializer of the user's may raise anything
        raise DecodeError(f"the serializer {found.name!r} cannot read the body: {exc}") from exc


def accept_types(names_or_mimes: Iterable[str]) -> frozenset[str]:
    """MIME types for an `accept_content` setting. Raises `ImproperlyConfigured` for an unknown name."""
    types: set[str] = set()
    for name in names_or_mimes:
        content_type = name if "/" in name else known_type(name)
        if content_type is None:
            raise ImproperlyConfigured(f"accept_content names {name!r}, and there is no such serializer: {_remedy(name)}")
        types.add(content_type)
    return frozenset(types)


def _encoded(serializer: _Serializer, value: Any) -> bytes:
    assert serializer.encoder is not None
    try:
        written = serializer.encoder(value)
    except EncodeError:
        raise
    except Exception as exc:  # a serializer of the user's may raise anything
        raise EncodeError(f"the serializer {serializer.name!r} cannot write the value: {exc}") from exc
    return written.encode() if isinstance(written, str) else written


def _raw(value: Any, content_type: str) -> tuple[str, str, bytes]:
    if isinstance(value, bytes):
        return content_type, "binary", value
    if not isinstance(value, str):
        raise EncodeError(f"the serializer 'raw' takes str or bytes, not {type(value).__name__}")
    try:
        return content_type, "utf-8", value.encode()
    except UnicodeEncodeError as exc:
        raise EncodeError(f"cannot write the text as UTF-8: {exc}") from exc


def _text(body: bytes, content_encoding: str) -> Any:
    encoding = (content_encoding or "utf-8").lower()
    if encoding in _BINARY:
        return body
    try:
        return codecs.decode(body, encoding)
    except (LookupError, ValueError) as exc:
        raise DecodeError(f"the body is no {encoding} text: {exc}") from exc


def _missing_name(content_type: str) -> str | None:
    return next((name for name, (mime, _) in _MISSING.items() if mime == content_type), None)


def _remedy(name: str) -> str:
    if name in _MISSING:
        return _MISSING[name][1]
    return f"call serializers.register({name!r}, …), or use one of {', '.join(sorted(_by_name))}"


register("json", json.encode, json.decode, JSON, "utf-8")
register("pickle", pickle.encode, pickle.decode, PICKLE, "binary")
