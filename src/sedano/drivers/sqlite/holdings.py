"""What owners hold and what waits for its time, for people's questions: no lock, nothing is written."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sedano.contracts import Delivery, Standing
from sedano.drivers.sqlite.backlog import BEGUN_EARLY, BEGUN_LATE, RESERVED
from sedano.drivers.sqlite.deliveries import message_ids, read, tag_of
from sedano.drivers.sqlite.queries import load
from sedano.drivers.sqlite.store import Store, as_json, storable

_SQL = load("holdings")
_STANDINGS = {RESERVED: Standing.RESERVED, BEGUN_EARLY: Standing.BEGUN_EARLY, BEGUN_LATE: Standing.BEGUN_LATE}


def held(store: Store, owners: Sequence[str], limit: int, tags: Collection[str] | None) -> list[Delivery]:
    messages = None if tags is None else as_json(message_ids(tags))
    rows = store.query(_SQL["held"], (as_json([storable(owner) for owner in owners]), limit, messages))
    found = [
        Delivery(tag_of(id_, serial), queue, raw, None, priority=priority, standing=_STANDINGS[state])
        for id_, serial, state, queue, priority, raw in rows
    ]
    return [read(delivery) for delivery in found if tags is None or delivery.tag in tags]


def delayed(store: Store, queues: Sequence[str], limit: int) -> tuple[int, list[tuple[float, Delivery]]]:
    names = as_json([storable(queue) for queue in queues])
    (count,) = store.query(_SQL["count-delayed"], (names,))[0]
    rows = store.query(_SQL["delayed"], (names, limit)) if count else ()
    return count, [(due, read(Delivery("", queue, raw, None, priority=step))) for due, queue, step, raw in rows]
