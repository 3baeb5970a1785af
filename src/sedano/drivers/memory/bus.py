"""The bus on memory. Keeps the promises of `contracts/bus.py`."""

from __future__ import annotations

from collections.abc import Sequence

from sedano.drivers.memory.store import Store
from sedano.drivers.memory.switchboard import Box
from sedano.protocol.events import EVERY_EVENT, routing_key_of_message
from sedano.protocol.message import Message


class MemoryMailbox:
    def __init__(self, store: Store, exchange: str, routing_key: str | None, *, is_pattern: bool = False) -> None:
        self._store = store
        self._box = Box(exchange, routing_key, is_pattern)
        self._is_closed = False
        with store.lock:
            store.switchboard.boxes.add(self._box)

    def receive(self, timeout_s: float, fds: Sequence[int] = ()) -> list[Message]:
        return self._drain() or self._sleep(timeout_s, fds)

    def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        with self._store.lock:
            self._store.switchboard.boxes.discard(self._box)
        self._box.waker.close()

    def _sleep(self, timeout_s: float, fds: Sequence[int]) -> list[Message]:
        self._box.waker.sleep(timeout_s, fds)
        return self._drain()

    def _drain(self) -> list[Message]:
        with self._store.lock:
            messages = list(self._box.messages)
            self._box.messages.clear()
        return messages


class MemoryBus:
    def __init__(self, store: Store, control_exchange: str, event_exchange: str) -> None:
        self._store = store
        self._events = event_exchange
        self._requests = f"{control_exchange}.pidbox"
        self._replies = f"reply.{control_exchange}.pidbox"

    def broadcast(self, request: Message) -> int | None:
        with self._store.lock:
            return self._store.switchboard.send(self._requests, None, request)

    def open_mailbox(self, node: str) -> MemoryMailbox:  # noqa: ARG002 - every node hears every broadcast
        return MemoryMailbox(self._store, self._requests, None)

    def reply(self, exchange: str, routing_key: str, reply: Message) -> None:
        with self._store.lock:
            self._store.switchboard.send(exchange, routing_key, reply)

    def open_replies(self, oid: str) -> MemoryMailbox:
        return MemoryMailbox(self._store, self._replies, oid)

    def emit(self, messages: Sequence[Message]) -> int | None:
        with self._store.lock:
            heard = [self._store.switchboard.send(self._events, routing_key_of_message(each), each) for each in messages]
        return max(heard, default=0)

    def open_events(self, name: str, routing_key: str = EVERY_EVENT) -> MemoryMailbox:  # noqa: ARG002 - for stores with queues
        return MemoryMailbox(self._store, self._events, routing_key, is_pattern=True)

    def reconnect(self) -> None:
        pass

    def close(self) -> None:
        pass
