"""Single questions to a result store, over one connection that all threads of a process share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from sedano.contracts.results import ReplyResults, Results, ResultStream
from sedano.contracts.settlement import ChordStart, ResultWrite
from sedano.exceptions import ResultsUnavailable

AT_ONCE = 1000
"""Ids in one question."""

A = TypeVar("A")


class Questions:
    """Connects at the first question, and again at the first one after `hang_up`."""

    def __init__(self, open_results: Callable[[], Results]) -> None:
        self._open_results = open_results
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._results: Results | None = None

    def fetch(self, task_ids: Sequence[str]) -> list[bytes | None]:
        """The records now, None where there is none. A round trip for each thousand."""
        if len(task_ids) <= AT_ONCE:
            return self._ask(lambda results: results.fetch(task_ids))
        found: list[bytes | None] = []
        for start in range(0, len(task_ids), AT_ONCE):
            found += self.fetch(task_ids[start : start + AT_ONCE])
        return found

    def store(self, write: ResultWrite) -> None:
        self._ask(lambda results: results.store((write,)))

    def forget(self, task_ids: Sequence[str]) -> int:
        return self._ask(lambda results: results.forget(task_ids))

    def expire(self, now: float) -> int:
        return self._ask(lambda results: results.expire(now))

    def save_group(self, group_id: str, payload: bytes, ttl_s: float | None) -> None:
        self._ask(lambda results: results.save_group(group_id, payload, ttl_s))

    def start_chords(self, starts: Sequence[ChordStart]) -> None:
        self._ask(lambda results: results.store((), (), starts))

    def grow_chord(self, group_id: str, by: int, tag: str) -> None:
        self._ask(lambda results: results.grow_chord(group_id, by, tag))

    def fetch_group(self, group_id: str) -> bytes | None:
        return self._ask(lambda results: results.fetch_group(group_id))

    def forget_group(self, group_id: str) -> None:
        self._ask(lambda results: results.forget_group(group_id))

    def _ask(self, question: Callable[[Results], A]) -> A:
        """Once more over a new connection when the old one was lost: all questions may be repeated."""
        with self._lock:
            if self._results is None:
                self._results = self._open_results()
            try:
                return question(self._results)
            except ResultsUnavailable:
                self._results.reconnect()
                return question(self._results)

    def hear_replies(self) -> None:
        """Where results are sent to whoever made the call: be ready to hear those of calls that are made now."""
        self._ask(lambda results: results.hear_replies() if isinstance(results, ReplyResults) else None)

    def subscribe(self) -> ResultStream:
        """A stream, on a connection of its own."""
        with self._lock:
            if self._results is None:
                self._results = self._open_results()
            return self._results.subscribe()

    def hang_up(self) -> None:
        with self._lock:
            results, self._results = self._results, None
        if results is not None:
            results.close()
