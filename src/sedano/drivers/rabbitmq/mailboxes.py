"""What one listener hears: a queue of its own, consumed without acknowledgements, on a connection of its own."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence

from sedano.drivers.rabbitmq.channel import Channel
from sedano.drivers.rabbitmq.connection import Connection
from sedano.drivers.rabbitmq.frames import Incoming
from sedano.drivers.rabbitmq.messages import from_amqp
from sedano.exceptions import BrokerUnavailable, OperationalError, UnreadableMessage
from sedano.protocol.message import Message


class RabbitMailbox:
    """`make(channel)` declares the queue and gives its name; `lasts`: the queue outlives the mailbox.

    Of a listener that does not read, the server keeps a few hundred messages beside the queue, and those in the queue until
    their time there is over (`x-message-ttl`).
    """

    def __init__(self, connection: Connection, make: Callable[[Channel], str], *, lasts: bool) -> None:
        self._connection = connection
        self._messages: list[Message] = []
        self._lasts = lasts
        self._is_cancelled = self._is_closed = False
        self._channel = connection.channel()
        self._channel.on_deliver = self._hear
        self._channel.on_cancel = self._cancelled
        self._queue = make(self._channel)
        self._channel.consume(self._queue, "sedano", no_ack=True)

    def receive(self, timeout_s: float, fds: Sequence[int] = ()) -> list[Message]:
        """Payloads that are no message are skipped: nobody could answer them."""
        ends_at = time.monotonic() + timeout_s
        while not self._messages:
            if self._is_cancelled or not self._channel.is_open:
                self._connection.close()
                why = self._channel.closed_why or "it was deleted"
                raise BrokerUnavailable(f"the queue {self._queue} is not heard any more: {why}")
            if not self._connection.pump(max(0.0, ends_at - time.monotonic()), fds):
                break
        messages, self._messages = self._messages, []
        return messages

    def close(self) -> None:
        """The queue is deleted before this returns; with the server away it expires."""
        if self._is_closed:
            return
        self._is_closed = True
        with contextlib.suppress(OperationalError):
            if self._channel.is_open and not self._lasts:
                self._channel.delete_queue(self._queue)
        self._connection.close()

    def _hear(self, incoming: Incoming) -> None:
        with contextlib.suppress(UnreadableMessage):
            message = from_amqp(incoming.header, incoming.body, incoming.exchange, incoming.routing_key, incoming.redelivered)
            self._messages.append(message)

    def _cancelled(self, _tag: str) -> None:
        self._is_cancelled = True
