"""Which published messages the server has confirmed. No I/O."""

from __future__ import annotations


class Confirms:
    """Numbers from 1 on, in the order of publishing; answers come in any order, one by one or all up to a number."""

    def __init__(self) -> None:
        self.published = 0
        self.refused: list[int] = []
        self._answered = 0  # this and all before it are
        self._ahead: set[int] = set()  # those behind it that are

    def add(self) -> int:
        """The number of another published message."""
        self.published += 1
        return self.published

    @property
    def outstanding(self) -> int:
        """How many are not answered."""
        return self.published - self._answered - len(self._ahead)

    def answer(self, number: int, *, multiple: bool, taken: bool) -> None:
        """An ack (`taken`) or nack; `number` 0 with `multiple` means all."""
        last = min(number or self.published, self.published)
        if multiple:
            if not taken:
                self.refused += [one for one in range(self._answered + 1, last + 1) if one not in self._ahead]
            if last > self._answered:
                self._answered = last
                if self._ahead:
                    self._ahead = {one for one in self._ahead if one > last}
        elif self._answered < last and last not in self._ahead:
            if not taken:
                self.refused.append(last)
            if last == self._answered + 1:
                self._answered = last
            else:
                self._ahead.add(last)
        while self._ahead and self._answered + 1 in self._ahead:
            self._answered += 1
            self._ahead.remove(self._answered)
