"""`kombu.serialization`: registering one's own serializer."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from sedano.protocol.serializers import accept_types, known_type, register, unregister
from sedano.protocol.serializers import dumps as _dumps
from sedano.protocol.serializers import loads as _loads

# What a direct call of `loads` without `accept` decodes; workers have their accept_content.
_enabled = {"application/json"}
_INSECURE = ("pickle", "yaml", "msgpack")


def dumps(data: Any, serializer: str | None = None) -> tuple[str, str, Any]:
    """(content type, content encoding, body), as Kombu orders them. Text and bytes go raw when no serializer is named."""
    return _dumps(data, serializer)


def loads(
    data: bytes | str, content_type: str, content_encoding: str, accept: Collection[str] | None = None, force: bool = False
) -> Any:
    """The value in `data`. Without `accept`, what is enabled is decoded; with `force`, anything."""
    body = data.encode() if isinstance(data, str) else bytes(data)
    if accept is None:
        # Serializers of one's own are enabled by being registered.
        insecure = content_type in map(known_type, _INSECURE)
        allowed: Collection[str] = _enabled if insecure and not force else {*_enabled, content_type}
    else:
        allowed = accept_types(accept)
    return _loads(body, content_type, content_encoding, allowed)


def enable_insecure_serializers(choices: Iterable[str] | None = _INSECURE) -> None:
    """Let direct calls of `loads` decode these. Workers decode what `accept_content` lists, whatever is enabled here."""
    for choice in choices or ():
        registry.enable(choice)


def disable_insecure_serializers(allowed: Iterable[str] | None = ("json",)) -> None:
    """Let direct calls of `loads` decode `allowed` only."""
    _enabled.clear()
    for name in allowed or ():
        registry.enable(name)


class _Registry:
    """`kombu.serialization.registry`."""

    register = staticmethod(register)
    unregister = staticmethod(unregister)
    dumps = staticmethod(dumps)
    loads = staticmethod(loads)

    @staticmethod
    def enable(name: str) -> None:
        """By name or MIME type; KeyError for an unknown name."""
        _enabled.add(_type_of(name))

    @staticmethod
    def disable(name: str) -> None:
        _enabled.discard(_type_of(name))


def _type_of(name: str) -> str:
    content_type = name if "/" in name else known_type(name)
    if content_type is None:
        raise KeyError(name)
    return content_type


registry = _Registry()

__all__ = [
    "disable_insecure_serializers",
    "dumps",
    "enable_insecure_serializers",
    "loads",
    "register",
    "registry",
    "unregister",
]
