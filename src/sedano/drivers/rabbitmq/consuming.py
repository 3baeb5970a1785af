"""What the server has pushed and no slot has yet, and the consumers that make it push.

    queue on the server --push--> buffer --take--> a slot's hands --ack--> gone
                  ^                  |  ^              |
                  +---- give_back ---+  +-- put_first -+

One channel carries all of them. When it is gone, so is everything that was not acknowledged: the server gives it to somebody
else, `epoch` tells what came before from what comes after.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sedano.contracts import QueueSpec
from sedano.drivers.rabbitmq import methods
from sedano.drivers.rabbitmq.acking import Unacked
from sedano.drivers.rabbitmq.appetite import limit_for
from sedano.drivers.rabbitmq.channel import Channel
from sedano.drivers.rabbitmq.connection import Connection
from sedano.drivers.rabbitmq.errors import ChannelClosed
from sedano.drivers.rabbitmq.frames import Incoming
from sedano.drivers.rabbitmq.stored import pack
from sedano.log import get_logger

logger = get_logger(__name__)

NEVER = 1 << 62
_MOST_BYTES = 64 << 20  # of one queue, by the mean of what came
_MOST_IN_ALL = 4096  # messages pushed by all queues together, before each has at least one
_MOST_KNOWN = 1024  # messages that were given back and are known again
_SMALL = 4096  # bytes


@dataclass(slots=True, eq=False)
class Item:
    """A message that was pushed. `tag` is the channel's; `acked`: the server has forgotten it."""

    queue: str
    tag: int
    epoch: int
    raw: bytes
    redelivered: bool
    acked: bool = False
    mark: int = 0  # when this is reached, the server has taken the acknowledgement; NEVER: it was not asked
    goes_round: bool = False  # a copy with a higher count is published in its place


@dataclass(slots=True)
class _Consumer:
    tag: str
    limit: int


class Intake:
    """One channel that consumes. `prepare(queue)` makes sure that a queue is there; `lost(queue)` hears that it is gone."""

    def __init__(
        self, connection: Connection, epoch: int, prepare: Callable[[str], QueueSpec], lost: Callable[[str], None]
    ) -> None:
        self.epoch = epoch
        self._connection = connection
        self._prepare, self._lost = prepare, lost
        self._channel: Channel = connection.channel()
        self._channel.on_deliver = self._arrived
        self._channel.on_cancel = self._cancelled
        self._names = itertools.count(1)
        self._consumers: dict[str, _Consumer] = {}
        self._places: dict[str, int] = {}  # queue -> its number, which stands in the tags of its consumers
        self._queues: list[str] = []  # by number; of cancelled consumers some may be on its way
        self._buffers: dict[str, deque[Item]] = {}
        self._unacked = Unacked()
        self._given_back: dict[bytes, None] = {}  # unbegun: the server calls them redelivered, and nobody has lost them
        self._specs: dict[str, QueueSpec] = {}
        self._unacked_of: dict[str, int] = {}
        self._touched_at = time.monotonic()
        self._mean_bytes = 0

    # -- the channel --------------------------------------------------------------------------------------------------

    @property
    def channel(self) -> Channel:
        return self._channel

    @property
    def closed_why(self) -> ChannelClosed | None:
        return self._channel.closed_why

    @property
    def is_open(self) -> bool:
        return self._connection.is_open and self._channel.is_open

    def mark(self) -> int:
        """Ask to be told when the server has done everything that is sent before: see `reached`.

        Acknowledgements have no answer of their own; the next thing that has one is answered after them. (Not a message with
        a confirm: during an alarm the server reads nothing more from whoever has published.)
        """
        return self._channel.qos_ahead(1)  # the limit of a consumer is set right before it is made

    def reached(self, mark: int) -> bool:
        return self._channel.answered_ahead >= mark

    def await_mark(self, mark: int, timeout_s: float) -> None:
        """Raises BrokerUnavailable or ChannelClosed."""
        self._channel.await_ahead(mark, timeout_s)

    def probe(self, timeout_s: float) -> None:
        """Return when the server has answered. Raises BrokerUnavailable or ChannelClosed."""
        self.await_mark(self.mark(), timeout_s)

    def _arrived(self, incoming: Incoming) -> None:
        queue = self._queue_of(incoming.consumer_tag)
        raw = pack(incoming.exchange, incoming.routing_key, incoming.header, incoming.body)
        redelivered = incoming.redelivered and self._given_back.pop(raw, self) is self
        item = Item(queue, incoming.delivery_tag, self.epoch, raw, redelivered)
        self._buffers.setdefault(queue, deque()).append(item)
        self._mean_bytes += (len(raw) - self._mean_bytes) >> 3
        if self._specs[queue].no_ack:
            item.acked = True
            return
        self._unacked.add(item.tag)
        self._unacked_of[queue] = self._unacked_of.get(queue, 0) + 1

    def _cancelled(self, tag: str) -> None:
        queue = self._queue_of(tag)
        if queue not in self._consumers or self._consumers[queue].tag != tag:
            return
        del self._consumers[queue]
        self._lost(queue)
        logger.warning("The queue %s is gone from the server, or has another leader: it is declared and consumed again", queue)

    def _queue_of(self, tag: str) -> str:
        return self._queues[int(tag.rpartition(".")[2])]

    # -- consumers ----------------------------------------------------------------------------------------------------

    def prepare(self, queues: Iterable[str]) -> None:
        """Make those that were never asked for. Raises OperationalError, ImproperlyConfigured; nothing was sent here then."""
        for queue in queues:
            if queue not in self._specs:
                self._specs[queue] = self._prepare(queue)

    def ask(self, queues: Sequence[str], wanted: int, held: Callable[[str], int]) -> bool:
        """Let the server push `wanted` messages of `queues`, besides those that `held(queue)` counts in slots' hands, and
        nothing of other queues. Sent with what is sent next. True when a consumer was started or changed."""
        most = min(_MOST_IN_ALL // max(1, len(queues)), _MOST_BYTES // max(1, self._mean_bytes))
        share = max(1, min(wanted, most)) if wanted else 0
        changed = False
        for name in [name for name in self._consumers if name not in queues]:
            self.cancel(name)
        for queue in queues:
            consumer = self._consumers.get(queue)
            current = 0 if consumer is None else consumer.limit
            limit = limit_for(current, held(queue), share)
            if limit == current:
                continue
            if limit == 0:
                if not self._specs[queue].auto_delete:  # it would go with its last consumer, and what is in it
                    self.cancel(queue)
            elif self.ready(queue) >= share and not self._auto_deletes(queue):
                # What lies here is enough. A new consumer would be pushed as many again, besides: it does not count them.
                if limit < current:
                    self.cancel(queue)
            else:
                self._consume(queue, limit)
                changed = True
        return changed

    def _auto_deletes(self, queue: str) -> bool:
        return queue in self._specs and self._specs[queue].auto_delete

    def _consume(self, queue: str, limit: int) -> None:
        spec = self._specs[queue] = self._prepare(queue)
        before = self._consumers.get(queue)
        place = self._places.setdefault(queue, len(self._queues))
        if place == len(self._queues):
            self._queues.append(queue)
        tag = f"sedano.{self.epoch}.{next(self._names)}.{place}"
        self._consumers[queue] = _Consumer(tag, limit)
        number = self._channel.id
        if before is not None and not spec.auto_delete:
            self._connection.write(methods.cancel(number, before.tag, nowait=True))
        self._channel.qos_ahead(limit)
        self._connection.write(
            methods.consume(
                number,
                queue,
                tag,
                no_ack=spec.no_ack,
                nowait=True,
                arguments=dict(spec.consumer_arguments) or None,
            )
        )
        if before is not None and spec.auto_delete:  # never without a consumer: the server would delete it
            self._connection.write(methods.cancel(number, before.tag, nowait=True))

    def cancel(self, queue: str) -> None:
        """Sent with what is sent next."""
        consumer = self._consumers.pop(queue, None)
        if consumer is not None:
            self._connection.write(methods.cancel(self._channel.id, consumer.tag, nowait=True))
            if self._specs[queue].auto_delete:
                self._lost(queue)

    # -- messages -----------------------------------------------------------------------------------------------------

    def ready(self, queue: str) -> int:
        return len(self._buffers.get(queue, ()))

    def held(self, queue: str) -> int:
        """How many messages of `queue` are in slots' hands and not acknowledged."""
        return max(0, self._unacked_of.get(queue, 0) - self.ready(queue))

    def idle_for(self, now: float) -> float:
        """Seconds (monotonic) since a message was last taken."""
        return now - self._touched_at

    @property
    def any_ready(self) -> bool:
        return any(self._buffers.values())

    def take(self, queues: Sequence[str], most: int) -> tuple[list[Item], bool]:
        """Up to `most` of what was pushed, of the first queue that has something first; and whether there is more."""
        taken: list[Item] = []
        self._touched_at = time.monotonic()
        for queue in queues:
            buffer = self._buffers.get(queue)
            while buffer and len(taken) < most:
                taken.append(buffer.popleft())
        return taken, any(self._buffers.get(queue) for queue in queues)

    def put_first(self, items: Iterable[Item]) -> None:
        """Back to where they stood."""
        by_queue: dict[str, list[Item]] = {}
        for item in items:
            if item.epoch == self.epoch or item.acked:
                by_queue.setdefault(item.queue, []).append(item)
        for queue, some in by_queue.items():
            self._buffers[queue] = deque(
                sorted((*self._buffers.get(queue, ()), *some), key=lambda item: (item.epoch, item.tag))
            )

    def ack(self, items: Iterable[Item]) -> bool:
        """Acknowledge; sent with what is sent next. True when something is to be sent."""
        tags: list[int] = []
        for item in items:
            if item.epoch == self.epoch and not item.acked:
                item.acked, item.mark = True, NEVER
                tags.append(item.tag)
                self._unacked_of[item.queue] -= 1
        if not tags:
            return False
        upto, single = self._unacked.take(tags)
        number = self._channel.id
        if upto:
            self._connection.write(methods.ack(number, upto, multiple=True))
        if single:
            self._connection.write(b"".join([methods.ack(number, tag) for tag in single]))
        return True

    def give_back(self, queues: Sequence[str] | None = None) -> int:
        """Cancel the consumers of `queues` (None: all but those whose queue would go with them) and give what lies in their
        buffers back to the server, which puts it where it stood on a classic queue, and last on a quorum queue. Sent with what
        is sent next."""
        number = self._channel.id
        tags: list[int] = []
        if queues is None:
            queues = [queue for queue, spec in self._specs.items() if not spec.auto_delete]
        for queue in queues:
            self.cancel(queue)
        for queue in queues:
            buffer = self._buffers.pop(queue, deque())
            items = [item for item in buffer if not item.acked]
            if len(items) < len(buffer):  # nobody else has the others
                self._buffers[queue] = deque(item for item in buffer if item.acked)
            self._remember(items)
            back = [item.tag for item in items]
            self._unacked_of[queue] = self._unacked_of.get(queue, 0) - len(back)
            tags += back
        upto, single = self._unacked.take(tags)
        if upto:  # thousands one by one keep a server busy for a minute
            self._connection.write(methods.nack(number, upto, multiple=True, requeue=True))
        self._connection.write(b"".join([methods.reject(number, tag, requeue=True) for tag in single]))
        return len(tags)

    def _remember(self, items: Iterable[Item]) -> None:
        self._given_back.update(dict.fromkeys(item.raw for item in items if not item.redelivered and len(item.raw) < _SMALL))
        for raw in list(itertools.islice(self._given_back, max(0, len(self._given_back) - _MOST_KNOWN))):
            del self._given_back[raw]

    def drop_buffered(self, queue: str) -> int:
        """Acknowledge what lies in the buffer of `queue`: it is purged."""
        items = self._buffers.pop(queue, deque())
        self.ack(items)
        return len(items)

    def is_own(self, queue: str) -> bool:
        """Whether it goes with its last consumer: nobody else has a claim to what is in it."""
        return self._specs[queue].auto_delete

    def queues_with(self, is_wanted: Callable[[Item], bool]) -> list[str]:
        """Those in whose buffers something is wanted."""
        return [queue for queue, buffer in self._buffers.items() if any(map(is_wanted, buffer))]

    def take_out(self, is_wanted: Callable[[Item], bool]) -> list[Item]:
        """Those of all buffers that are wanted, out of them."""
        taken: list[Item] = []
        for queue, buffer in self._buffers.items():
            wanted = [item for item in buffer if is_wanted(item)]
            if wanted:
                taken += wanted
                self._buffers[queue] = deque(item for item in buffer if not is_wanted(item))
        return taken
