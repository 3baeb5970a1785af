"""Records of workflows, and where calls are."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sedano.contracts import Found, Outgoing, Place, Where
from sedano.drivers.sqlite.backlog import BEGUN_EARLY, BEGUN_LATE, DELAYED, READY, RESERVED
from sedano.drivers.sqlite.queries import load
from sedano.drivers.sqlite.store import Step, Store, as_json, storable
from sedano.protocol.peek import task_id_of

_DROPPED_AT_ONCE = 100
_PARKED = 5  # as `look-parked` has it
_WHERE = {
    READY: Where.READY,
    DELAYED: Where.DELAYED,
    RESERVED: Where.RESERVED,
    BEGUN_EARLY: Where.BEGUN,
    BEGUN_LATE: Where.BEGUN,
    _PARKED: Where.PARKED,
}

_SQL = load("workflows")


def keep(step: Step, messages: Sequence[Outgoing], now: float) -> None:
    """The records that `messages` bring."""
    for outgoing in messages:
        note = outgoing.workflow
        if note is None:
            continue
        name, db = storable(note.id), step.db
        db.execute(_SQL["drop-over"], (now, _DROPPED_AT_ONCE))
        db.execute(_SQL["drop"], (name,))
        db.execute(_SQL["keep"], (name, note.ends_at, note.record))
        while db.execute(_SQL["bytes"]).fetchone()[0] > note.max_bytes:
            if not db.execute(_SQL["drop-first"], (name,)).fetchall():
                break


def read(store: Store, workflow_id: str) -> bytes | None:
    rows = store.query(_SQL["read"], (storable(workflow_id), store.clock.wall()))
    return rows[0][0] if rows else None


def page(store: Store, limit: int, skip: int) -> list[tuple[str, bytes]]:
    return [(name, record) for name, record in store.query(_SQL["page"], (store.clock.wall(), limit, skip))]


def locate(store: Store, task_ids: Collection[str], queues: Sequence[str], most: int) -> tuple[dict[str, Place], bool]:
    wanted, places, is_whole = set(task_ids) - {""}, dict[str, Place](), True
    dead = (as_json([storable(task_id) for task_id in wanted]), store.clock.wall())
    for task_id, queue, cause, detail in store.query(_SQL["look-dead"], dead):
        places[task_id] = Place(Where.DEAD, queue, detail=f"{cause}: {detail}")
    names = as_json(list(queues))
    for name, given in (("look-parked", (most + 1, names)), ("look-held", (most + 1,)), ("look-waiting", (most + 1, names))):
        rows = store.query(_SQL[name], given)
        is_whole = is_whole and len(rows) <= most
        for raw, state, queue, due, node in rows[:most]:
            task_id = task_id_of(raw)
            if task_id in wanted:
                places[task_id] = _place(state, queue, due, node)
    return places, is_whole


def find(store: Store, task_id: str, queues: Sequence[str], most: int) -> tuple[Found | None, bool]:
    found, is_whole = None, True
    for queue, cause, detail, raw in store.query(_SQL["find-dead"], (storable(task_id), store.clock.wall())):
        found = Found(Place(Where.DEAD, queue, detail=f"{cause}: {detail}"), raw)
    names = as_json(list(queues))
    for name, given in (("look-parked", (most + 1, names)), ("look-held", (most + 1,)), ("look-waiting", (most + 1, names))):
        rows = store.query(_SQL[name], given)
        is_whole = is_whole and len(rows) <= most
        for raw, state, queue, due, node in rows[:most]:
            if task_id_of(raw) == task_id:
                place = _place(state, queue, due, node)
                ahead = store.query(_SQL["ahead"], (queue, raw))[0][0] if place.where is Where.READY else None
                found = Found(place, raw, ahead)
    return found, is_whole


def _place(state: int, queue: str, due: float | None, node: str) -> Place:
    where = _WHERE[state]
    return Place(where, queue, node, due if where in (Where.DELAYED, Where.PARKED) else None)
