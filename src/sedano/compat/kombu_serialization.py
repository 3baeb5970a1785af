"""`kombu.serialization`: registering one's own serializer."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sedano.protocol.serializers import accept_types, register, unregister
from sedano.protocol.serializers import dumps as _dumps
from sedano.protocol.serializers import loads as _loads


def dumps(data: Any, serializer: str | None = None) -> tuple[str, str, Any]:
    """(content type, content encoding, body), as Kombu orders them."""
    return _dumps(data, serializer or "json")


def loads(
    data: bytes | str, content_type: str, content_encoding: str, accept: Collection[str] | None = None, force: bool = False
) -> Any:
    """The value in `data`. `accept` None trusts every content type, as Kombu does for direct callers."""
    del force
    body = data.encode() if isinstance(data, str) else bytes(data)
    return _loads(body, content_type, content_encoding, accept_types(accept) if accept is not None else None)


__all__ = ["dumps", "loads", "register", "unregister"]
