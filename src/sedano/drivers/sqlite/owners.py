"""Leases inside a step: registering, renewing, taking over."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from sedano.contracts import Delivery, Lease, LeaseRecord, Pending, Standing, Taken, decode_pending
from sedano.drivers.sqlite.deliveries import read, tag_of
from sedano.drivers.sqlite.queries import load
from sedano.drivers.sqlite.store import Step, as_json
from sedano.exceptions import LeaseLost

_SQL, _TURN = load("owners"), load("turn")
_STANDINGS = {1: Standing.RESERVED, 2: Standing.BEGUN_EARLY, 3: Standing.BEGUN_LATE}


def register(step: Step, owner: str, node: str) -> Lease:
    try:
        (fence,) = step.db.execute(_SQL["register"], (owner, node)).fetchone()
    except sqlite3.IntegrityError:
        raise ValueError(f"owner {owner!r} is registered already: an owner's name is used once") from None
    return Lease(owner, fence)


def check(step: Step, lease: Lease) -> tuple[int, bool]:
    """The revision of the revokes, and whether a queue is paused. Raises `LeaseLost` when the lease was taken over or has
    retired."""
    row = step.db.execute(_TURN["lease"], (lease.fence, lease.owner)).fetchone()
    if row is None:
        raise LeaseLost(lease.owner)
    return row[0], bool(row[1])


def renew(step: Step, leases: Sequence[Lease]) -> list[Lease]:
    """One beat more for each; those that are lost."""
    given = as_json([(lease.fence, lease.owner) for lease in leases])
    alive = set(step.db.execute(_SQL["renew"], (given,)).fetchall())
    return [lease for lease in leases if (lease.fence, lease.owner) not in alive]


def take_over(step: Step, record: LeaseRecord, by: Lease, limit: int, *, force: bool) -> Taken:
    taken = Taken()
    row = step.db.execute(_SQL["find"], (record.owner,)).fetchone()
    if row is None or record.owner == by.owner or not (force or row == (record.fence, record.beats)):
        return taken
    fence: int = row[0]
    step.db.execute(_SQL["end"], (fence,))
    rows = step.db.execute(_SQL["take"], (fence, by.fence, limit)).fetchall()
    taken.deliveries = [_delivery(row) for row in sorted(rows, key=lambda row: (row[1], row[0]))]
    taken.pendings = _take_pendings(step, fence, by, limit - len(rows))
    taken.more = not remove_if_empty(step, fence)
    return taken


def remove_if_empty(step: Step, fence: int) -> bool:
    """End the lease for good when nothing is under it any more; whether it was so."""
    (has_something,) = step.db.execute(_SQL["has-something"], (fence,)).fetchone()
    if not has_something:
        step.db.execute(_SQL["remove"], (fence,))
    return not has_something


def _take_pendings(step: Step, fence: int, by: Lease, limit: int) -> list[Pending]:
    rows = step.db.execute(_SQL["pendings"], (fence, limit)).fetchall() if limit > 0 else []
    step.db.executemany(_SQL["give-pending"], [(by.fence, row[0]) for row in rows])
    return [decode_pending(row[2]) for row in rows]


def _delivery(row: tuple[int, int, int, str, int, bytes]) -> Delivery:
    id_, serial, state, queue, priority, raw = row
    return read(Delivery(tag_of(id_, serial), queue, raw, None, priority=priority, standing=_STANDINGS[state]))
