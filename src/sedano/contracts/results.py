"""What a result store promises. Records are bytes here; `protocol/results.py` reads and writes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from sedano.contracts.broker import ChordReady
from sedano.contracts.settlement import ChordPart, ChordStart, ResultWrite


class ResultStream(Protocol):
    """A subscription to records, with a connection of its own. One per process is enough; not thread-safe."""

    def watch(self, task_ids: Sequence[str], drop: Sequence[str] = (), *, look: bool = True) -> list[tuple[str, bytes | None]]:
        """From its return on, every write of these ids is reported by `wait`. `drop` is unwatched on the way.

        Returns, with `look`, what stands there already: (id, payload), payload None when it must be fetched and may be
        nothing. Ids without a record may be left out. One round trip where the store allows; big sets may take more.
        """
        ...

    def unwatch(self, task_ids: Sequence[str]) -> None:
        """Report writes of these ids no longer. Does not wait for the store."""
        ...

    def wait(self, timeout_s: float, fds: Sequence[int] = ()) -> list[tuple[str, bytes | None]]:
        """Records written since the last call: (id, payload), payload None when it must be fetched.

        Returns [] after `timeout_s` or when one of `fds` is readable. Raises `ResultsUnavailable` when the connection is
        lost; the caller opens a new stream, watches again, and fetches once.
        """
        ...

    def close(self) -> None: ...


@runtime_checkable
class ReplyResults(Protocol):
    """What a result store can besides that keeps nothing, but sends each record to whoever made the call (rpc://)."""

    def hear_replies(self) -> None:
        """From its return on, the results of calls that this process makes find their way to it. Cheap when it has been called
        before. Raises `ResultsUnavailable`."""
        ...


class Results(Protocol):
    """One connection to a result store; not thread-safe. Every method may raise `ResultsUnavailable`."""

    def store(
        self,
        writes: Sequence[ResultWrite],
        parts: Sequence[ChordPart] = (),
        starts: Sequence[ChordStart] = (),
        *,
        repeated: bool = False,
    ) -> list[ChordReady]:
        """Write records, say the sizes of chords and count chord parts, in one step; wakes waiting readers. Repeating it
        changes nothing; with `repeated` whoever brought the last part of a chord is told again that it is ready.

        A record that says SUCCESS is kept when another state is written, by this or by a settlement: of two runs of a call
        the one that succeeded counts, as in Celery. A store need only look at JSON that is not compressed.
        """
        ...

    def fetch(self, task_ids: Sequence[str]) -> list[bytes | None]:
        """The records in the order asked, None where there is none (any more). One round trip."""
        ...

    def forget(self, task_ids: Sequence[str]) -> int: ...

    def save_group(self, group_id: str, payload: bytes, ttl_s: float | None) -> None:
        """Keep who the members of a group are; they share no names with records. `ttl_s` None keeps it for ever."""
        ...

    def fetch_group(self, group_id: str) -> bytes | None: ...

    def forget_group(self, group_id: str) -> None: ...

    def start_chord(self, group_id: str, size: int, ttl_s: float) -> ChordReady | None:
        """Say how many parts the chord has; may come after its first parts. Returns the claim if they are all there."""
        ...

    def grow_chord(self, group_id: str, by: int, tag: str) -> None:
        """The chord has `by` parts more than is said of it, or will be. Growing it again with the same `tag` does nothing: the
        answer to the first may have been lost."""
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
