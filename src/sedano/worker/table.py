"""The shared table of a node: one row per slot, in memory that supervisor, template and slots map.

A slot writes what it is about to run, what it runs and what it has finished; the supervisor reads it to keep time limits,
to take back what waits behind a long call, and to settle exactly when the slot is dead. Nothing here touches a store.

What holds between the two writers of a row:

- Whoever opens or closes a window, takes calls back or condemns the slot holds the row's lock: a byte-range lock of the
  kernel, which ends with its process, and a thread lock (the solo pool and the supervisor's own threads).
- The slot starts a call without it: it says which one it wants, and takes the lock only when the supervisor has said that it
  is deciding (docs/decisions/0003-starting-a-call-without-a-system-call.md has the reasoning).
- `finish` needs no lock: the settlement is written first, the status last, and nobody else changes a started call.
- A call is in exactly one state: BEGUN -> STARTED -> FINISHED by the slot, or BEGUN -> TAKEN by the supervisor.
- Once a slot is condemned, it starts nothing more: the signal that ends it can only meet the call it was meant for.

All times in a row are monotonic seconds, except `next_due`.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace

from sedano.worker.announced import ANNOUNCED_BYTES, Announced
from sedano.worker.board import LaneBoard, board_bytes
from sedano.worker.buckets import BUCKETS_BYTES, Buckets
from sedano.worker.counts import TaskCounts, counts_bytes
from sedano.worker.orders import ORDERS_BYTES, OrderBook
from sedano.worker.row import LEAVE, MAX_WINDOW, ROW_BYTES, Row
from sedano.worker.rowview import CallNote, CallStatus, Cause, Phase, RowView
from sedano.worker.tallies import TALLIES_BYTES, Tallies

__all__ = ["LEAVE", "MAX_WINDOW", "ROW_BYTES", "CallNote", "CallStatus", "Cause", "Phase", "Row", "RowView", "SharedTable"]

_NODE_BYTES = 4096
_BUCKET_LOCKS_AT = 1 << 40  # far behind the end of the file: what is locked need not be there


class SharedTable:
    """The rows of a node. `fd` keeps the memory and survives exec when it is passed on.

    Where one process runs many calls, a board with `lanes` entries stands behind the rows for each of them. Behind all that
    each row has its `tallies`, for metrics.
    """

    def __init__(self, fd: int, slots: int, lanes: int = 0, tasks: Sequence[str] | None = None) -> None:
        self.fd, self.slots, self.lanes = fd, slots, lanes
        self._memory = mmap.mmap(fd, os.fstat(fd).st_size)
        self._view = memoryview(self._memory)
        self._rows: list[Row] = []
        for i in range(slots):
            at = _NODE_BYTES + i * ROW_BYTES
            self._rows.append(Row(self._view[at : at + ROW_BYTES], i, fd, at))
        behind = _NODE_BYTES + slots * ROW_BYTES
        size = board_bytes(lanes)
        self.boards = tuple(
            LaneBoard(self._view[behind + i * size : behind + (i + 1) * size], lanes) for i in range(slots if lanes else 0)
        )
        behind = _rows_bytes(slots, lanes)
        self.tallies = tuple(
            Tallies(self._view[behind + i * TALLIES_BYTES : behind + (i + 1) * TALLIES_BYTES]) for i in range(slots)
        )
        at = behind + slots * TALLIES_BYTES
        self.orders = OrderBook(self._view[at : at + ORDERS_BYTES])
        at += ORDERS_BYTES
        self.buckets = Buckets(self._view[at : at + BUCKETS_BYTES], fd, _BUCKET_LOCKS_AT)
        at += BUCKETS_BYTES
        self.announced = Announced(self._view[at : at + ANNOUNCED_BYTES])
        self.counts = TaskCounts(self._view[at + ANNOUNCED_BYTES :], slots, tasks)
        # 0: whether the supervisor watches; 1: the server; 2: whether somebody wants to hear of what tasks do
        # 3: the supervisor's process
        self._node = self._view[:32].cast("q")

    @classmethod
    def create(cls, slots: int, *, lanes: int = 0, tasks: Sequence[str] = (), path: str | None = None) -> SharedTable:
        """New memory for `slots` rows and `lanes` lanes: of no file where the system has that, else of a file without a name.

        Calls of `tasks` are counted. `path` keeps it in a file of that name, for looking at it from outside.
        """
        if path is not None:
            fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        elif sys.platform == "linux":
            fd = os.memfd_create("sedano-table", os.MFD_CLOEXEC)
        else:
            fd, name = tempfile.mkstemp(prefix="sedano-table-")
            with contextlib.suppress(OSError):
                os.unlink(name)
        os.ftruncate(fd, _size(slots, lanes) + counts_bytes(slots, tasks))
        table = cls(fd, slots, lanes, tasks)
        table._node[3] = os.getpid()
        return table

    @classmethod
    def attach(cls, fd: int, slots: int, lanes: int = 0) -> SharedTable:
        """The table behind `fd`, in another program."""
        return cls(fd, slots, lanes)

    def row(self, i: int) -> Row:
        return self._rows[i]

    def snapshot(self, i: int) -> RowView:
        """Row `i` at one moment, with all that ran in its process; of a board only when that process is dead."""
        view = self._rows[i].snapshot()
        if not self.boards:
            return view
        entries = self.boards[i].entries()
        return replace(
            view,
            notes=tuple(entry.note for entry in entries),
            statuses=tuple(entry.status for entry in entries),
            settlements={entry.note.tag: entry.settlement for entry in entries if entry.settlement is not None},
            causes={entry.note.tag: entry.cause for entry in entries if entry.cause is not Cause.NONE},
        )

    def reset(self, i: int) -> None:
        """Make row `i` empty, for the next process."""
        self._rows[i].reset()
        if self.boards:
            self.boards[i].reset()

    def __len__(self) -> int:
        return self.slots

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    def running(self) -> int:
        """How many calls run now."""
        if self.boards:
            return sum(len(board.running()) for board in self.boards)
        return sum(row.running() is not None for row in self._rows)

    @property
    def supervisor_watches(self) -> bool:
        """The supervisor is polling the table: a slot that becomes busy need not notify it.

        A slot writes its phase before it asks; the supervisor takes this away before it looks at the phases once more.
        """
        return self._node[0] != 0

    @supervisor_watches.setter
    def supervisor_watches(self, watches: bool) -> None:
        self._node[0] = 1 if watches else 0

    @property
    def server(self) -> int:
        """The place of the broker's server that the node uses, where there are several: slots that start begin there."""
        return self._node[1]

    @server.setter
    def server(self, place: int) -> None:
        self._node[1] = place

    @property
    def tells(self) -> bool:
        """Somebody wants to hear what becomes of each call: events are on."""
        return self._node[2] != 0

    @tells.setter
    def tells(self, tells: bool) -> None:
        self._node[2] = 1 if tells else 0

    @property
    def supervisor_pid(self) -> int:
        return self._node[3]

    def close(self) -> None:
        """Let go of the memory and the file; for tests and for the end of a supervisor."""
        for row in self._rows:
            row.release_memory()
        for board in self.boards:
            board.release_memory()
        for tallies in self.tallies:
            tallies.release_memory()
        self.orders.release_memory()
        self.buckets.release_memory()
        self.announced.release_memory()
        self.counts.release_memory()
        self._node.release()
        self._view.release()
        self._memory.close()
        os.close(self.fd)


def _size(slots: int, lanes: int) -> int:
    """Without the counters of tasks, which stand at the end."""
    return _rows_bytes(slots, lanes) + slots * TALLIES_BYTES + ORDERS_BYTES + BUCKETS_BYTES + ANNOUNCED_BYTES


def _rows_bytes(slots: int, lanes: int) -> int:
    size = slots * ROW_BYTES + (slots * board_bytes(lanes) if lanes else 0)
    return _NODE_BYTES + (size + 4095) // 4096 * 4096
