"""The life of a delivery on SQLite. Keeps the promises of `contracts/broker.py`; every method is one transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sedano.contracts import (
    Begin,
    BeginRule,
    Capabilities,
    DeadLetter,
    Delay,
    Delivery,
    Depth,
    Found,
    Lease,
    LeaseRecord,
    Outgoing,
    Parked,
    Pending,
    Place,
    QueueSpec,
    Settlement,
    Source,
    Taken,
    TurnReply,
    decode_pending,
)
from sedano.drivers.sqlite import backlog, deadletters, holdings, owners, parking, workflows
from sedano.drivers.sqlite.backlog import BEGUN_EARLY, BEGUN_LATE, RESERVED, Entry, entry_of
from sedano.drivers.sqlite.deliveries import read
from sedano.drivers.sqlite.queries import load
from sedano.drivers.sqlite.store import Step, Store, as_json, storable
from sedano.drivers.sqlite.turns import Turn, give_back, held, held_all
from sedano.drivers.sqlite.waiting import Waiter
from sedano.exceptions import LeaseLost

_PURGED_AT_ONCE = 5000
_STEPS = as_json(backlog.STEPS)

_QUEUES, _OWNERS, _DEAD, _TURN = load("backlog"), load("owners"), load("dead"), load("turn")
_LEASE_AND_WORK, _DROP_PENDING = _TURN["lease-and-work"], _TURN["drop-pending"]


class SqliteBroker:
    """One connection. `writes_results`: a settlement's result and chord part go into this same store. `polls`: no sockets."""

    def __init__(self, store: Store, *, writes_results: bool, polls: bool) -> None:
        self._store = store
        self._polls = polls
        self._waiter: Waiter | None = None
        self._capabilities = Capabilities(
            source=Source.SLOT, shared_results=writes_results, schedule=True, many_processes=True, wait_fds=True
        )

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    # -- producers ----------------------------------------------------------------------------------------------------

    def publish(self, messages: Sequence[Outgoing]) -> None:
        entries = [entry_of(outgoing) for outgoing in messages]
        if entries:
            with self._store.step() as step:
                now = self._store.clock.wall()
                backlog.put(step, entries, now)
                workflows.keep(step, messages, now)

    def declare(self, queues: Iterable[QueueSpec]) -> None:
        with self._store.step() as step:
            for spec in queues:
                if spec.name:
                    backlog.declare(step, spec)

    # -- leases -------------------------------------------------------------------------------------------------------

    def register(self, owner: str, node: str) -> Lease:
        with self._store.step() as step:
            return owners.register(step, owner, node)

    def refence(self, lease: Lease) -> Lease:
        with self._store.step() as step:
            owners.check(step, lease)
        return lease

    def renew(self, leases: Sequence[Lease]) -> list[Lease]:
        if not leases:
            return []
        with self._store.step() as step:
            return owners.renew(step, leases)

    def leases(self) -> list[LeaseRecord]:
        return [LeaseRecord(*row) for row in self._store.query(_OWNERS["leases"])]

    def take_over(self, record: LeaseRecord, by: Lease, *, limit: int, force: bool = False) -> Taken:
        with self._store.step() as step:
            owners.check(step, by)
            return owners.take_over(step, record, by, limit, force=force)

    def retire(self, lease: Lease) -> int:
        with self._store.step() as step:
            owners.check(step, lease)
            count = give_back(step, held_all(step, lease).values(), RESERVED)
            owners.remove_if_empty(step, lease.fence)
            self._leave(step)
            return count

    # -- deliveries ---------------------------------------------------------------------------------------------------

    def turn(
        self,
        lease: Lease,
        *,
        settle: Sequence[Settlement] = (),
        delay: Sequence[Delay] = (),
        begin: Sequence[Begin] = (),
        reserve: int = 0,
        queues: Sequence[str] = (),
        stored: Sequence[str] = (),
        begin_new: BeginRule | None = None,
    ) -> TurnReply:
        waiter = self._waiter
        if waiter is not None and waiter.is_asleep and reserve and not (settle or delay or begin or stored):
            reply = self._look(lease, queues)
            if reply is not None:
                waiter.looked()
                return reply
        entries: list[list[Entry]] = [[entry_of(sent) for sent in each.messages_out] for each in settle]
        with self._store.step() as step:
            revision, any_paused = owners.check(step, lease)
            reply = TurnReply(revision=revision)
            turn = Turn(step, lease, self._store.clock.wall(), self._capabilities.shared_results, reply)
            if any_paused:
                turn.heed_pauses()
            if stored:
                step.db.executemany(_DROP_PENDING, [(lease.fence, storable(key)) for key in stored])
            turn.open(settle, delay, begin)
            turn.settle(settle, entries)
            turn.delay(delay)
            turn.begin(begin)
            turn.reserve(reserve, queues, begin_new)
            self._leave(step, takes_work=reserve > 0)
        for delivery in reply.reserved:
            read(delivery)
        return reply

    def pendings(self, lease: Lease) -> list[Pending]:
        with self._store.step() as step:
            owners.check(step, lease)
            return [decode_pending(row[0]) for row in step.db.execute(_TURN["all-pendings"], (lease.fence,)).fetchall()]

    def release(self, lease: Lease, tags: Sequence[str] | None) -> int:
        with self._store.step() as step:
            owners.check(step, lease)
            found = held_all(step, lease) if tags is None else held(step, lease, tags)
            return give_back(
                step, [found[tag] for tag in (found if tags is None else dict.fromkeys(tags)) if tag in found], RESERVED
            )

    def unbegin(self, lease: Lease, tags: Sequence[str] | None, *, keep: Sequence[str] = ()) -> int:
        with self._store.step() as step:
            owners.check(step, lease)
            if tags is None:
                found = held_all(step, lease)
                tags = [tag for tag in found if tag not in keep]
            else:
                found = held(step, lease, tags)
            return give_back(step, [found[tag] for tag in dict.fromkeys(tags) if tag in found], BEGUN_EARLY, BEGUN_LATE)

    def promote(self, queues: Sequence[str], now: float, *, limit: int = 1000) -> tuple[int, float | None]:
        next_due = self._next_due(queues)
        if next_due is None or next_due > now:
            return 0, next_due
        with self._store.step() as step:
            count = backlog.promote(step, dict.fromkeys(queues), now, limit)
            if count < limit:
                count += parking.promote(step, queues, now, limit - count)
        return count, self._next_due(queues)

    def unpark(self, tasks: Collection[str], queues: Sequence[str], *, limit: int = 1000) -> int:
        return parking.unpark(self._store, tasks, queues, limit)

    def wait(self, queues: Sequence[str], timeout_s: float, fds: Sequence[int] = ()) -> None:
        if self._waiter is None:
            self._waiter = Waiter(self._store, polls=self._polls)
        self._waiter.wait(queues, timeout_s, fds)

    # -- operators ----------------------------------------------------------------------------------------------------

    def queues(self) -> list[str]:
        return sorted(row[0] for row in self._store.query(_QUEUES["queue-names"]))

    def depth(self, queues: Sequence[str]) -> list[Depth]:
        rows = self._store.query(_QUEUES["depth"], (as_json(queues), self._store.clock.wall(), _STEPS))
        return [_depth(row) for row in rows]

    def parked(self, queues: Sequence[str]) -> list[Parked]:
        return parking.counts(self._store, queues)

    def held(self, owners: Sequence[str], *, limit: int, tags: Collection[str] | None = None) -> list[Delivery]:
        return holdings.held(self._store, owners, limit, tags)

    def delayed(self, queues: Sequence[str], *, limit: int) -> tuple[int, list[tuple[float, Delivery]]]:
        return holdings.delayed(self._store, queues, limit)

    def purge(self, queue: str) -> int:
        (last,) = self._store.query(_QUEUES["last-id"])[0]
        count = 0
        while True:
            with self._store.step() as step:
                dropped = backlog.purge_page(step, queue, last or 0, _PURGED_AT_ONCE)
            count += dropped
            if dropped < _PURGED_AT_ONCE:
                return count

    def dead_letters(self, queue: str | None = None, *, limit: int = 100, before: str | None = None) -> list[DeadLetter]:
        return deadletters.letters(self._store, queue, limit, before)

    def drop_dead(self, ids: Sequence[str]) -> int:
        numbers = [int(id_) for id_ in ids if id_.isdecimal() and len(id_) < 19]
        if not numbers:
            return 0
        with self._store.step() as step:
            return len(step.db.execute(_DEAD["drop"], (as_json(numbers),)).fetchall())

    def handback(self, queues: Sequence[str], *, limit: int = 1000) -> int:
        with self._store.step() as step:
            now = self._store.clock.wall()
            count = backlog.handback(step, dict.fromkeys(queues), limit, now)
            return count + parking.handback(step, queues, limit - count, now) if count < limit else count

    # -- workflows ----------------------------------------------------------------------------------------------------

    def workflow(self, workflow_id: str) -> bytes | None:
        return workflows.read(self._store, workflow_id)

    def workflows(self, *, limit: int = 100, skip: int = 0) -> list[tuple[str, bytes]]:
        return workflows.page(self._store, limit, skip)

    def locate(self, task_ids: Collection[str], queues: Sequence[str], *, most: int) -> tuple[dict[str, Place], bool]:
        return workflows.locate(self._store, task_ids, queues, most)

    def find(self, task_id: str, queues: Sequence[str], *, most: int) -> tuple[Found | None, bool]:
        return workflows.find(self._store, task_id, queues, most)

    # -- connection ---------------------------------------------------------------------------------------------------

    def reconnect(self) -> None:
        self._close_waiter()
        self._store.close()

    def close(self) -> None:
        self._close_waiter()
        self._store.close()

    # -- parts --------------------------------------------------------------------------------------------------------

    def _look(self, lease: Lease, names: Sequence[str]) -> TurnReply | None:
        """The turn of a slot that slept, was not rung, and wants work: without a lock when there is none."""
        rows = self._store.query(_LEASE_AND_WORK, (lease.fence, lease.owner, as_json(names)))
        if not rows:
            raise LeaseLost(lease.owner)
        revision, any_paused, work = rows[0]
        if work is not None:
            return None
        paused = self._store.query(_TURN["paused"]) if any_paused else ()
        return TurnReply(revision=revision, paused=frozenset(name for _, name in paused))

    def _leave(self, step: Step, *, takes_work: bool = False) -> None:
        """We are not idle any more; if somebody woke us meanwhile, and we take nothing, the next one gets the call."""
        waiter = self._waiter
        if waiter is not None and waiter.may_be_marked and waiter.leave(step) and not takes_work:
            waiter.pass_on(step)

    def _next_due(self, names: Sequence[str]) -> float | None:
        due: float | None = self._store.query(_QUEUES["next-due"], (as_json(names),))[0][0]
        return due

    def _close_waiter(self) -> None:
        if self._waiter is not None:
            self._waiter.close()
            self._waiter = None


def _depth(row: tuple[Any, ...]) -> Depth:
    queue, ready, delayed, reserved, begun, dead, parked, since, paused = row
    return Depth(queue, ready, delayed, reserved, begun, dead, parked, since, bool(paused))
