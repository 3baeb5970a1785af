"""Who waits for which records: the table that the leader of `waiting.py` serves."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

_MANY = 500


class Foreseen(Protocol):
    """A result whose record was asked for before anybody wanted it; it is kept undecoded in `payload_ahead`."""

    id: str
    payload_ahead: bytes | None


class Waiter:
    """Somebody who wants the records of some tasks: `notify` is called (in whichever thread) when `records` or `error` is new.

    `is_away` while its thread does something with a record, and would not hear that it is to lead.
    """

    __slots__ = ("error", "is_away", "notify", "records", "task_ids")

    def __init__(self, task_ids: Iterable[str], notify: Callable[[], object]) -> None:
        self.task_ids = dict.fromkeys(task_ids)
        self.notify = notify
        self.records: deque[tuple[str, bytes]] = deque()
        self.error: Exception | None = None
        self.is_away = False


class WaiterTable:
    """Thread-safe. An id is watched while somebody waits for it, or while a result that foresees it lives."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiters: dict[str, list[Waiter]] = {}
        self._all: dict[Waiter, None] = {}
        self._served: set[Waiter] = set()  # those who are no threads
        self._foreseen: dict[str, weakref.ref[Foreseen]] = {}
        self._gone: deque[str] = deque()  # ids of foreseen results that died; filled by the collector, which takes no lock
        self._to_watch: list[str] = []
        self._to_drop: list[str] = []

    # -- those who wait ---------------------------------------------------------------------------------------------------

    def add(self, waiter: Waiter, *, is_served: bool = False) -> None:
        with self._lock:
            self._all[waiter] = None
            if is_served:
                self._served.add(waiter)
            for task_id in waiter.task_ids:
                self._waiters.setdefault(task_id, []).append(waiter)
                result = self._unforesee(task_id)
                if result is None:
                    # Also when somebody else watches the id already: the look that comes with a watch is for this waiter.
                    self._to_watch.append(task_id)
                elif result.payload_ahead is not None:
                    waiter.records.append((task_id, result.payload_ahead))
            if waiter.records:
                waiter.notify()  # nothing else would: what was read ahead comes no second time

    def remove(self, waiter: Waiter, task_ids: Iterable[str] | None = None) -> None:
        """It waits no longer, or only for its other ids."""
        with self._lock:
            for task_id in list(waiter.task_ids) if task_ids is None else task_ids:
                waiter.task_ids.pop(task_id, None)
                waiters = self._waiters.get(task_id, [])
                if waiter in waiters:
                    waiters.remove(waiter)
                    if not waiters:
                        del self._waiters[task_id]
                        self._to_drop.append(task_id)
            if not waiter.task_ids:
                self._all.pop(waiter, None)
                self._served.discard(waiter)

    def wake_one(self, former: Waiter | None) -> None:
        """Wake one waiting thread, so that it takes the lead."""
        with self._lock:
            for waiter in self._all:
                if waiter is not former and not waiter.is_away and waiter not in self._served:
                    waiter.notify()
                    return

    def has_served(self) -> bool:
        return bool(self._served)

    def is_idle(self) -> bool:
        """Whether nobody waits."""
        return not self._all

    # -- results that are read ahead --------------------------------------------------------------------------------------

    def foresee(self, results: Iterable[Foreseen]) -> None:
        """Watch their ids too; each record that comes is put into its result, while that lives."""
        with self._lock:
            for result in results:
                task_id = result.id
                if task_id not in self._foreseen and task_id not in self._waiters:
                    self._foreseen[task_id] = weakref.ref(result, self._gone_when_it_dies(task_id))
                    self._to_watch.append(task_id)

    def is_foreseen(self, task_id: str) -> bool:
        return task_id in self._foreseen

    def unforesee(self, task_id: str) -> None:
        with self._lock:
            if self._unforesee(task_id) is not None:
                self._to_drop.append(task_id)

    def unforesee_all(self) -> None:
        with self._lock:
            self._to_drop += self._foreseen
            self._foreseen.clear()

    def has_foreseen(self) -> bool:
        return bool(self._foreseen)

    def _unforesee(self, task_id: str) -> Foreseen | None:
        foreseen = self._foreseen.pop(task_id, None)
        return None if foreseen is None else foreseen()

    def _gone_when_it_dies(self, task_id: str) -> Callable[[object], None]:
        return lambda _: self._gone.append(task_id)

    def _bury(self) -> None:
        while self._gone:
            task_id = self._gone.popleft()
            foreseen = self._foreseen.get(task_id)
            if foreseen is not None and foreseen() is None:
                del self._foreseen[task_id]
                self._to_drop.append(task_id)

    # -- for the leader ---------------------------------------------------------------------------------------------------

    def changes(self, *, few_too: bool = False) -> tuple[list[str], list[str]]:
        """The ids to watch since the last call, and those to drop: few ones wait until something is to be watched."""
        with self._lock:
            self._bury()
            to_watch, self._to_watch = self._to_watch, []
            wanted = [task_id for task_id in dict.fromkeys(to_watch) if self._is_wanted(task_id)]
            return wanted, self._drops() if few_too or wanted or len(self._to_drop) >= _MANY else []

    def drops(self) -> list[str]:
        """The ids to drop since the last call; what is to be watched waits for its leader."""
        with self._lock:
            self._bury()
            return self._drops()

    def _drops(self) -> list[str]:
        to_drop, self._to_drop = self._to_drop, []
        return [task_id for task_id in to_drop if not self._is_wanted(task_id)]

    def watch_all_anew(self) -> None:
        """The stream is another one."""
        with self._lock:
            self._bury()
            self._to_watch = [*self._waiters, *self._foreseen]
            self._to_drop = []

    def _is_wanted(self, task_id: str) -> bool:
        return task_id in self._waiters or task_id in self._foreseen

    def deliver(self, records: Sequence[tuple[str, bytes]]) -> None:
        with self._lock:
            for task_id, payload in records:
                for waiter in self._waiters.get(task_id, ()):
                    waiter.records.append((task_id, payload))
                    waiter.notify()
                foreseen = self._foreseen.get(task_id)
                if foreseen is not None and (result := foreseen()) is not None:
                    result.payload_ahead = payload

    def fail(self, error: Exception, *, only_served: bool = False) -> None:
        """Tell all, or all that are no threads, that nothing will come."""
        with self._lock:
            for waiter in list(self._served if only_served else self._all):
                waiter.error = error
                waiter.notify()
            if only_served:
                self._served.clear()
