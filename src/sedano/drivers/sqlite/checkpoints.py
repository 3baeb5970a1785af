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

_COMMIT_COST = 2
_WORTH_PAGES = 1000
_TRIES = 50
_PAUSE_S = 0.0001


class Checkpoints:
    """Of one open handle."""

    def __init__(self) -> None:
        self._growth = 0
        self._changes = 0

    def committed(self, handle: sqlite3.Connection) -> None:
        """To be told of every commit. What goes wrong here is no failure of the step: the log stays as it is."""
        changes = handle.total_changes
        self._growth += _COMMIT_COST + changes - self._changes
        self._changes = changes
        if self._growth >= GROWTH:
            self._growth = 0
            with contextlib.suppress(sqlite3.Error):
                _write_back(handle)


def _write_back(handle: sqlite3.Connection) -> None:
    _, pages, _ = handle.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    if pages < _WORTH_PAGES:  # others have just done it, or are at it
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
