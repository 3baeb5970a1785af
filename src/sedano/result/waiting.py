"""Waiting for results: one subscription per process, whoever waits.

Of the threads that wait, one leads: it holds the stream and hands every record to whom it is for. When it has its own, it
passes the lead on. Nobody polls; a thread that waits alone costs no other thread. Waiters that are no threads (asyncio
tasks, callbacks) are served by a thread of the reader's own while there are any.

The gap: a record that is written before the stream watches its id would be missed, so after each watch the leader fetches.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from sedano import exceptions
from sedano.contracts.results import Results, ResultStream
from sedano.contracts.settlement import ResultWrite
from sedano.exceptions import ResultsUnavailable
from sedano.result.forking import on_fork

_LONGEST_WAIT_S = 3600.0
_TRIES = 20  # how often in a row a lost stream is opened again before the waiters are told


A = TypeVar("A")


class Waiter:
    """Somebody who wants the records of one task: `notify` is called (in whichever thread) when `records` or `error` is new.

    `is_away` while its thread does something with a record, and would not hear that it is to lead.
    """

    __slots__ = ("error", "is_away", "notify", "records", "task_id")

    def __init__(self, task_id: str, notify: Callable[[], object]) -> None:
        self.task_id = task_id
        self.notify = notify
        self.records: deque[bytes] = deque()
        self.error: Exception | None = None
        self.is_away = False


class ResultReader:
    """The process's way to a result store: all threads share it; it opens anew after a fork."""

    def __init__(self, open_results: Callable[[], Results]) -> None:
        self._open_results = open_results
        self._begin()
        on_fork(self, ResultReader._forget)

    def _begin(self) -> None:
        self._connection_lock = threading.Lock()
        self._results: Results | None = None
        self._lead = threading.Lock()
        self._stream: ResultStream | None = None
        self._pipe: tuple[int, int] | None = None
        self._table_lock = threading.Lock()
        self._waiters: dict[str, list[Waiter]] = {}
        self._served: set[Waiter] = set()  # those who are no threads
        self._to_watch: list[str] = []
        self._to_unwatch: list[str] = []
        self._server: threading.Thread | None = None

    # -- single questions -------------------------------------------------------------------------------------------------

    def fetch(self, task_ids: Sequence[str]) -> list[bytes | None]:
        """The records now, None where there is none."""
        return self._ask(lambda results: results.fetch(task_ids))

    def store(self, write: ResultWrite) -> None:
        self._ask(lambda results: results.store((write,)))

    def forget(self, task_ids: Sequence[str]) -> int:
        return self._ask(lambda results: results.forget(task_ids))

    def expire(self, now: float) -> int:
        return self._ask(lambda results: results.expire(now))

    def _ask(self, question: Callable[[Results], A]) -> A:
        """Once more over a new connection when the old one was lost: all questions may be repeated."""
        with self._connection_lock:
            if self._results is None:
                self._results = self._open_results()
            try:
                return question(self._results)
            except ResultsUnavailable:
                self._results.reconnect()
                return question(self._results)

    # -- waiting in a thread ----------------------------------------------------------------------------------------------

    def records(self, task_id: str, timeout_s: float | None) -> Iterator[bytes]:
        """Each record of `task_id` from now on, the present one first. Close the iterator when the awaited one was there.

        Raises TimeoutError `timeout_s` after the start, ResultsUnavailable when the store stays away.
        """
        deadline = time.monotonic() + (_LONGEST_WAIT_S * 24 * 3650 if timeout_s is None else timeout_s)
        event = threading.Event()
        waiter = Waiter(task_id, event.set)
        self._add(waiter)
        try:
            while True:
                event.clear()
                while waiter.records:
                    waiter.is_away = True
                    yield waiter.records.popleft()
                    waiter.is_away = False
                if waiter.error is not None:
                    raise waiter.error
                if time.monotonic() >= deadline:
                    raise exceptions.TimeoutError("The operation timed out.")
                if self._lead.acquire(blocking=False):
                    try:
                        self._pump(lambda: bool(waiter.records) or waiter.error is not None, deadline)
                    finally:
                        self._lead.release()
                        self._pass_on(waiter)
                else:
                    self._poke()
                    event.wait(min(deadline - time.monotonic(), _LONGEST_WAIT_S))
        finally:
            self._remove(waiter)

    # -- waiting elsewhere ------------------------------------------------------------------------------------------------

    def listen(self, task_id: str, notify: Callable[[], object]) -> Waiter:
        """As `records` for somebody who is no thread: `notify()` is called for news, which is taken from the waiter.

        Give the waiter to `unlisten` when done.
        """
        waiter = Waiter(task_id, notify)
        with self._table_lock:
            self._served.add(waiter)
        self._add(waiter)
        with self._table_lock:
            if self._server is None:
                self._server = threading.Thread(target=self._serve, name="sedano-results", daemon=True)
                self._server.start()
        self._poke()
        return waiter

    def unlisten(self, waiter: Waiter) -> None:
        with self._table_lock:
            self._served.discard(waiter)
        self._remove(waiter)
        self._poke()

    def _serve(self) -> None:
        """Lead while there are waiters that are no threads."""
        while True:
            try:
                with self._lead:
                    self._pump(lambda: not self._served, time.monotonic() + _LONGEST_WAIT_S)
            except Exception as exc:  # nobody stands above this thread: those for whom it waits are told
                with self._table_lock:
                    for waiter in self._served:
                        waiter.error = exc
                        waiter.notify()
                    self._served.clear()
            self._pass_on(None)
            with self._table_lock:
                if not self._served:
                    self._server = None
                    return

    # -- the table of waiters ---------------------------------------------------------------------------------------------

    def _add(self, waiter: Waiter) -> None:
        with self._table_lock:
            self._waiters.setdefault(waiter.task_id, []).append(waiter)
            # Also when somebody else watches the id already: the fetch that follows a watch is for this waiter.
            self._to_watch.append(waiter.task_id)

    def _remove(self, waiter: Waiter) -> None:
        with self._table_lock:
            waiters = self._waiters.get(waiter.task_id)
            if waiters is not None and waiter in waiters:
                waiters.remove(waiter)
                if not waiters:
                    del self._waiters[waiter.task_id]
                    self._to_unwatch.append(waiter.task_id)
        # When nobody leads, nobody else would end the subscription; and the lead may just have been offered to this one.
        if self._lead.acquire(blocking=False):
            try:
                self._unwatch()
            finally:
                self._lead.release()
            self._pass_on(None)

    def _pass_on(self, former: Waiter | None) -> None:
        """Wake one waiting thread, so that it takes the lead."""
        with self._table_lock:
            for waiters in self._waiters.values():
                for waiter in waiters:
                    if waiter is not former and not waiter.is_away and waiter not in self._served:
                        waiter.notify()
                        return

    def _poke(self) -> None:
        """Make the leader look at the table."""
        with self._table_lock:  # a pipe that was just closed may be somebody else's file by now
            if self._pipe is not None:
                with contextlib.suppress(BlockingIOError):  # full: it is readable anyway
                    os.write(self._pipe[1], b".")

    def _deliver(self, task_id: str, payload: bytes) -> None:
        with self._table_lock:
            for waiter in self._waiters.get(task_id, ()):
                waiter.records.append(payload)
                waiter.notify()

    def _fail(self, error: Exception) -> None:
        with self._table_lock:
            for waiters in self._waiters.values():
                for waiter in waiters:
                    waiter.error = error
                    waiter.notify()

    # -- leading ----------------------------------------------------------------------------------------------------------

    def _pump(self, is_done: Callable[[], bool], deadline: float) -> None:
        """Hand out records until `is_done()`, or the deadline (monotonic seconds). Only for who holds the lead."""
        tries = 0
        while not is_done() and time.monotonic() < deadline:
            try:
                self._turn(is_done, deadline)
                tries = 0
            except BaseException as exc:
                # Whatever interrupted it may have cost the stream its subscriptions.
                self._drop_stream()
                if not isinstance(exc, ResultsUnavailable):
                    raise
                tries += 1
                if tries > _TRIES:
                    self._fail(exc)
                    return
                time.sleep(max(0.0, min(0.1 * tries, 1.0, deadline - time.monotonic())))

    def _turn(self, is_done: Callable[[], bool], deadline: float) -> None:
        stream = self._stream
        if stream is None:
            stream = self._open_stream()
        self._unwatch()
        self._watch(stream)
        if is_done():
            return
        assert self._pipe is not None
        left_s = min(deadline - time.monotonic(), _LONGEST_WAIT_S)
        news = stream.wait(max(0.0, left_s), (self._pipe[0],))
        with contextlib.suppress(BlockingIOError):
            os.read(self._pipe[0], 4096)
        missing = [task_id for task_id, payload in news if payload is None]
        for task_id, payload in news:
            if payload is not None:
                self._deliver(task_id, payload)
        self._fetch_for(missing)

    def _watch(self, stream: ResultStream) -> None:
        with self._table_lock:
            task_ids, self._to_watch = list(dict.fromkeys(self._to_watch)), []
            task_ids = [task_id for task_id in task_ids if task_id in self._waiters]
        if task_ids:
            stream.watch(task_ids)
            self._fetch_for(task_ids)

    def _unwatch(self) -> None:
        with self._table_lock:
            task_ids, self._to_unwatch = [task_id for task_id in self._to_unwatch if task_id not in self._waiters], []
        if task_ids and self._stream is not None:
            try:
                self._stream.unwatch(task_ids)
            except ResultsUnavailable:
                self._drop_stream()

    def _fetch_for(self, task_ids: Sequence[str]) -> None:
        if task_ids:
            for task_id, payload in zip(task_ids, self.fetch(task_ids), strict=True):
                if payload is not None:
                    self._deliver(task_id, payload)

    def _open_stream(self) -> ResultStream:
        if self._pipe is None:
            self._pipe = os.pipe()
            os.set_blocking(self._pipe[0], False)
            os.set_blocking(self._pipe[1], False)
        with self._connection_lock:
            if self._results is None:
                self._results = self._open_results()
            self._stream = self._results.subscribe()
        with self._table_lock:
            self._to_watch = list(self._waiters)
        return self._stream

    def _drop_stream(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            with contextlib.suppress(ResultsUnavailable):
                stream.close()

    # -- ending -----------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the connections; the next question opens new ones. Waiters are told that the store is gone."""
        self._fail(ResultsUnavailable("the app was closed while its results were waited for"))
        with self._lead:
            self._drop_stream()
            with self._table_lock:
                pipe, self._pipe = self._pipe, None
                for fd in pipe or ():
                    os.close(fd)
        with self._connection_lock:
            results, self._results = self._results, None
        if results is not None:
            results.close()

    def _forget(self) -> Any:
        """In a forked child: connections, locks and threads are the parent's. Who waited there waits there."""
        left = (self._results, self._stream, self._lead, self._table_lock, self._connection_lock, self._waiters)
        if self._pipe is not None:
            os.close(self._pipe[0])
            os.close(self._pipe[1])
        self._begin()
        return left
