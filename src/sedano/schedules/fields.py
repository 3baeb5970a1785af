"""The fields of a crontab expression: text or numbers in, a set of numbers out, with Celery's syntax.

`*`, `*/n`, `a-b`, `a-b/n`, `a,b,c`, numbers, and names of weekdays and months; a range may wrap (`fri-mon`). 7 is Sunday too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

WEEKDAYS = {name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
MONTHS = {
    name: number + 1
    for number, name in enumerate(("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"))
}

_RANGE = re.compile(r"(?P<first>\w+)-(?P<last>\w+)(?:/(?P<step>\w+))?\Z")
_STAR = re.compile(r"\*(?:/(?P<step>\w+))?\Z")


class ParseException(Exception):
    """A crontab field that cannot be read."""


class crontab_parser:  # noqa: N801 - Celery's name
    """Reads one field whose values run from `min_` to `min_ + max_ - 1`: `crontab_parser(60).parse("*/15")`."""

    ParseException = ParseException

    def __init__(self, max_: int = 60, min_: int = 0) -> None:
        self.max_ = max_
        self.min_ = min_

    def parse(self, spec: str) -> set[int]:
        """All values that `spec` names. Raises ParseException with the part that is wrong."""
        found: set[int] = set()
        for part in str(spec).split(","):
            if not part.strip():
                raise ParseException(f"empty part in {spec!r}")
            found.update(self._part(part.strip()))
        return found

    def _part(self, part: str) -> Iterable[int]:
        star = _STAR.match(part)
        if star:
            return range(self.min_, self.min_ + self.max_, self._step(star["step"]))
        between = _RANGE.match(part)
        if between:
            return self._range(self._number(between["first"]), self._number(between["last"]), self._step(between["step"]))
        return (self._number(part),)

    def _range(self, first: int, last: int, step: int) -> Iterable[int]:
        if last >= first:
            return range(first, last + 1, step)
        wrapped = [*range(first, self.min_ + self.max_), *range(self.min_, last + 1)]
        return wrapped[::step]

    def _step(self, text: str | None) -> int:
        if text is None:
            return 1
        if not text.isdigit() or int(text) == 0:
            raise ParseException(f"the step {text!r} is not a positive number")
        return int(text)

    def _number(self, text: str) -> int:
        number = int(text) if text.isdigit() else self._name(text)
        if number == 7 and self.max_ == 7:
            number = 0
        if not self.min_ <= number < self.min_ + self.max_:
            raise ParseException(f"{text!r} is out of range: {self.min_} to {self.min_ + self.max_ - 1} are allowed")
        return number

    def _name(self, text: str) -> int:
        names = {7: WEEKDAYS, 12: MONTHS}.get(self.max_, {})
        number = names.get(text[:3].lower())
        if number is None:
            raise ParseException(f"{text!r} is neither a number nor a name of this field")
        return number
