"""The bus on SQLite. Keeps the promises of `contracts/bus.py`: each listener has a box, and is rung."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from sedano.drivers.sqlite.listening import Listener
from sedano.drivers.sqlite.queries import load
from sedano.drivers.sqlite.store import ANYTHING, Ring, Step, Store
from sedano.exceptions import BrokerUnavailable, UnreadableMessage
from sedano.protocol import envelope
from sedano.protocol.events import EVERY_EVENT, hears, routing_key_of_message
from sedano.protocol.message import Message

MAIL_KEPT_S = 600.0
"""For a listener that does not read: stopped by a signal, or killed and not yet found out."""

MOST_EVENTS = 10_000
"""In one box, for a listener that is slower than what it follows: the oldest go."""

_SQL = load("listeners")
_PATTERNS, _EVENT_BOXES, _PUT, _SPAN = _SQL["patterns"], _SQL["event-boxes"], _SQL["put"], _SQL["span"]
_POST, _BOXES, _HAS_MAIL, _TAKE_MAIL = _SQL["post"], _SQL["boxes"], _SQL["has-mail"], _SQL["take-mail"]


class SqliteMailbox:
    def __init__(self, store: Store, kind: str, exchange: str, name: str, *, polls: bool) -> None:
        self._store = store
        self._listener = Listener(store, kind, exchange=exchange, name=name, polls=polls)
        self._enlist()

    def receive(self, timeout_s: float, fds: Sequence[int] = ()) -> list[Message]:
        if self._listener.is_inherited:
            raise BrokerUnavailable(f"a mailbox does not outlive a fork (now in process {os.getpid()}): open a new one")
        deadline = time.monotonic() + max(0.0, timeout_s)
        while True:
            heard = self._listener.sleep(deadline, fds)
            if heard.look and not self._listener.is_enlisted():
                self._enlist()
            if (heard.rung or heard.look) and (messages := self._take()):
                return messages
            if heard.over:
                return []

    def close(self) -> None:
        self._listener.close()
        self._store.close()

    def _enlist(self) -> None:
        with self._store.step() as step:
            self._listener.enlist(step)

    def _take(self) -> list[Message]:
        mine = (self._listener.id,)
        if not self._store.query(_HAS_MAIL, mine):
            return []
        with self._store.step() as step:
            rows = sorted(step.db.execute(_TAKE_MAIL, mine).fetchall())
        return [message for _, raw in rows if (message := _read(raw)) is not None]


class SqliteBus:
    """`polls`: no sockets."""

    def __init__(self, store: Store, control_exchange: str, event_exchange: str, *, polls: bool) -> None:
        self._store = store
        self._events = event_exchange
        self._polls = polls
        self._requests = f"{control_exchange}.pidbox"
        self._replies = f"reply.{control_exchange}.pidbox"

    def broadcast(self, request: Message) -> int | None:
        return self._post("mailbox", self._requests, None, request)

    def open_mailbox(self, node: str) -> SqliteMailbox:
        return self._open("mailbox", self._requests, node)

    def reply(self, exchange: str, routing_key: str, reply: Message) -> None:
        self._post("replies", exchange, routing_key, reply)

    def open_replies(self, oid: str) -> SqliteMailbox:
        return self._open("replies", self._replies, oid)

    def emit(self, messages: Sequence[Message]) -> int | None:
        keyed = [(routing_key_of_message(message), message) for message in messages]
        patterns = {name for (name,) in self._store.query(_PATTERNS, (self._events,))}
        if not any(hears(pattern, key) for pattern in patterns for key, _ in keyed):
            return 0
        now = self._store.clock.wall()
        heard = [0] * len(keyed)
        with self._store.step() as step:
            if (oldest := step.db.execute(_SQL["oldest-mail"]).fetchone()) and oldest[0] < now - MAIL_KEPT_S:
                step.db.execute(_SQL["drop-old-mail"], (now - MAIL_KEPT_S,))
            for listener, address, pattern in step.db.execute(_EVENT_BOXES, (self._events,)).fetchall():
                mine = [place for place, (key, _) in enumerate(keyed) if hears(pattern, key)]
                for place in mine:
                    heard[place] += 1
                    step.db.execute(_PUT, (listener, now, envelope.encode(keyed[place][1])))
                if mine:
                    _drop_surplus(step, listener)
                    step.rings += [Ring(listener, address, ANYTHING)] if address else []
        return max(0, max(heard, default=0) - step.unheard)

    def open_events(self, name: str, routing_key: str = EVERY_EVENT) -> SqliteMailbox:  # noqa: ARG002 - for stores with queues
        return self._open("events", self._events, routing_key)

    def reconnect(self) -> None:
        self._store.close()

    def close(self) -> None:
        self._store.close()

    def _open(self, kind: str, exchange: str, name: str) -> SqliteMailbox:
        return SqliteMailbox(self._store.twin(), kind, exchange, name, polls=self._polls)

    def _post(self, kind: str, exchange: str, name: str | None, message: Message) -> int:
        """Into every box of this address; how many can be rung, or look by themselves."""
        raw, now = envelope.encode(message), self._store.clock.wall()
        if not self._store.query(_BOXES, (kind, exchange, name)):
            return 0
        with self._store.step() as step:
            step.db.execute(_SQL["drop-old-mail"], (now - MAIL_KEPT_S,))
            boxes = step.db.execute(_BOXES, (kind, exchange, name)).fetchall()
            step.db.execute(_POST, (raw, kind, exchange, name, now)).fetchall()
            step.rings += [Ring(listener, address, ANYTHING) for listener, address in boxes if address]
        return len(boxes) - step.unheard


def _drop_surplus(step: Step, listener: int) -> None:
    """Keep the newest `MOST_EVENTS` of a box. Numbers are given to all boxes in turn: a narrow span needs no count."""
    first, last = step.db.execute(_SPAN, (listener,)).fetchone()
    if last - first >= MOST_EVENTS:
        step.db.execute(_SQL["drop-surplus"], (listener, MOST_EVENTS))


def _read(raw: bytes) -> Message | None:
    try:
        return envelope.decode(raw)
    except UnreadableMessage:
        return None
