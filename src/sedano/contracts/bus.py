"""Commands to nodes and their answers: Kombu's mailbox (pidbox) where the store carries it, our own form elsewhere.

Messages here are `Message` values whose bodies are the requests and replies of wire-protocol section 4; the bus does not
look inside. Delivery is at most once: who is not listening does not hear.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sedano.protocol.message import Message


class Mailbox(Protocol):
    """What one listener hears, on a connection of its own; not thread-safe."""

    def receive(self, timeout_s: float, fds: Sequence[int] = ()) -> list[Message]:
        """Messages since the last call; [] after `timeout_s` or when one of `fds` is readable.

        Raises `BrokerUnavailable` when the connection is lost: open a new mailbox.
        """
        ...

    def close(self) -> None: ...


class Bus(Protocol):
    """One connection; not thread-safe. Every method may raise `BrokerUnavailable`."""

    def broadcast(self, request: Message) -> int | None:
        """Send to every node that listens; returns how many heard it where the store can tell."""
        ...

    def open_mailbox(self, node: str) -> Mailbox:
        """Hear broadcasts, from the return of this call on."""
        ...

    def reply(self, exchange: str, routing_key: str, reply: Message) -> None:
        """Answer to the address that a request names; nobody there is no error."""
        ...

    def open_replies(self, oid: str) -> Mailbox:
        """Hear answers sent to routing key `oid` of the reply exchange, from the return of this call on."""
        ...

    def reconnect(self) -> None: ...

    def close(self) -> None: ...
