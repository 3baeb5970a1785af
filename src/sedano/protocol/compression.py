"""Compression of bodies and result records by name or MIME type. gzip and zlib both mean a zlib stream, as in Kombu."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterable

from sedano.exceptions import DecodeError, EncodeError

_ALIASES = {
    "gzip": "application/x-gzip",
    "zlib": "application/x-gzip",
    "bzip2": "application/x-bz2",
    "bzip": "application/x-bz2",
    "lzma": "application/x-lzma",
    "xz": "application/x-lzma",
    "brotli": "application/x-brotli",
    "zstd": "application/zstd",
    "zstandard": "application/zstd",
}
_MISSING = {
    "application/x-brotli": "install brotli and call compression.register(brotli.compress, brotli.decompress, "
    "'application/x-brotli', ['brotli'])",
    "application/zstd": "install backports.zstd and call compression.register(zstd.compress, zstd.decompress, "
    "'application/zstd', ['zstd'])",
}

_methods: dict[str, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]] = {}


def register(
    encoder: Callable[[bytes], bytes], decoder: Callable[[bytes], bytes], content_type: str, aliases: Iterable[str] = ()
) -> None:
    """Add or replace a method under its MIME type and `aliases`."""
    _methods[content_type] = (encoder, decoder)
    for alias in aliases:
        _ALIASES[alias] = content_type


def compress(data: bytes, name: str) -> tuple[bytes, str]:
    """(compressed data, MIME type). Raises `EncodeError` for a method that is unknown or not installed."""
    content_type = _ALIASES.get(name, name)
    method = _methods.get(content_type)
    if method is None:
        raise EncodeError(f"cannot compress with {name!r}: {_remedy(content_type)}")
    return method[0](data), content_type


def decompress(data: bytes, content_type: str) -> bytes:
    """Raises `DecodeError` for a method that is unknown or not installed, and for data that is no such stream."""
    method = _methods.get(_ALIASES.get(content_type, content_type))
    if method is None:
        raise DecodeError(f"cannot decompress {content_type!r}: {_remedy(_ALIASES.get(content_type, content_type))}")
    try:
        return method[1](data)
    except Exception as exc:  # each method has errors of its own; a registered one may raise anything
        raise DecodeError(f"the data is no {content_type} stream: {exc}") from exc


def _remedy(content_type: str) -> str:
    return _MISSING.get(content_type) or f"use one of {', '.join(sorted(_methods))} or add it with compression.register"


register(zlib.compress, zlib.decompress, "application/x-gzip")
register(bz2.compress, bz2.decompress, "application/x-bz2")
register(lzma.compress, lzma.decompress, "application/x-lzma")
