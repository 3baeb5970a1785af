"""A look at a stored message that reads no more of it than is asked for."""

from __future__ import annotations

import msgspec


class _Id(msgspec.Struct):
    id: str = ""


class _Head(msgspec.Struct):
    headers: _Id


_decoder = msgspec.json.Decoder(_Head)


def task_id_of(raw: bytes) -> str:
    """The id of the call in a message of protocol 2, as it stands in a store (`envelope.py`); "" where none can be read."""
    try:
        return _decoder.decode(raw).headers.id
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
