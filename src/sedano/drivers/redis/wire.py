"""RESP, the Redis protocol: commands to bytes, bytes to replies. hiredis does it where it is installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

_native: Any
try:
    import hiredis as _native
except ImportError:  # the pure reader below is as correct, only slower
    _native = None

Argument: TypeAlias = bytes | str | int | float
Reply: TypeAlias = Any  # None, int, float, bool, bytes, list, dict, ErrorReply or Push: a border

MAX_ARGUMENT_BYTES = 512 * 1024 * 1024
"""Redis refuses longer strings (`proto-max-bulk-len` as delivered) and drops the connection."""


class ErrorReply(Exception):
    """An error that the server answered. `code` is its first word, such as "NOSCRIPT"."""

    @property
    def code(self) -> str:
        return str(self).partition(" ")[0]


class Push(list[Any]):
    """Something the server said unasked (RESP3), such as `[b"invalidate", [b"key"]]`."""


class BadProtocol(Exception):
    """Bytes that are no RESP: whatever is at the other end is no Redis."""


class Reader(Protocol):
    """Collects bytes and hands out whole replies."""

    def feed(self, data: bytes) -> None: ...

    def gets(self) -> Reply:
        """The next reply, or `NOTHING`."""
        ...


NOTHING = object()


def pack_purely(arguments: tuple[Argument, ...]) -> bytes:
    """One command as bytes."""
    parts = [b"*%d\r\n" % len(arguments)]
    for argument in arguments:
        data = argument if isinstance(argument, bytes) else str(argument).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


class PureReader:
    """The twin of `HiredisReader` in Python."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._at = 0

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def gets(self) -> Reply:
        self._at = 0
        try:
            reply = self._read()
        except _NotEnough:
            return NOTHING
        except (ValueError, TypeError, RecursionError) as exc:  # a length that is no number, a list as a key
            raise BadProtocol(f"a reply that cannot be read: {str(exc)[:200]}") from exc
        del self._buffer[: self._at]
        return reply

    def _read(self) -> Reply:
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind in _SIMPLE:
            return _SIMPLE[kind](rest)
        if kind in b"$=!":
            return self._string(kind, int(rest))
        if kind in b"*~>":
            return self._array(kind, int(rest))
        if kind == b"%":
            return {self._read(): self._read() for _ in range(int(rest))}
        if kind == b"|":  # attributes: facts about the next reply that we never asked for
            for _ in range(int(rest)):
                self._read()
                self._read()
            return self._read()
        raise BadProtocol(f"a reply that begins with {line[:40]!r}")

    def _line(self) -> bytes:
        end = self._buffer.find(b"\r\n", self._at)
        if end < 0:
            raise _NotEnough
        line = bytes(self._buffer[self._at : end])
        self._at = end + 2
        return line

    def _string(self, kind: bytes, length: int) -> bytes | ErrorReply | None:
        if length < 0:
            return None
        end = self._at + length
        if len(self._buffer) < end + 2:
            raise _NotEnough
        data = bytes(self._buffer[self._at : end])
        self._at = end + 2
        if kind == b"!":
            return _error(data)
        return data[4:] if kind == b"=" else data

    def _array(self, kind: bytes, length: int) -> list[Any] | None:
        if length < 0:
            return None
        items = [self._read() for _ in range(length)]
        return Push(items) if kind == b">" else items


class HiredisReader:
    """hiredis, with our own classes for errors and pushes."""

    def __init__(self) -> None:
        self._reader = _native.Reader(
            protocolError=BadProtocol,
            replyError=_error_of_text,
            notEnoughData=NOTHING,
        )

    def feed(self, data: bytes) -> None:
        self._reader.feed(data)

    def gets(self) -> Reply:
        reply = self._reader.gets()
        return Push(reply) if isinstance(reply, _native.PushNotification) else reply


class _NotEnough(Exception):
    """The rest of the reply has not arrived."""


def _error(data: bytes) -> ErrorReply:
    return ErrorReply(data.decode(errors="replace"))


def _error_of_text(text: str) -> ErrorReply:
    return ErrorReply(text)


_SIMPLE: dict[bytes, Any] = {
    b"+": bytes,
    b"-": _error,
    b":": int,
    b"_": lambda _rest: None,
    b",": float,
    b"#": lambda rest: rest == b"t",
    b"(": int,
}

_is_native = hasattr(_native, "PushNotification")  # older ones cannot tell a push from a reply

pack: Callable[[tuple[Argument, ...]], bytes] = _native.pack_command if _is_native else pack_purely
new_reader: Callable[[], Reader] = HiredisReader if _is_native else PureReader
