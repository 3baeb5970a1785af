"""Announces the node to the cluster and hears the others: heartbeats, what slots tell of their calls, gossip.

A thread with a connection of its own, and a second one to hear with where Celery's workers may be. Everything that is published
goes through it, so that one clock stamps it in its order.
"""

from __future__ import annotations

import logging
import os
import platform
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sedano import __version__, signals
from sedano.app.lamport import LamportClock
from sedano.clock import SYSTEM_CLOCK, utcoffset_h
from sedano.contracts import Bus, Mailbox
from sedano.exceptions import OperationalError, UnreadableMessage
from sedano.polling import POLLIN, new_poll
from sedano.protocol.events import EventWriter, batch, read_events, single
from sedano.protocol.ids import new_id
from sedano.protocol.message import Message
from sedano.worker.gossip import Gossip, Later
from sedano.worker.reconnect import backoff
from sedano.worker.rounds import Rounds
from sedano.worker.table import SharedTable
from sedano.worker.teller import Told

_logger = logging.getLogger("celery.worker")

HEARTBEAT_S = 2.0
ALONE_S = 30.0
"""Between two heartbeats while nobody hears them, as far as the store can tell: an idle node is to sleep. Whoever comes to
listen asks for one (`Receiver`), or says hello (a worker)."""

ASKED_FREQ_S = 5.0  # what a heartbeat says that a monitor has asked for
WORKERS = "worker.#"
_DATAGRAM = 256 * 1024
_AT_ONCE = 64  # datagrams of one message
_GATHER_S = 0.005  # between two messages: what slots tell meanwhile goes together

SOFTWARE: Mapping[str, str] = {"sw_ident": "py-sedano", "sw_ver": __version__, "sw_sys": platform.system()}


@dataclass(frozen=True, slots=True)
class HeraldTerms:
    """`heartbeat_s` None sends none, and neither tells when the node comes and goes; `gossips` listens to the others' events;
    `exchange` is where events are published, `queue_prefix` what the names of queues begin with in which they are heard."""

    node: str
    heartbeat_s: float | None = HEARTBEAT_S
    gossips: bool = True
    exchange: str = "celeryev"
    queue_prefix: str = "celeryev"


class Herald:
    """`start` it through `rounds`. `open_bus` opens a connection; `running()` counts the calls that run now; `greet()` is
    called once, in the herald's thread, before the node is announced; `elected(topic, action)` acts; `after_orders(do)` has
    `do` called, in whatever thread, when the orders that have reached this node by now are done."""

    def __init__(
        self,
        terms: HeraldTerms,
        table: SharedTable,
        slots_end: socket.socket,
        open_bus: Callable[[], Bus],
        clock: LamportClock,
        running: Callable[[], int],
        greet: Callable[[], None],
        elected: Callable[[str, Any], None],
        after_orders: Later,
    ) -> None:
        self._terms, self._table, self._slots_end, self._open_bus = terms, table, slots_end, open_bus
        self._clock, self._running, self._greet = clock, running, greet
        self._writer = EventWriter(terms.node, os.getpid(), utcoffset_h())
        self._bus: Bus | None = None
        self._hearing: Mailbox | None = None
        self._waits = backoff()
        self._moves = False
        self._beat_at = self._told_at = 0.0
        self._beats_asked = 0
        self._chores: deque[Callable[[], None]] = deque()  # of the gossip, in the order in which they are to be done
        self._has_greeted = self._is_online = self._is_alone = False
        self._out: list[Message] = []
        self.rounds = Rounds("sedano-herald", self._round, self._end)
        self.told = Told(self.rounds.wake)
        self.gossip = Gossip(
            terms.node, os.getpid(), clock, self._announce, elected, lambda do: after_orders(partial(self._later, do))
        )

    # -- from any thread ----------------------------------------------------------------------------------------------

    def move(self) -> None:
        """Use the server that is the node's now."""
        self._moves = True
        self.rounds.wake()

    def beat(self) -> None:
        """Send a heartbeat now: a monitor has just come."""
        self._beats_asked += 1
        self.rounds.wake()

    def elect(self, election_id: str, topic: str, action: Any) -> None:
        self._later(partial(self.gossip.elect, election_id, topic, action))

    def _later(self, do: Callable[[], None]) -> None:
        self._chores.append(do)
        self.rounds.wake()

    # -- rounds -------------------------------------------------------------------------------------------------------

    def _round(self) -> float:
        try:
            if self._moves:
                self._moves = False
                self._close()
            if not self._has_greeted:
                self._has_greeted = True
                self._greet()
            self._connect()
            self._speak()
            self._listen()
            self._waits = backoff()
        except OperationalError as exc:
            _logger.debug("the herald has lost its connection: %s", exc)
            self._close()
            self._out.clear()
            return next(self._waits)
        return 0.0

    def _connect(self) -> None:
        if self._bus is None:
            self._bus = self._open_bus()
        if self._terms.gossips and self._hearing is None:
            self._hearing = self._bus.open_events(f"{self._terms.queue_prefix}.{new_id()}", WORKERS)

    def _speak(self) -> None:
        now = time.monotonic()
        if self._terms.heartbeat_s is not None and now >= self._beat_at:
            self._announce("worker-heartbeat" if self._is_online else "worker-online", self._state(self._terms.heartbeat_s))
            self._is_online = True
            self._beat_at = now + (max(ALONE_S, self._terms.heartbeat_s) if self._is_alone else self._terms.heartbeat_s)
            self.gossip.look(now)
            if signals.heartbeat_sent.receivers:
                signals.heartbeat_sent.send(self)
        while self._beats_asked:
            self._beats_asked -= 1
            self._announce("worker-heartbeat", {"freq": ASKED_FREQ_S, **SOFTWARE})
            self._beat_at = min(self._beat_at, now + (self._terms.heartbeat_s or ALONE_S))
        while self._chores:
            self._chores.popleft()()
        early_s = self._told_at + _GATHER_S - time.monotonic()
        if early_s > 0:
            self.rounds.pause(early_s)
        self._take_told()
        if self._out and self._bus is not None:
            out, self._out = self._out, []
            heard = self._bus.emit(out)
            was_alone, self._is_alone = self._is_alone, heard is not None and heard <= (self._hearing is not None)
            if was_alone and not self._is_alone and self._terms.heartbeat_s is not None:
                self._beat_at = min(self._beat_at, now + self._terms.heartbeat_s)

    def _listen(self) -> None:
        wait_s = 60.0 if self._terms.heartbeat_s is None else max(0.0, self._beat_at - time.monotonic())
        if self.rounds.stopping:
            return
        fds = [self._slots_end.fileno(), self.rounds.fileno()]
        if self._hearing is None:
            poll = new_poll()
            for fd in fds:
                poll.register(fd, POLLIN)
            poll.poll(wait_s * 1000)
            return
        for message in self._hearing.receive(wait_s, fds):
            try:
                events = read_events(message)
            except (UnreadableMessage, ValueError):
                continue
            for event in events:
                if event["type"].startswith("worker-"):
                    self.gossip.hear(event)

    def _take_told(self) -> None:
        data: list[bytes] = []
        for _ in range(_AT_ONCE):
            try:
                data.append(self._slots_end.recv(_DATAGRAM))
            except BlockingIOError:
                data += self.told.take()  # what a dead slot's calls came to, after all that it told itself
                break
        pieces = [piece for one in data for piece in one.split(b"\n") if piece]
        if pieces:
            clocks = [self._clock.forward() for _ in pieces]
            self._told_at = time.monotonic()
            self._out.append(batch(pieces, clocks, hostname=self._terms.node, exchange=self._terms.exchange))

    def _announce(self, kind: str, fields: Mapping[str, Any]) -> None:
        piece = self._writer.piece(kind, SYSTEM_CLOCK.wall(), fields)
        self._out.append(single(piece, self._clock.forward(), kind, hostname=self._terms.node, exchange=self._terms.exchange))

    def _state(self, freq_s: float) -> dict[str, Any]:
        return {
            "freq": freq_s,
            "active": self._running(),
            "processed": sum(row.processed for row in self._table),
            "loadavg": _load(),
            **SOFTWARE,
        }

    # -- the end ------------------------------------------------------------------------------------------------------

    def _end(self) -> None:
        try:
            if self._bus is not None:
                self._take_told()
                if self._is_online:
                    self._announce("worker-offline", self._state(self._terms.heartbeat_s or HEARTBEAT_S))
                self._bus.emit(self._out)
        except OperationalError as exc:
            _logger.debug("the last events of this node are not published: %s", exc)
        self._close()

    def _close(self) -> None:
        for opened in (self._hearing, self._bus):
            if opened is not None:
                opened.close()
        self._hearing = self._bus = None


def _load() -> Sequence[float]:
    try:
        return [round(load, 2) for load in os.getloadavg()]
    except (OSError, AttributeError):  # Windows has none
        return [0.0, 0.0, 0.0]
