"""Locks, revokes, pauses and rates on memory. Keeps the promises of `contracts/coordination.py`."""

from __future__ import annotations

from collections.abc import Sequence

from sedano.clock import Clock
from sedano.contracts import Pause, Revoke, Throttled
from sedano.drivers.memory.store import Store


class MemoryCoordination:
    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def revoke(self, orders: Sequence[Revoke], *, keep_s: float) -> int:
        with self._store.lock:
            return self._store.agreements.revoke(orders, keep_s, self._clock.wall())

    def revokes(self) -> tuple[int, list[Revoke]]:
        with self._store.lock:
            return self._store.agreements.revision, self._store.agreements.revokes(self._clock.wall())

    def revision(self) -> int:
        with self._store.lock:
            return self._store.agreements.revision

    def pause(self, pauses: Sequence[Pause]) -> None:
        with self._store.lock:
            self._store.agreements.pauses.update((pause.queue, pause) for pause in pauses)

    def resume(self, queues: Sequence[str]) -> list[str]:
        with self._store.lock:
            return [name for name in dict.fromkeys(queues) if self._store.resume(name)]

    def pauses(self) -> list[Pause]:
        with self._store.lock:
            return sorted(self._store.agreements.pauses.values(), key=lambda pause: pause.queue)

    def throttle(self, name: str, per_s: float, *, returns: bool = False) -> Throttled:
        with self._store.lock:
            return self._store.agreements.throttle(name, per_s, returns, self._clock.monotonic())

    def acquire(self, name: str, owner: str, *, ttl_s: float) -> int | None:
        with self._store.lock:
            return self._store.agreements.acquire(name, owner, ttl_s, self._clock.monotonic())

    def release_lock(self, name: str, owner: str) -> bool:
        with self._store.lock:
            return self._store.agreements.release(name, owner, self._clock.monotonic())

    def holder(self, name: str) -> tuple[str, int] | None:
        with self._store.lock:
            lock = self._store.agreements.lock(name, self._clock.monotonic())
            return None if lock is None else (lock.owner, lock.term)

    def reconnect(self) -> None:
        pass

    def close(self) -> None:
        pass
