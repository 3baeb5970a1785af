"""What the bytes between a relay and its clients say.

A frame is a length (4 bytes, big-endian, of the rest), one byte, and msgpack. From a client the byte names the method, and the
msgpack holds its arguments; each is answered by one frame, but for `WAIT`, which is not answered. From the relay the byte says
what the frame is: `ANSWER` or `ERROR` to a request, or `AHEAD`, an answer that must not be acted on before `VALID` or `ERROR`
follows it (reading it takes as long as the server needs). `WORK` and `TROUBLE` are notes to whoever has said that it waits. A
note may cross a request: it is over then.

Errors travel by name and text and come out as the same class, or as the nearest base of it that is in `_ERRORS`.
"""

from __future__ import annotations

import builtins
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from sedano import exceptions
from sedano.contracts import (
    Capabilities,
    DeadLetter,
    Delivery,
    Depth,
    Found,
    Lease,
    LeaseRecord,
    Outgoing,
    Parked,
    Pending,
    Place,
    QueueSpec,
    Taken,
    TurnOrder,
    TurnReply,
)
from sedano.exceptions import EncodeError, LeaseLost

HEAD = struct.Struct(">IB")
LONGEST = 1 << 30
"""Bytes of the longest request. Whoever announces more is no client of ours."""

ANSWER, ERROR, WORK, TROUBLE, AHEAD, VALID = range(6)
WAIT = 255


@dataclass(frozen=True, slots=True, eq=False)
class Method:
    """A method of `Broker`: `asks` reads its arguments, the last of which are `named`; `answers` reads what it returns."""

    code: int
    name: str
    asks: msgspec.msgpack.Decoder[Any]
    answers: msgspec.msgpack.Decoder[Any]
    named: tuple[str, ...] = ()


_Deliveries = list[Delivery]
_Names = list[str]
_TABLE: tuple[tuple[str, Any, Any, tuple[str, ...]], ...] = (
    # name, arguments, answer, names of the last arguments
    ("capabilities", tuple[()], Capabilities, ()),
    ("turn", TurnOrder, TurnReply, ()),
    ("publish", tuple[list[Outgoing]], None, ()),
    ("declare", tuple[list[QueueSpec]], None, ()),
    ("register", tuple[str, str], Lease, ()),
    ("refence", tuple[Lease], Lease, ()),
    ("renew", tuple[list[Lease]], list[Lease], ()),
    ("leases", tuple[()], list[LeaseRecord], ()),
    ("take_over", tuple[LeaseRecord, Lease, int, bool], Taken, ("limit", "force")),
    ("retire", tuple[Lease], int, ()),
    ("pendings", tuple[Lease], list[Pending], ()),
    ("release", tuple[Lease, _Names | None], int, ()),
    ("unbegin", tuple[Lease, _Names | None, _Names], int, ("keep",)),
    ("promote", tuple[_Names, float, int], tuple[int, float | None], ("limit",)),
    ("unpark", tuple[_Names, _Names, int], int, ("limit",)),
    ("queues", tuple[()], _Names, ()),
    ("depth", tuple[_Names], list[Depth], ()),
    ("parked", tuple[_Names], list[Parked], ()),
    ("held", tuple[_Names, int, _Names | None], _Deliveries, ("limit", "tags")),
    ("delayed", tuple[_Names, int], tuple[int, list[tuple[float, Delivery]]], ("limit",)),
    ("purge", tuple[str], int, ()),
    ("dead_letters", tuple[str | None, int, str | None], list[DeadLetter], ("limit", "before")),
    ("drop_dead", tuple[_Names], int, ()),
    ("handback", tuple[_Names, int], int, ("limit",)),
    ("workflow", tuple[str], bytes | None, ()),
    ("workflows", tuple[int, int], list[tuple[str, bytes]], ("limit", "skip")),
    ("locate", tuple[_Names, _Names, int], tuple[dict[str, Place], bool], ("most",)),
    ("find", tuple[str, _Names, int], tuple[Found | None, bool], ("most",)),
    ("reconnect", tuple[()], None, ()),
)
METHODS: Mapping[str, Method] = {
    name: Method(code, name, msgspec.msgpack.Decoder(asks), msgspec.msgpack.Decoder(answers), named)
    for code, (name, asks, answers, named) in enumerate(_TABLE)
}
BY_CODE: Mapping[int, Method] = {method.code: method for method in METHODS.values()}
QUEUES = msgspec.msgpack.Decoder(_Names)  # what WAIT carries


def _plain(value: Any) -> Any:
    """What msgpack does not carry: of a message's headers, which are JSON-like otherwise."""
    reduce = getattr(value, "__json__", None)
    if reduce is not None:
        return reduce()
    for kind in (str, int, float):
        if isinstance(value, kind):
            return kind(value)
    raise EncodeError(f"cannot pass {type(value).__module__}.{type(value).__qualname__} on to the broker: convert it before")


_encoder = msgspec.msgpack.Encoder(enc_hook=_plain)


def pack(kind: int, value: Any, into: bytearray) -> None:
    """Replace what `into` holds by the frame. Raises EncodeError for a value that has no form in msgpack."""
    try:
        _encoder.encode_into(value, into, HEAD.size)
    except (TypeError, ValueError, OverflowError, RecursionError) as exc:
        raise EncodeError(f"cannot pass a value on to the broker: {exc}") from exc
    HEAD.pack_into(into, 0, len(into) - 4, kind)


def note(kind: int, value: Any = None) -> bytes:
    """A whole frame."""
    frame = bytearray()
    pack(kind, value, frame)
    return bytes(frame)


# -- errors -----------------------------------------------------------------------------------------------------------


class Trouble(msgspec.Struct, array_like=True):
    """An error on its way. `owner` is of a `LeaseLost`."""

    name: str
    text: str
    owner: str = ""


TROUBLE_OF = msgspec.msgpack.Decoder(Trouble)

_NAMED = ("ValueError", "TypeError", "KeyError", "LookupError", "OverflowError", "NotImplementedError", "RuntimeError")
_ERRORS: Mapping[str, type[Exception]] = {
    **{
        name: kind
        for name in (
            "BrokerUnavailable", "ResultsUnavailable", "StoreFull", "OperationalError", "MessageTooLarge", "LeaseLost",
            "UnreadableMessage", "DecodeError", "EncodeError", "QueueNotFound", "UnknownStore", "ImproperlyConfigured",
            "CeleryError",
        )
        if issubclass(kind := getattr(exceptions, name), Exception)
    },
    **{name: getattr(builtins, name) for name in _NAMED},
}  # fmt: skip


def trouble_of(exc: BaseException) -> Trouble:
    name = next((kind.__name__ for kind in type(exc).__mro__ if _ERRORS.get(kind.__name__) is kind), "")
    said = str(exc.args[0]) if isinstance(exc, KeyError) and exc.args else str(exc)  # else it is quoted once more each time
    text = said if name else f"{type(exc).__name__}: {said}"
    return Trouble(name or "RuntimeError", text, exc.owner if isinstance(exc, LeaseLost) else "")


def error_of(trouble: Trouble) -> Exception:
    kind = _ERRORS.get(trouble.name, RuntimeError)
    exc = kind.__new__(kind)
    Exception.__init__(exc, trouble.text)
    if isinstance(exc, LeaseLost):
        exc.owner = trouble.owner
    return exc
