"""A channel with Kombu's names, for what exchanges and queues do on a broker: declare, bind, purge, delete.

On RabbitMQ it is a real one. The other stores know queues and bindings; what only a broker with exchanges can do says so.
Nothing is published or consumed here: calls go through the app.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

from sedano.contracts import QueueSpec
from sedano.protocol.queues import with_limits

if TYPE_CHECKING:
    from sedano.app.connection import Connection

Arguments = Mapping[str, Any] | None


class Declared(NamedTuple):
    """What a broker says of a queue that was declared."""

    queue: str
    message_count: int
    consumer_count: int


class Exchanges(Protocol):
    """A channel of a broker with exchanges (`drivers/rabbitmq/channel.py`)."""

    is_open: bool

    def declare_exchange(
        self, name: str, kind: str, *, passive: bool, durable: bool, auto_delete: bool, arguments: Arguments
    ) -> None: ...
    def delete_exchange(self, name: str, *, if_unused: bool) -> None: ...
    def bind_exchange(self, destination: str, source: str, routing_key: str, arguments: Arguments) -> None: ...
    def unbind_exchange(self, destination: str, source: str, routing_key: str, arguments: Arguments) -> None: ...
    def declare_queue(
        self, name: str, *, passive: bool, durable: bool, exclusive: bool, auto_delete: bool, arguments: Arguments
    ) -> Any: ...
    def bind_queue(self, queue: str, exchange: str, routing_key: str, arguments: Arguments) -> None: ...
    def unbind_queue(self, queue: str, exchange: str, routing_key: str, arguments: Arguments) -> None: ...
    def purge_queue(self, queue: str) -> int: ...
    def delete_queue(self, queue: str, *, if_unused: bool, if_empty: bool) -> int: ...
    def close(self) -> None: ...


class Channel:
    """Of `client`. Opened at the first use, and again after the broker has closed it; not thread-safe.

    Every method may raise OperationalError: with RabbitMQ also where an exchange or a queue is there with other arguments.
    """

    def __init__(self, client: Connection) -> None:
        self.client = client
        self.connection = self
        self.open_bus = client.open_bus
        self.app = client.app
        self._amqp: Exchanges | None = None
        self._kinds: dict[str, str] = {}

    @property
    def emitter(self) -> Any:
        return self.client.emitter

    # -- exchanges ----------------------------------------------------------------------------------------------------

    def exchange_declare(
        self,
        exchange: str = "",
        type: str = "direct",  # noqa: A002 - Kombu's name
        durable: bool = True,
        auto_delete: bool = False,
        arguments: Arguments = None,
        nowait: bool = False,
        passive: bool = False,
    ) -> None:
        del nowait
        self._kinds[exchange] = type
        amqp = self._exchanges()
        if amqp is not None:
            amqp.declare_exchange(
                exchange, type, passive=bool(passive), durable=durable, auto_delete=auto_delete, arguments=arguments
            )

    def exchange_delete(self, exchange: str, if_unused: bool = False, nowait: bool = False) -> None:
        del nowait
        self._needed("exchange_delete").delete_exchange(exchange, if_unused=if_unused)

    def exchange_bind(
        self, destination: str, source: str = "", routing_key: str = "", nowait: bool = False, arguments: Arguments = None
    ) -> None:
        del nowait
        self._needed("exchange_bind").bind_exchange(destination, source, routing_key, arguments)

    def exchange_unbind(
        self, destination: str, source: str = "", routing_key: str = "", nowait: bool = False, arguments: Arguments = None
    ) -> None:
        del nowait
        self._needed("exchange_unbind").unbind_exchange(destination, source, routing_key, arguments)

    # -- queues -------------------------------------------------------------------------------------------------------

    def prepare_queue_arguments(self, arguments: Arguments, **limits: float | None) -> dict[str, Any]:
        """`arguments` with what a queue says of itself: `expires` and `message_ttl` in seconds, `max_length` …"""
        return with_limits(arguments, limits)

    def queue_declare(
        self,
        queue: str = "",
        passive: bool = False,
        durable: bool = True,
        exclusive: bool = False,
        auto_delete: bool = True,
        arguments: Arguments = None,
        nowait: bool = False,
    ) -> Declared:
        del nowait
        amqp = self._exchanges()
        if amqp is not None:
            found = amqp.declare_queue(
                queue, passive=passive, durable=durable, exclusive=exclusive, auto_delete=auto_delete, arguments=arguments
            )
            return Declared(found.name, found.messages, found.consumers)
        with closing(self.client.stores.open_broker(write=True)) as broker:
            if not passive:
                broker.declare([QueueSpec(queue, durable=durable, auto_delete=auto_delete, arguments=dict(arguments or {}))])
            (depth,) = broker.depth([queue])
        return Declared(queue, depth.ready, 0)

    def queue_bind(
        self, queue: str, exchange: str = "", routing_key: str = "", arguments: Arguments = None, nowait: bool = False
    ) -> None:
        del nowait
        amqp = self._exchanges()
        if amqp is not None:
            amqp.bind_queue(queue, exchange, routing_key, arguments)
            return
        with closing(self.client.stores.open_broker(write=True)) as broker:
            broker.declare([QueueSpec(queue, exchange, self._kinds.get(exchange, "direct"), routing_key)])

    def queue_unbind(
        self, queue: str, exchange: str = "", routing_key: str = "", arguments: Arguments = None, nowait: bool = False
    ) -> None:
        del nowait
        self._needed("queue_unbind").unbind_queue(queue, exchange, routing_key, arguments)

    def queue_purge(self, queue: str, nowait: bool = False) -> int:
        del nowait
        amqp = self._exchanges()
        if amqp is not None:
            return amqp.purge_queue(queue)
        with closing(self.client.stores.open_broker(write=True)) as broker:
            return broker.purge(queue)

    def queue_delete(self, queue: str, if_unused: bool = False, if_empty: bool = False, nowait: bool = False) -> int:
        del nowait
        return self._needed("queue_delete").delete_queue(queue, if_unused=if_unused, if_empty=if_empty)

    # -- the channel --------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Idempotent."""
        amqp, self._amqp = self._amqp, None
        if amqp is not None:
            amqp.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _exchanges(self) -> Exchanges | None:
        if self._amqp is None or not self._amqp.is_open:
            self._amqp = self.client.open_exchanges()
        return self._amqp

    def _needed(self, what: str) -> Exchanges:
        amqp = self._exchanges()
        if amqp is None:
            raise NotImplementedError(f"{what}: {self.client.as_uri()} has no exchanges of its own; only RabbitMQ can do that")
        return amqp
