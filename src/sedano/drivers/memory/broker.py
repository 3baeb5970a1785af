"""The life of a delivery on memory. Keeps the promises of `contracts/broker.py`; every method is one step under one lock."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from sedano.clock import Clock
from sedano.contracts import (
    Begin,
    BeginRule,
    Capabilities,
    DeadLetter,
    Delay,
    Delivery,
    Depth,
    Fate,
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
    Standing,
    Taken,
    TurnReply,
    claimed,
    pending_key,
    pending_of,
)
from sedano.drivers.memory import workflows
from sedano.drivers.memory.queues import Item
from sedano.drivers.memory.store import Store
from sedano.drivers.memory.waking import Waker
from sedano.drivers.owners import Held, Owner
from sedano.exceptions import LeaseLost, UnreadableMessage
from sedano.protocol import envelope

_BEGUN = (Standing.BEGUN_EARLY, Standing.BEGUN_LATE)


class MemoryBroker:
    """One connection. `writes_results`: a settlement's result and chord part go into this same store."""

    def __init__(self, store: Store, clock: Clock, *, writes_results: bool) -> None:
        self._store = store
        self._clock = clock
        self._waker: Waker | None = None
        self._capabilities = Capabilities(
            source=Source.SLOT, shared_results=writes_results, schedule=True, many_processes=False, wait_fds=True
        )

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    # -- producers ----------------------------------------------------------------------------------------------------

    def publish(self, messages: Sequence[Outgoing]) -> None:
        with self._store.lock:
            self._store.publish(messages, self._clock.wall())

    def declare(self, queues: Iterable[QueueSpec]) -> None:
        with self._store.lock:
            for spec in filter(lambda spec: spec.name, queues):
                self._store.queues.declare(spec)

    # -- leases -------------------------------------------------------------------------------------------------------

    def register(self, owner: str, node: str) -> Lease:
        with self._store.lock:
            return self._store.owners.register(owner, node)

    def refence(self, lease: Lease) -> Lease:
        with self._store.lock:
            return self._store.owners.alive(lease).lease

    def renew(self, leases: Sequence[Lease]) -> list[Lease]:
        lost: list[Lease] = []
        with self._store.lock:
            for lease in leases:
                try:
                    self._store.owners.alive(lease).beats += 1
                except LeaseLost:
                    lost.append(lease)
        return lost

    def leases(self) -> list[LeaseRecord]:
        with self._store.lock:
            return self._store.owners.records()

    def take_over(self, record: LeaseRecord, by: Lease, *, limit: int, force: bool = False) -> Taken:
        with self._store.lock:
            taker = self._store.owners.alive(by)
            taken, pendings, more = self._store.owners.take_over(record, taker, limit, force=force)
            return Taken([_delivery(held) for held in taken], pendings, more)

    def retire(self, lease: Lease) -> int:
        with self._store.lock:
            owner = self._store.owners.alive(lease)
            count = self._give_back(owner, list(owner.held), Standing.RESERVED)
            self._store.owners.drop_if_empty(owner)
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
        with self._store.lock:
            owner = self._store.owners.alive(lease)
            self._check(owner, settle)
            paused = frozenset(self._store.agreements.pauses)
            reply = TurnReply(revision=self._store.agreements.revision, paused=paused)
            for key in stored:
                owner.pendings.pop(key, None)
            for settlement in settle:
                self._settle(owner, settlement, reply)
            for order in delay:
                self._delay(owner, order, reply)
            for start in begin:
                self._begin(owner, start, reply)
            if reserve:
                items, reply.more = self._store.queues.take([name for name in queues if name not in paused], reserve)
                held = [self._store.owners.hold(owner, item) for item in items]
                reply.reserved = [_delivery(each) for each in held]
                if begin_new is not None:
                    standings = begin_new.standings(map(head_of, reply.reserved))
                    for each, delivery, standing in zip(held, reply.reserved, standings, strict=False):
                        each.standing = delivery.standing = standing
            return reply

    def pendings(self, lease: Lease) -> list[Pending]:
        with self._store.lock:
            return list(self._store.owners.alive(lease).pendings.values())

    def release(self, lease: Lease, tags: Sequence[str] | None) -> int:
        with self._store.lock:
            owner = self._store.owners.alive(lease)
            return self._give_back(owner, list(owner.held) if tags is None else tags, Standing.RESERVED)

    def unbegin(self, lease: Lease, tags: Sequence[str] | None, *, keep: Sequence[str] = ()) -> int:
        with self._store.lock:
            owner = self._store.owners.alive(lease)
            return self._give_back(owner, [tag for tag in owner.held if tag not in keep] if tags is None else tags, *_BEGUN)

    def promote(self, queues: Sequence[str], now: float, *, limit: int = 1000) -> tuple[int, float | None]:
        with self._store.lock:
            return self._store.queues.promote(queues, now, limit)

    def unpark(self, tasks: Collection[str], queues: Sequence[str], *, limit: int = 1000) -> int:
        with self._store.lock:
            return self._store.queues.unpark(tasks, queues, limit)

    def wait(self, queues: Sequence[str], timeout_s: float, fds: Sequence[int] = ()) -> None:
        if self._waker is None:
            self._waker = Waker()
        with self._store.lock:
            self._store.start_waiting(self._waker, queues)
        try:
            self._waker.sleep(timeout_s, fds)
        finally:
            with self._store.lock:
                self._store.stop_waiting(self._waker)

    # -- operators ----------------------------------------------------------------------------------------------------

    def queues(self) -> list[str]:
        with self._store.lock:
            return self._store.queues.names()

    def depth(self, queues: Sequence[str]) -> list[Depth]:
        with self._store.lock:
            return [self._depth(name) for name in queues]

    def parked(self, queues: Sequence[str]) -> list[Parked]:
        with self._store.lock:
            return [each for name in queues for each in self._store.queues.parked(name)]

    def held(self, owners: Sequence[str], *, limit: int, tags: Collection[str] | None = None) -> list[Delivery]:
        wanted, names = None if tags is None else frozenset(tags), frozenset(owners)
        with self._store.lock:
            held = [each for owner in self._store.owners.all() if owner.lease.owner in names for each in owner.held.values()]
            held = [each for each in held if wanted is None or each.tag in wanted]
            held.sort(key=lambda each: (each.standing is Standing.RESERVED, each.order))
            return [_delivery(each) for each in held[:limit]]

    def delayed(self, queues: Sequence[str], *, limit: int) -> tuple[int, list[tuple[float, Delivery]]]:
        with self._store.lock:
            count, entries = self._store.queues.schedule(queues, limit)
        return count, [(due, _delivery(Held("", item, 0))) for due, item in entries]

    def purge(self, queue: str) -> int:
        with self._store.lock:
            return self._store.queues.purge(queue)

    def dead_letters(self, queue: str | None = None, *, limit: int = 100, before: str | None = None) -> list[DeadLetter]:
        with self._store.lock:
            letters = self._store.dead.letters(queue, self._clock.wall())
        if before is not None:
            letters = [letter for letter in letters if int(letter.id) < int(before)]
        return letters[:limit]

    def drop_dead(self, ids: Sequence[str]) -> int:
        with self._store.lock:
            return self._store.dead.drop(ids)

    def handback(self, queues: Sequence[str], *, limit: int = 1000) -> int:
        with self._store.lock:
            return self._store.queues.handback(queues, limit, self._clock.wall())

    # -- workflows ----------------------------------------------------------------------------------------------------

    def workflow(self, workflow_id: str) -> bytes | None:
        with self._store.lock:
            return self._store.workflows.read(workflow_id, self._clock.wall())

    def workflows(self, *, limit: int = 100, skip: int = 0) -> list[tuple[str, bytes]]:
        with self._store.lock:
            return self._store.workflows.page(limit, skip, self._clock.wall())

    def locate(self, task_ids: Collection[str], queues: Sequence[str], *, most: int) -> tuple[dict[str, Place], bool]:
        with self._store.lock:
            return workflows.locate(self._store, task_ids, queues, most, self._clock.wall())

    def find(self, task_id: str, queues: Sequence[str], *, most: int) -> tuple[Found | None, bool]:
        with self._store.lock:
            return workflows.find(self._store, task_id, queues, most, self._clock.wall())

    # -- connection ---------------------------------------------------------------------------------------------------

    def reconnect(self) -> None:
        pass

    def close(self) -> None:
        if self._waker is not None:
            self._waker.close()
            self._waker = None

    # -- parts of a turn ----------------------------------------------------------------------------------------------

    def _check(self, owner: Owner[Item], settle: Sequence[Settlement]) -> None:
        """Raise what a settlement could raise before anything of the turn is applied."""
        for settlement in settle:
            if settlement.tag in owner.held:
                if (settlement.fate is Fate.DEAD) != (settlement.dead is not None):
                    raise ValueError(f"settlement of {settlement.tag}: a dead note belongs to the fate DEAD, and only to it")
                for outgoing in settlement.messages_out:
                    self._store.queues.items_of(outgoing, 0.0)

    def _settle(self, owner: Owner[Item], settlement: Settlement, reply: TurnReply) -> None:
        key = pending_key(settlement.tag)
        held = owner.held.pop(settlement.tag, None)
        if held is None and (key is None or owner.pendings.pop(key, None) is None):
            reply.refused.append(settlement.tag)
            return
        self._store.publish(settlement.messages_out, self._clock.wall())
        if self._capabilities.shared_results:
            self._write_result(owner, settlement, reply)
        elif (pending := pending_of(settlement)) is not None:
            owner.pendings[pending.key] = pending
        if held is None:
            return
        if settlement.dead is not None:
            self._store.dead.keep(held.item.queue, held.item.raw, settlement.dead)
        elif settlement.fate is Fate.REQUEUE:
            self._store.queues.put_last(_redelivered(held.item, self._clock.wall()))

    def _write_result(self, owner: Owner[Item], settlement: Settlement, reply: TurnReply) -> None:
        now, records = self._clock.wall(), self._store.records
        for write in settlement.writes:
            records.write(write, now)
        for start in settlement.chord_starts:
            records.start_chord(start.group_id, start.size, start.ttl_s, now)
        for part in settlement.parts:
            ready = records.count_part(part, now)
            if ready is not None:
                reply.chords.append(ready)
                if part.claim:
                    pending = claimed(part)
                    owner.pendings[pending.key] = pending
        if settlement.ends_chord:
            records.end_chord(settlement.ends_chord, now)

    def _delay(self, owner: Owner[Item], order: Delay, reply: TurnReply) -> None:
        items = self._store.owners.take(owner, [order.tag], Standing.RESERVED, *_BEGUN)
        if not items:
            reply.refused.append(order.tag)
        for item in items:
            self._store.queues.delay(item, order.due)

    def _begin(self, owner: Owner[Item], order: Begin, reply: TurnReply) -> None:
        held = owner.held.get(order.tag)
        if held is None:
            reply.refused.append(order.tag)
            return
        if held.standing is Standing.RESERVED:
            if held.item.queue in reply.paused:
                return
            held.standing = Standing.BEGUN_EARLY if order.early else Standing.BEGUN_LATE
        reply.begun.append(order.tag)

    # -- shared steps -------------------------------------------------------------------------------------------------

    def _give_back(self, owner: Owner[Item], tags: Sequence[str], *standings: Standing) -> int:
        items = self._store.owners.take(owner, tags, *standings)
        self._store.queues.put_first(items)
        return len(items)

    def _depth(self, name: str) -> Depth:
        reserved, begun = self._store.owners.count(name)
        dead = len(self._store.dead.letters(name, self._clock.wall()))
        parked = sum(each.count for each in self._store.queues.parked(name))
        queues, paused = self._store.queues, name in self._store.agreements.pauses
        return Depth(name, queues.ready(name), queues.delayed(name), reserved, begun, dead, parked, queues.since(name), paused)


def _delivery(held: Held[Item]) -> Delivery:
    delivery = Delivery(held.tag, held.item.queue, held.item.raw, None, priority=held.item.step, standing=held.standing)
    try:
        message = envelope.decode(held.item.raw)
    except UnreadableMessage as error:
        delivery.unreadable = str(error)
        return delivery
    delivery.message = message
    delivery.redelivered = envelope.is_redelivered(message)
    delivery.deliveries = envelope.deliveries_of(message)
    return delivery


def head_of(delivery: Delivery) -> tuple[str | None, bool]:
    """What a `BeginRule` must know of it."""
    task = delivery.message.headers.get("task") if delivery.message is not None else None
    return task if isinstance(task, str) else None, delivery.redelivered


def _redelivered(item: Item, now: float) -> Item:
    """The item marked as given out once more; bytes that are no message cannot be marked and stay as they are."""
    item.since = now
    try:
        message = envelope.decode(item.raw)
    except UnreadableMessage:
        return item
    counted = envelope.redelivered(message, envelope.deliveries_of(message) + 1)
    return Item(envelope.encode(counted), item.queue, item.step, now)
