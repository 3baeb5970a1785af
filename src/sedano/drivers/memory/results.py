"""Results on memory. Keeps the promises of `contracts/results.py`."""

from __future__ import annotations

from collections.abc import Sequence

from sedano.clock import Clock
from sedano.contracts import ChordPart, ChordReady, ResultWrite
from sedano.drivers.memory.records import Watcher
from sedano.drivers.memory.store import Store
from sedano.drivers.memory.waking import Waker


class MemoryResultStream:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._watcher = Watcher(Waker())
        self._is_closed = False
        with store.lock:
            store.records.watchers.add(self._watcher)

    def watch(self, task_ids: Sequence[str]) -> None:
        with self._store.lock:
            self._watcher.task_ids.update(task_ids)

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
        return news


class MemoryResults:
    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def store(self, writes: Sequence[ResultWrite], parts: Sequence[ChordPart] = ()) -> list[ChordReady]:
        now = self._clock.wall()
        with self._store.lock:
            for write in writes:
                self._store.records.write(write, now)
            claims = [self._store.records.count_part(part, now) for part in parts]
        return [claim for claim in claims if claim is not None]

    def fetch(self, task_ids: Sequence[str]) -> list[bytes | None]:
        now = self._clock.wall()
        with self._store.lock:
            return [self._store.records.read(task_id, now) for task_id in task_ids]

    def forget(self, task_ids: Sequence[str]) -> int:
        with self._store.lock:
            return self._store.records.forget(task_ids, self._clock.wall())

    def start_chord(self, group_id: str, size: int, ttl_s: float) -> ChordReady | None:
        with self._store.lock:
            return self._store.records.start_chord(group_id, size, ttl_s, self._clock.wall())

    def chord_parts(self, group_id: str) -> list[bytes]:
        with self._store.lock:
            return self._store.records.parts(group_id, self._clock.wall())

    def end_chord(self, group_id: str) -> None:
        with self._store.lock:
            self._store.records.end_chord(group_id, self._clock.wall())

    def subscribe(self) -> MemoryResultStream:
        return MemoryResultStream(self._store)

    def expire(self, now: float) -> int:
        with self._store.lock:
            return self._store.records.expire(now)

    def reconnect(self) -> None:
        pass

    def close(self) -> None:
        pass
