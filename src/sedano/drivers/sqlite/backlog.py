"""What waits in queues: messages ready to be taken, delayed calls, bindings. The schema says what the rows mean."""

from __future__ import annotations

import bisect
import itertools
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from sedano.contracts import Outgoing, QueueSpec
from sedano.drivers.sqlite.queries import load
from sedano.drivers.sqlite.store import Step, as_json, storable
from sedano.exceptions import MessageTooLarge, OperationalError
from sedano.protocol import envelope

READY, RESERVED, BEGUN_EARLY, BEGUN_LATE, DELAYED = range(5)
STEPS = (0, 3, 6, 9)
MOST_BYTES = 999_000_000
"""Of one message: SQLite's own limit for a row is 10^9."""

_STEP_OF = {priority: STEPS[bisect.bisect(STEPS, priority) - 1] for priority in range(10)}

_SQL = load("backlog")
_LAST_ID, _PUT, _PUT_BODY = _SQL["last-id"], _SQL["put"], _SQL["put-body"]
_HEAD, _PUT_FIRST, _PUT_LAST, _MOVE_BODY = _SQL["head"], _SQL["put-first"], _SQL["put-last"], _SQL["move-body"]
_PARK = load("parked")["put"]
_DROP, _DROP_BODIES = _SQL["drop"], _SQL["drop-bodies"]


class Entry(msgspec.Struct):
    """A message on its way into a queue: its bytes, the step that serves it, where it goes, when. `queue` is the number of
    the queue when it is known already; `parked` the name of a task that no worker knew."""

    raw: bytes
    priority: int
    routing_key: str
    exchange: str
    due: float | None
    queue: int | None = None
    parked: str = ""


class Row(msgspec.Struct, frozen=True):
    """A message that goes back to its queue; the least `order` is to be taken first."""

    order: tuple[float, ...]
    id: int
    queue: int
    priority: int


def entry_of(outgoing: Outgoing) -> Entry:
    """Raises `EncodeError` or `MessageTooLarge`; touches no store."""
    raw = envelope.encode(outgoing.message)
    if len(raw) > MOST_BYTES:
        raise MessageTooLarge(f"a message of {len(raw)} bytes for {outgoing.routing_key!r}: SQLite takes up to {MOST_BYTES}")
    parked = parked_name(outgoing.parked)
    return Entry(raw, step_of(outgoing.priority), outgoing.routing_key, outgoing.exchange, outgoing.due, None, parked)


def parked_name(task: str) -> str:
    """A task's name as it stands in the table: `json_each` cuts a text at its first zero."""
    return storable(task).replace("\0", "\\0")


def step_of(priority: int) -> int:
    """The step that serves Celery's priority number: 0 to 9, clipped, mapped down."""
    return _STEP_OF[min(max(priority, 0), 9)]


# -- coming in --------------------------------------------------------------------------------------------------------


def declare(step: Step, spec: QueueSpec) -> None:
    queue = step.queue_id(spec.name)
    if spec.exchange:
        step.db.execute(_SQL["bind"], (spec.exchange, spec.exchange_type, spec.routing_key, queue))


def put(step: Step, entries: Sequence[Entry], now: float) -> None:
    """Store at the tails, in order, as come `now`; delayed where a due time is given.

    Raises `OperationalError` for an unbound exchange.
    """
    db = step.db
    ids = itertools.count((db.execute(_LAST_ID).fetchone()[0] or 0) + 1)
    rows: list[tuple[int, int, int, int, float | None, float | None]] = []
    bodies: list[tuple[int, bytes]] = []
    for entry in entries:
        for queue in _route(step, entry):
            if entry.parked:
                db.execute(_PARK, (queue, entry.parked, entry.priority, entry.due, entry.raw))
                continue
            id_ = next(ids)
            if entry.due is None:
                rows.append((id_, queue, READY, entry.priority, None, now))
                step.readied(queue)
            else:
                rows.append((id_, queue, DELAYED, entry.priority, entry.due, None))
            bodies.append((id_, entry.raw))
    db.executemany(_PUT, rows)
    db.executemany(_PUT_BODY, bodies)


def put_first(step: Step, rows: Iterable[Row]) -> None:
    """Before everything else of their queue and step."""
    lines: defaultdict[tuple[int, int], list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row.order):
        lines[row.queue, row.priority].append(row)
    for line, moved in lines.items():
        place = min(step.db.execute(_HEAD, line).fetchone()[0] or 0, 0) - len(moved)
        step.db.executemany(_PUT_FIRST, [(row.id, place + n) for n, row in enumerate(moved)])
        step.readied(line[0], len(moved))


# -- the schedule -----------------------------------------------------------------------------------------------------


def promote(step: Step, queues: Iterable[str], now: float, limit: int) -> int:
    """Move up to `limit` calls that are due to the heads."""
    known = [queue for queue in map(step.known_queue, queues) if queue is not None]
    rows = [row for queue in known for row in step.db.execute(_SQL["due"], (queue, now, limit)).fetchall()]
    due = [Row((due, id_), id_, queue, priority) for due, id_, queue, priority in sorted(rows)[:limit]]
    put_first(step, due)
    return len(due)


def handback(step: Step, queues: Iterable[str], limit: int, now: float) -> int:
    """Move up to `limit` delayed calls to the tails, earliest first, due or not."""
    known = [queue for queue in map(step.known_queue, queues) if queue is not None]
    rows = sorted(row for queue in known for row in step.db.execute(_SQL["delayed"], (queue, limit)).fetchall())[:limit]
    last = step.db.execute(_LAST_ID).fetchone()[0] or 0
    moved = [(row[1], last + 1 + n) for n, row in enumerate(rows)]
    step.db.executemany(_PUT_LAST, [(*ids, now) for ids in moved])
    step.db.executemany(_MOVE_BODY, moved)
    for row in rows:
        step.readied(row[2])
    return len(rows)


# -- going out --------------------------------------------------------------------------------------------------------


def drop(step: Step, ids: Sequence[int]) -> None:
    given = as_json(ids)
    step.db.execute(_DROP, (given,))
    step.db.execute(_DROP_BODIES, (given,))


def purge_page(step: Step, name: str, last: int, limit: int) -> int:
    """Drop up to `limit` ready messages with ids up to `last`; how many."""
    queue = step.known_queue(name)
    if queue is None:
        return 0
    ids = [row[0] for row in step.db.execute(_SQL["ready-page"], (queue, last, limit)).fetchall()]
    drop(step, ids)
    return len(ids)


# -- exchanges --------------------------------------------------------------------------------------------------------


def _route(step: Step, entry: Entry) -> list[int]:
    if entry.queue is not None:
        return [entry.queue]
    if not entry.exchange:
        return [step.queue_id(entry.routing_key)]
    bindings = step.db.execute(_SQL["bindings"], (entry.exchange,)).fetchall()
    queues = dict.fromkeys(queue for kind, pattern, queue in bindings if _matches(kind, pattern, entry.routing_key))
    if not queues:
        raise OperationalError(
            f"exchange {entry.exchange!r} has no binding for key {entry.routing_key!r}: declare a queue with one"
        )
    return list(queues)


def _matches(kind: str, pattern: str, routing_key: str) -> bool:
    """As Kombu's virtual exchanges: in a topic's pattern `*` is one word, `#` any text."""
    if kind == "fanout":
        return True
    if kind == "topic":
        words = {"*": r"[^.]+", "#": ".*?"}
        return (
            re.fullmatch(r"\.".join(words.get(word, re.escape(word)) for word in pattern.split(".")), routing_key) is not None
        )
    return pattern == routing_key
