"""Waiting for results: one subscription per process, whoever waits.

Of the threads that wait, one leads: it holds the stream and hands every record to whom it is for. When it has its own, it
passes the lead on. Nobody polls; a thread that waits alone costs no other thread. Waiters that are no threads (asyncio
tasks, callbacks) are served by a thread of the reader's own while there are any.

The gap: a record that is written before the stream watches its id would be missed, so a watch looks as well. What nobody waits
for any more is dropped with the next watch, or `TIDY_S` to twice that later by a thread that lives as long as results are read.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sedano import exceptions
from sedano.contracts.results import Results, ResultStream
from sedano.exceptions import ResultsUnavailable
from sedano.result.ahead import Pace
from sedano.result.forking import on_fork
from sedano.result.questions import AT_ONCE, Questions
from sedano.result.waiters import Foreseen, Waiter, WaiterTable

TIDY_S = 5.0
LONGEST_AHEAD_S = 60.0
"""How long what was read ahead is listened to while others wait."""
_LONGEST_WAIT_S = 3600.0
_TRIES = 20  # how often in a row a lost stream is opened again before the waiters are told


class ResultReader(Questions):
    """The process's way to a result store: all threads share it; it opens anew after a fork."""

    def __init__(self, open_results: Callable[[], Results]) -> None:
        super().__init__(open_results)
        on_fork(self, ResultReader._forget)

    def _begin(self) -> None:
        super()._begin()
        self._lead = threading.Lock()
        self._stream: ResultStream | None = None
        self._was_lost = False
        self._pipe: tuple[int, int] | None = None
        self._pipe_lock = threading.Lock()
        self._server: threading.Thread | None = None
        self._tidier: threading.Thread | None = None
        self._thread_lock = threading.Lock()
        self._asked_at = self._foreseen_at = 0.0
        self._is_to_tidy = self._has_moved = False
        self.table = WaiterTable()
        self.pace = Pace()

    # -- waiting in a thread ----------------------------------------------------------------------------------------------

    def records(
        self, task_ids: Sequence[str], timeout_s: float | None, enough: set[str] | None = None
    ) -> Iterator[tuple[str, bytes]]:
        """(id, payload) for each record of `task_ids` from now on, the present ones first. Close the iterator when done.

        Ids that the caller puts into `enough` are heard of no more. Raises TimeoutError `timeout_s` after the start,
        ResultsUnavailable when the store stays away.
        """
        deadline = time.monotonic() + (_LONGEST_WAIT_S * 24 * 3650 if timeout_s is None else timeout_s)
        event = threading.Event()
        waiter = Waiter(task_ids, event.set)
        self.table.add(waiter)
        try:
            while True:
                event.clear()
                while waiter.records:
                    waiter.is_away = True
                    yield waiter.records.popleft()
                    waiter.is_away = False
                    if enough:
                        self.table.remove(waiter, enough)
                        enough.clear()
                if waiter.error is not None:
                    raise waiter.error
                if time.monotonic() >= deadline:
                    raise exceptions.TimeoutError("The operation timed out.")
                if self._lead.acquire(blocking=False):
                    try:
                        self._pump(lambda: bool(waiter.records) or waiter.error is not None, deadline)
                    finally:
                        self._lead.release()
                        self.table.wake_one(waiter)
                else:
                    self._poke()
                    event.wait(min(deadline - time.monotonic(), _LONGEST_WAIT_S))
        finally:
            self._leave(waiter)

    # -- waiting elsewhere ------------------------------------------------------------------------------------------------

    def listen(self, task_ids: Sequence[str], notify: Callable[[], object]) -> Waiter:
        """As `records` for somebody who is no thread: `notify()` is called for news, which is taken from the waiter.

        Give the waiter to `unlisten` when done.
        """
        waiter = Waiter(task_ids, notify)
        self.table.add(waiter, is_served=True)
        with self._thread_lock:
            if self._server is None:
                self._server = threading.Thread(target=self._serve, name="sedano-results", daemon=True)
                self._server.start()
        self._poke()
        return waiter

    def unlisten(self, waiter: Waiter) -> None:
        self._leave(waiter)
        self._poke()

    def _serve(self) -> None:
        """Lead while there are waiters that are no threads."""
        while True:
            try:
                with self._lead:
                    self._pump(lambda: not self.table.has_served(), time.monotonic() + _LONGEST_WAIT_S)
            except Exception as exc:  # nobody stands above this thread: those for whom it waits are told
                self.table.fail(exc, only_served=True)
            self.table.wake_one(None)
            with self._thread_lock:
                if not self.table.has_served():
                    self._server = None
                    return

    # -- reading ahead ----------------------------------------------------------------------------------------------------

    def foresee(self, results: Sequence[Foreseen]) -> None:
        """Watch these too with the next watch: their records come without being asked for."""
        self._foreseen_at = time.monotonic()
        self.table.foresee(results)
        self._tidy_later()

    def _tidy_later(self) -> None:
        self._asked_at = time.monotonic()
        if self._tidier is None:
            with self._thread_lock:
                if self._tidier is None:
                    self._tidier = threading.Thread(target=self._tidy, name="sedano-tidy", daemon=True)
                    self._tidier.start()

    def _tidy(self) -> None:
        """Drop what nobody waits for any more, and what was read ahead for nobody."""
        while True:
            time.sleep(TIDY_S)
            if time.monotonic() - self._asked_at < TIDY_S:
                continue
            if self.table.is_idle() or time.monotonic() - self._foreseen_at >= LONGEST_AHEAD_S:
                self.table.unforesee_all()
            self._tidy_now()
            with self._thread_lock:
                if time.monotonic() - self._asked_at >= TIDY_S and not self.table.has_foreseen():
                    self._tidier = None
                    return

    def _tidy_now(self) -> None:
        if not self._drop_if_free():
            self._is_to_tidy = True
            self._poke()

    # -- the lead ---------------------------------------------------------------------------------------------------------

    def _leave(self, waiter: Waiter) -> None:
        """What it watched is dropped with the next watch, or a little later."""
        self.table.remove(waiter)
        if not self.table.is_idle() and not self._lead.locked():
            self.table.wake_one(None)  # the lead may just have been offered to this one
        self._tidy_later()

    def _drop_if_free(self) -> bool:
        """End subscriptions that nobody needs, unless somebody leads, who will."""
        if not self._lead.acquire(blocking=False):
            return False
        try:
            task_ids = self.table.drops()
            stream = self._stream
            if task_ids and stream is not None:
                try:
                    for start in range(0, len(task_ids), AT_ONCE):
                        stream.unwatch(task_ids[start : start + AT_ONCE])
                        self._hand_out(stream.wait(0.0))  # what the store says to it is not left lying
                except ResultsUnavailable:
                    self._drop_stream()
        finally:
            self._lead.release()
        return True

    def _poke(self) -> None:
        """Make the leader look at the table."""
        with self._pipe_lock:  # a pipe that was just closed may be somebody else's file by now
            if self._pipe is not None:
                with contextlib.suppress(BlockingIOError):  # full: it is readable anyway
                    os.write(self._pipe[1], b".")

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
                    self.table.fail(exc)
                    return
                time.sleep(max(0.0, min(0.1 * tries, 1.0, deadline - time.monotonic())))

    def _turn(self, is_done: Callable[[], bool], deadline: float) -> None:
        if self._has_moved:
            self._has_moved = False
            self._drop_stream()
        stream = self._stream
        if stream is None:
            stream = self._open_stream()
        self._follow_table(stream)
        if is_done():
            return
        assert self._pipe is not None
        left_s = min(deadline - time.monotonic(), _LONGEST_WAIT_S)
        news = stream.wait(max(0.0, left_s), (self._pipe[0],))
        with contextlib.suppress(BlockingIOError):
            os.read(self._pipe[0], 4096)
        self._hand_out(news)

    def _follow_table(self, stream: ResultStream) -> None:
        """Watch what is to be watched, drop what is to be dropped."""
        is_to_tidy, self._is_to_tidy = self._is_to_tidy, False
        to_watch, to_drop = self.table.changes(few_too=is_to_tidy)
        # Records so large that they cost a stream its connection come the other way.
        look = not self._was_lost
        for start in range(0, len(to_watch), AT_ONCE):
            some = to_watch[start : start + AT_ONCE]
            found = stream.watch(some, to_drop, look=look)
            to_drop = []
            self._hand_out(found if look else [(task_id, None) for task_id in some])
        if to_drop:
            stream.unwatch(to_drop)
        self._was_lost = False

    def _hand_out(self, news: Sequence[tuple[str, bytes | None]]) -> None:
        if not news:
            return
        missing = [task_id for task_id, payload in news if payload is None]
        found = [(task_id, payload) for task_id, payload in news if payload is not None]
        if missing:
            records = zip(missing, self.fetch(missing), strict=True)
            found += [(task_id, payload) for task_id, payload in records if payload is not None]
        self.table.deliver(found)

    def _open_stream(self) -> ResultStream:
        with self._pipe_lock:
            if self._pipe is None:
                self._pipe = os.pipe()
                os.set_blocking(self._pipe[0], False)
                os.set_blocking(self._pipe[1], False)
        stream = self._stream = self.subscribe()
        self.table.watch_all_anew()
        return stream

    def _drop_stream(self) -> None:
        stream, self._stream = self._stream, None
        self._was_lost = True
        if stream is not None:
            with contextlib.suppress(ResultsUnavailable):
                stream.close()

    # -- another server ---------------------------------------------------------------------------------------------------

    def move(self) -> None:
        """The store is another one from now on: waiters wait there. The old one may be silent, and is closed by a thread."""
        with self._lock:
            results, self._results = self._results, None
        self._has_moved = True
        self._poke()
        if results is not None:
            threading.Thread(target=results.close, name="sedano-results-left", daemon=True).start()

    # -- ending -----------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the connections; the next question opens new ones. Waiters are told that the store is gone."""
        self.table.unforesee_all()
        self.table.fail(ResultsUnavailable("the app was closed while its results were waited for"))
        self._poke()
        with self._lead:
            self._drop_stream()
            with self._pipe_lock:
                pipe, self._pipe = self._pipe, None
                for fd in pipe or ():
                    os.close(fd)
        self.hang_up()

    def _forget(self) -> Any:
        """In a forked child: connections, locks and threads are the parent's. Who waited there waits there."""
        left = (self._results, self._stream, self._lead, self._pipe_lock, self._thread_lock, self._lock, self.table)
        if self._pipe is not None:
            os.close(self._pipe[0])
            os.close(self._pipe[1])
        self._begin()
        return left
