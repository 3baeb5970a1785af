"""Entries of a schedule, kept by the store in the order in which they are due, and what became of each of their moments.

A tick is written once: `fire` puts the message, the entry's next moment and the row of history into the store in one step,
and only while the entry still stands at the moment that the tick is for. So two leaders, one that died in the middle, and a
clock that jumps give one message per moment. Definitions and states are bytes that the store does not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from sedano.contracts.settlement import Outgoing


class Entry(msgspec.Struct, frozen=True):
    """One entry as it stands. `due` is its next moment in seconds since the Unix epoch, None when it has none (paused, over).
    `revision` is that of its last `put`; ticks leave it alone."""

    name: str
    definition: bytes
    state: bytes = b""
    due: float | None = None
    revision: int = 0


class Change(msgspec.Struct, frozen=True):
    """An entry to write. `state` None keeps what stands. With `expects` it is written only if the entry's revision is this;
    0: only if there is no such entry."""

    name: str
    definition: bytes
    due: float | None
    state: bytes | None = None
    expects: int | None = None


class Run(msgspec.Struct, frozen=True):
    """What became of the moment `due` of an entry, decided `at` (both seconds since the epoch).

    `task_id` is the call that was sent, None when none was: then `reason` is a sentence that says why. `manual`: somebody
    asked for it, it was not due.
    """

    name: str
    due: float
    at: float
    task_id: str | None = None
    reason: str = ""
    manual: bool = False


class Fence(msgspec.Struct, frozen=True):
    """By what right one fires: the lock of `Coordination.acquire`, its owner and term."""

    lock: str
    owner: str
    term: int


class Tick(msgspec.Struct, frozen=True):
    """An entry's step from the moment `due` to `next_due`. Of the entry as it was read: `revision` and `due` must still hold.

    `runs` says what became of this moment, and of others that were missed meanwhile; newest last. `messages` are sent.
    """

    name: str
    revision: int
    due: float
    next_due: float | None
    state: bytes
    runs: tuple[Run, ...] = ()
    messages: tuple[Outgoing, ...] = ()


class Look(msgspec.Struct, frozen=True):
    """`entries` that are due, the longest due first; `next_due` of all that stand there, None when nothing is to come;
    `revision` grows with every change that is no tick."""

    entries: tuple[Entry, ...]
    next_due: float | None
    revision: int


class Schedules(Protocol):
    """One connection to the entries of one space (an app's name); not thread-safe.

    Every method may raise `BrokerUnavailable`, and those that write `StoreFull`.
    """

    # -- entries ------------------------------------------------------------------------------------------------------

    def put(self, changes: Sequence[Change]) -> list[int | None]:
        """The new revision of each entry in the order given; None where `expects` did not hold, and nothing was written."""
        ...

    def remove(self, names: Sequence[str]) -> list[str]:
        """Forget the entries and their runs; returns those that were there, in the order given."""
        ...

    def entry(self, name: str) -> Entry | None: ...

    def entries(self, *, after: str = "", limit: int = 1000) -> list[Entry]:
        """By name (code points), from the first one after `after`."""
        ...

    def revision(self) -> int: ...

    # -- ticks --------------------------------------------------------------------------------------------------------

    def look(self, until: float, *, limit: int = 1000) -> Look:
        """What is due at or before `until`. A store with a million entries answers from an index."""
        ...

    def fire(self, ticks: Sequence[Tick], fence: Fence | None, *, keep: int = 100) -> list[bool]:
        """Write all ticks (of each entry at most one) in one step: for each whether it was written. False: the entry was
        changed, removed or fired by somebody else; nothing of that tick was done.

        Raises `LeadershipLost`, with nothing done, when the store's clock and lock say that the fence does not hold. Of each
        entry's runs the last `keep` stay. A store that serves one at a time takes many ticks in several steps; what a later
        step is refused for is not raised, and its ticks and those behind them are False.
        """
        ...

    def note(self, run: Run, messages: Sequence[Outgoing] = (), *, keep: int = 100) -> bool:
        """Send, and write the run, without a step of the entry: it was asked for by hand. False when there is no such entry."""
        ...

    def runs(self, name: str | None = None, *, limit: int = 100) -> list[Run]:
        """Of one entry, or of all; the last decided first."""
        ...

    # -- connection ---------------------------------------------------------------------------------------------------

    def reconnect(self) -> None: ...

    def close(self) -> None: ...
