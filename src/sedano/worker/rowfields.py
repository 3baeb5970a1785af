"""Descriptors for the numbers in a row's header: each is one aligned 8-byte word, so that it is read and written whole."""

from __future__ import annotations

from typing import Protocol, overload


class Holder(Protocol):
    """The header, seen as integers and as floats."""

    @property
    def ints(self) -> memoryview[int]: ...
    @property
    def floats(self) -> memoryview[float]: ...


class IntField:
    """An integer of the row's header, in the place `at`."""

    __slots__ = ("at",)

    def __init__(self, at: int) -> None:
        self.at = at

    @overload
    def __get__(self, row: None, owner: type) -> IntField: ...
    @overload
    def __get__(self, row: Holder, owner: type) -> int: ...
    def __get__(self, row: Holder | None, owner: type) -> int | IntField:
        return self if row is None else row.ints[self.at]

    def __set__(self, row: Holder, value: int) -> None:
        row.ints[self.at] = value


class FlagField:
    """A boolean of the row's header."""

    __slots__ = ("at",)

    def __init__(self, at: int) -> None:
        self.at = at

    @overload
    def __get__(self, row: None, owner: type) -> FlagField: ...
    @overload
    def __get__(self, row: Holder, owner: type) -> bool: ...
    def __get__(self, row: Holder | None, owner: type) -> bool | FlagField:
        return self if row is None else row.ints[self.at] != 0

    def __set__(self, row: Holder, value: bool) -> None:
        row.ints[self.at] = 1 if value else 0


class FloatField:
    """A float of the row's header."""

    __slots__ = ("at",)

    def __init__(self, at: int) -> None:
        self.at = at

    @overload
    def __get__(self, row: None, owner: type) -> FloatField: ...
    @overload
    def __get__(self, row: Holder, owner: type) -> float: ...
    def __get__(self, row: Holder | None, owner: type) -> float | FloatField:
        return self if row is None else row.floats[self.at]

    def __set__(self, row: Holder, value: float) -> None:
        row.floats[self.at] = value
