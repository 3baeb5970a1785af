"""Results on memory. Keeps the promises of `contracts/results.py`."""

from __future__ import annotations

from collections.abc import Sequence

from sedano.clock import Clock
from sedano.contracts import ChordPart, ChordReady, ChordStart, ResultWrite
from sedano.drivers.memory.records import Watcher
from sedano.drivers.memory.store import Store
from sedano.drivers.memory.waking import Waker


class MemoryResultStream:
    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._watcher = Watcher(Waker())
        self._is_closed = False
        with store.lock:
            store.records.watchers.add(self._watcher)

    def watch(self, task_ids: Sequence[str], drop: Sequence[str] = (), *, look: bool = True) -> list[tuple[str, bytes | None]]:
        now = self._clock.wall()
        with self._store.lock:
            self._watcher.task_ids.difference_update(drop)
            self._watcher.task_ids.update(task_ids)
            found = [(task_id, self._store.records.read(task_id, now)) for task_id in task_ids] if look else []
        return [(task_id, payload) for task_id, payload in found if payload is not None]

    def unwatch(self, task_ids: Sequence[str]) -> None:
        with self._store.lock:
            self._watcher.task_ids.difference_update(task_ids)

    def wait(self, timeout_s: float, fds: Sequence[int] = ()) -> list[tuple[str, bytes | None]]:
        return self._drain() or self._sleep(timeout_s, fds)

    def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        with self._store.lock:
            self._store.records.watchers.discard(self._watcher)
        self._watcher.waker.close()

    def _sleep(self, timeout_s: float, fds: Sequence[int]) -> list[tuple[str, bytes | None]]:
        self._watcher.waker.sleep(timeout_s, fds)
        return self._drain()

    def _drain(self) -> list[tuple[str, bytes | None]]:
        with self._store.lock:
            news, self._watcher.news = self._watcher.news, []
            return [each for each in news if each[0] in self._watcher.task_ids]


class MemoryResults:
    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def store(
        self,
        writes: Sequence[ResultWrite],
        parts: Sequence[ChordPart] = (),
        starts: Sequence[ChordStart] = (),
        *,
        repeated: bool = False,
    ) -> list[ChordReady]:
        now = self._clock.wall()
        with self._store.lock:
            for write in writes:
                self._store.records.write(write, now)
            for start in starts:
                self._store.records.start_chord(start.group_id, start.size, start.ttl_s, now)
            claims = [self._store.records.count_part(part, now, repeated=repeated) for part in parts]
        return [claim for claim in claims if claim is not None]

    def fetch(self, task_ids: Sequence[str]) -> list[bytes | None]:
        now = self._clock.wall()
        with self._store.lock:
            return [self._store.records.read(task_id, now) for task_id in task_ids]

    def forget(self, task_ids: Sequence[str]) -> int:
        with self._store.lock:
            return self._store.records.forget(task_ids, self._clock.wall())

    def save_group(self, group_id: str, payload: bytes, ttl_s: float | None) -> None:
        self.store([ResultWrite(_group_name(group_id), payload, ttl_s, ready=False)])

    def fetch_group(self, group_id: str) -> bytes | None:
        return self.fetch([_group_name(group_id)])[0]

    def forget_group(self, group_id: str) -> None:
        self.forget([_group_name(group_id)])

    def start_chord(self, group_id: str, size: int, ttl_s: float) -> ChordReady | None:
        with self._store.lock:
            return self._store.records.start_chord(group_id, size, ttl_s, self._clock.wall())

    def grow_chord(self, group_id: str, by: int, tag: str) -> None:
        with self._store.lock:
            self._store.records.grow_chord(group_id, by, tag, self._clock.wall())

    def chord_parts(self, group_id: str) -> list[bytes]:
        with self._store.lock:
            return self._store.records.parts(group_id, self._clock.wall())

    def end_chord(self, group_id: str) -> None:
        with self._store.lock:
            self._store.records.end_chord(group_id, self._clock.wall())

    def subscribe(self) -> MemoryResultStream:
        return MemoryResultStream(self._store, self._clock)

    def expire(self, now: float) -> int:
        with self._store.lock:
            return self._store.records.expire(now)

    def reconnect(self) -> None:
        pass

    def close(self) -> None:
        pass


def _group_name(group_id: str) -> str:
    """Groups lie among the records; no task id has a line break."""
    return "group\n" + group_id
