"""Deliveries out of rows. The tag of a delivery is `<message id>.<serial of its reservation>`: no two have the same."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sedano.contracts import Delivery
from sedano.exceptions import UnreadableMessage
from sedano.protocol import envelope

# A body is text inside of text here, its quotes are escaped: it cannot hold what is looked for.
_TASK = re.compile(rb'"headers": ?\{"lang": ?"py", ?"task": ?"([^"\\]+)"')


def tag_of(message: int, serial: int) -> str:
    return f"{message}.{serial}"


def message_ids(tags: Iterable[str]) -> list[int]:
    """The ids of the messages in `tags`; tags that no store of this kind has given out have none."""
    heads = (tag.partition(".")[0] for tag in tags)
    return [int(head) for head in heads if head.isdecimal() and len(head) < 19]


def read(delivery: Delivery) -> Delivery:
    """Fill in what the bytes say; or why they say nothing."""
    try:
        message = envelope.decode(delivery.raw)
    except UnreadableMessage as error:
        delivery.unreadable = str(error)
        return delivery
    delivery.message = message
    delivery.redelivered = envelope.is_redelivered(message)
    delivery.deliveries = envelope.deliveries_of(message)
    return delivery


def head_of(delivery: Delivery) -> tuple[str | None, bool]:
    """What a `BeginRule` must know of a delivery that was not read yet. Others wait for this: it looks only where every
    producer writes these things, and what it cannot find so is nobody's to begin unseen."""
    found = _TASK.search(delivery.raw)
    # Whatever else than ASCII stands there is looked at by those who may fail over it: a step must not.
    task = found[1].decode() if found is not None and found[1].isascii() else None
    return task, b'"redelivered"' in delivery.raw


def counted_once_more(raw: bytes) -> bytes:
    """The bytes of a message that is given out again; bytes that are no message cannot be marked and stay as they are."""
    try:
        message = envelope.decode(raw)
    except UnreadableMessage:
        return raw
    return envelope.encode(envelope.redelivered(message, envelope.deliveries_of(message) + 1))
