"""Who holds what, where a process keeps that in its own memory: leases, the deliveries under them, pending settlements."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from sedano.contracts import Lease, LeaseRecord, Pending, Standing
from sedano.exceptions import LeaseLost


class Queued(Protocol):
    """What can be held: a message of a queue."""

    @property
    def queue(self) -> str: ...


ItemT = TypeVar("ItemT", bound=Queued)


@dataclass(slots=True)
class Held(Generic[ItemT]):
    """An item in somebody's hands. `order` is its place among all reservations of the store."""

    tag: str
    item: ItemT
    order: int
    standing: Standing = Standing.RESERVED


@dataclass(slots=True)
class Owner(Generic[ItemT]):
    """One lease and what is under it. `ended`: taken over, the rest of its deliveries waits for the next page."""

    lease: Lease
    node: str
    beats: int = 0
    ended: bool = False
    held: dict[str, Held[ItemT]] = field(default_factory=dict)
    pendings: dict[str, Pending] = field(default_factory=dict)

    def has(self, tag: str, *standings: Standing) -> bool:
        return tag in self.held and self.held[tag].standing in standings

    @property
    def is_empty(self) -> bool:
        return not self.held and not self.pendings

    def record(self) -> LeaseRecord:
        return LeaseRecord(self.lease.owner, self.node, self.lease.fence, self.beats, len(self.held))


class Owners(Generic[ItemT]):
    def __init__(self) -> None:
        self._owners: dict[str, Owner[ItemT]] = {}
        self._fences = itertools.count(1)
        self._orders = itertools.count(1)

    def register(self, name: str, node: str) -> Lease:
        if name in self._owners:
            raise ValueError(f"owner {name!r} is registered already: an owner's name is used once")
        owner: Owner[ItemT] = Owner(Lease(name, next(self._fences)), node)
        self._owners[name] = owner
        return owner.lease

    def alive(self, lease: Lease) -> Owner[ItemT]:
        """The owner behind `lease`. Raises `LeaseLost` when it was taken over or has retired."""
        owner = self._owners.get(lease.owner)
        if owner is None or owner.ended or owner.lease != lease:
            raise LeaseLost(lease.owner)
        return owner

    def all(self) -> list[Owner[ItemT]]:
        return list(self._owners.values())

    def records(self) -> list[LeaseRecord]:
        return [self._owners[name].record() for name in sorted(self._owners)]

    def hold(self, owner: Owner[ItemT], item: ItemT) -> Held[ItemT]:
        order = next(self._orders)
        held = Held(f"{owner.lease.owner}:{order}", item, order)
        owner.held[held.tag] = held
        return held

    def take(self, owner: Owner[ItemT], tags: Iterable[str], *standings: Standing) -> list[ItemT]:
        """Take those of `tags` that stand so out of the owner's hands; in the order in which they were reserved."""
        found = [owner.held.pop(tag) for tag in dict.fromkeys(tags) if owner.has(tag, *standings)]
        return [held.item for held in sorted(found, key=lambda held: held.order)]

    def drop_if_empty(self, owner: Owner[ItemT]) -> None:
        if owner.is_empty:
            del self._owners[owner.lease.owner]

    def take_over(
        self, record: LeaseRecord, by: Owner[ItemT], limit: int, *, force: bool
    ) -> tuple[list[Held[ItemT]], list[Pending], bool]:
        """Move up to `limit` of what `record.owner` holds to `by`; the last is whether there is more."""
        dead = self._owners.get(record.owner)
        if dead is None or not (force or (dead.lease.fence, dead.beats) == (record.fence, record.beats)):
            return [], [], False
        dead.ended = True
        taken = list(dead.held.values())[:limit]
        pendings = list(dead.pendings.values())[: limit - len(taken)]
        for held in taken:
            by.held[held.tag] = dead.held.pop(held.tag)
        for pending in pendings:
            by.pendings[pending.key] = dead.pendings.pop(pending.key)
        more = not dead.is_empty
        self.drop_if_empty(dead)
        return taken, pendings, more

    def count(self, queue: str) -> tuple[int, int]:
        """How many deliveries of `queue` are reserved, and how many begun."""
        standings = [
            held.standing for owner in self._owners.values() for held in owner.held.values() if held.item.queue == queue
        ]
        reserved = standings.count(Standing.RESERVED)
        return reserved, len(standings) - reserved
