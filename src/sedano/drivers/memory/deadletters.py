"""Kept messages: newest last, bounded by age and by bytes per queue."""

from __future__ import annotations

import itertools
from collections.abc import Collection

from sedano.contracts import DeadLetter, DeadNote


class DeadLetters:
    def __init__(self) -> None:
        self._letters: list[DeadLetter] = []
        self._numbers = itertools.count(1)

    def keep(self, queue: str, raw: bytes, note: DeadNote) -> None:
        """Keep a letter; the oldest of its queue go until all of them fit in `note.max_bytes`. The newest always stays."""
        letter = DeadLetter(str(next(self._numbers)), queue, note, raw)
        room = note.max_bytes - len(raw)
        dropped: set[str] = set()
        for old in reversed([old for old in self._letters if old.queue == queue]):
            room -= len(old.raw)
            if room < 0:
                dropped.add(old.id)
        self.drop(dropped)
        self._letters.append(letter)

    def letters(self, queue: str | None, now: float) -> list[DeadLetter]:
        """All that are not too old at `now`, newest first."""
        self._letters = [letter for letter in self._letters if now < letter.note.died_at + letter.note.keep_s]
        return [letter for letter in reversed(self._letters) if queue is None or letter.queue == queue]

    def drop(self, ids: Collection[str]) -> int:
        before = len(self._letters)
        self._letters = [letter for letter in self._letters if letter.id not in ids]
        return before - len(self._letters)
