"""Putting back what dead Celery workers left in `unacked`: their visibility restore, for a fleet without any of them."""

from __future__ import annotations

import json

import msgspec

from sedano.contracts import DeadNote
from sedano.drivers.redis.connection import Connection
from sedano.drivers.redis.keys import Keys
from sedano.drivers.redis.operators import letter_keys
from sedano.drivers.redis.routing import Router
from sedano.drivers.redis.scripts import load
from sedano.drivers.redis.wire import Argument
from sedano.exceptions import UnreadableMessage
from sedano.protocol import envelope
from sedano.protocol.ids import new_id

_FIND, _RESTORE = load("restore_foreign"), load("restore")

MUTEX_MS = 30_000
KEEP_S = 7 * 24 * 3600.0
KEEP_BYTES = 256 * 1024 * 1024
UNREADABLE_QUEUE = "unacked"
"""Where a letter is filed whose queue cannot be read."""

_entry = msgspec.json.Decoder(tuple[msgspec.Raw, str | None, str | None])


def restore_foreign(
    connection: Connection, keys: Keys, router: Router, visibility_timeout_s: float, limit: int, now: float
) -> int:
    """One pass under Kombu's own mutex; 0 when somebody else has it. An entry that cannot be read, and would stop every
    Celery worker's restore, becomes a dead letter."""
    token = new_id()
    found = connection.run(
        _FIND,
        (keys.unacked, keys.unacked_index, keys.unacked_mutex, keys.own("owners"), keys.own("held.")),
        (repr(float(visibility_timeout_s)), limit, token, MUTEX_MS),
    )
    if found is None:
        return 0
    arguments: list[Argument] = [token, repr(now)]
    for i in range(0, len(found), 2):
        arguments += (found[i], found[i + 1], *_order(keys, router, found[i + 1], now))
    script_keys = (keys.unacked, keys.unacked_index, keys.unacked_mutex, *letter_keys(keys))
    return int(connection.run(_RESTORE, script_keys, arguments))


def _order(keys: Keys, router: Router, value: bytes, now: float) -> tuple[Argument, ...]:
    """What to do with one entry; an index entry without a value is only dropped."""
    if not value:
        return "L", 0, b""
    try:
        raw, exchange, routing_key = _parts(value)
        message = envelope.decode(raw)
    except (ValueError, UnreadableMessage) as error:  # msgspec's errors are ValueErrors
        note = DeadNote("unreadable", f"left in unacked by another worker: {error}", "", "", now, KEEP_S, KEEP_BYTES)
        return "D", UNREADABLE_QUEUE, msgspec.msgpack.encode(note), value, KEEP_BYTES, repr(now + KEEP_S)
    queues = router.queues_for(exchange, routing_key)
    step = keys.step(_priority(message.properties.get("priority")))
    restored = envelope.encode(envelope.redelivered(message, envelope.deliveries_of(message)))
    # Without a binding (its exchange is gone) the routing key is the best guess: Celery names queues after it.
    lists = [keys.ready(queue, step) for queue in queues or [routing_key]]
    return "L", len(lists), *lists, restored


def _parts(value: bytes) -> tuple[bytes, str, str]:
    try:
        raw, exchange, routing_key = _entry.decode(value)
        return bytes(raw), exchange or "", routing_key or ""
    except msgspec.DecodeError:  # Python's own JSON takes more, NaN for one
        whole = json.loads(value)
        return json.dumps(whole[0]).encode(), whole[1] or "", whole[2] or ""


def _priority(value: object) -> int:
    return int(value) if isinstance(value, int | float) else 0
