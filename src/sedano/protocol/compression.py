"""Compression of bodies and result records by name or MIME type. gzip and zlib both mean a zlib stream, as in Kombu.

A method's library is imported when the method is first used. Reading stops at `LONGEST` bytes: a few kilobytes can be
compressed gigabytes, and whoever may write to the broker could end a worker with them.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from sedano.exceptions import DecodeError, EncodeError

LONGEST = 128 * 1024 * 1024
"""The most bytes that a compressed body or record may hold; one that holds more is refused. Set it to read longer ones."""

# A frame may ask for a window of gigabytes; that of the highest preset is 65 MiB.
_LZMA_MEMORY = 256 * 1024 * 1024

Coder = Callable[[bytes], bytes]


class Method(NamedTuple):
    """`compress` and `decompress` as in Kombu's `register`; either may raise anything."""

    compress: Coder
    decompress: Coder


class _BuiltIn(NamedTuple):
    """`extra` is what brings the library, "" for one that is part of Python."""

    make: Callable[[], Method]
    aliases: tuple[str, ...]
    extra: str


def register(encoder: Coder, decoder: Coder, content_type: str, aliases: Iterable[str] | None = None) -> None:
    """Add or replace a method under its MIME type and `aliases`. What its decoder returns may be of any length."""
    _methods[content_type] = Method(encoder, decoder)
    for alias in aliases or ():
        _ALIASES[alias] = content_type


def encoders() -> list[str]:
    """The MIME types that can be written here."""
    return [content_type for content_type in {**_methods, **_BUILT_IN} if _find(content_type) is not None]


def mime_type(name: str) -> str:
    """What stands in a message's header for the method `name`."""
    return _ALIASES.get(name, name)


def compress(data: bytes, name: str) -> tuple[bytes, str]:
    """(compressed data, MIME type). Raises `EncodeError` for a method that is unknown or not installed."""
    method = _find(_ALIASES.get(name, name)) or _find_in_kombu(name)
    content_type = _ALIASES.get(name, name)
    if method is None:
        raise EncodeError(f"cannot compress with {name!r}: {_remedy(content_type)}")
    try:
        return method.compress(data), content_type
    except Exception as exc:  # a registered one may raise anything
        raise EncodeError(f"the compression {name!r} cannot write the data: {exc}") from exc


def decompress(data: bytes, content_type: str) -> bytes:
    """Raises `DecodeError` for a method that is unknown or not installed, for data that is no such stream or does not end,
    and for more than `LONGEST` bytes."""
    method = _find(_ALIASES.get(content_type, content_type)) or _find_in_kombu(content_type)
    if method is None:
        raise DecodeError(f"cannot decompress {content_type[:100]!r}: {_remedy(_ALIASES.get(content_type, content_type))}")
    try:
        return method.decompress(data)
    except DecodeError:
        raise
    except Exception as exc:  # each method has errors of its own; a registered one may raise anything
        raise DecodeError(f"the data is no {content_type} stream: {exc}") from exc


def _find(content_type: str) -> Method | None:
    method = _methods.get(content_type)
    if method is None and content_type in _BUILT_IN:
        try:
            method = _methods[content_type] = _BUILT_IN[content_type].make()
        except ImportError:
            return None
    return method


def _find_in_kombu(name: str) -> Method | None:
    """What somebody registered with Kombu, in a process that has loaded it."""
    kombu = sys.modules.get("kombu.compression")
    if kombu is None:
        return None
    try:
        encoder, content_type = kombu.get_encoder(name)
        register(encoder, kombu.get_decoder(name), content_type, [name])
    except (AttributeError, KeyError):  # AttributeError: another thread is importing it just now
        return None
    return _methods[content_type]


def _remedy(content_type: str) -> str:
    if content_type in _BUILT_IN:
        extra = _BUILT_IN[content_type].extra
        return f"pip install 'sedano[{extra}]'" if extra else "this Python was built without it"
    known = sorted(alias for alias, mime in _ALIASES.items() if _find(mime) is not None)
    return f"use one of {', '.join(known)}, or add it with sedano.serialization.register_compression"


# -- reading a bounded number of bytes ------------------------------------------------------------------------------------


def _too_long() -> DecodeError:
    return DecodeError(
        f"the compressed data holds more than {LONGEST} bytes, which is refused as a decompression bomb; to read it, raise "
        "sedano.protocol.compression.LONGEST in the module of the app"
    )


def _bounded(open_stream: Callable[[], Any], *, many: bool = True) -> Coder:
    """A decoder made of Python's decompressor objects. Like those modules' own functions it reads `many` streams that follow
    each other as one, and ignores what follows the last."""

    def decompress(data: bytes) -> bytes:
        parts: list[bytes] = []
        room = LONGEST + 1
        while data or not parts:
            stream = open_stream()
            try:
                part = stream.decompress(data, room)
            except Exception:
                if parts:
                    break
                raise
            room -= len(part)
            if room <= 0:
                raise _too_long()
            if not stream.eof:
                raise EOFError("it ends too early")
            parts.append(part)
            data = stream.unused_data if many else b""
        return parts[0] if len(parts) == 1 else b"".join(parts)

    return decompress


def _zlib() -> Method:
    zlib = importlib.import_module("zlib")
    return Method(zlib.compress, _bounded(zlib.decompressobj, many=False))


def _bz2() -> Method:
    bz2 = importlib.import_module("bz2")
    return Method(bz2.compress, _bounded(bz2.BZ2Decompressor))


def _lzma() -> Method:
    lzma = importlib.import_module("lzma")
    return Method(lzma.compress, _bounded(lambda: lzma.LZMADecompressor(memlimit=_LZMA_MEMORY)))


def _zstd() -> Method:
    zstd = importlib.import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
    return Method(zstd.compress, _bounded(zstd.ZstdDecompressor))


def _brotli() -> Method:
    try:
        brotli = importlib.import_module("brotli")
    except ImportError:
        brotli = importlib.import_module("brotlicffi")  # its form for PyPy

    def decompress(data: bytes) -> bytes:
        stream = brotli.Decompressor()
        try:
            found: bytes = stream.process(data, output_buffer_limit=LONGEST + 1)
        except TypeError as exc:
            raise DecodeError("this brotli is older than 1.2 and cannot stop at a limit: pip install -U brotli") from exc
        if len(found) > LONGEST:
            raise _too_long()
        if not stream.is_finished():
            raise EOFError("it ends too early")
        return found

    return Method(brotli.compress, decompress)


_BUILT_IN = {
    "application/x-gzip": _BuiltIn(_zlib, ("gzip", "zlib"), ""),
    "application/x-bz2": _BuiltIn(_bz2, ("bzip2", "bzip"), ""),
    "application/x-lzma": _BuiltIn(_lzma, ("lzma", "xz"), ""),
    "application/x-brotli": _BuiltIn(_brotli, ("brotli",), "brotli"),
    "application/zstd": _BuiltIn(_zstd, ("zstd", "zstandard"), "zstd"),
}
_ALIASES = {alias: content_type for content_type, method in _BUILT_IN.items() for alias in method.aliases}
_methods: dict[str, Method] = {}
