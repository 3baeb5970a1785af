"""Celery's mailbox (pidbox) and events on Redis: by PUBLISH, replies through a list. Keeps `contracts/bus.py`."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

from sedano.contracts import OpenOptions
from sedano.drivers.redis.address import Address, address_of
from sedano.drivers.redis.connection import Connection
from sedano.drivers.redis.keys import Keys, keys_of
from sedano.drivers.redis.scripts import load
from sedano.drivers.redis.sentinel import new_connection
from sedano.drivers.redis.stream import Subscription
from sedano.drivers.redis.waiting import Alarm
from sedano.exceptions import BrokerUnavailable, OperationalError, UnreadableMessage
from sedano.protocol import envelope
from sedano.protocol.events import EVERY_EVENT, hears_message, routing_key_of_message
from sedano.protocol.message import Message

_BIND, _REPLY = load("bind"), load("reply")

BINDING_MS = 60 * 60 * 1000
"""Kombu 5.7 lets a reply binding live for an hour from its last use."""

REPLIES_LIVE_MS = 10 * 60 * 1000
"""A reply list whose asker died goes by itself."""

_PER_READ = 1000
_REMEMBERED_TAGS = 1000


def open_bus(url: str, options: OpenOptions) -> RedisBus:
    """Here and not in `opening.py`: a probe that is started every few seconds has no use for the other parts of the driver."""
    address = address_of(url, options.transport, options)
    keys = keys_of(options.transport, address.db, is_sentinel=address.sentinels is not None)
    return RedisBus(address, keys, options.control_exchange, options.event_exchange, is_polling=options.accept_polling)


class RedisBus:
    def __init__(
        self, address: Address, keys: Keys, control_exchange: str, event_exchange: str, *, is_polling: bool = False
    ) -> None:
        self._address = address
        self._keys = keys
        self._requests = f"{control_exchange}.pidbox"
        self._replies = f"reply.{control_exchange}.pidbox"
        self._events = event_exchange
        self._is_polling = is_polling
        self._connection = new_connection(address, BrokerUnavailable)

    def broadcast(self, request: Message) -> int | None:
        """Returns how many subscribers heard it; Flower and other listeners count too."""
        payload = envelope.encode(request)
        channels = self._keys.channels(self._requests)
        return int(self._connection.pipeline([("PUBLISH", channel, payload) for channel in channels])[0])

    def open_mailbox(self, node: str) -> RequestMailbox:  # noqa: ARG002 - every node hears every broadcast
        channels = self._keys.channels(self._requests)
        return RequestMailbox(new_connection(self._address, BrokerUnavailable), channels)

    def reply(self, exchange: str, routing_key: str, reply: Message) -> None:
        arguments = (routing_key, self._keys.separator, self._keys.prefix, envelope.encode(reply))
        self._connection.run(_REPLY, (self._keys.binding(exchange),), arguments)

    def open_replies(self, oid: str) -> ReplyMailbox:
        connection = new_connection(self._address, BrokerUnavailable)
        return ReplyMailbox(connection, self._keys, self._replies, oid, is_polling=self._is_polling)

    def emit(self, messages: Sequence[Message]) -> int | None:
        """Subscribers of several patterns that fit count several times."""
        keys = self._keys
        commands = [
            ("PUBLISH", channel, payload)
            for message in messages
            for payload in (envelope.encode(message),)
            for channel in keys.channels(self._events, routing_key_of_message(message))
        ]
        return max(map(int, self._connection.pipeline(commands)), default=0) if commands else 0

    def open_events(self, name: str, routing_key: str = EVERY_EVENT) -> EventMailbox:  # noqa: ARG002 - for stores with queues
        patterns = self._keys.patterns(self._events, routing_key)
        return EventMailbox(new_connection(self._address, BrokerUnavailable), patterns, routing_key)

    def reconnect(self) -> None:
        self._connection.close()
        self._connection.connect()

    def close(self) -> None:
        self._connection.close()


class RequestMailbox:
    """Broadcasts, from its creation on. Payloads that are no message are skipped: nobody could answer them."""

    def __init__(self, connection: Connection, channels: Sequence[str], *, are_patterns: bool = False) -> None:
        self._subscription = Subscription(connection)
        self._subscription.subscribe(channels, are_patterns=are_patterns)
        # With the channel of old Sentinel fleets beside ours a message comes twice.
        self._seen: deque[object] | None = deque(maxlen=_REMEMBERED_TAGS) if len(channels) > 1 else None

    def receive(self, timeout_s: float, fds: Sequence[int] = ()) -> list[Message]:
        payloads = [payload for _, payload in self._subscription.receive(timeout_s, fds)]
        return [message for message in _readable(payloads) if self._is_new(message)]

    def close(self) -> None:
        self._subscription.close()

    def _is_new(self, message: Message) -> bool:
        tag = message.properties.get("delivery_tag")
        if self._seen is None or tag is None:
            return True
        is_new = tag not in self._seen
        self._seen.append(tag)
        return is_new


class EventMailbox(RequestMailbox):
    """Events, from its creation on. Redis' patterns are wider than those of a topic exchange: what does not fit is left."""

    def __init__(self, connection: Connection, patterns: Sequence[str], routing_key: str) -> None:
        super().__init__(connection, patterns, are_patterns=True)
        self._routing_key = routing_key

    def receive(self, timeout_s: float, fds: Sequence[int] = ()) -> list[Message]:
        ends_at = time.monotonic() + timeout_s
        while True:
            payloads = [payload for _, payload in self._subscription.receive(max(0.0, ends_at - time.monotonic()), fds)]
            messages = [each for each in _readable(payloads) if hears_message(self._routing_key, each) and self._is_new(each)]
            if messages or not payloads:
                return messages


class ReplyMailbox:
    """A reply queue of one's own, bound and later removed as a Celery client does."""

    def __init__(self, connection: Connection, keys: Keys, exchange: str, oid: str, *, is_polling: bool) -> None:
        self._connection = connection
        self._keys = keys
        self._exchange = exchange
        self._queue = f"{oid}.{exchange}"
        self._member = keys.member(oid, "", self._queue)
        self._lists = keys.ready_of_all_steps(self._queue)
        self._alarm = Alarm(connection, is_polling=is_polling)
        self._is_open = True
        deadline_keys = (keys.binding(exchange), keys.kombu("binding_deadlines"))
        connection.run(_BIND, deadline_keys, (self._member, exchange, BINDING_MS))

    def receive(self, timeout_s: float, fds: Sequence[int] = ()) -> list[Message]:
        return self._take() or self._wait(timeout_s, fds)

    def close(self) -> None:
        """Removes queue and binding; with the server away they expire."""
        if not self._is_open:
            return
        self._is_open = False
        tables = (self._keys.binding(self._exchange), self._keys.permanent(self._exchange))
        try:
            self._connection.pipeline([*(("SREM", table, self._member) for table in tables), ("DEL", *self._lists)])
        except OperationalError:
            pass
        finally:
            self._connection.close()

    def _wait(self, timeout_s: float, fds: Sequence[int]) -> list[Message]:
        self._alarm.wait(self._lists, timeout_s, fds)
        return self._take()

    def _take(self) -> list[Message]:
        replies = self._connection.pipeline([("RPOP", name, _PER_READ) for name in self._lists])
        return _readable([payload for reply in replies for payload in reply or ()])


def _readable(payloads: Sequence[bytes]) -> list[Message]:
    messages: list[Message] = []
    for payload in payloads:
        try:
            messages.append(envelope.decode(payload))
        except UnreadableMessage:
            continue
    return messages
