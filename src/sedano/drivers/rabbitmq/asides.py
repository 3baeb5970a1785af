"""What stands aside from a queue: dead letters, and parked calls, each in a queue of its own beside it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from sedano.contracts import DeadLetter, DeadNote, Outgoing, Parked, QueueSpec
from sedano.drivers.rabbitmq.channel import Channel
from sedano.drivers.rabbitmq.declaring import MOST_NAME
from sedano.drivers.rabbitmq.frames import Incoming
from sedano.drivers.rabbitmq.messages import from_amqp, to_amqp
from sedano.drivers.rabbitmq.properties import decode_properties, encode_properties
from sedano.drivers.rabbitmq.publishing import Ready
from sedano.drivers.rabbitmq.stored import read, unpack
from sedano.exceptions import UnreadableMessage
from sedano.log import get_logger
from sedano.protocol import envelope

logger = get_logger(__name__)

DEAD, PARKED = "sedano.dead.", "sedano.parked."
_NOTE, _TASK = "x-sedano-dead", "x-sedano-parked-task"
_MOST_MS = 2**32 - 1  # RabbitMQ refuses longer times
_PAUSE_S = 1.0  # when nothing comes for so long, somebody else has what is missing
_UNREADABLE = "application/x-sedano-unreadable"


class _Letter(msgspec.Struct):
    id: int
    queue: str
    note: DeadNote


_letter = msgspec.json.Decoder(_Letter)


def dead_name(queue: str) -> str:
    return _beside(DEAD, queue)


def parked_name(queue: str) -> str:
    return _beside(PARKED, queue)


def _beside(prefix: str, queue: str) -> str:
    """The name of a queue beside `queue`; shortened where AMQP has no room for it."""
    name = (prefix + queue).encode()
    if len(name) <= MOST_NAME:
        return prefix + queue
    digest = hashlib.sha256(name).hexdigest()
    return name[: MOST_NAME - len(digest) - 1].decode(errors="ignore") + "~" + digest


def dead_queue(queue: str, note: DeadNote) -> QueueSpec:
    """Where dead letters of `queue` are kept: so long and so many bytes as the first of them said, and 49 days at most."""
    arguments: dict[str, object] = {
        "x-message-ttl": _milliseconds(note.keep_s),
        "x-max-length-bytes": note.max_bytes,
        "x-overflow": "drop-head",
    }
    return QueueSpec(dead_name(queue), arguments=arguments)


def parked_queue(queue: str) -> QueueSpec:
    """Where calls of `queue` wait for a node that knows their task: each goes back when its time is over."""
    arguments: dict[str, object] = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": queue}
    return QueueSpec(parked_name(queue), arguments=arguments)


def _milliseconds(seconds: float) -> int:
    return min(max(0, round(seconds * 1000)), _MOST_MS)


class Numbers:
    """Ids that grow: of dead letters, by the microsecond."""

    def __init__(self) -> None:
        self._last = 0

    def next(self) -> int:
        self._last = max(self._last + 1, time.time_ns() // 1000)
        return self._last


def letter(raw: bytes, queue: str, note: DeadNote, number: int) -> Ready | None:
    """The dead letter of a message: the message itself with one header more, or its bytes when they cannot be read. None for
    what is larger than all letters may be: the server would drop it, and those before it too."""
    if len(raw) > note.max_bytes:
        logger.error(
            "The message of %s[%s] is not kept: %d bytes, and the dead letters of a queue may have %d",
            note.task, note.task_id, len(raw), note.max_bytes,
        )  # fmt: skip
        return None
    about = msgspec.json.encode(_Letter(number, queue, note)).decode()
    _, _, header, body = unpack(raw)
    properties: dict[str, Any]
    try:
        read(raw)
        properties = decode_properties(header)
    except UnreadableMessage:
        properties, body = {"content_type": _UNREADABLE}, raw
    properties.pop("expiration", None)
    properties["headers"] = {**properties.get("headers", {}), _NOTE: about}
    properties["delivery_mode"] = 2
    return Ready("", dead_name(queue), encode_properties(properties), body, queue=dead_name(queue))


def letter_of(incoming: Incoming) -> DeadLetter | None:
    """None for what somebody else has put there."""
    properties = decode_properties(incoming.header)
    headers: dict[str, Any] = dict(properties.get("headers") or {})
    about = headers.pop(_NOTE, None)
    try:
        found = _letter.decode(about)
    except (msgspec.MsgspecError, TypeError):
        return None
    if properties.get("content_type") == _UNREADABLE:
        raw = incoming.body
    else:
        header = encode_properties({**properties, "headers": headers})
        raw = envelope.encode(from_amqp(header, incoming.body, "", found.queue, redelivered=False))
    return DeadLetter(str(found.id), found.queue, found.note, raw)


def parked(outgoing: Outgoing, now: float) -> Ready:
    """A call that is parked until its `due`."""
    header, body = to_amqp(outgoing)
    properties = decode_properties(header)
    properties["expiration"] = str(_milliseconds((outgoing.due or now) - now))
    properties["headers"] = {**(properties.get("headers") or {}), _TASK: outgoing.parked, "x-sedano-parked-due": outgoing.due}
    queue = parked_name(outgoing.routing_key)
    return Ready("", queue, encode_properties(properties), body, queue=queue)


def unparked(incoming: Incoming, queue: str) -> Ready:
    """The same, back in its queue."""
    properties = decode_properties(incoming.header)
    headers = dict(properties.get("headers") or {})
    for name in (_TASK, "x-sedano-parked-due"):
        headers.pop(name, None)
    properties = {name: value for name, value in properties.items() if name != "expiration"}
    return Ready("", queue, encode_properties({**properties, "headers": headers}), incoming.body, queue=queue)


def task_of(incoming: Incoming) -> tuple[str, float]:
    """The task of a parked call, and when its time is over (Unix seconds)."""
    headers = decode_properties(incoming.header).get("headers") or {}
    due = headers.get("x-sedano-parked-due")
    return str(headers.get(_TASK, "")), float(due) if isinstance(due, int | float) else 0.0


def counted(parked_calls: Iterator[tuple[str, float]], queue: str) -> list[Parked]:
    """How many of each task, and when the first of them fails."""
    found: dict[str, tuple[int, float]] = {}
    for task, due in parked_calls:
        count, first = found.get(task, (0, due))
        found[task] = (count + 1, min(first, due))
    return [Parked(queue, task, count, due) for task, (count, due) in sorted(found.items())]


def browse(channel: Channel, queue: str, pump: Callable[[float], bool], *, most: int) -> list[Incoming]:
    """The first `most` messages of `queue`; they stay where they are when the channel is closed. `pump` is the connection's."""
    count = min(channel.declare_queue(queue, passive=True).messages, most)
    found: list[Incoming] = []
    if not count:
        return found
    channel.on_deliver = found.append
    channel.qos(count)
    channel.consume(queue, "browsing")
    while len(found) < count and channel.is_open and pump(_PAUSE_S):
        pass
    return found


__all__ = [
    "DEAD", "PARKED", "Numbers", "browse", "counted", "dead_name", "dead_queue", "letter", "letter_of", "parked",
    "parked_name", "parked_queue", "task_of", "unparked",
]  # fmt: skip
