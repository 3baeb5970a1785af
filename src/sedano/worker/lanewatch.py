"""The supervisor's look at a process with many lanes: ends it when a call outlives its hard limit, passes terminations on.

Limits are kept in the process itself (`lanelimits.py`). Only a process that is stuck as a whole - a task keeps the interpreter,
the loop or the only thread to itself - cannot do that: it is killed, what else ran in it is lost or redelivered, and what had
finished is settled from the board.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Collection

from sedano.exceptions import TimeLimitExceeded
from sedano.worker import lines
from sedano.worker.board import LaneBoard, Order
from sedano.worker.pools.events import Pool
from sedano.worker.table import Cause, Phase, SharedTable

_control = logging.getLogger("celery.worker.control")
GRACE_S = 3.0  # longer than the process itself waits for a call that it has told to end
TICK_S = 0.25


class LaneWatch:
    """As `TableWatch`, for a table with boards: one, and where the broker has several servers another, for the process that
    follows while the calls of the first one end."""

    tick_s = TICK_S

    def __init__(self, table: SharedTable, pool: Pool) -> None:
        self._table, self._pool = table, pool
        self._killed: set[int] = set()

    def look(self, now: float) -> bool:
        """Look once; whether calls run, so that the next look is due in `tick_s`."""
        busy = self._is_busy()
        if busy:
            self._table.supervisor_watches = True
            for index, board in enumerate(self._table.boards):
                for k, serial in board.overdue(now - GRACE_S):
                    self._kill(index, board, k, serial)
            return True
        if self._table.supervisor_watches:
            self._table.supervisor_watches = False
            return self._is_busy()
        return False

    def terminate(self, ids: Collection[str], signum: int) -> list[str]:
        """Have the running calls among `ids` end; the ids of those that were found running."""
        ended: list[str] = []
        for index, board in enumerate(self._table.boards):
            before = len(ended)
            for k, serial, _ in board.running():
                note = board.note(k, serial)
                if note is None or note.task_id not in ids:
                    continue
                ended.append(note.task_id)
                _control.info("Terminating %s (%s)", lines.one_line(note.task_id), signum)
                board.order(k, serial, Order.SOFT if signum == signal.SIGUSR1 else Order.END, signum)
            if len(ended) > before:
                self._pool.wake(index)
        return ended

    def _is_busy(self) -> bool:
        return any(row.phase in (Phase.BUSY, Phase.STOPPING) for row in self._table)

    def _kill(self, index: int, board: LaneBoard, k: int, serial: int) -> None:
        pid = self._table.row(index).pid
        note = board.note(k, serial)
        if note is None or pid in self._killed:
            return
        self._killed.add(pid)
        board.condemn(k, serial, Cause.HARD_LIMIT)
        lines.handler_error(TimeLimitExceeded(note.hard_s))
        lines.hard_limit(task_id=note.task_id, name=note.task, seconds=note.hard_s or 0.0)
        _control.error("the pool process %d cannot end this call, which keeps it to itself: it is killed", pid)
        self._pool.signal(index, signal.SIGKILL)
