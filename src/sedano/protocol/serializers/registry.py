"""Serializers by name and by MIME type.

json is there from the start. The others that Kombu names are loaded when they are first used, so that nobody pays for what
he does not send; what others bring is added with `register`, or found where Kombu would find it (`adopted.py`).
"""

from __future__ import annotations

import codecs
import importlib
from collections.abc import Callable, Collection, Iterable
from typing import Any, NamedTuple

import msgspec

from sedano.exceptions import ContentDisallowed, DecodeError, EncodeError, ImproperlyConfigured
from sedano.protocol.serializers import adopted, json

JSON = "application/json"
PICKLE = "application/x-python-serialize"
RAW = "application/data"

# Content that Kombu hands out as it came, whatever is accepted: nothing in it is ever executed.
_UNCHECKED = frozenset({RAW, "application/text"})
_BINARY = frozenset({"binary", "ascii-8bit"})


class _BuiltIn(NamedTuple):
    """`module` has `encode` and `decode`; `extra` brings the package that it needs, "" for none."""

    content_type: str
    content_encoding: str
    module: str
    extra: str


_BUILT_IN = {
    "pickle": _BuiltIn(PICKLE, "binary", "sedano.protocol.serializers.pickle", ""),
    "yaml": _BuiltIn("application/x-yaml", "utf-8", "sedano.protocol.serializers.yaml", "yaml"),
    "msgpack": _BuiltIn("application/x-msgpack", "binary", "sedano.protocol.serializers.msgpack", "msgpack"),
}
_NAMES = {found.content_type: name for name, found in _BUILT_IN.items()}
# Signed messages: the name is known, its serializer is made of keys and certificates.
_AUTH = "auth"


class _Serializer(msgspec.Struct, frozen=True):
    name: str
    encoder: Callable[[Any], str | bytes] | None
    decoder: Callable[[bytes], Any] | None
    content_type: str
    content_encoding: str


_by_name: dict[str, _Serializer] = {}
_by_type: dict[str, _Serializer] = {}
_json_only = frozenset({JSON})
_unregistered: set[str] = set()  # built-in ones that were taken out
_has_looked = False  # for entry points


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
    _unregistered.discard(name)


def unregister(name: str) -> None:
    """Forget a serializer. Raises `KeyError` when there is none of that name."""
    if name in _BUILT_IN and name not in _unregistered:
        _unregistered.add(name)
        gone = _by_name.pop(name, None)
    else:
        gone = _by_name.pop(name)
    if gone is not None and _by_type.get(gone.content_type) is gone:
        del _by_type[gone.content_type]


def adopt() -> None:
    """Take over what was registered with Kombu, if this process has loaded it. A look at `sys.modules` otherwise."""
    adopted.take_from_kombu(register)


def known_type(name: str) -> str | None:
    """The MIME type that `name` stands for, whether its package is there or not; None for an unknown name."""
    found = _by_name.get(name)
    if found is not None:
        return found.content_type
    if name in _BUILT_IN:
        return _BUILT_IN[name].content_type
    if name == _AUTH:
        return RAW
    found = _seek(lambda: _by_name.get(name))
    return found.content_type if found is not None else None


def name_of(content_type: str) -> str:
    """The name by which a MIME type is accepted; the type itself where there is none."""
    found = _by_type.get(content_type)
    return found.name if found is not None else _NAMES.get(content_type, content_type)


def dumps(value: Any, name: str | None = "json") -> tuple[str, str, bytes]:
    """(content type, content encoding, bytes). None sends str and bytes raw and everything else as json.

    Raises `EncodeError` when the value cannot be written, or no such serializer is registered.
    """
    if name == "json":
        return JSON, "utf-8", _encoded(_by_name["json"], value)
    if name == "raw" or (name is None and isinstance(value, bytes | str)):
        return _raw(value, RAW if name == "raw" or isinstance(value, bytes) else "text/plain")
    found = _find(name or "json")
    if found is None or found.encoder is None:
        raise EncodeError(f"there is no serializer {name!r} to write with: {_remedy(name or 'json')}")
    return found.content_type, found.content_encoding, _encoded(found, value)


def loads(body: bytes, content_type: str, content_encoding: str, accept: Collection[str] | None = None) -> Any:
    """The value. `accept` holds MIME types (from `accept_types`) or names; None accepts json only.

    Raises `ContentDisallowed` for another type, `DecodeError` for bytes that are no such value or a missing library.
    """
    content_type = content_type or RAW
    accepted = _json_only if accept is None else accept
    if content_type not in accepted and content_type not in _UNCHECKED:
        name = name_of(content_type)
        if name not in accepted:
            raise ContentDisallowed(
                f"Refusing to deserialize untrusted content of type {name} ({content_type}). "
                f"Add {name!r} to accept_content if you trust whoever can write to the broker"
            )
    found = _by_type.get(content_type) or _find_type(content_type)
    if found is None or found.decoder is None:
        if content_type in _NAMES:
            raise DecodeError(f"there is no serializer for {content_type}: {_remedy(_NAMES[content_type])}")
        return _text(body, content_encoding)
    try:
        return found.decoder(body)
    except (DecodeError, ContentDisallowed):
        raise
    except Exception as exc:  # a serializer of the user's may raise anything
        raise DecodeError(f"the serializer {found.name!r} cannot read the body: {exc}") from exc


def accept_types(names_or_mimes: Iterable[str]) -> frozenset[str]:
    """MIME types for an `accept_content` setting. Raises `ImproperlyConfigured` for an unknown name."""
    adopt()
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


def _find(name: str) -> _Serializer | None:
    """The serializer `name`, loaded if need be; None when there is none, or its package is not installed."""
    found = _by_name.get(name)
    if found is not None:
        return found
    if name not in _BUILT_IN:
        return _seek(lambda: _by_name.get(name))
    if name in _unregistered:
        return None
    content_type, content_encoding, module, _ = _BUILT_IN[name]
    try:
        loaded = importlib.import_module(module)
    except ImportError:
        return None
    register(name, loaded.encode, loaded.decode, content_type, content_encoding)
    return _by_name[name]


def _find_type(content_type: str) -> _Serializer | None:
    if content_type in _NAMES:
        return _find(_NAMES[content_type])
    if content_type in _UNCHECKED:
        return None
    return _seek(lambda: _by_type.get(content_type))


def _seek(look: Callable[[], _Serializer | None]) -> _Serializer | None:
    """What `look` finds once Kombu's registry, and after it the installed packages, were asked."""
    global _has_looked
    adopt()
    found = look()
    if found is None and not _has_looked:
        _has_looked = True
        adopted.take_entry_points(register)
        found = look()
    return found


def _remedy(name: str) -> str:
    if name in _BUILT_IN and name not in _unregistered:
        extra = _BUILT_IN[name].extra
        return f"its package is not installed, pip install 'sedano[{extra}]'"
    if name == _AUTH:
        return "call app.setup_security() in the module of the app (pip install 'sedano[auth]')"
    names = sorted({*_by_name, *(_BUILT_IN.keys() - _unregistered)})
    return f"register it with sedano.serialization.register({name!r}, …), or use one of {', '.join(names)}"


register("json", json.encode, json.decode, JSON, "utf-8")
