"""The body of a message as a value: decompressed, then decoded if its content type is accepted."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sedano.protocol.compression import decompress
from sedano.protocol.message import Message
from sedano.protocol.serializers import loads


def decode_body(message: Message, accept: Collection[str] | None = None) -> Any:
    """The value; `accept` as in `serializers.loads`. Raises `DecodeError` or `ContentDisallowed`."""
    body = message.body
    compression = message.headers.get("compression")
    if compression is not None:
        body = decompress(body, str(compression))
    return loads(body, message.content_type, message.content_encoding, accept)
