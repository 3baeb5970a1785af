"""What a pool tells the supervisor, and what the supervisor may ask of a pool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class SlotBorn:
    """The slot of row `index` runs as process `pid`."""

    index: int
    pid: int


@dataclass(frozen=True, slots=True)
class SlotDead:
    """The slot of row `index` has ended; `exitcode` is negative for a signal, None when nobody can say. `name` is what log
    lines called it; `peak_kib` the most memory that its process ever had, None when nobody can say."""

    index: int
    pid: int
    exitcode: int | None
    name: str
    peak_kib: int | None = None


PoolEvent = SlotBorn | SlotDead


class Pool(Protocol):
    """The slots of a node. Used by one thread; nothing here blocks longer than a system call, except `close`."""

    @property
    def name(self) -> str:
        """As Celery calls it: "prefork", "solo"."""
        ...

    @property
    def ends_calls(self) -> bool:
        """Whether a running call can be ended from outside (time limits, terminate, cold stop)."""
        ...

    def start(self) -> None:
        """Get ready to make slots. Called in the main thread, before any other thread or connection exists."""
        ...

    def order(self, index: int) -> None:
        """Have a new slot made for row `index`; a `SlotBorn` and a `SlotDead` follow."""
        ...

    def wake(self, index: int) -> None:
        """Make the slot look at its row now."""
        ...

    def signal(self, index: int, signum: int) -> bool:
        """Send a signal to the slot; False when it is gone."""
        ...

    def fileno(self) -> int:
        """Readable when `events` has something. May change when events were read."""
        ...

    def events(self) -> list[PoolEvent]:
        """What happened since the last call. Raises `PoolBroken` when no slot can be made any more."""
        ...

    def reap_orphans(self) -> None:
        """In a container whose first process is this one: wait for dead processes that nobody else waits for."""
        ...

    def close(self) -> None:
        """End what is left of the pool; every slot is dead afterwards."""
        ...


class PoolBroken(Exception):
    """The pool cannot make slots any more; the text says why."""
