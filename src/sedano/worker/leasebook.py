"""The leases that this node must renew: one per slot, and those of its own threads."""

from __future__ import annotations

import os
import secrets
import threading
from dataclasses import dataclass

from sedano.contracts import Lease
from sedano.worker.table import Row, SharedTable


@dataclass(frozen=True, slots=True)
class KeptLease:
    """A lease to renew; `row` is the slot's, None for one of the supervisor's own."""

    lease: Lease
    row: Row | None

    def is_current(self) -> bool:
        """Whether the slot still works under this lease."""
        return self.row is None or (self.row.owner == self.lease.owner and self.row.fence == self.lease.fence)


class LeaseBook:
    """The leases on one server, the one at the place `server` where there are several. Used by several threads."""

    def __init__(self, table: SharedTable, server: int = 0) -> None:
        self.table = table
        self.servers: frozenset[int] = frozenset({server})
        """Places of this server: more than one when several URLs have turned out to lead to the same store."""
        self._own: dict[str, Lease] = {}
        self._estates: set[str] = set()
        self._lock = threading.Lock()

    def add(self, lease: Lease) -> None:
        with self._lock:
            self._own[lease.owner] = lease

    def drop(self, owner: str) -> None:
        with self._lock:
            self._own.pop(owner, None)

    def note_estate(self, owner: str) -> None:
        """`owner` was a slot of ours, is dead, and what it held is being settled: nobody here may reap it meanwhile."""
        with self._lock:
            self._estates.add(owner)

    def close_estate(self, owner: str) -> None:
        with self._lock:
            self._estates.discard(owner)

    def rows(self) -> list[Row]:
        """The rows of slots that work on this server, or did."""
        return [row for row in self.table if row.server in self.servers]

    def kept(self) -> list[KeptLease]:
        """What is to be renewed now."""
        found: list[KeptLease] = []
        for row in self.rows():
            owner, fence = row.owner, row.fence
            if owner and not row.lost and row.owner == owner:  # not in the middle of changing
                found.append(KeptLease(Lease(owner, fence), row))
        with self._lock:
            found.extend(KeptLease(lease, None) for lease in self._own.values())
        return found

    def ours(self) -> set[str]:
        """Names of all owners that this node looks after: a reaper must not judge them by their beats."""
        names = {row.owner for row in self.rows()}
        with self._lock:
            return names | self._own.keys() | self._estates


def owner_name(node: str, part: str) -> str:
    """A name for a lease that nobody had before: "<node>/<part>/<pid>/<random>"."""
    return f"{node}/{part}/{os.getpid()}/{secrets.token_hex(6)}"
