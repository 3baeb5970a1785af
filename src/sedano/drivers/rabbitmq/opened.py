"""What the parts of one broker object share: where it connects, what it publishes with, which delay queues it uses."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable
from functools import partial

import msgspec

from sedano.contracts import OpenOptions, QueueSpec, ResultWrite
from sedano.drivers.rabbitmq.address import Address
from sedano.drivers.rabbitmq.channel import Channel
from sedano.drivers.rabbitmq.connection import Connection
from sedano.drivers.rabbitmq.declaring import Declaring
from sedano.drivers.rabbitmq.delays import OURS, Levels, celerys
from sedano.drivers.rabbitmq.errors import ChannelClosed
from sedano.drivers.rabbitmq.publishing import Publisher, Ready
from sedano.drivers.rabbitmq.topology import QUORUM, can_delay, declare, delay_bindings, queue_type
from sedano.exceptions import OperationalError

CONFIRM_S = 30.0
"""How long a server that confirms nothing of what was published is waited for: it may write to a slow disk."""
PATIENCE_S = 10.0
"""How long a server that takes nothing now is waited for."""


class Opened:
    """`result_message`: how a result goes out where this server carries them, else None."""

    def __init__(
        self, address: Address, options: OpenOptions, result_message: Callable[[ResultWrite], Ready | None] | None = None
    ) -> None:
        self.address, self.options = address, options
        self.declaring = Declaring()
        self.leaves_unread = options.unread
        self.writes_results = result_message is not None
        self.records_begun = options.amqp.records_begun
        self.record_ttl_s = options.amqp.record_ttl_s
        self._result_message = result_message
        self.publisher = Publisher(
            lambda: self.connect("publisher"),
            self.declaring,
            confirms=bool(options.transport.get("confirm_publish", True)),
            patience_s=CONFIRM_S,
            waits=not options.unread,  # a node has other things to do
        )
        self.native = celerys(options.amqp.delayed_queue_type)
        self._has_levels: set[Levels] = set()
        self._bound: set[str] = set()
        self._joined: set[tuple[str, str, str]] = set()

    def connect(self, purpose: str) -> Connection:
        """A new open connection. Raises BrokerUnavailable or OperationalError."""
        timeout_s, address = self.address.socket_timeout_s, self.address
        if not self.leaves_unread:  # a producer may be busy for hours, and has nobody who answers for it meanwhile
            address = msgspec.structs.replace(address, heartbeat_s=0.0)
        connection = Connection(
            address,
            name=f"sedano {purpose}",
            connect_timeout_s=self.address.connect_timeout_s,
            socket_timeout_s=PATIENCE_S if timeout_s is None else min(timeout_s, PATIENCE_S),
        )
        connection.open()
        if purpose == "publisher":
            self._has_levels.clear()
            self._bound.clear()
            self._joined.clear()
        return connection

    def result_message(self, write: ResultWrite) -> Ready | None:
        return None if self._result_message is None else self._result_message(write)

    @contextlib.contextmanager
    def scratch(self) -> Generator[Channel]:
        """A channel of its own for what may fail or holds messages for a moment; what it holds goes back when it ends."""
        channel = self.publisher.connection.channel()
        try:
            yield channel
        finally:
            with contextlib.suppress(OperationalError):
                channel.close()

    def try_out(self, step: Callable[[Channel], object]) -> ChannelClosed | None:
        """Do `step` on a channel of its own; why the server closed it, if it did."""
        with self.scratch() as channel:
            try:
                step(channel)
            except ChannelClosed as exc:
                return exc
        return None

    # -- delays -------------------------------------------------------------------------------------------------------

    def levels_of(self, queue: str) -> Levels:
        """Celery's own for quorum queues, ours for classic ones."""
        return self.native if self.declaring.is_quorum(queue) else OURS

    def delays_to(self, queue: str) -> None:
        """Make what holds messages back for `queue`. Raises OperationalError."""
        levels = self.levels_of(queue)
        self.make(levels)
        if queue not in self._bound:
            self.declaring.ensure(self.publisher.connection, [queue])
            self._do(levels, lambda channel: levels.bind(channel, queue))
            self._bound.add(queue)

    def make(self, levels: Levels) -> None:
        """Make the delay queues. Raises OperationalError."""
        _ = self.publisher.connection  # a new one knows of none
        if levels not in self._has_levels:
            self._do(levels, levels.declare)
            self._has_levels.add(levels)

    def join_native_delay(self, specs: Iterable[QueueSpec]) -> None:
        """Let Celery's delay queues reach those quorum queues whose exchange is not direct, as Celery's workers do."""
        for spec in specs:
            key = (spec.exchange, spec.routing_key, spec.name)
            if key in self._joined or queue_type(spec) != QUORUM or not can_delay(spec):
                continue
            self.make(self.native)
            self._do(self.native, partial(declare, topology=delay_bindings([spec])))
            self._joined.add(key)

    def _do(self, levels: Levels, step: Callable[[Channel], None]) -> None:
        refused = self.declaring.do(self.publisher.connection, step)
        if refused is not None:
            raise OperationalError(_cannot_delay(levels, refused)) from refused


def _cannot_delay(levels: Levels, refused: ChannelClosed) -> str:
    return (
        f"the delay queues {levels.prefix}_0 to {levels.prefix}_27 cannot be used: {refused}. When they were made with another"
        " queue type, set broker_native_delayed_delivery_queue_type to theirs"
    )
