"""Result records and chords, with who watches them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sedano.contracts import ChordPart, ChordReady, ResultWrite
from sedano.drivers.memory.waking import Waker
from sedano.protocol.results import outlasts

UNSAID_S = 86400.0
"""How long a chord is kept that grows before anything else is said of it."""

CHORD_REMEMBERED_S = 300.0
"""How long a chord whose body was published is remembered, so that a repeated part does not start it again."""


@dataclass(slots=True, eq=False)
class Watcher:
    """What one stream wants to hear, and what it has not fetched yet."""

    waker: Waker
    task_ids: set[str] = field(default_factory=set)
    news: list[tuple[str, bytes | None]] = field(default_factory=list)


@dataclass(slots=True)
class _Record:
    payload: bytes
    ends_at: float | None


@dataclass(slots=True)
class _Chord:
    ends_at: float = 0.0
    size: int | None = None
    more: int = 0
    tags: set[str] = field(default_factory=set)  # with which it grew
    parts: dict[tuple[str, int], bytes] = field(default_factory=dict)
    claimer: tuple[str, int] | None = None
    done: bool = False

    def is_claimed(self, by: tuple[str, int], *, again: bool = False) -> bool:
        """Whether all parts are there and whoever brought `by` has the claim."""
        if self.done or self.size is None or len(self.parts) < self.size + self.more:
            return False
        if self.claimer is None:
            self.claimer = by
            return True
        return again and self.claimer == by


_STARTER = ("", -1)
"""The claimer of a chord whose parts were there before its size was said."""


class Records:
    """Times are wall seconds."""

    def __init__(self) -> None:
        self._records: dict[str, _Record] = {}
        self._chords: dict[str, _Chord] = {}
        self.watchers: set[Watcher] = set()

    # -- records ------------------------------------------------------------------------------------------------------

    def write(self, write: ResultWrite, now: float) -> None:
        stored = self.read(write.task_id, now)
        if stored is not None and outlasts(stored, write.payload):
            return
        self._records[write.task_id] = _Record(write.payload, None if write.ttl_s is None else now + write.ttl_s)
        for watcher in self.watchers:
            if write.task_id in watcher.task_ids:
                watcher.news.append((write.task_id, write.payload))
                watcher.waker.wake()

    def read(self, task_id: str, now: float) -> bytes | None:
        record = self._records.get(task_id)
        return None if record is None or _is_over(record, now) else record.payload

    def forget(self, task_ids: Sequence[str], now: float) -> int:
        existing = [task_id for task_id in dict.fromkeys(task_ids) if self.read(task_id, now) is not None]
        for task_id in existing:
            del self._records[task_id]
        return len(existing)

    def expire(self, now: float) -> int:
        over = [task_id for task_id, record in self._records.items() if _is_over(record, now)]
        for task_id in over:
            del self._records[task_id]
        for group_id in [group_id for group_id, chord in self._chords.items() if chord.ends_at <= now]:
            del self._chords[group_id]
        return len(over)

    # -- chords -------------------------------------------------------------------------------------------------------

    def count_part(self, part: ChordPart, now: float, *, repeated: bool = False) -> ChordReady | None:
        chord = self._chord(part.group_id, part.ttl_s, now)
        if chord.done:
            return None
        key = (part.task_id, part.group_index)
        chord.parts.setdefault(key, part.payload)
        return ChordReady(part.group_id, part.claim) if chord.is_claimed(key, again=repeated) else None

    def start_chord(self, group_id: str, size: int, ttl_s: float, now: float) -> ChordReady | None:
        chord = self._chord(group_id, ttl_s, now)
        chord.size = size
        return ChordReady(group_id) if chord.is_claimed(_STARTER) else None

    def grow_chord(self, group_id: str, by: int, tag: str, now: float) -> None:
        chord = self._chords.get(group_id)
        if chord is None or chord.ends_at <= now:
            chord = self._chord(group_id, UNSAID_S, now)
        if tag not in chord.tags:
            chord.tags.add(tag)
            chord.more += by

    def parts(self, group_id: str, now: float) -> list[bytes]:
        chord = self._chords.get(group_id)
        if chord is None or chord.ends_at <= now:
            return []
        return [chord.parts[key] for key in sorted(chord.parts, key=lambda key: key[1])]

    def end_chord(self, group_id: str, now: float) -> None:
        self._chords[group_id] = _Chord(now + CHORD_REMEMBERED_S, done=True)

    def _chord(self, group_id: str, ttl_s: float, now: float) -> _Chord:
        chord = self._chords.get(group_id)
        if chord is None or chord.ends_at <= now:
            chord = self._chords[group_id] = _Chord()
        if not chord.done:
            chord.ends_at = max(chord.ends_at, now + ttl_s)
        return chord


def _is_over(record: _Record, now: float) -> bool:
    return record.ends_at is not None and record.ends_at <= now
