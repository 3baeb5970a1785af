"""The fields of a crontab: text or numbers in, a set of numbers out, with Celery's syntax.

`*`, `*/n`, `a-b`, `a-b/n`, `a,b,c`, numbers, and names of weekdays and months in every field, by their first three letters in
any case; a range may wrap (`fri-mon`, `22-2`). Sunday is 0, and 7 is not allowed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

WEEKDAYS = {name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
MONTHS = {
    name: number + 1
    for number, name in enumerate(("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"))
}

Field = str | int | Iterable[int]
"""What a crontab takes for a field."""

_RANGE = re.compile(r"(?P<first>\w+?)-(?P<last>\w+)(?P<stepped>/(?P<step>\w+)?)?(?P<rest>.*)", re.DOTALL)
_STAR = re.compile(r"\*(?:\Z|(?P<stepped>/(?P<step>\w+)?))(?P<rest>.*)", re.DOTALL)


class ParseException(Exception):
    """A crontab field that cannot be read."""


class crontab_parser:  # noqa: N801 - Celery's name
    """Reads one field whose values run from `min_` to `min_ + max_ - 1`: `crontab_parser(60).parse("*/15")`."""

    ParseException = ParseException

    def __init__(self, max_: int = 60, min_: int = 0) -> None:
        self.max_ = max_
        self.min_ = min_

    def parse(self, spec: str) -> set[int]:
        """All values that `spec` names. Raises ParseException or ValueError, as Celery does, with the part that is wrong."""
        found: set[int] = set()
        for part in spec.split(","):
            if not part:
                raise self.ParseException(f"empty part in {spec!r}")
            found.update(self._part(part))
        return found

    def _part(self, part: str) -> Iterable[int]:
        between = _RANGE.match(part)
        if between:
            values = self._range(self._number(between["first"]), self._number(between["last"]))
            return self._stepped(values, between, part)
        star = _STAR.match(part)
        if star:
            return self._stepped(range(self.min_, self.min_ + self.max_), star, part)
        return (self._number(part),)

    def _range(self, first: int, last: int) -> list[int]:
        if last >= first:
            return list(range(first, last + 1))
        return [*range(first, self.min_ + self.max_), *range(self.min_, last + 1)]

    def _stepped(self, values: Iterable[int], match: re.Match[str], part: str) -> list[int]:
        if match["rest"].strip():
            raise self.ParseException(f"{match['rest'].strip()!r} in {part!r} belongs to no range and no step")
        if match["stepped"] is None:
            return list(values)
        step = match["step"]
        if not step:
            raise self.ParseException(f"{part!r} has no step behind the slash")
        if not step.isdigit() or int(step) == 0:
            raise ValueError(f"the step {step!r} in {part!r} is not a positive number")
        return list(values)[:: int(step)]

    def _number(self, text: str) -> int:
        if text.startswith("-"):
            raise self.ParseException(f"{text!r}: negative numbers are not supported")
        try:
            number = int(text)
        except ValueError:
            number = self._name(text)
        if not self.min_ <= number < self.min_ + self.max_:
            raise ValueError(f"{text!r} is out of range: {self.min_} to {self.min_ + self.max_ - 1} are allowed")
        return number

    def _name(self, text: str) -> int:
        short = text[:3].lower()
        number = MONTHS.get(short, WEEKDAYS.get(short))
        if number is None:
            raise ValueError(f"{text!r} is neither a number nor the name of a weekday or month")
        return number


def expand(field: Field, max_: int, min_: int = 0) -> frozenset[int]:
    """The values of a field that run from `min_` to `min_ + max_ - 1`. Equal ones are one object: there may be many crontabs.

    Raises TypeError for what is no field, ParseException for text that cannot be read, ValueError for values out of range and
    for a field without any value.
    """
    if isinstance(field, str):
        return _parsed(field, max_, min_)
    if isinstance(field, int):
        values = frozenset((int(field),))
    elif isinstance(field, Iterable):
        values = frozenset(_whole(value) for value in field)
    else:
        raise TypeError(f"a crontab field is a number, a text or several numbers, not {type(field).__name__}: {field!r}")
    for value in sorted(values):
        if not min_ <= value < min_ + max_:
            raise ValueError(f"invalid crontab pattern: {value} is out of range, {min_} to {min_ + max_ - 1} are allowed")
    if not values:
        raise ValueError("invalid crontab pattern: a field without any value never matches; '*' is every value")
    return _shared(values)


def stretches(values: Sequence[int]) -> list[tuple[int, int]]:
    """Numbers in order as (first, last) of each stretch; two neighbours alone stay two, as "1,2" is shorter than "1-2"."""
    found: list[tuple[int, int]] = []
    start = 0
    for end in range(1, len(values) + 1):
        if end < len(values) and values[end] == values[end - 1] + 1:
            continue
        if end - start >= 3:
            found.append((values[start], values[end - 1]))
        else:
            found.extend((value, value) for value in values[start:end])
        start = end
    return found


@lru_cache(maxsize=4096)
def _parsed(field: str, max_: int, min_: int) -> frozenset[int]:
    return _shared(frozenset(crontab_parser(max_, min_).parse(field)))


@lru_cache(maxsize=4096)
def _shared(values: frozenset[int]) -> frozenset[int]:
    return values


def _whole(value: object) -> int:
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise TypeError(f"the numbers of a crontab field are whole ones, not {type(value).__name__}: {value!r}")
