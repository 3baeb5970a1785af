"""Celery's mailbox (pidbox) and events on RabbitMQ, each listener with a queue of its own. Keeps `contracts/bus.py`.

    celery.pidbox         fanout, not durable    <node>.celery.pidbox        commands, heard by every node
    reply.celery.pidbox   direct, not durable    <oid>.reply.celery.pidbox   answers
    celeryev              topic, durable         celeryev.<id>               events

Exchanges and queues are declared as Kombu declares them, to the argument, on each new connection.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Sequence

import msgspec

from sedano.contracts import OpenOptions
from sedano.drivers.rabbitmq.address import Address, address_of
from sedano.drivers.rabbitmq.channel import Channel
from sedano.drivers.rabbitmq.connection import Connection
from sedano.drivers.rabbitmq.errors import NOT_FOUND, RESOURCE_LOCKED, ChannelClosed
from sedano.drivers.rabbitmq.mailboxes import RabbitMailbox
from sedano.drivers.rabbitmq.messages import encode_message
from sedano.drivers.rabbitmq.topology import Topology, control_queue, declare, event_queue, reply_queue
from sedano.exceptions import BrokerUnavailable, MailboxInUse
from sedano.log import get_logger
from sedano.protocol.events import EVERY_EVENT, routing_key_of_message
from sedano.protocol.message import Message

logger = get_logger(__name__)

PATIENCE_S = 10.0
"""How long a server that takes or answers nothing is waited for."""


def open_bus(url: str, options: OpenOptions) -> RabbitBus:
    """Does not connect. Raises ImproperlyConfigured for a URL that is none."""
    return RabbitBus(address_of(url, options.transport, options), options)


class RabbitBus:
    """`address` is that of a server whose mailboxes answer heartbeats; what is published has a connection without them, for
    nobody reads it between two messages."""

    def __init__(self, address: Address, options: OpenOptions) -> None:
        self._address = address
        self._options = options
        self._requests = f"{options.control_exchange}.pidbox"
        self._replies = f"reply.{options.control_exchange}.pidbox"
        self._events = options.event_exchange
        self._connection: Connection | None = None
        self._channel: Channel | None = None
        self._confirmed: Channel | None = None
        self._declared: set[str] = set()

    # -- speaking -----------------------------------------------------------------------------------------------------

    def broadcast(self, request: Message) -> int | None:
        """0 when no queue is bound; how many heard it otherwise, the server does not say.

        Confirmed: a command that was sent is in the queues of all nodes that listen.
        """
        header, body = encode_message(request)
        connection = self._ready()
        try:
            channel = self._confirmed
            if channel is None or not channel.is_open:
                channel = connection.channel()
                channel.confirm_select()
                self._confirmed = channel
            self._declare(channel, self._requests, "fanout", durable=False)
            channel.publish(self._requests, "", header, body, mandatory=True)
            returned = channel.await_confirms(PATIENCE_S)
        except BaseException:
            self._hang_up()  # what was not confirmed may be confirmed later, and is nobody's then
            raise
        return 0 if returned else None

    def reply(self, exchange: str, routing_key: str, reply: Message) -> None:
        header, body = encode_message(reply)
        connection = self._ready()
        if exchange not in (self._replies, ""):
            with self._scratch(connection) as channel:
                channel.declare_exchange(exchange, "direct", passive=True)
                channel.publish(exchange, routing_key, header, body)
            return
        channel = self._speaking(connection)
        if exchange:
            self._declare(channel, exchange, "direct", durable=False)
        channel.publish(exchange, routing_key, header, body)
        connection.flush()

    def emit(self, messages: Sequence[Message]) -> int | None:
        """None: whether anybody listens, the server tells only of messages that it sends back whole, which costs more than it
        saves; and a node that hears the others hears itself.

        Not confirmed, and not waited for: what the server refuses comes out as the error of a later call. A server that takes
        nothing for now (memory or disk alarm) gets none.
        """
        if not messages:
            return 0
        connection = self._ready()
        if connection.blocked is not None:
            logger.debug("%d events are not sent: the server takes nothing now (%s)", len(messages), connection.blocked)
            return None
        channel = self._speaking(connection)
        self._declare(channel, self._events, "topic", durable=True)
        for message in messages:
            header, body = encode_message(message)
            channel.publish(self._events, routing_key_of_message(message), header, body)
        connection.flush()
        return None

    # -- hearing ------------------------------------------------------------------------------------------------------

    def open_mailbox(self, node: str) -> RabbitMailbox:
        """Raises `MailboxInUse` when another node of this name listens."""
        amqp = self._options.amqp

        whole = control_queue(
            node,
            self._options.control_exchange,
            ttl_s=amqp.control_queue_ttl_s,
            expires_s=amqp.control_queue_expires_s,
            exclusive=amqp.control_queue_exclusive,
            durable=amqp.control_queue_durable,
        )

        try:
            return self._mailbox("mailbox", whole, lasts=amqp.control_queue_durable)
        except ChannelClosed as exc:
            if exc.code != RESOURCE_LOCKED:
                raise
            raise MailboxInUse(
                f"A node named {node} is already using this mailbox: another one runs under this name, or its connection was"
                " lost and the server has not noticed yet. Give each node a name of its own (-n)."
            ) from exc

    def open_replies(self, oid: str) -> RabbitMailbox:
        amqp = self._options.amqp

        whole = reply_queue(
            oid,
            self._options.control_exchange,
            ttl_s=amqp.control_queue_ttl_s,
            expires_s=amqp.control_queue_expires_s,
            exclusive=amqp.control_queue_exclusive,
            durable=amqp.control_queue_durable,
        )
        return self._mailbox("replies", whole, lasts=False)

    def open_events(self, name: str, routing_key: str = EVERY_EVENT) -> RabbitMailbox:
        """The queue `name`: with `event_queue_durable` it is kept, and what comes until somebody opens it again."""
        amqp = self._options.amqp

        whole = event_queue(
            name,
            routing_key,
            self._events,
            ttl_s=amqp.event_queue_ttl_s,
            expires_s=amqp.event_queue_expires_s,
            exclusive=amqp.event_queue_exclusive,
            durable=amqp.event_queue_durable,
        )
        return self._mailbox("events", whole, lasts=amqp.event_queue_durable)

    # -- connection ---------------------------------------------------------------------------------------------------

    def reconnect(self) -> None:
        self._hang_up()
        self._ready()

    def close(self) -> None:
        self._hang_up()

    def _mailbox(self, purpose: str, whole: Topology, *, lasts: bool) -> RabbitMailbox:
        def make(channel: Channel) -> str:
            declare(channel, whole)
            return whole.queues[0].name

        connection = self._connect(self._address, purpose)
        try:
            return RabbitMailbox(connection, make, lasts=lasts)
        except BaseException:
            connection.close()
            raise

    def _connect(self, address: Address, purpose: str) -> Connection:
        given_s = address.socket_timeout_s
        connection = Connection(
            address,
            name=f"sedano {purpose}",
            connect_timeout_s=address.connect_timeout_s,
            socket_timeout_s=PATIENCE_S if given_s is None else min(given_s, PATIENCE_S),
        )
        connection.open()
        return connection

    def _ready(self) -> Connection:
        """An open connection: one that the server has closed meanwhile is opened anew before anything is lost on it."""
        connection = self._connection
        if connection is not None:
            with contextlib.suppress(BrokerUnavailable):
                connection.pump(0.0)
                return connection
            self._hang_up()
        self._connection = self._connect(msgspec.structs.replace(self._address, heartbeat_s=0.0), "bus")
        return self._connection

    def _speaking(self, connection: Connection) -> Channel:
        """The channel for what nobody waits for. Raises why the last one was closed, unless something is only to be declared
        again."""
        channel = self._channel
        if channel is not None and not channel.is_open:
            why, channel, self._channel = channel.closed_why, None, None
            self._declared.clear()
            if why is not None and why.code != NOT_FOUND:
                raise why
        if channel is None:
            channel = self._channel = connection.channel()
        return channel

    @contextlib.contextmanager
    def _scratch(self, connection: Connection) -> Generator[Channel]:
        """A channel for an exchange that may not exist; then nobody is there."""
        channel = connection.channel()
        try:
            yield channel
            channel.close()
        except ChannelClosed as exc:
            if exc.code != NOT_FOUND:
                raise

    def _declare(self, channel: Channel, exchange: str, kind: str, *, durable: bool) -> None:
        if exchange not in self._declared:
            channel.declare_exchange(exchange, kind, durable=durable)
            self._declared.add(exchange)

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        self._channel = self._confirmed = None
        self._declared.clear()
        if connection is not None:
            connection.close()
