"""When the log (WAL) is written back into the database.

SQLite offers to do so after every commit that finds the log long. With two busy writers that never ends: while one writes the
log back, the other lengthens it, so it cannot begin anew, and from then on every commit pays for another attempt with its two
syncs (measured: a third of all commits, half of the rate). So it is done seldom, in two strokes: most of it while others write,
then the small rest under the lock, after which the log begins anew.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time

GROWTH = 12_000
"""Changed rows and commits between two of this connection's checkpoints; 5 to 20 MB of log for small messages."""

SAFETY_PAGES = 32_000
"""For large messages, which the count of rows does not show, SQLite does it by itself at this length."""

LEAST_PAGES = 250
_SHARE_OF_DISK = 8

_COMMIT_COST = 2
_WORTH_PAGES = 1000
_TRIES = 50
_PAUSE_S = 0.0001


def longest_log(free_bytes: int, page_bytes: int) -> int:
    """Pages that the log may have, on a disk with so much room. A log that has taken all of it can never be written back: the
    database would have to grow for that."""
    return max(LEAST_PAGES, min(SAFETY_PAGES, free_bytes // _SHARE_OF_DISK // page_bytes))


class Checkpoints:
    """Of one open handle. `most_pages` is what the log may have: a shorter log is written back more often."""

    def __init__(self, most_pages: int = SAFETY_PAGES) -> None:
        self._share = most_pages / SAFETY_PAGES
        self._growth = 0
        self._changes = 0

    def committed(self, handle: sqlite3.Connection) -> None:
        """To be told of every commit. What goes wrong here is no failure of the step: the log stays as it is."""
        changes = handle.total_changes
        self._growth += _COMMIT_COST + changes - self._changes
        self._changes = changes
        if self._growth >= GROWTH * self._share:
            self._growth = 0
            with contextlib.suppress(sqlite3.Error):
                _write_back(handle, _WORTH_PAGES * self._share)


def _write_back(handle: sqlite3.Connection, worth_pages: float) -> None:
    _, pages, _ = handle.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    if pages < worth_pages:  # others have just done it, or are at it
        return
    for _ in range(_TRIES):
        if _has_cleared_the_way(handle):
            is_busy, _, _ = handle.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
            if not is_busy:
                return
        time.sleep(_PAUSE_S)


def _has_cleared_the_way(handle: sqlite3.Connection) -> bool:
    """Take the lock and let go of it: those who wanted it meanwhile are taking a short nap. A checkpoint that finds it taken
    would cost two syncs for nothing; this costs nothing."""
    try:
        handle.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        return False
    handle.execute("ROLLBACK")
    return True
