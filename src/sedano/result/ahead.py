"""Reading ahead: who reads one result of many will read the next, so one question asks for several.

Results stand in the order in which they were made, as long as somebody holds them. Whoever asks for one asks for some of those
behind it as well: none the first time, more and more while they turn out to be wanted, fewer when not. What comes early waits
in the result itself, undecoded, and goes when the result goes.
"""

from __future__ import annotations

import weakref
from collections.abc import Generator, Sequence
from typing import Any

MOST_AHEAD = 999
"""With the one that is wanted, what one question may hold."""
MOST_BYTES = 4_000_000
"""What one question may bring, as far as the size of records can be told from the last ones."""
_FIRST, _GROWTH = 8, 4
_SHORTEST_SWEEP = 256


class Pace:
    """How many to ask for ahead. Threads may disturb each other's counts: then it is a few more or fewer."""

    def __init__(self) -> None:
        self._window = -1
        self._asked = 0
        self._used = 0
        self._most = MOST_AHEAD

    def next(self) -> int:
        """Somebody asks for a result that was not read ahead: how many others to ask for."""
        if self._window < 0:
            self._window = 0
        elif self._used * 2 >= self._asked:
            self._window = min(max(_FIRST, self._window * _GROWTH), MOST_AHEAD)
        else:
            self._window //= _GROWTH
        self._asked = self._used = 0
        return min(self._window, self._most)

    def asked(self, count: int, payloads: Sequence[bytes | None]) -> None:
        """So many were asked for ahead, and all in all this was found."""
        self._asked = count
        sizes = [len(payload) for payload in payloads if payload is not None]
        if sizes:
            self._most = max(1, min(MOST_AHEAD, MOST_BYTES * len(sizes) // (sum(sizes) + 1)))

    def used(self) -> None:
        """Somebody wanted one of them."""
        self._used += 1


class Unread:
    """The results of this process in the order in which they were made; those that nobody holds are swept out."""

    def __init__(self) -> None:
        self._made: list[weakref.ref[Any]] = []
        self._sweep_at = _SHORTEST_SWEEP

    def note(self, result: Any) -> None:
        """Two threads may be given the same place: then less is read ahead."""
        made = self._made
        result.made_at = len(made)
        made.append(weakref.ref(result))
        if result.made_at >= self._sweep_at:
            self._sweep()

    def behind(self, result: Any, count: int) -> list[Any]:
        """Up to `count` results behind `result` that live and were not read."""
        found: list[Any] = []
        if count:
            start = result.made_at + 1
            for made in self._made[start : start + 4 * count]:
                other = made()
                if other is not None and other._cache is None and other.payload_ahead is None:
                    found.append(other)
                    if len(found) >= count:
                        break
        return found

    def _sweep(self) -> None:
        living = [result for made in self._made if (result := made()) is not None and result._cache is None]
        for place, result in enumerate(living):
            result.made_at = place
        self._made[:] = [weakref.ref(result) for result in living]
        self._sweep_at = max(_SHORTEST_SWEEP, 2 * len(living))


unread = Unread()


def present(result: Any, reader: Any) -> bytes | None:
    """The record of `result` now, asking for others too."""
    others = _others(result, reader)
    payloads: list[bytes | None] = reader.fetch([result.id, *(other.id for other in others)])
    reader.pace.asked(len(others), payloads)
    for other, payload in zip(others, payloads[1:], strict=True):
        other.payload_ahead = payload
    return payloads[0]


def records(result: Any, reader: Any, timeout_s: float | None) -> Generator[tuple[str, bytes], None, None]:
    """(id, payload) for each record of `result`, the present one first; asks for others too.

    Raises as `ResultReader.records`.
    """
    if reader.table.is_foreseen(result.id):
        reader.pace.used()
    else:
        others = _others(result, reader)
        if others:
            payloads: list[bytes | None] = reader.fetch([result.id, *(other.id for other in others)])
            reader.pace.asked(len(others), payloads)
            for other, payload in zip(others, payloads[1:], strict=True):
                other.payload_ahead = payload
            if payloads[0] is not None:
                yield result.id, payloads[0]
            reader.foresee([other for other in others if other.payload_ahead is None])
    yield from reader.records((result.id,), timeout_s)


def foresee(result: Any, reader: Any) -> None:
    """As `records`, for somebody who is about to listen and must not block: the others come with its watch."""
    if reader.table.is_foreseen(result.id):
        reader.pace.used()
    else:
        others = _others(result, reader)
        reader.pace.asked(len(others), ())
        if others:
            reader.foresee(others)


def held(result: Any, reader: Any) -> bytes | None:
    """The record that was read ahead, if any; it is given once."""
    payload: bytes | None = result.payload_ahead
    if payload is not None:
        result.payload_ahead = None
        reader.pace.used()
        if reader.table.is_foreseen(result.id):
            reader.table.unforesee(result.id)
    return payload


def _others(result: Any, reader: Any) -> list[Any]:
    others = unread.behind(result, reader.pace.next())
    return [other for other in others if _same_reader(other, result) and not reader.table.is_foreseen(other.id)]


def _same_reader(other: Any, result: Any) -> bool:
    return (other._app is result._app and other._backend is result._backend) and type(other) is type(result)
