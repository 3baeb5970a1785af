"""`kombu.compression`: compressing, and registering one's own methods."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from sedano.protocol.compression import compress as _compress
from sedano.protocol.compression import decompress, encoders, mime_type, register


def compress(body: bytes | str, content_type: str) -> tuple[bytes, str]:
    """(compressed body, MIME type)."""
    return _compress(body.encode() if isinstance(body, str) else body, content_type)


def get_encoder(t: str) -> tuple[Callable[[bytes], bytes], str]:
    """(the encoder, its MIME type), by alias or type."""
    return lambda data: _compress(data, t)[0], mime_type(t)


def get_decoder(t: str) -> Callable[[bytes], bytes]:
    return partial(decompress, content_type=t)


__all__ = ["compress", "decompress", "encoders", "get_decoder", "get_encoder", "register"]
