"""Result records and chords inside a step; used by the settle of a broker and by the result store."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from sedano.contracts import ChordPart, ChordReady, ResultWrite
from sedano.drivers.sqlite.queries import load
from sedano.drivers.sqlite.store import Step, storable
from sedano.protocol.results import says_otherwise

UNSAID_S = 86400.0
"""How long a chord is kept that grows before anything else is said of it."""

CHORD_REMEMBERED_S = 300.0
"""How long a chord whose body was published is remembered, so that a repeated part does not start it again."""

_SQL = load("results")
_WRITE, _COUNT_PART = _SQL["write"], _SQL["count-part"]


def write(step: Step, writes: Sequence[ResultWrite], now: float) -> None:
    rows = [
        (
            storable(each.task_id),
            each.payload,
            None if each.ttl_s is None else now + each.ttl_s,
            says_otherwise(each.payload),
            now,
        )
        for each in writes
    ]
    step.db.executemany(_WRITE, rows)
    step.written([row[0] for row in rows])


def count_part(step: Step, part: ChordPart, now: float, *, repeated: bool = False) -> ChordReady | None:
    """Count it unless it was counted; the claim when it was the last, or (`repeated`) had the claim before."""
    chord = _Chord.of(step, part.group_id, part.ttl_s, now)
    if chord.done:
        return None
    counted = step.db.execute(_COUNT_PART, (chord.id, part.group_index, storable(part.task_id), part.payload)).rowcount
    chord.counted += max(counted, 0)
    ready = chord.saved(step, f"{part.group_index}:{storable(part.task_id)}", again=repeated)
    return ChordReady(part.group_id, part.claim) if ready else None


def start_chord(step: Step, group_id: str, size: int, ttl_s: float, now: float) -> ChordReady | None:
    chord = _Chord.of(step, group_id, ttl_s, now)
    if chord.done:
        return None
    chord.size = size
    return ChordReady(group_id) if chord.saved(step, "") else None


def grow_chord(step: Step, group_id: str, by: int, tag: str, now: float) -> None:
    """Tags lie among the records; no task id has a line break."""
    tagged = storable(f"grown\n{group_id}\n{tag}")
    if step.db.execute(_SQL["note"], (tagged, b"", now + UNSAID_S)).rowcount < 1:
        return
    chord = _Chord.of(step, group_id, UNSAID_S, now)
    chord.more += by
    chord.saved(step, None)


def end_chord(step: Step, group_id: str, now: float) -> None:
    (chord,) = step.db.execute(_SQL["end-chord"], (storable(group_id), now + CHORD_REMEMBERED_S)).fetchone()
    step.db.execute(_SQL["drop-parts"], (chord,))


class _Chord(msgspec.Struct):
    id: int
    size: int | None = None
    counted: int = 0
    claimed: bool = False
    done: bool = False
    ends_at: float = 0.0
    more: int = 0
    claimer: str | None = None

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
        chord = _Chord(row[0], row[1], row[2], bool(row[3]), bool(row[4]), *row[5:])
        chord.ends_at = max(chord.ends_at, now + ttl_s)
        return chord

    def saved(self, step: Step, by: str | None, *, again: bool = False) -> bool:
        """Write it back; True when all parts are there and `by` has the claim since now (or, `again`, since before)."""
        is_complete = self.size is not None and self.counted >= self.size + self.more
        is_claimed = is_complete and by is not None and (not self.claimed or (again and self.claimer == by))
        if is_claimed:
            self.claimed, self.claimer = True, by
        values = (self.id, self.size, self.counted, int(self.claimed), self.ends_at, self.more, self.claimer)
        step.db.execute(_SQL["save-chord"], values)
        return is_claimed
