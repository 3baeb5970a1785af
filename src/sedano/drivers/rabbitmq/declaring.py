"""Queues, exchanges and bindings on the server, each declared once for a connection."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from sedano.contracts import QueueSpec
from sedano.drivers.rabbitmq.channel import Channel
from sedano.drivers.rabbitmq.connection import Connection
from sedano.drivers.rabbitmq.errors import ChannelClosed
from sedano.drivers.rabbitmq.topology import Topology, declare, task_queues
from sedano.exceptions import ImproperlyConfigured, OperationalError
from sedano.log import get_logger

logger = get_logger(__name__)

MOST_NAME = 255
NOT_FOUND, RESOURCE_LOCKED, PRECONDITION_FAILED = 404, 405, 406


class Declaring:
    """What is known to be there. `specs` says how a queue is declared by whom it was made known; others are durable and
    classic, as Celery makes them."""

    def __init__(self) -> None:
        self.specs: dict[str, list[QueueSpec]] = {}
        self._done: set[str] = set()
        self._exchanges: set[str] = set()  # that are there
        self._channel: Channel | None = None

    def forget(self) -> None:
        """On a new connection nothing is known to be there."""
        self._done.clear()
        self._exchanges.clear()
        self._channel = None

    def lost(self, queue: str) -> None:
        """It is gone from the server."""
        self._done.discard(queue)

    def know(self, spec: QueueSpec) -> None:
        """How this queue is to be declared when it is needed, unless that is known."""
        self.specs.setdefault(spec.name, [spec])

    def declare(self, connection: Connection, specs: Iterable[QueueSpec]) -> None:
        """Make them known, and make them. What exists with other arguments is used as it is."""
        for spec in specs:
            known = self.specs.setdefault(spec.name, [])
            if spec not in known:
                known.append(spec)
                self._done.discard(spec.name)
        self.ensure(connection, {spec.name for spec in specs})

    def ensure(self, connection: Connection, names: Iterable[str]) -> None:
        """Make those queues that are not known to be there."""
        for name in names:
            if name not in self._done:
                self._make(connection, name)
                self._done.add(name)

    def find(self, connection: Connection, exchanges: Iterable[str]) -> None:
        """Raise OperationalError unless these exchanges are there. Asked before anything is published: the server closes the
        channel of who publishes to an exchange that it does not know, and nobody can tell what it took of the rest."""
        for name in exchanges:
            if not name or name in self._exchanges:
                continue
            self.ensure(
                connection, [queue for queue, specs in self.specs.items() if any(one.exchange == name for one in specs)]
            )
            if name not in self._exchanges:
                refused = self.do(connection, partial(Channel.declare_exchange, name=name, kind="", passive=True))
                if refused is not None:
                    raise OperationalError(f"the message was refused: {refused}") from refused
                self._exchanges.add(name)

    def spec_of(self, queue: str) -> QueueSpec:
        """The first that was made known; each further one only has another binding."""
        return next(iter(self.specs.get(queue, ())), None) or QueueSpec(queue)

    def is_quorum(self, queue: str) -> bool:
        return self.spec_of(queue).arguments.get("x-queue-type") == "quorum"

    def known(self) -> list[str]:
        return sorted(filter(None, {*self.specs, *self._done}))

    def do(self, connection: Connection, step: Callable[[Channel], None]) -> ChannelClosed | None:
        """Try `step` on a channel that may be closed by it; why it was."""
        if self._channel is None or not self._channel.is_open:
            self._channel = connection.channel()
        try:
            step(self._channel)
        except ChannelClosed as exc:
            return exc
        return None

    def _make(self, connection: Connection, name: str) -> None:
        specs = self.specs.get(name) or [QueueSpec(name)]
        if name.startswith("amq."):  # the server's own
            return
        if name and ("\n" in name or "\r" in name):
            raise ImproperlyConfigured(f"{name!r}: RabbitMQ takes no line breaks in the name of a queue")
        if len(name.encode()) > MOST_NAME:
            raise ImproperlyConfigured(f"{name[:64]!r}…: AMQP takes at most {MOST_NAME} bytes as the name of a queue")
        whole = task_queues(specs)
        for exchange in whole.exchanges:
            self._try(connection, f"exchange {exchange.name!r}", Topology(exchanges=(exchange,)))
            self._exchanges.add(exchange.name)
        for queue in whole.queues:
            if queue.name:  # none: the exchanges of queues that are their consumers' own
                self._try(connection, f"queue {queue.name!r}", Topology(queues=(queue,)))
        for bound in whole.bindings:
            if bound.destination:
                refused = self.do(connection, partial(declare, topology=Topology(bindings=(bound,))))
                if refused is not None:
                    where = f"the queue {bound.destination!r} cannot be bound to {bound.source!r}"
                    raise OperationalError(f"{where}: {refused}") from refused

    def _try(self, connection: Connection, what: str, part: Topology) -> None:
        """What is there already with other arguments is used as it is."""
        refused = self.do(connection, partial(declare, topology=part))
        if refused is None:
            return
        if refused.code != PRECONDITION_FAILED:
            raise OperationalError(f"the {what} cannot be declared: {refused}") from refused
        logger.warning("The %s exists and is declared otherwise; it is used as it is: %s", what, refused)
