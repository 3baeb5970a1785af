"""What a node hears of the others' worker events: who is there, their clocks, elections (wire-protocol 7).

An election decides which one of all nodes does something: each announces itself with its clock, all acknowledge each
announcement, and who sees as many acknowledgements as there are others counts: the lowest clock wins, then the name. Nobody
acknowledges before it stands itself, if it is to: somebody would be the only candidate when it counts, and a Celery worker that
is (its own loop keeps that order) ends with an IndexError.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from sedano.app.lamport import LamportClock
from sedano.worker.lines import one_line

if TYPE_CHECKING:
    from sedano.app.base import Celery

_logger = logging.getLogger("celery.worker.consumer.gossip")

MISSED_BEATS = 2  # a node counts as alive for so many of its intervals after the last beat that was heard
MOST_ELECTIONS = 1000
MOST_PEERS = 5000

Emit = Callable[[str, Mapping[str, Any]], None]
Later = Callable[[Callable[[], None]], None]


@dataclass(slots=True)
class _Peer:
    heard_at: float
    freq: float
    is_missed: bool = False  # and that was said

    def is_alive(self, now: float) -> bool:
        return now - self.heard_at <= MISSED_BEATS * self.freq


@dataclass(slots=True)
class _Election:
    candidates: list[tuple[int, str, str, Any]] = field(default_factory=list)
    acks: int | None = None  # None: this node does not count


class Gossip:
    """Used by the herald's thread. `emit(type, fields)` announces; `apply(topic, action)` does what this node was elected to
    do; `after_orders(do)` has `do` called, in the same thread, when the orders that have reached this node by now are done."""

    def __init__(
        self, node: str, pid: int, clock: LamportClock, emit: Emit, apply: Callable[[str, Any], None], after_orders: Later
    ) -> None:
        self._node, self._me, self._clock = node, f"{node}.{pid}", clock
        self._emit, self._apply, self._after_orders = emit, apply, after_orders
        self._peers: dict[str, _Peer] = {}
        self._elections: dict[str, _Election] = {}

    def hear(self, event: Mapping[str, Any]) -> None:
        """One event of a worker, our own too."""
        kind, host = event["type"], event.get("hostname")
        if not isinstance(host, str):
            return
        if kind == "worker-elect":
            if host != self._node:  # who stands after this has a later clock, even when the others have counted
                self._clock.adjust(_whole(event.get("clock")))
            self._hear_candidate(event, host)
        elif kind == "worker-elect-ack":
            self._hear_ack(event)
        elif host == self._node:
            self._clock.forward()
        else:
            self._clock.adjust(_whole(event.get("clock")))
            self._see(host, kind, event)

    def elect(self, election_id: str, topic: str, action: Any) -> None:
        """Stand for the election `election_id`, and count."""
        self._election(election_id).acks = 0
        self._emit("worker-elect", {"id": election_id, "topic": topic, "action": action, "cver": 1})

    def look(self, now: float) -> None:
        """Say who has missed its heartbeats."""
        for host, peer in self._peers.items():
            if not peer.is_missed and not peer.is_alive(now):
                peer.is_missed = True
                _logger.info("missed heartbeat from %s", one_line(host))

    def alive(self) -> int:
        """How many others there are. Asked anew each time: whoever counts longer than others sees another winner."""
        now = time.monotonic()
        return sum(peer.is_alive(now) for peer in self._peers.values())

    # -- inside -------------------------------------------------------------------------------------------------------

    def _see(self, host: str, kind: str, event: Mapping[str, Any]) -> None:
        if kind == "worker-offline":
            if self._peers.pop(host, None) is not None:
                _logger.info("%s left", one_line(host))
            return
        freq = event.get("freq")
        beat_s = float(freq) if isinstance(freq, int | float) and 0 < freq < 86400 else 5.0
        known = self._peers.get(host)
        if known is None:
            if len(self._peers) >= MOST_PEERS:
                return
            _logger.debug("%s joined the party", one_line(host))
            self._peers[host] = _Peer(time.monotonic(), beat_s)
        else:
            known.heard_at, known.freq, known.is_missed = time.monotonic(), beat_s, False

    def _hear_candidate(self, event: Mapping[str, Any], host: str) -> None:
        election_id, topic = event.get("id"), event.get("topic")
        if not (isinstance(election_id, str) and isinstance(topic, str)):
            _logger.warning("an election without id or topic by %s is left alone", one_line(host))
            return
        candidate = (_whole(event.get("clock")), f"{host}.{event.get('pid')}", topic, event.get("action"))
        election = self._election(election_id)
        if len(election.candidates) < MOST_PEERS:
            election.candidates.append(candidate)
        if election.acks is None:
            self._after_orders(partial(self._acknowledge, election_id))
        else:
            self._acknowledge(election_id)

    def _acknowledge(self, election_id: str) -> None:
        self._emit("worker-elect-ack", {"id": election_id})

    def _hear_ack(self, event: Mapping[str, Any]) -> None:
        election = self._elections.get(str(event.get("id")))
        if election is None or election.acks is None:
            return
        election.acks += 1
        if election.acks < self.alive() or not election.candidates:
            return
        election_id = str(event.get("id"))
        del self._elections[election_id]
        _, leader, topic, action = min(election.candidates, key=lambda candidate: candidate[:2])
        if leader != self._me:
            _logger.info("node %s elected for %r", one_line(leader), election_id)
            return
        _logger.info("I won the election %r", election_id)
        self._apply(topic, action)

    def _election(self, election_id: str) -> _Election:
        found = self._elections.get(election_id)
        if found is None:
            while len(self._elections) >= MOST_ELECTIONS:
                self._elections.pop(next(iter(self._elections)))
            found = self._elections[election_id] = _Election()
        return found


def act(app: Celery, topic: str, action: Any) -> None:
    """Do what this node was elected for: send the call of `action`, a signature as a map, where `topic` is "task"."""
    if topic != "task":
        _logger.error("an election about %r: nobody here knows what to do", topic)
        return
    try:
        app.signature(action).apply_async()
    except Exception:  # whatever came in the message
        _logger.exception("what this node was elected for cannot be sent: %r", action)


def _whole(value: Any) -> int:
    return value if type(value) is int and value >= 0 else 0
