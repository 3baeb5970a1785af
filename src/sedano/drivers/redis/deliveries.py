"""Stored values as `Delivery` and `DeadLetter`, and the bytes with which a delivery goes back."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from sedano.contracts import DeadLetter, DeadNote, Delivery, Standing
from sedano.drivers.redis.wire import Reply
from sedano.exceptions import UnreadableMessage
from sedano.protocol import envelope

_STANDINGS = {
    "r": Standing.RESERVED,
    "q": Standing.RESERVED,
    "l": Standing.BEGUN_LATE,
    "e": Standing.BEGUN_EARLY,
}
_note_decoder = msgspec.msgpack.Decoder(DeadNote)


def new_delivery(tag: str, queue: str, step: int, raw: bytes, standing: Standing = Standing.RESERVED) -> Delivery:
    delivery = Delivery(tag, queue, raw, None, priority=step, standing=standing)
    try:
        message = envelope.decode(raw)
    except UnreadableMessage as error:
        delivery.unreadable = str(error)
        return delivery
    delivery.message = message
    delivery.redelivered = envelope.is_redelivered(message)
    delivery.deliveries = envelope.deliveries_of(message)
    return delivery


def delivery_of_record(tag: bytes, record: bytes, raw: bytes) -> Delivery:
    """A delivery as `held.<owner>` knows it: `<standing><step>:<queue>`."""
    text = record.decode()
    step, _, queue = text[1:].partition(":")
    return new_delivery(tag.decode(), queue, int(step), raw, _STANDINGS[text[0]])


def requeued(raw: bytes) -> bytes:
    """The envelope marked as given out once more; bytes that are no message stay as they are."""
    try:
        message = envelope.decode(raw)
    except UnreadableMessage:
        return raw
    return envelope.encode(envelope.redelivered(message, envelope.deliveries_of(message) + 1))


def letters_of(reply: Sequence[Reply]) -> list[DeadLetter]:
    """Flat: id, queue, note, envelope, ..."""
    return [
        DeadLetter(reply[i].decode(), reply[i + 1].decode(), _note_decoder.decode(reply[i + 2]), reply[i + 3])
        for i in range(0, len(reply), 4)
    ]
