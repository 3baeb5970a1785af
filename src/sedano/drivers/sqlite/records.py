"""Result records and chords inside a step; used by the settle of a broker and by the result store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sedano.contracts import ChordPart, ChordReady, ResultWrite
from sedano.drivers.sqlite.queries import load
from sedano.drivers.sqlite.store import Step, storable

CHORD_REMEMBERED_S = 300.0
"""How long a chord whose body was published is remembered, so that a repeated part does not start it again."""

_SQL = load("results")
_WRITE, _COUNT_PART = _SQL["write"], _SQL["count-part"]


def write(step: Step, writes: Sequence[ResultWrite], now: float) -> None:
    rows = [(storable(each.task_id), each.payload, None if each.ttl_s is None else now + each.ttl_s) for each in writes]
    step.db.executemany(_WRITE, rows)
    step.written([row[0] for row in rows])


def count_part(step: Step, part: ChordPart, now: float) -> ChordReady | None:
    """Count it unless it was counted; the claim when it was the last."""
    chord = _Chord.of(step, part.group_id, part.ttl_s, now)
    if chord.done:
        return None
    counted = step.db.execute(_COUNT_PART, (chord.id, part.group_index, storable(part.task_id), part.payload)).rowcount
    chord.counted += max(counted, 0)
    return chord.saved(step, part.group_id)


def start_chord(step: Step, group_id: str, size: int, ttl_s: float, now: float) -> ChordReady | None:
    chord = _Chord.of(step, group_id, ttl_s, now)
    if chord.done:
        return None
    chord.size = size
    return chord.saved(step, group_id)


def end_chord(step: Step, group_id: str, now: float) -> None:
    (chord,) = step.db.execute(_SQL["end-chord"], (storable(group_id), now + CHORD_REMEMBERED_S)).fetchone()
    step.db.execute(_SQL["drop-parts"], (chord,))


@dataclass(slots=True)
class _Chord:
    id: int
    size: int | None = None
    counted: int = 0
    claimed: bool = False
    done: bool = False
    ends_at: float = 0.0

    @staticmethod
    def of(step: Step, group_id: str, ttl_s: float, now: float) -> _Chord:
        """The chord, kept for another `ttl_s`; a new one in the place of one whose time is over."""
        row = step.db.execute(_SQL["find-chord"], (storable(group_id),)).fetchone()
        if row is not None and row[5] <= now:
            step.db.execute(_SQL["drop-parts"], (row[0],))
            step.db.execute(_SQL["drop-chord"], (row[0],))
            row = None
        if row is None:
            (new,) = step.db.execute(_SQL["make-chord"], (storable(group_id), now + ttl_s)).fetchone()
            return _Chord(new, ends_at=now + ttl_s)
        chord = _Chord(row[0], row[1], row[2], bool(row[3]), bool(row[4]), row[5])
        chord.ends_at = max(chord.ends_at, now + ttl_s)
        return chord

    def saved(self, step: Step, group_id: str) -> ChordReady | None:
        """Write it back; the claim when all parts are there and nobody has it."""
        is_complete = not self.claimed and self.size is not None and self.counted >= self.size
        self.claimed = self.claimed or is_complete
        step.db.execute(_SQL["save-chord"], (self.id, self.size, self.counted, int(self.claimed), self.ends_at))
        return ChordReady(group_id) if is_complete else None
