"""What a node has begun early, written down so that somebody can say it was lost when the node dies.

A call that is begun early is acknowledged: the server has forgotten it. So the node publishes a record of each window to a
queue of its own, in the step that acknowledges and before it, consumes that queue itself, and keeps the record unacknowledged
until the window is settled:

    window begun --> node's queue --> the node holds the record --> settled: acknowledged, gone
                          |  ^
      node is dead: the record is ready again, and when its time is over goes on to
                          v  |  (the node is there again)
                     sedano.lost --> any node that stores results --> its reaper: FAILURE / WorkerLostError

Whether a node is there tells an exclusive queue of its connection: nobody else can look at it while that lives, and it is gone
with it. Records are transient: they tell of the death of a node, not of the server's.

A server takes messages up to some size. So a large window has several records, and that of a large call carries its body as it
came, with the rest in a header.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from sedano.contracts import LeaseRecord
from sedano.drivers.rabbitmq import methods
from sedano.drivers.rabbitmq.channel import Channel
from sedano.drivers.rabbitmq.connection import Connection
from sedano.drivers.rabbitmq.declaring import NOT_FOUND, RESOURCE_LOCKED
from sedano.drivers.rabbitmq.errors import ChannelClosed
from sedano.drivers.rabbitmq.frames import Incoming
from sedano.drivers.rabbitmq.properties import decode_properties, encode_properties
from sedano.drivers.rabbitmq.stored import pack, unpack
from sedano.exceptions import MessageTooLarge
from sedano.log import get_logger

logger = get_logger(__name__)

LOST = "sedano.lost"
IDLE_S = 3600.0
_MOST_LOST = 16  # records of dead nodes that one node holds at a time
_MOST_BYTES = 256 << 10  # of the calls in one record, unless it is one


class _Record(msgspec.Struct, array_like=True):
    """What a node has begun in one step: (queue, message) of each call."""

    node: str
    home: str  # of which process of the node: part of the names of its queues
    number: int
    calls: list[tuple[str, bytes]]


@dataclass(slots=True)
class _Live:
    """A window of ours. `tag` is the record's on `channel`, once it has come back to us. `doubted`: nobody runs its calls,
    because the server may not have heard that they were begun."""

    left: set[str]
    doubted: bool = False
    channel: Channel | None = None
    tag: int = 0


@dataclass(slots=True)
class Lost:
    """A record of somebody else; with `home` "" a doubted one of ours. `left`: tags of its calls that a reaper has not settled,
    None before they were taken."""

    record: LeaseRecord
    home: str
    published: tuple[bytes, bytes]  # as it was: header and body
    calls: list[tuple[str, bytes]]
    channel: Channel
    tag: int
    left: set[str] | None = field(default=None)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Record)
_PROPERTIES = {"content_type": "application/x-sedano-begun", "delivery_mode": 1}
_HEADER = encode_properties(_PROPERTIES)
_APART = "x-sedano-apart"  # all but the body of the only call


class BegunRecords:
    """The records of one node. Belongs to whoever owns the connection. When the node dies, those that live get a record at
    latest `ttl_s` after that; they wait for a lease time more before they believe in the death."""

    def __init__(
        self, node: str, scratch: Callable[[Callable[[Channel], object]], ChannelClosed | None], ttl_s: float = 20.0
    ) -> None:
        self._node, self._scratch, self._ttl_s = node, scratch, ttl_s
        self._home = os.urandom(6).hex()
        self._count = 0
        self._live: dict[int, _Live] = {}
        self._number_of: dict[str, int] = {}  # tag of a call -> its record
        self._lost: dict[str, Lost] = {}
        self._owner_of: dict[str, str] = {}  # tag of a lost call that was taken -> its record
        self._connection: Connection | None = None
        self._channel: Channel | None = None

    # -- connection ---------------------------------------------------------------------------------------------------

    def attach(self, connection: Connection) -> None:
        """Begin, or go on: on a new connection, or after the channel was closed. Raises what channels raise."""
        self.detach()
        channel = connection.channel()
        channel.declare_queue(_presence(self._node, self._home), durable=False, exclusive=True, auto_delete=True)
        channel.declare_queue(LOST)
        channel.declare_queue(_queue(self._node, self._home), arguments=_arguments(self._ttl_s))
        channel.on_deliver = lambda incoming: self._came(channel, incoming)
        channel.qos(0)
        channel.consume(_queue(self._node, self._home), "sedano.begun")
        channel.qos(_MOST_LOST)
        channel.consume(LOST, "sedano.lost")
        self._connection, self._channel = connection, channel

    @property
    def is_attached(self) -> bool:
        """Not when the server has closed the channel: it takes records back that are held for longer than it allows."""
        return self._channel is not None and self._channel.is_open

    def detach(self) -> None:
        """The channel is gone: records are the server's again, until they are handed to us or to others."""
        self._connection = self._channel = None
        for live in self._live.values():
            live.channel = None
        self._lost.clear()
        self._owner_of.clear()

    def _came(self, channel: Channel, incoming: Incoming) -> None:
        try:
            record = _read(incoming)
        except (msgspec.MsgspecError, ValueError):
            logger.error("A message in %s is no record of begun calls; it is dropped", incoming.routing_key)
            self._ack(channel, incoming.delivery_tag)
            return
        home = record.home
        if home == self._home:
            live = self._live.get(record.number)
            if live is None:
                self._ack(channel, incoming.delivery_tag)
                return
            if not live.doubted:
                live.channel, live.tag = channel, incoming.delivery_tag
                return
            home = ""
        owner = f"{record.node}/{record.home}/{record.number}"
        lease = LeaseRecord(owner, record.node, 0, 0, len(record.calls))
        self._lost[owner] = Lost(lease, home, _published(record), record.calls, channel, incoming.delivery_tag)

    def _ack(self, channel: Channel, tag: int) -> None:
        if self._connection is not None and channel.is_open:
            self._connection.write(methods.ack(channel.id, tag))

    # -- our own calls ------------------------------------------------------------------------------------------------

    def frames(self, channel: Channel, calls: Sequence[tuple[str, str, bytes]]) -> None:
        """Publish the records of `calls` (tag, queue, message) on `channel`, before they are acknowledged there."""
        for some in _parts(calls):
            self._count += 1
            record = _Record(self._node, self._home, self._count, [(queue, raw) for _, queue, raw in some])
            try:
                channel.publish("", _queue(self._node, self._home), *_published(record))
            except MessageTooLarge as exc:
                logger.warning("A call of %s is begun and not written down: %s", some[0][1], exc)
                continue
            self._live[self._count] = _Live({tag for tag, _, _ in some})
            for tag, _, _ in some:
                self._number_of[tag] = self._count

    def doubt(self, tags: Iterable[str]) -> None:
        """Nobody here runs these calls, of whole windows. When their record comes back, the server has heard that they were
        begun, so nobody else has them: they are as lost as those of a dead node."""
        for tag in tags:
            if (number := self._number_of.pop(tag, None)) is not None:
                self._live[number].doubted = True

    def over(self, tags: Iterable[str]) -> None:
        """These calls have an outcome, ours and those of the dead."""
        for tag in tags:
            number = self._number_of.pop(tag, None)
            if number is not None:
                live = self._live[number]
                live.left.discard(tag)
                if not live.left:
                    del self._live[number]
                    if live.channel is not None:
                        self._ack(live.channel, live.tag)
                continue
            lost = self._lost.get(self._owner_of.pop(tag, ""))
            if lost is not None and lost.left is not None:
                lost.left.discard(tag)
                if not lost.left:
                    del self._lost[lost.record.owner]
                    self._ack(lost.channel, lost.tag)

    # -- calls of the dead --------------------------------------------------------------------------------------------

    def leases(self) -> list[LeaseRecord]:
        """Of windows whose nodes are gone and that nobody has taken. Those of nodes that are there again go back to them."""
        if not self.is_attached:
            return []
        for home in {(lost.record.node, lost.home) for lost in self._lost.values() if lost.left is None and lost.home}:
            if self._is_there(*home):
                for owner, lost in list(self._lost.items()):
                    if (lost.record.node, lost.home) == home and lost.left is None and self._returned(lost):
                        del self._lost[owner]
        return [lost.record for lost in self._lost.values() if lost.left is None]

    def take(self, owner: str) -> Lost | None:
        """To be settled by us; `taken` says under which tags."""
        lost = self._lost.get(owner)
        return lost if lost is not None and lost.left is None else None

    def taken(self, lost: Lost, tags: Collection[str]) -> None:
        lost.left = set(tags)
        self._owner_of.update(dict.fromkeys(tags, lost.record.owner))

    def _is_there(self, node: str, home: str) -> bool:
        refused = self._scratch(lambda channel: channel.declare_queue(_presence(node, home), passive=True))
        return refused is not None and refused.code == RESOURCE_LOCKED

    def _returned(self, lost: Lost) -> bool:
        """Given back to a node that is alive; False when it has no queue for it."""
        queue = _queue(lost.record.node, lost.home)
        refused = self._scratch(lambda channel: channel.declare_queue(queue, passive=True))
        if refused is not None and refused.code == NOT_FOUND:
            return False
        lost.channel.publish("", queue, *lost.published)
        self._ack(lost.channel, lost.tag)
        return True


def _parts(calls: Sequence[tuple[str, str, bytes]]) -> Iterator[list[tuple[str, str, bytes]]]:
    """Those of each record."""
    part: list[tuple[str, str, bytes]] = []
    size = 0
    for call in calls:
        if part and size + len(call[2]) > _MOST_BYTES:
            yield part
            part, size = [], 0
        part.append(call)
        size += len(call[2])
    if part:
        yield part


def _published(record: _Record) -> tuple[bytes, bytes]:
    """Header and body."""
    queue, raw = record.calls[0]
    if len(raw) <= _MOST_BYTES:
        return _HEADER, _encoder.encode(record)
    exchange, key, header, body = unpack(raw)
    rest = _Record(record.node, record.home, record.number, [(queue, pack(exchange, key, header, b""))])
    about = base64.b64encode(_encoder.encode(rest)).decode()
    return encode_properties({**_PROPERTIES, "headers": {_APART: about}}), body


def _read(incoming: Incoming) -> _Record:
    """Raises MsgspecError or ValueError for what is no record."""
    if _APART.encode() not in incoming.header:
        return _decoder.decode(incoming.body)
    record = _decoder.decode(base64.b64decode(decode_properties(incoming.header)["headers"][_APART]))
    queue, rest = record.calls[0]
    record.calls[0] = queue, rest + incoming.body
    return record


def _queue(node: str, home: str) -> str:
    return _short("sedano.begun.", node, home)


def _presence(node: str, home: str) -> str:
    return _short("sedano.node.", node, home)


def _short(prefix: str, node: str, home: str) -> str:
    """A name has at most 255 bytes."""
    return f"{prefix}{node.encode()[:200].decode(errors='ignore')}.{home}"


def _arguments(ttl_s: float) -> dict[str, object]:
    return {
        "x-message-ttl": max(1, int(ttl_s * 1000)),
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": LOST,
        "x-expires": int(IDLE_S * 1000),
    }
