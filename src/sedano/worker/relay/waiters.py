"""Who waits for work, and whose turn it is to be woken: one after the other, as long as there is work.

Nobody knows how much there is. So one is told; when it has asked for its share, the broker is asked again, and the next one is
told. One that does not come within `SOON_S` (it was busy with something else, or has died) is passed over.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable
from typing import Generic, TypeVar

SOON_S = 0.05
C = TypeVar("C", bound=Hashable)


class Waiters(Generic[C]):
    """Times are monotonic seconds."""

    def __init__(self) -> None:
        self._waiting: dict[C, frozenset[str]] = {}
        self._told: C | None = None
        self._until = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, client: C, queues: Collection[str]) -> None:
        """It sleeps now, behind the others."""
        self.forget(client)
        self._waiting[client] = frozenset(queues)

    def forget(self, client: C) -> None:
        """It does not sleep any more."""
        self._waiting.pop(client, None)
        if self._told == client:
            self._told = None

    def clear(self) -> list[C]:
        """All that sleep; nobody does any more."""
        clients = list(self._waiting)
        self._waiting.clear()
        self._told = None
        return clients

    def queues(self, now: float, without: Collection[str]) -> frozenset[str]:
        """Where work would wake somebody: nowhere while one that was told is expected."""
        if self.expected_in(now) is not None:
            return frozenset()
        return frozenset[str]().union(*self._waiting.values()).difference(without)

    def expected_in(self, now: float) -> float | None:
        """How long to wait for the one that was told; None when there is none."""
        if self._told is None or now >= self._until:
            return None
        return self._until - now

    def next(self, now: float, without: Collection[str]) -> C | None:
        """The one to be told that there is work, in whatever queue but those of `without`; None when there is none, or one is
        expected."""
        if self.expected_in(now) is not None:
            return None
        for client, queues in self._waiting.items():
            if not queues.issubset(without):
                del self._waiting[client]
                self._told, self._until = client, now + SOON_S
                return client
        return None
