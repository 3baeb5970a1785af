"""The bus on SQLite. Keeps the promises of `contracts/bus.py`: each listener has a box, and is rung."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from sedano.drivers.sqlite.listening import Listener
from sedano.drivers.sqlite.queries import load
from sedano.drivers.sqlite.store import ANYTHING, Ring, Store
from sedano.exceptions import BrokerUnavailable, UnreadableMessage
from sedano.protocol import envelope
from sedano.protocol.message import Message

MAIL_KEPT_S = 600.0
"""For a listener that does not read: stopped by a signal, or killed and not yet found out."""

_SQL = load("listeners")
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

    def __init__(self, store: Store, control_exchange: str, *, polls: bool) -> None:
        self._store = store
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


def _read(raw: bytes) -> Message | None:
    try:
        return envelope.decode(raw)
    except UnreadableMessage:
        return None
