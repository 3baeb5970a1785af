"""Revokes, pauses, locks and rates. Revokes are kept by the wall clock, the others by the monotonic one: nobody outlives this
process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sedano.contracts import Pause, Revoke, Throttled
from sedano.rules.rates import judge


@dataclass(slots=True)
class Lock:
    owner: str
    term: int
    ends_at: float


class Agreements:
    def __init__(self) -> None:
        self.revision = 0
        self.pauses: dict[str, Pause] = {}
        self._revokes: dict[str, tuple[Revoke, float]] = {}
        self._locks: dict[str, Lock] = {}
        self._terms: dict[str, int] = {}
        self._rates: dict[str, tuple[float, float]] = {}

    def revoke(self, orders: Sequence[Revoke], keep_s: float, now: float) -> int:
        """Keep `orders`; a later one for the same call replaces the earlier."""
        self._revokes |= {order.task_id: (order, now + keep_s) for order in orders}
        self.revision += 1
        return self.revision

    def revokes(self, now: float) -> list[Revoke]:
        self._revokes = {task_id: kept for task_id, kept in self._revokes.items() if now < kept[1]}
        return [order for order, _ in self._revokes.values()]

    def throttle(self, name: str, per_s: float, returns: bool, now: float) -> Throttled:
        *times, verdict = judge(*self._rates.get(name, (0.0, 0.0)), per_s, now, returns=returns)
        self._rates[name] = (times[0], times[1])
        return Throttled(0.0 if verdict.go else verdict.at - now, verdict.far)

    def acquire(self, name: str, owner: str, ttl_s: float, now: float) -> int | None:
        """A free lock begins a new term, even for the owner who had it before: in between it might have been anybody's."""
        lock = self.lock(name, now)
        if lock is None:
            self._terms[name] = self._terms.get(name, 0) + 1
            lock = self._locks[name] = Lock(owner, self._terms[name], now + ttl_s)
        if lock.owner != owner:
            return None
        lock.ends_at = now + ttl_s
        return lock.term

    def release(self, name: str, owner: str, now: float) -> bool:
        lock = self.lock(name, now)
        if lock is None or lock.owner != owner:
            return False
        del self._locks[name]
        return True

    def lock(self, name: str, now: float) -> Lock | None:
        """The lock while somebody has it."""
        lock = self._locks.get(name)
        return None if lock is None or lock.ends_at <= now else lock
