"""What a result store promises. Records are bytes here; `protocol/results.py` reads and writes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sedano.contracts.broker import ChordReady
from sedano.contracts.settlement import ChordPart, ResultWrite


class ResultStream(Protocol):
    """A subscription to records, with a connection of its own. One per process is enough; not thread-safe."""

    def watch(self, task_ids: Sequence[str]) -> None:
        """From its return on, every write of these ids is reported by `wait`."""
        ...

    def unwatch(self, task_ids: Sequence[str]) -> None: ...

    def wait(self, timeout_s: float, fds: Sequence[int] = ()) -> list[tuple[str, bytes | None]]:
        """Records written since the last call: (id, payload), payload None when it must be fetched.

        Returns [] after `timeout_s` or when one of `fds` is readable. Raises `ResultsUnavailable` when the connection is
        lost; the caller opens a new stream, watches again, and fetches once.
        """
        ...

    def close(self) -> None: ...


class Results(Protocol):
    """One connection to a result store; not thread-safe. Every method may raise `ResultsUnavailable`."""

    def store(self, writes: Sequence[ResultWrite], parts: Sequence[ChordPart] = ()) -> list[ChordReady]:
        """Write records and count chord parts in one step; wakes waiting readers. Repeating it changes nothing."""
        ...

    def fetch(self, task_ids: Sequence[str]) -> list[bytes | None]:
        """The records in the order asked, None where there is none (any more). One round trip."""
        ...

    def forget(self, task_ids: Sequence[str]) -> int: ...

    def start_chord(self, group_id: str, size: int, ttl_s: float) -> ChordReady | None:
        """Say how many parts the chord has; may come after its first parts. Returns the claim if they are all there."""
        ...

    def chord_parts(self, group_id: str) -> list[bytes]:
        """Payloads of the parts counted so far, by group index."""
        ...

    def end_chord(self, group_id: str) -> None:
        """The body was published: drop the chord's bookkeeping."""
        ...

    def subscribe(self) -> ResultStream: ...

    def expire(self, now: float) -> int:
        """Delete records whose time is over, where the store does not do so itself; returns how many.

        Blocks for a second at most: there may be more, so call again while it returns any.
        """
        ...

    def reconnect(self) -> None: ...

    def close(self) -> None: ...
