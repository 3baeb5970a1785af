"""Messages to the server, confirmed: what is accepted is on its queues when `send` returns.

A connection of its own: a server whose memory or disk is full stops reading from whoever publishes, and acknowledgements must
not wait behind that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

import msgspec

from sedano.contracts import QueueSpec
from sedano.drivers.rabbitmq.channel import Channel, check_header
from sedano.drivers.rabbitmq.connection import Connection
from sedano.drivers.rabbitmq.declaring import Declaring
from sedano.drivers.rabbitmq.errors import ChannelClosed, NotConfirmed
from sedano.drivers.rabbitmq.frames import Returned
from sedano.exceptions import BrokerUnavailable, OperationalError, StoreFull
from sedano.log import get_logger

logger = get_logger(__name__)

BLOCKED_S = 10.0
"""How long a sender waits for a server that has said that it takes nothing now."""
_LOOK_S = 0.2


class Ready(msgspec.Struct, frozen=True):
    """A message as it goes out. `queue` is made when nobody has made it yet; "" for an exchange that has its own bindings.
    `mandatory`: it is an error when no queue takes it. `delayed_to` is the queue that the server holds it back for."""

    exchange: str
    routing_key: str
    header: bytes
    body: bytes
    queue: str = ""
    mandatory: bool = True
    delayed_to: str = ""


class Publisher:
    """`confirms` False: as Celery does, nobody knows what became of it. `patience_s` is how long a server that does nothing is
    waited for; with `waits` also one that has said that it takes nothing now."""

    def __init__(
        self,
        open_connection: Callable[[], Connection],
        declaring: Declaring,
        *,
        confirms: bool,
        patience_s: float,
        waits: bool = True,
    ) -> None:
        self._open_connection = open_connection
        self._declaring = declaring
        self._confirms, self._patience_s, self._waits = confirms, patience_s, waits
        self._connection: Connection | None = None
        self._channel: Channel | None = None

    @property
    def connection(self) -> Connection:
        """Opened when it is first asked for, and when the server has closed it meanwhile."""
        if self._connection is not None and not self._is_alive(self._connection):
            self.close()
        if self._connection is None:
            self._connection = self._open_connection()
            self._declaring.forget()
        return self._connection

    def _is_alive(self, connection: Connection) -> bool:
        if not connection.is_open:
            return False
        try:
            connection.pump(0)
        except BrokerUnavailable:
            return False
        return True

    def keep_alive(self) -> None:
        """Read and answer what the server has sent, if there is a connection."""
        if self._connection is not None and not self._is_alive(self._connection):
            self.close()

    @property
    def is_open(self) -> bool:
        return self._connection is not None and self._connection.is_open

    def declare(self, specs: Iterable[QueueSpec]) -> None:
        connection = self.connection
        self._declaring.declare(connection, specs)

    def ensure(self, queues: Iterable[str]) -> None:
        """Make those of `queues` that are not known to be there."""
        self._declaring.ensure(self.connection, queues)

    def send(self, messages: Sequence[Ready]) -> None:
        """Raises StoreFull, OperationalError for what no queue takes, BrokerUnavailable. What was accepted before stays."""
        if not messages:
            return
        connection = self.connection
        self._declaring.ensure(connection, {message.queue for message in messages if message.queue})
        self._declaring.find(connection, {message.exchange for message in messages})
        for message in messages:
            check_header(message.header, connection.frame_max)
        left = self._try(connection, messages, range(len(messages)))
        if not left:
            return
        gone = [place for place in left if messages[place].queue]
        if gone:  # somebody has deleted the queue since
            self._declaring.forget()
            self._declaring.ensure(connection, {messages[place].queue for place in gone})
            again = self._try(connection, messages, gone)
            left = [place for place in left if place in again or not messages[place].queue]
        if left:
            raise _only(_leads_nowhere(messages[left[0]]), left, messages)

    def _try(self, connection: Connection, messages: Sequence[Ready], places: Sequence[int]) -> list[int]:
        """Publish those at `places`; where those stand that no queue took."""
        self._wait_for_room(connection)
        channel = self._ready_channel(connection)
        numbers: dict[int, int] = {}
        try:
            for place in places:
                message = messages[place]
                number = channel.publish(
                    message.exchange, message.routing_key, message.header, message.body,
                    mandatory=message.mandatory and self._confirms,
                )  # fmt: skip
                numbers[number] = place
            if not self._confirms:
                connection.flush()
                return []
            returned = self._confirmed(connection, channel)
        except ChannelClosed as exc:
            self._channel = None
            self._declaring.forget()
            raise OperationalError(f"the message was refused: {exc}") from exc
        except NotConfirmed as exc:
            refused = [numbers[number] for number in exc.numbers if number in numbers]
            refused += _returned(exc.returned, messages, places)
            raise _only(StoreFull(f"a queue takes nothing more: {exc}"), refused, messages) from exc
        except BrokerUnavailable as exc:
            blocked = connection.blocked
            self.close()  # what the server has not read is never read
            if blocked:
                raise StoreFull(f"the server takes no messages now: {blocked}") from exc
            raise
        return _returned(returned, messages, places)

    def _confirmed(self, connection: Connection, channel: Channel) -> list[Returned]:
        """What came back. As long as the server confirms one message after the other it may take its time; when it says that
        it takes nothing, only who `waits` goes on waiting."""
        began = time.monotonic()
        while True:
            before = channel.unconfirmed
            try:
                return channel.await_confirms(_LOOK_S)
            except BrokerUnavailable as exc:
                now = time.monotonic()
                if channel.unconfirmed < before:
                    began = now
                patience_s = self._patience_s if connection.blocked is None else BLOCKED_S * self._waits
                if not channel.is_open:
                    raise
                if now - began >= patience_s:
                    raise BrokerUnavailable(f"the server has confirmed nothing for {patience_s:g} s") from exc

    def _wait_for_room(self, connection: Connection) -> None:
        if connection.blocked is not None and self._waits:
            connection.pump(BLOCKED_S)
        if connection.blocked is not None:
            raise StoreFull(f"the server takes no messages now: {connection.blocked}")

    def _ready_channel(self, connection: Connection) -> Channel:
        if self._channel is None or not self._channel.is_open:
            self._channel = connection.channel()
            if self._confirms:
                self._channel.confirm_select()
        return self._channel

    def close(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            connection.close()


def _returned(returned: Sequence[Returned], messages: Sequence[Ready], places: Sequence[int]) -> list[int]:
    """Which of `places` came back."""
    keys = {(each.exchange, each.routing_key) for each in returned}
    return [place for place in places if keys and (messages[place].exchange, messages[place].routing_key) in keys]


def _only(error: OperationalError, refused: Sequence[int], messages: Sequence[Ready]) -> OperationalError:
    """The error of those messages alone, so that nobody publishes the others again."""
    if len(refused) < len(messages):
        error.refused = frozenset(refused)
    return error


def _leads_nowhere(message: Ready) -> OperationalError:
    where = f"exchange {message.exchange!r}" if message.exchange else "the default exchange"
    return OperationalError(
        f"no queue is bound to {where} for the routing key {message.routing_key!r}: the message went nowhere. Declare a queue"
        " with this binding (task_queues), or send to another queue"
    )
