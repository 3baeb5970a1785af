"""What the slots of this node run at this moment, by the shared table."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sedano.clock import SYSTEM_CLOCK
from sedano.contracts import Broker
from sedano.contracts.coordination import revoking_stamp
from sedano.worker.control.requests import call_of
from sedano.worker.rowview import CallNote, CallStatus, Phase
from sedano.worker.table import SharedTable


@dataclass(frozen=True, slots=True)
class Running:
    """A call that runs since `started` (Unix seconds) in the process `pid`."""

    note: CallNote
    started: float
    pid: int


@dataclass(frozen=True, slots=True)
class TableView:
    """`owners` are the leases of the slots. `started` are tags of calls that run or have ended and are not settled yet."""

    owners: list[str]
    running: list[Running]
    started: frozenset[str]


class Epoch:
    """Unix seconds at the zero of the monotonic clock: the same from one question to the next, so that a call that runs began
    at one time whenever it is asked. It moves when the wall clock was set, by more than `SLACK_S`."""

    SLACK_S = 0.1

    def __init__(self, wall: Callable[[], float] = SYSTEM_CLOCK.wall, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall, self._monotonic = wall, monotonic
        self._since = wall() - monotonic()

    def since(self) -> float:
        now = self._wall() - self._monotonic()
        if abs(now - self._since) > self.SLACK_S:
            self._since = now
        return self._since


_epoch = Epoch()


def look(table: SharedTable) -> TableView:
    """Takes up to 0.1 s for each slot that was stopped by SIGSTOP."""
    since = _epoch.since()
    owners: list[str] = []
    running: list[Running] = []
    started: set[str] = set()
    for row in table:
        if row.owner and row.phase not in (Phase.EMPTY, Phase.GONE):
            owners.append(row.owner)
        if table.boards:
            board, pid = table.boards[row.index], row.pid
            for k, serial, began in board.running():
                note = board.note(k, serial)
                if note is not None:
                    running.append(Running(note, began + since, pid))
                    started.add(note.tag)
        elif row.phase in (Phase.BUSY, Phase.STOPPING):
            view = row.snapshot()
            if view.running is not None:
                running.append(Running(view.running, view.started_at + since, view.pid))
            started.update(
                note.tag
                for note, status in zip(view.notes, view.statuses, strict=True)
                if status in (CallStatus.STARTED, CallStatus.FINISHED)
            )
    return TableView(owners, running, frozenset(started))


def bearers(table: SharedTable, broker: Broker, stamps: Mapping[str, frozenset[str]]) -> dict[str, dict[str, Any]]:
    """The calls that run here and bear one of `stamps`: id -> {header: stamp}."""
    view = look(table)
    if not view.running:
        return {}
    tags = [one.note.tag for one in view.running]
    found: dict[str, dict[str, Any]] = {}
    for delivery in broker.held(view.owners, limit=len(tags), tags=tags):
        call = call_of(delivery)
        stamp = None if call is None else revoking_stamp(call, stamps)
        if call is not None and stamp is not None:
            found[call.id] = stamp
    return found
