"""One store as the agreement test sees it: actions and answers in task ids and plain values, so that two can be compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sedano.contracts import Begin, BeginRule, Delay, Delivery, LeaseRecord, Pause, Settlement, Standing
from sedano.exceptions import LeaseLost
from sedano.testing.contracts.harness import Slot, StoreUnderTest
from sedano.testing.contracts.messages import chord_part, dead, outgoing, requeue, result, settlement

QUEUES = ("a", "b", "c")
TASKS = ("new.one", "new.two")
GROUPS = ("g1", "g2")
GROUP_SIZE = 3
LEASE_LOST = "lease lost"
STEPS = (0, 3, 6, 9)


@dataclass
class Turn:
    """A turn as the script says it, by task ids."""

    settle: list[tuple[str, str, str]] = field(default_factory=list)  # (task id, fate, id of a message out or "")
    delay: list[tuple[str, float]] = field(default_factory=list)
    begin: list[tuple[str, bool]] = field(default_factory=list)
    reserve: int = 0
    queues: tuple[str, ...] = ()
    stored: list[str] = field(default_factory=list)  # task ids whose pendings are done
    begin_new: BeginRule | None = None


class World:
    """One store. Answers in task ids and plain values, so that two worlds can be compared; tags are its own affair."""

    def __init__(self, store: StoreUnderTest, *, shared_results: bool) -> None:
        self.store = store
        self.shared_results = shared_results
        self.operator = store.broker()
        self.results = store.results()
        self.coordination = store.coordination()
        self.slots: dict[str, Slot] = {}
        self.tags: dict[tuple[str, str], str] = {}
        self.names: dict[str, str] = {}
        self.records: dict[str, LeaseRecord] = {}
        self.last: dict[str, dict[str, Any]] = {}

    def register(self, name: str) -> None:
        broker = self.store.broker(writes_results=self.shared_results)
        self.slots[name] = Slot(broker, broker.register(name, "celery@test"))

    def publish(self, queue: str, names: list[str], priority: int, dues: list[float | None]) -> None:
        self.operator.publish(
            [outgoing(queue, name, priority=priority, due=due) for name, due in zip(names, dues, strict=True)]
        )

    def park(self, queue: str, name: str, task: str, priority: int, due: float) -> None:
        self.operator.publish([with_fields(outgoing(queue, name, priority=priority, due=due), parked=task)])

    def unpark(self, tasks: list[str], queues: list[str], limit: int) -> object:
        return self.operator.unpark(tasks, queues, limit=limit)

    def pause(self, queues: list[str]) -> None:
        self.coordination.pause([Pause(name, 1.0) for name in queues])

    def resume(self, queues: list[str]) -> object:
        return self.coordination.resume(queues)

    def put_junk(self, queue: str, name: str) -> None:
        self.store.put_raw(queue, name.encode())

    def turn(self, owner: str, turn: Turn) -> object:
        def tag(name: str) -> str:
            return self.tags.get((owner, name), f"never held: {name}")

        wanted: dict[str, Any] = {
            "settle": [self._settlement(tag(name), name, fate, out) for name, fate, out in turn.settle],
            "delay": [Delay(tag(name), due) for name, due in turn.delay],
            "begin": [Begin(tag(name), early) for name, early in turn.begin],
            "stored": [f"{name}:0" for name in turn.stored],
        }
        self.last[owner] = wanted
        return self._turn(owner, reserve=turn.reserve, queues=turn.queues, begin_new=turn.begin_new, **wanted)

    def repeat(self, owner: str) -> object:
        """The answer of the last turn was lost: the very same settlements and begins once more."""
        return self._turn(owner, **self.last.get(owner, {}))

    def release(self, owner: str, names: list[str] | None) -> object:
        slot = self.slots[owner]
        tags = None if names is None else [self.tags[owner, name] for name in names]
        return _unless_lost(lambda: slot.broker.release(slot.lease, tags))

    def unbegin(self, owner: str, names: list[str]) -> object:
        slot = self.slots[owner]
        return _unless_lost(lambda: slot.broker.unbegin(slot.lease, [self.tags[owner, name] for name in names]))

    def unbegin_all(self, owner: str, keep: list[str]) -> object:
        slot = self.slots[owner]
        return _unless_lost(lambda: slot.broker.unbegin(slot.lease, None, keep=[self.tags[owner, name] for name in keep]))

    def retire(self, owner: str) -> object:
        slot = self.slots[owner]
        return _unless_lost(lambda: slot.broker.retire(slot.lease))

    def renew(self, owners: list[str]) -> object:
        lost = self.operator.renew([self.slots[owner].lease for owner in owners])
        return [lease.owner for lease in lost]

    def remember(self, owner: str) -> None:
        """What a reaper sees of this owner now."""
        self.records[owner] = self.slots[owner].record()

    def take_over(self, owner: str, by: str, limit: int, force: bool) -> object:
        taker = self.slots[by]
        taken: list[tuple[str, Standing, int]] = []
        pendings: list[str] = []
        more = True
        while more:
            page = taker.broker.take_over(self.records[owner], taker.lease, limit=limit, force=force)
            assert len(page.deliveries) <= limit
            for delivery in page.deliveries:
                self.tags[by, _name(delivery)] = delivery.tag
                taken.append((_name(delivery), delivery.standing, delivery.deliveries))
            for pending in page.pendings:
                assert pending.result is not None
                pendings.append(pending.result.task_id)
            more = page.more
        return sorted(taken), sorted(pendings)

    def promote(self, queues: list[str], now: float, limit: int) -> object:
        return self.operator.promote(queues, now, limit=limit)

    def handback(self, queues: list[str], limit: int) -> object:
        return self.operator.handback(queues, limit=limit)

    def purge(self, queue: str) -> object:
        return self.operator.purge(queue)

    def reconnect(self, owner: str) -> None:
        self.slots[owner].broker.reconnect()

    def start_chord(self, group: str) -> object:
        return self.results.start_chord(group, GROUP_SIZE, 3600.0) is not None

    def observe(self, names: list[str]) -> dict[str, object]:
        """Everything that can be seen from outside; `names` are calls whose results are asked for."""
        return {
            "depth": [with_fields(depth, since=None) for depth in self.operator.depth(QUEUES)],  # not all stores know it
            "pauses": self.coordination.pauses(),
            "parked": self.operator.parked(QUEUES),
            "held": {record.owner: record.held for record in self.operator.leases()},
            "dead": [(letter.note.task_id, letter.queue) for letter in self.operator.dead_letters(limit=10_000)],
            "results": self.results.fetch(names),
            "parts": [self.results.chord_parts(group) for group in GROUPS],
        }

    def _turn(self, owner: str, **wanted: Any) -> object:
        slot = self.slots[owner]
        try:
            reply = slot.turn(**wanted)
        except LeaseLost:
            return LEASE_LOST
        for delivery in reply.reserved:
            self.tags[owner, _name(delivery)] = delivery.tag
            self.names[delivery.tag] = _name(delivery)
        return {
            "begun": [self.names.get(tag, tag) for tag in reply.begun],
            "refused": [self.names.get(tag, tag) for tag in reply.refused],
            "reserved": [_shown(delivery) for delivery in reply.reserved],
            "chords": [claim.group_id for claim in reply.chords],
            "more": reply.more if wanted.get("reserve") else None,
            "paused": reply.paused,
        }

    def _settlement(self, tag: str, name: str, fate: str, out: str) -> Settlement:
        delivery = Delivery(tag, "", b"", None)
        extra: dict[str, Any] = {"messages_out": (outgoing("a", out),) if out else (), "task_id": name}
        if fate == "requeue":
            return with_fields(requeue(delivery), **extra)
        if fate == "dead":
            step = dead(delivery, self.store.now())
            assert step.dead is not None
            note = with_fields(step.dead, task_id=name)
            return with_fields(step, dead=note, **extra)
        if fate == "part":
            extra["chord_part"] = chord_part(GROUPS[len(name) % 2], int(name[1:]), task_id=name)
        return settlement(delivery, result=result(name, f"{name} is done".encode()), **extra)


def _unless_lost(action: Callable[[], object]) -> object:
    try:
        return action()
    except LeaseLost:
        return LEASE_LOST


def _name(delivery: Delivery) -> str:
    return name_of_raw(delivery.raw) if delivery.message is None else str(delivery.message.headers["id"])


def name_of_raw(raw: bytes) -> str:
    if raw.startswith(b"junk"):
        return raw.decode()
    return raw.split(b'"id":')[1].split(b'"')[1].decode()


def _shown(delivery: Delivery) -> tuple[str, str, int, int, bool, Standing]:
    step = max(step for step in STEPS if step <= delivery.priority)
    return _name(delivery), delivery.queue, step, delivery.deliveries, delivery.redelivered, delivery.standing


def with_fields(struct: Any, **fields: Any) -> Any:
    return type(struct)(**{name: getattr(struct, name) for name in struct.__struct_fields__} | fields)
