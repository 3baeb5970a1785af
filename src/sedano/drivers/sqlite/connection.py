"""One SQLite connection of one process: opened on first use, one step at a time, patient with other writers.

Write transactions begin IMMEDIATE, so a step never fails half-way because somebody else wrote. SQLite's own busy handler sleeps
whole milliseconds and longer with every try, which starves those who wait longest; ours looks again after tens of microseconds.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeVar

from sedano.drivers.sqlite import forks
from sedano.drivers.sqlite.checkpoints import Checkpoints
from sedano.drivers.sqlite.failures import explain, gone, is_busy, primary_code
from sedano.drivers.sqlite.location import Location
from sedano.drivers.sqlite.opening import open_database, pages_of_log
from sedano.exceptions import OperationalError

T = TypeVar("T")

Row = tuple[Any, ...]

_SHORTEST_PAUSE_S = 0.00005
_LONGEST_PAUSE_S = 0.0005
_IMPATIENT_AFTER_S = 0.25  # who has waited so long looks as often as at first: the longer the wait, the better the chance
_LOOK_AT_FILE_S = 1.0  # between two looks at the file for those who only read
_BROKEN = (
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
)


class Connection:
    """Raises `unavailable` (`BrokerUnavailable` or `ResultsUnavailable`), `StoreFull`, `ImproperlyConfigured` or
    `MessageTooLarge`; the next use after any of them opens the file anew where that is needed.

    `openings` grows with each opening: what was remembered of the file before may not be true any more.
    """

    def __init__(self, location: Location, unavailable: type[OperationalError]) -> None:
        self.location = location
        self.openings = 0
        self._unavailable = unavailable
        self._handle: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._looked_at = 0.0
        self._checkpoints = Checkpoints()
        forks.remember(self)

    @contextlib.contextmanager
    def write(self) -> Generator[sqlite3.Connection]:
        """One write transaction: committed when the block ends, rolled back when it raises. Not nested."""
        with self._lock:
            handle = self._begin()
            try:
                yield handle
                self._check_file()
                handle.execute("COMMIT")
                self._checkpoints.committed(handle)
            except BaseException as error:
                self._abandon(handle, error)
                if isinstance(error, sqlite3.Error):
                    self._explain(error)
                raise

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """One reading statement: all its rows, of one moment."""
        with self._lock:
            now = time.monotonic()
            if self._handle is not None and now - self._looked_at > _LOOK_AT_FILE_S:
                self._looked_at = now
                try:
                    self._check_file()
                except OperationalError:
                    self.close()
                    raise
            return self._patiently(lambda: self._opened().execute(sql, parameters).fetchall())

    def version(self) -> tuple[int, int]:
        """Differs from an earlier answer when another connection may have written in between."""
        return self.openings, int(self.query("PRAGMA data_version")[0][0])

    def close(self) -> None:
        """Idempotent; the next use opens the file again."""
        with self._lock:
            handle, self._handle = self._handle, None
            if handle is None:
                return
            if self._pid != os.getpid():
                _leak(handle)
                return
            with contextlib.suppress(sqlite3.Error):
                handle.close()

    # -- forks --------------------------------------------------------------------------------------------------------

    def before_fork(self) -> None:
        self._lock.acquire()
        if self._handle is not None and not self._handle.in_transaction:
            self.close()

    def after_fork(self) -> None:
        self._lock.release()

    # -- parts --------------------------------------------------------------------------------------------------------

    def _opened(self) -> sqlite3.Connection:
        if self._handle is None:
            handle = open_database(self.location)
            found = os.stat(self.location.path)
            self._handle, self._identity, self._pid = handle, (found.st_dev, found.st_ino), os.getpid()
            self._checkpoints = Checkpoints(pages_of_log(self.location.path))
            self.openings += 1
        elif self._pid != os.getpid():
            raise self._unavailable(
                f"this process was forked, unknown to Python, while the store {self.location.path} was in use. "
                "Fork before the store is first used, or start the process anew."
            )
        return self._handle

    def _begin(self) -> sqlite3.Connection:
        handle = self._opened_patiently()
        if handle.in_transaction:  # an exception came between two lines of an earlier step
            handle.execute("ROLLBACK")
        try:
            handle.execute("BEGIN IMMEDIATE")
        except sqlite3.Error:
            self._patiently(lambda: handle.execute("BEGIN IMMEDIATE"))
        return handle

    def _opened_patiently(self) -> sqlite3.Connection:
        if self._handle is not None and self._pid == os.getpid():
            return self._handle
        return self._patiently(self._opened)

    def _patiently(self, action: Callable[[], T]) -> T:
        """Repeat `action` while it meets a lock, until the busy timeout is over."""
        deadline, pause = 0.0, _SHORTEST_PAUSE_S
        while True:
            try:
                return action()
            except sqlite3.Error as error:
                now = time.monotonic()
                deadline = deadline or now + self.location.busy_timeout_s
                if now >= deadline or not is_busy(error):
                    self._abandon(self._handle, error)
                    self._explain(error)
                    raise
                if deadline - now < self.location.busy_timeout_s - _IMPATIENT_AFTER_S:
                    pause = _SHORTEST_PAUSE_S
            time.sleep(random.uniform(0.5, 1.5) * pause)
            pause = min(pause * 1.3, _LONGEST_PAUSE_S)

    def _check_file(self) -> None:
        """Raise when the path does not lead to the file that is open: whatever is written now would be lost."""
        try:
            found = os.stat(self.location.path)
        except OSError:
            found = None
        if found is None or (found.st_dev, found.st_ino) != self._identity:
            raise self._unavailable(gone(self.location.path))

    def _abandon(self, handle: sqlite3.Connection | None, error: BaseException) -> None:
        """Undo what the step has done; drop the connection when nothing more can be done with it."""
        if handle is None:
            return
        with contextlib.suppress(sqlite3.Error):
            if handle.in_transaction:
                handle.execute("ROLLBACK")
        broken = isinstance(error, sqlite3.Error) and primary_code(error) in _BROKEN
        if broken or handle.in_transaction or isinstance(error, self._unavailable):
            self.close()

    def _explain(self, error: sqlite3.Error) -> None:
        """Raise the error of ours that stands for `error`, if there is one."""
        ours = explain(error, self.location, self._unavailable)
        if ours is not None:
            raise ours from error


def _leak(handle: sqlite3.Connection) -> None:
    """Never let go of a handle that belongs to the parent process, not even at the end: closing it would touch its files."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(handle))
