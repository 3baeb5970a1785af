"""Commands to nodes and their answers, and what nodes announce: Kombu's mailbox (pidbox) and event exchange where the store
carries them, our own form elsewhere.

Messages here are `Message` values whose bodies are the requests and replies of wire-protocol section 4 and the events of
section 5; the bus does not look inside. Delivery is at most once: who is not listening does not hear.
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
        """Hear broadcasts, from the return of this call on.

        Raises `MailboxInUse` where the store lets one node of a name listen, and another one does.
        """
        ...

    def reply(self, exchange: str, routing_key: str, reply: Message) -> None:
        """Answer to the address that a request names; nobody there is no error."""
        ...

    def open_replies(self, oid: str) -> Mailbox:
        """Hear answers sent to routing key `oid` of the reply exchange, from the return of this call on."""
        ...

    def emit(self, messages: Sequence[Message]) -> int | None:
        """Publish events, each under the routing key of its delivery info, in one round trip.

        Returns how many listeners heard one of them at most, where the store can tell: 0 means that it was for nobody, which
        costs a store next to nothing. A listener that does not read loses the oldest, or is cut off; it never fills a store.
        """
        ...

    def open_events(self, name: str, routing_key: str = "#") -> Mailbox:
        """Hear events whose routing key fits the pattern, from the return of this call on.

        Patterns are those of topic exchanges: `#` any words, `*` one, `worker.#`, `task.multi`. `name` is the listener's own:
        that of its queue, in stores that keep one for it.
        """
        ...

    def reconnect(self) -> None: ...

    def close(self) -> None: ...
