"""`kombu.utils.json`: JSON as it goes over the wire, and types of one's own in it."""

from __future__ import annotations

from typing import Any

from sedano.protocol.serializers.json import decode, encode, register_type


def dumps(s: Any, **kwargs: Any) -> str:
    """The JSON text. Options of Python's `json` are refused: what is written must be what workers expect."""
    if kwargs:
        raise TypeError(f"kombu.utils.json.dumps() takes no options here, not {', '.join(kwargs)}")
    return encode(s).decode()


def loads(s: str | bytes | bytearray | memoryview, **kwargs: Any) -> Any:
    if kwargs:
        raise TypeError(f"kombu.utils.json.loads() takes no options here, not {', '.join(kwargs)}")
    return decode(s.encode() if isinstance(s, str) else bytes(s))


__all__ = ["dumps", "loads", "register_type"]
