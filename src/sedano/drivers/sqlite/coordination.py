"""Locks, revokes, pauses and rates on SQLite. Keeps the promises of `contracts/coordination.py`; times are of the wall clock,
the only one that outlives a restart of the machine."""

from __future__ import annotations

from collections.abc import Sequence

from sedano.contracts import Pause, Revoke, Throttled
from sedano.drivers.sqlite.queries import load
from sedano.drivers.sqlite.store import Step, Store, storable
from sedano.rules.rates import judge

_SQL = load("coordination")


class SqliteCoordination:
    def __init__(self, store: Store) -> None:
        self._store = store

    def revoke(self, orders: Sequence[Revoke], *, keep_s: float) -> int:
        now = self._store.clock.wall()
        rows = [(storable(order.task_id), int(order.terminate), order.signal, now + keep_s) for order in orders]
        with self._store.step() as step:
            step.db.execute(_SQL["drop-over"], (now,))
            step.db.executemany(_SQL["revoke"], rows)
            (revision,) = step.db.execute(_SQL["next-revision"]).fetchone()
        return int(revision)

    def revokes(self) -> tuple[int, list[Revoke]]:
        rows = self._store.query(_SQL["revokes"], (self._store.clock.wall(),))
        orders = [Revoke(task_id, bool(terminate), signal) for _, task_id, terminate, signal in rows if task_id is not None]
        return int(rows[0][0]), orders

    def revision(self) -> int:
        return int(self._store.query(_SQL["revision"])[0][0])

    def pause(self, pauses: Sequence[Pause]) -> None:
        with self._store.step() as step:
            for pause in pauses:
                queue = step.queue_id(storable(pause.queue))
                step.db.execute(_SQL["pause"], (queue, pause.since, storable(pause.reason), storable(pause.by)))

    def resume(self, queues: Sequence[str]) -> list[str]:
        resumed: list[str] = []
        with self._store.step() as step:
            for name in queues:
                queue = step.known_queue(storable(name))
                if queue is not None and step.db.execute(_SQL["resume"], (queue,)).fetchone() is not None:
                    resumed.append(name)
                    step.readied(queue)  # a slot that takes its share and sees more wakes the next one
        return resumed

    def pauses(self) -> list[Pause]:
        return [Pause(*row) for row in self._store.query(_SQL["pauses"])]

    def throttle(self, name: str, per_s: float, *, returns: bool = False) -> Throttled:
        now = self._store.clock.wall()
        with self._store.step() as step:
            free, promised = step.db.execute(_SQL["rate"], (storable(name),)).fetchone() or (0.0, 0.0)
            free, promised, verdict = judge(free, promised, per_s, now, returns=returns)
            step.db.execute(_SQL["set-rate"], (storable(name), free, promised))
        return Throttled(0.0 if verdict.go else verdict.at - now, verdict.far)

    def acquire(self, name: str, owner: str, *, ttl_s: float) -> int | None:
        """A free lock begins a new term, even for the owner who had it before: in between it might have been anybody's."""
        now = self._store.clock.wall()
        with self._store.step() as step:
            holder, term, ends_at = _lock(step, name)
            is_free = holder is None or ends_at <= now
            if not is_free and holder != owner:
                return None
            term += is_free
            step.db.execute(_SQL["set-lock"], (name, owner, term, now + ttl_s))
            return term

    def release_lock(self, name: str, owner: str) -> bool:
        with self._store.step() as step:
            holder, term, ends_at = _lock(step, name)
            if holder != owner or ends_at <= self._store.clock.wall():
                return False
            step.db.execute(_SQL["set-lock"], (name, None, term, ends_at))
            return True

    def holder(self, name: str) -> tuple[str, int] | None:
        rows = self._store.query(_SQL["lock"], (name,))
        if not rows or rows[0][0] is None or rows[0][2] <= self._store.clock.wall():
            return None
        return rows[0][0], rows[0][1]

    def reconnect(self) -> None:
        self._store.close()

    def close(self) -> None:
        self._store.close()


def lock_of(step: Step, name: str, now: float) -> tuple[str, int] | None:
    """(owner, term) of a lock, None when nobody has it."""
    holder, term, ends_at = _lock(step, name)
    return None if holder is None or ends_at <= now else (holder, term)


def _lock(step: Step, name: str) -> tuple[str | None, int, float]:
    """(owner, term, ends_at) of a lock, which may never have been taken."""
    row: tuple[str | None, int, float] | None = step.db.execute(_SQL["lock"], (name,)).fetchone()
    return row or (None, 0, 0.0)
