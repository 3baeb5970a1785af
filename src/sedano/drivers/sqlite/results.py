"""Results on SQLite. Keeps the promises of `contracts/results.py`."""

from __future__ import annotations

from collections.abc import Sequence

from sedano.contracts import ChordPart, ChordReady, ChordStart, ResultWrite
from sedano.drivers.sqlite import records
from sedano.drivers.sqlite.queries import load
from sedano.drivers.sqlite.store import Step, Store, as_json, storable
from sedano.drivers.sqlite.stream import SqliteResultStream

_EXPIRED_AT_ONCE = 1000
_MOST_PAGES = 20

_SQL, _DEAD = load("results"), load("dead")
_FETCH = _SQL["fetch"]


class SqliteResults:
    """`polls`: its streams use no sockets."""

    def __init__(self, store: Store, *, polls: bool) -> None:
        self._store = store
        self._polls = polls

    def store(
        self,
        writes: Sequence[ResultWrite],
        parts: Sequence[ChordPart] = (),
        starts: Sequence[ChordStart] = (),
        *,
        repeated: bool = False,
    ) -> list[ChordReady]:
        if not (writes or parts or starts):
            return []
        now = self._store.clock.wall()
        with self._store.step() as step:
            if writes:
                records.write(step, writes, now)
            for start in starts:
                records.start_chord(step, start.group_id, start.size, start.ttl_s, now)
            claims = [records.count_part(step, part, now, repeated=repeated) for part in parts]
        return [claim for claim in claims if claim is not None]

    def fetch(self, task_ids: Sequence[str]) -> list[bytes | None]:
        if not task_ids:
            return []
        names = [storable(task_id) for task_id in task_ids]
        found: dict[str, bytes] = dict(self._store.query(_FETCH, (as_json(names), self._store.clock.wall())))
        return [found.get(name) for name in names]

    def forget(self, task_ids: Sequence[str]) -> int:
        if not task_ids:
            return 0
        with self._store.step() as step:
            given = as_json([storable(task_id) for task_id in task_ids])
            rows = step.db.execute(_SQL["forget"], (given, self._store.clock.wall())).fetchall()
        return sum(was_kept for (was_kept,) in rows)

    def save_group(self, group_id: str, payload: bytes, ttl_s: float | None) -> None:
        self.store([ResultWrite(_group_name(group_id), payload, ttl_s, ready=False)])

    def fetch_group(self, group_id: str) -> bytes | None:
        return self.fetch([_group_name(group_id)])[0]

    def forget_group(self, group_id: str) -> None:
        self.forget([_group_name(group_id)])

    def start_chord(self, group_id: str, size: int, ttl_s: float) -> ChordReady | None:
        with self._store.step() as step:
            return records.start_chord(step, group_id, size, ttl_s, self._store.clock.wall())

    def grow_chord(self, group_id: str, by: int, tag: str) -> None:
        with self._store.step() as step:
            records.grow_chord(step, group_id, by, tag, self._store.clock.wall())

    def chord_parts(self, group_id: str) -> list[bytes]:
        return [row[0] for row in self._store.query(_SQL["parts"], (storable(group_id), self._store.clock.wall()))]

    def end_chord(self, group_id: str) -> None:
        with self._store.step() as step:
            records.end_chord(step, group_id, self._store.clock.wall())

    def subscribe(self) -> SqliteResultStream:
        return SqliteResultStream(self._store.twin(), polls=self._polls)

    def expire(self, now: float) -> int:
        """Also deletes chords and dead letters whose time is over; in pages, so that nobody waits long for the lock."""
        count = 0
        for _ in range(_MOST_PAGES):
            if not self._store.query(_SQL["any-expired"], (now,))[0][0]:
                break
            with self._store.step() as step:
                count += step.db.execute(_SQL["expire"], (now, _EXPIRED_AT_ONCE)).rowcount
                step.db.execute(_DEAD["expire"], (now, _EXPIRED_AT_ONCE))
                _expire_chords(step, now)
        return count

    def reconnect(self) -> None:
        self._store.close()

    def close(self) -> None:
        self._store.close()


def _expire_chords(step: Step, now: float) -> None:
    for over in step.db.execute(_SQL["over-chords"], (now, _EXPIRED_AT_ONCE)).fetchall():
        step.db.execute(_SQL["drop-parts"], over)
        step.db.execute(_SQL["drop-chord"], over)


def _group_name(group_id: str) -> str:
    """Groups lie among the records; no task id has a line break."""
    return "group\n" + group_id
