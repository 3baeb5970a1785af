"""Reading tables of a shape that was seen before: the headers of calls differ in their values, not in their names. No I/O.

A table is read entry by entry once. What was met on the way is kept as a shape: the bytes between the values that differ from
message to message (texts and numbers), with names, types and every other value in them. A later table that has these bytes at
the places where its own lengths put them is read by looking at the differing values only, which takes half of the time.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any

MOST_SHAPES = 8
_U32 = Struct(">I")
_size_at = _U32.unpack_from
_NUMBERS: dict[bytes, Struct] = {b"I": Struct(">i"), b"l": Struct(">q"), b"L": Struct(">q")}
_CONSTANTS: dict[bytes, int] = {b"V": 0, b"t": 1}
_Gap = tuple[bytes, int, str, Struct | None]  # the bytes before it, how many, whose value it is, how a number is read


class Shape:
    """One kind of table."""

    __slots__ = ("_base", "_containers", "_end", "_gaps")

    def __init__(self, base: dict[str, Any], gaps: list[_Gap], end: bytes) -> None:
        self._base, self._gaps, self._end = base, gaps, end
        self._containers = [name for name, value in base.items() if isinstance(value, list | dict)]

    def read(self, table: bytes) -> dict[str, Any] | None:
        """The values of `table` (without its length), None when it has another shape. Raises UnicodeDecodeError or
        struct.error for one that has this shape and is broken."""
        values = self._base.copy()
        at = 0
        for before, length, name, number in self._gaps:
            if not table.startswith(before, at):
                return None
            at += length
            if number is None:
                begin = at + 4
                at = begin + _size_at(table, at)[0]
                values[name] = table[begin:at].decode()
            else:
                values[name] = number.unpack_from(table, at)[0]
                at += number.size
        if at + len(self._end) != len(table) or not table.startswith(self._end, at):
            return None
        for name in self._containers:
            values[name] = values[name].copy()
        return values


class Shapes:
    """Those that were seen last; the one that fitted last is tried first. `read` reads any table, entry by entry."""

    def __init__(self, read: Callable[[bytes], dict[str, Any]]) -> None:
        self._read = read
        self._shapes: list[Shape] = []

    def read(self, table: bytes) -> dict[str, Any]:
        for place, shape in enumerate(self._shapes):
            try:
                values = shape.read(table)
            except Exception:
                break
            if values is not None:
                if place:
                    self._shapes.insert(0, self._shapes.pop(place))
                return values
        values = self._read(table)
        learned = learn(table, values)
        if learned is not None:
            self._shapes.insert(0, learned)
            del self._shapes[MOST_SHAPES:]
        return values


def learn(table: bytes, values: dict[str, Any]) -> Shape | None:
    """The shape of `table`, whose values are known; None where that is not worth it: a name twice, bytes that are no text,
    lists and maps within each other."""
    base: dict[str, Any] = {}
    gaps: list[_Gap] = []
    since, at = 0, 0
    while at < len(table):
        begin = at + 1
        at = begin + table[at]
        name = table[begin:at].decode("utf-8", "surrogateescape")
        letter = table[at : at + 1]
        at += 1
        if name in base or name not in values:
            return None
        value = values[name]
        base[name] = value.copy() if isinstance(value, list | dict) else value
        number = _NUMBERS.get(letter)
        if number is None and letter != b"S":
            if isinstance(value, list | dict):
                if not _is_flat(value):
                    return None
                at += 4 + int(_size_at(table, at)[0])
            elif letter in _CONSTANTS:
                at += _CONSTANTS[letter]
            else:
                return None
            continue
        if number is None and not isinstance(value, str):
            return None
        gaps.append((table[since:at], at - since, name, number))
        at += number.size if number is not None else 4 + int(_size_at(table, at)[0])
        since = at
    return Shape(base, gaps, table[since:])


def _is_flat(value: list[Any] | dict[str, Any]) -> bool:
    inside = value if isinstance(value, list) else value.values()
    return not any(isinstance(one, list | dict) for one in inside)
