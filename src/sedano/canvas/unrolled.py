"""The header of a chord that a generator gives: each member is made when somebody asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any


class Unrolled(Sequence[Any]):
    """A list that grows as it is read: whoever sends the chord sends each member before the next one is made."""

    def __init__(self, source: Iterator[Any], make: Callable[[Any], Any]) -> None:
        self._source, self._make = source, make
        self._made: list[Any] = []
        self.is_whole = False

    def _grow(self) -> bool:
        if self.is_whole:
            return False
        try:
            self._made.append(self._make(next(self._source)))
        except StopIteration:
            self.is_whole = True
        return not self.is_whole

    def first(self) -> list[Any]:
        """The first member, if there is one."""
        if not self._made:
            self._grow()
        return self._made[:1]

    def _all(self) -> list[Any]:
        while self._grow():
            pass
        return self._made

    def __iter__(self) -> Iterator[Any]:
        position = 0
        while position < len(self._made) or self._grow():
            yield self._made[position]
            position += 1

    def __getitem__(self, index: Any) -> Any:
        return self._all()[index]

    def __len__(self) -> int:
        return len(self._all())

    def __eq__(self, other: object) -> bool:
        return self._all() == (other._all() if isinstance(other, Unrolled) else other)

    # As a list: it grows.
    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self._all())

    def __json__(self) -> list[Any]:
        return self._all()

    def __reduce__(self) -> Any:
        return list, (self._all(),)
