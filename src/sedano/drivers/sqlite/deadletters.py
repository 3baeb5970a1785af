"""Kept messages: bounded by age and by bytes per queue; the newest always stays."""

from __future__ import annotations

from sedano.contracts import DeadLetter, DeadNote
from sedano.drivers.sqlite.queries import load
from sedano.drivers.sqlite.store import Step, Store, storable

_SQL = load("dead")
_NEWEST = (1 << 63) - 1


def keep(step: Step, message: int, queue: int, note: DeadNote, now: float) -> None:
    """Copy the message `message` to the dead letters of `queue`, and drop what that makes too much or too old."""
    texts = (storable(text) for text in (note.cause, note.detail, note.task_id, note.task))
    fields = (*texts, note.died_at, note.keep_s, note.max_bytes)
    step.db.execute(_SQL["expire-queue"], (queue, now))
    step.db.execute(_SQL["keep"], (message, queue, *fields))
    while True:
        size, count = step.db.execute(_SQL["size"], (queue,)).fetchone()
        if size <= note.max_bytes or count < 2:
            return
        step.db.execute(_SQL["drop-oldest"], (queue,))


def letters(store: Store, queue: str | None, limit: int, before: str | None) -> list[DeadLetter]:
    """Newest first. Raises ValueError when `before` is no letter's id."""
    given = (store.clock.wall(), _NEWEST if before is None else int(before), limit)
    rows = store.query(_SQL["letters"], given) if queue is None else store.query(_SQL["letters-of-queue"], (*given, queue))
    return [DeadLetter(str(id_), name, DeadNote(*note), raw) for id_, name, *note, raw in rows]
