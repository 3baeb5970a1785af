"""Locks, revokes and paused queues: what the nodes of a cluster agree on through a store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from sedano.contracts.queues import Pause


class Revoke(msgspec.Struct, frozen=True):
    """An order not to run a call. `terminate` also ends it where it runs, with the signal named `signal` ("SIGTERM")."""

    task_id: str
    terminate: bool = False
    signal: str = "SIGTERM"


class Coordination(Protocol):
    """One connection; not thread-safe. Every method may raise `BrokerUnavailable`."""

    # -- revokes ------------------------------------------------------------------------------------------------------

    def revoke(self, orders: Sequence[Revoke], *, keep_s: float) -> int:
        """Add to the set for `keep_s` seconds; returns the new revision, which every `TurnReply` shows."""
        ...

    def revokes(self) -> tuple[int, list[Revoke]]:
        """The revision and all orders that are still kept."""
        ...

    def revision(self) -> int: ...

    # -- pauses -------------------------------------------------------------------------------------------------------

    def pause(self, pauses: Sequence[Pause]) -> None:
        """From the return of this call on no turn reserves or begins anything of these queues, known ones or not, until they
        are resumed: `contracts/broker.py`. Kept by the store as its messages are. A second order replaces the first."""
        ...

    def resume(self, queues: Sequence[str]) -> list[str]:
        """End their pauses and wake who waits for work; returns those that were paused, in the order given."""
        ...

    def pauses(self) -> list[Pause]:
        """All that hold now, by the queue's name."""
        ...

    # -- locks --------------------------------------------------------------------------------------------------------

    def acquire(self, name: str, owner: str, *, ttl_s: float) -> int | None:
        """Take the lock: its term (a number that grows with every change of owner), or None when another has it.

        `ttl_s` is measured by the store's clock. Acquiring what one has renews it and keeps the term.
        """
        ...

    def release_lock(self, name: str, owner: str) -> bool: ...

    def holder(self, name: str) -> tuple[str, int] | None:
        """(owner, term) or None."""
        ...

    def reconnect(self) -> None: ...

    def close(self) -> None: ...
