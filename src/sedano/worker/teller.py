"""Tells what becomes of calls, as Celery's events (wire-protocol 5): where they run, to the node's herald, which publishes.

A slot writes pieces of JSON and hands over what it has in one datagram: with each turn, and before a call that may take long.
Nobody waits for anybody: when the herald does not keep up, or its broker is away, the oldest events are dropped and counted.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sedano.clock import Clock, utcoffset_h
from sedano.exceptions import EncodeError
from sedano.protocol.call import Call
from sedano.protocol.events import EventWriter
from sedano.worker.table import SharedTable

_logger = logging.getLogger("celery.worker")

LONGEST = 48 * 1024  # bytes of one datagram, and of one event: what is longer loses its traceback
MOST_WAITING = 2000
_AGE_S = 0.005
_DROPS_SAID_EVERY_S = 60.0
_SHORT = 4096  # characters of a text that makes an event too long

Send = Callable[[bytes], bool]
"""Hand over pieces, joined by line ends, which JSON has none of; False when there is no room now."""


def tell_pair() -> tuple[socket.socket, socket.socket]:
    """(the herald's end, the end that all slots share): each message arrives whole, whoever else writes."""
    kind = socket.SOCK_SEQPACKET if sys.platform == "linux" else socket.SOCK_DGRAM
    ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
    for end in (ours, theirs):
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * LONGEST)  # some systems give less than one message needs
    return ours, theirs


def send_to(fd: int) -> Send:
    """Hand over through the descriptor `fd` of the slots' end."""
    write = os.write

    def send(data: bytes) -> bool:
        try:
            write(fd, data)
        except (BlockingIOError, OSError):  # full; or the herald is gone, and the node with it
            return False
        return True

    return send


class Teller:
    """One process's, used by any of its threads. `on` tells whether somebody wants to hear, as of the last `look`: whoever
    tells looks at it first, on the way of every call."""

    def __init__(self, table: SharedTable, node: str, send: Send | None, clock: Clock) -> None:
        self._table, self._send, self._wall, self._monotonic = table, send, clock.wall, clock.monotonic
        self._writer = EventWriter(node, table.supervisor_pid, utcoffset_h())
        self.on = False
        self._pieces: deque[bytes] = deque()
        self._lock = threading.Lock()
        self._sent_at = 0.0
        self._dropped = 0
        self._said_at = -_DROPS_SAID_EVERY_S

    def look(self) -> None:
        """Find out whether somebody wants to hear, and hand over what was written."""
        self.on = self._send is not None and self._table.tells
        if self._pieces:
            self.flush()

    # -- events -------------------------------------------------------------------------------------------------------

    def received(self, call: Call) -> None:
        self._tell(
            "task-received",
            {
                "uuid": call.id,
                "name": call.shadow or call.task,
                "args": call.argsrepr,
                "kwargs": call.kwargsrepr,
                "root_id": call.root_id,
                "parent_id": call.parent_id,
                "retries": call.retries,
                "eta": _iso(call.eta),
                "expires": _iso(call.expires),
            },
        )

    def started(self, task_id: str, *, at_once: bool = True) -> None:
        """`at_once`: the call may take long, and nothing is to wait for it."""
        self._tell("task-started", {"uuid": task_id})
        if at_once:
            self.flush()

    def succeeded(self, task_id: str, result: str, runtime_s: float) -> None:
        self._tell("task-succeeded", {"uuid": task_id, "result": result, "runtime": runtime_s})

    def failed(self, task_id: str, exception: str, traceback: str | None) -> None:
        """Without a traceback of a call that never ran."""
        told = {} if traceback is None else {"traceback": traceback}
        self._tell("task-failed", {"uuid": task_id, "exception": exception, **told})

    def retried(self, task_id: str, exception: str, traceback: str | None) -> None:
        self._tell("task-retried", {"uuid": task_id, "exception": exception, "traceback": traceback})

    def rejected(self, task_id: str, *, requeue: bool) -> None:
        self._tell("task-rejected", {"uuid": task_id, "requeue": requeue})

    def revoked(self, task_id: str, *, terminated: bool, signum: int | None, expired: bool) -> None:
        self._tell("task-revoked", {"uuid": task_id, "terminated": terminated, "signum": signum, "expired": expired})

    # -- handing over -------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Hand over what was written."""
        if not self._pieces or self._send is None:
            return
        with self._lock:
            while self._pieces:
                chosen = self._next()
                if not self._send(b"\n".join(chosen)):
                    self._pieces.extendleft(reversed(chosen))
                    break
            self._sent_at = self._monotonic()

    def _tell(self, kind: str, fields: Mapping[str, Any]) -> None:
        try:
            piece = self._writer.piece(kind, self._wall(), fields)
        except EncodeError:  # a surrogate in a text, for example
            piece = self._writer.piece(kind, self._wall(), _harmless(fields))
        if len(piece) > LONGEST:
            piece = self._writer.piece(kind, self._wall(), _harmless(fields))
        pieces = self._pieces
        pieces.append(piece)
        if len(pieces) > MOST_WAITING:
            self._drop()
        if self._monotonic() - self._sent_at > _AGE_S:
            self.flush()

    def _next(self) -> list[bytes]:
        chosen = [self._pieces.popleft()]
        size = len(chosen[0])
        while self._pieces and size + len(self._pieces[0]) < LONGEST:
            chosen.append(self._pieces.popleft())
            size += len(chosen[-1]) + 1
        return chosen

    def _drop(self) -> None:
        with self._lock:
            while len(self._pieces) > MOST_WAITING:
                self._pieces.popleft()
                self._dropped += 1
        now = self._monotonic()
        if now - self._said_at >= _DROPS_SAID_EVERY_S:
            self._said_at = now
            _logger.warning("%d events were dropped so far: the broker does not take them fast enough", self._dropped)


class Told:
    """Pieces that the herald's own process tells: from its threads to the herald."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._data: deque[bytes] = deque()
        self._wake = wake

    def send(self, data: bytes) -> bool:
        self._data.append(data)
        self._wake()
        return True

    def take(self) -> Sequence[bytes]:
        found: list[bytes] = []
        while self._data:
            found.append(self._data.popleft())
        return found


def _harmless(fields: Mapping[str, Any]) -> dict[str, Any]:
    """`fields` with texts that any listener can take."""
    return {
        name: value[:_SHORT].encode("utf-8", "replace").decode() if isinstance(value, str) else value
        for name, value in fields.items()
    }


def _iso(moment: float | None) -> str | None:
    if moment is None:
        return None
    try:
        return dt.datetime.fromtimestamp(moment, dt.UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return None  # a year that Python does not know
