"""What an operator has changed about a running node, in memory that the supervisor shares with its slots.

The supervisor writes, slots read: they compare `revision` with the one they know, which costs nothing, and read the whole when
it differs. A slot that starts reads it first, so what was changed holds for it too.

There are two halves: the next orders are written into the one that nobody is to read, then the revision says that they hold. A
writer that stops or dies in the middle has changed nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

import msgspec

from sedano.exceptions import SedanoError

ORDERS_BYTES = 2 * 1024 * 1024  # memory is used only as far as it is written
_HEAD_BYTES = 24
_REVISION, _SIZES = 0, 1


class TooManyOrders(SedanoError):
    """What was changed about this node does not fit into the memory that its slots read."""


class TaskRate(msgspec.Struct, frozen=True):
    """A task may be begun `per_s` times a second on this node. `place` is its entry among the buckets, for as long as the
    node lives."""

    place: int
    per_s: float


class StandingOrders(msgspec.Struct, frozen=True):
    """`queues` None: those of the start; `limits` are (soft, hard) seconds by task, None for none; `rates` are all rate limits
    that hold, by task; `lanes` is how many calls one process runs at once, 0: as many as it was made for."""

    queues: tuple[str, ...] | None = None
    limits: Mapping[str, tuple[float | None, float | None]] = {}
    rates: Mapping[str, TaskRate] = {}
    lanes: int = 0


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(StandingOrders)


class OrderBook:
    """`region` is the shared memory, `ORDERS_BYTES` long. One process writes, from any of its threads."""

    def __init__(self, region: memoryview) -> None:
        self._region = region
        self._words = region[:_HEAD_BYTES].cast("q")
        self._lock = threading.Lock()

    @property
    def revision(self) -> int:
        """Another number when something was changed; 0 when nothing ever was."""
        return self._words[_REVISION]

    def read(self) -> tuple[int, StandingOrders]:
        """(revision, what holds). Waits for nobody."""
        while True:
            revision = self._words[_REVISION]
            if revision == 0:
                return 0, StandingOrders()
            at = self._half(revision)
            data = bytes(self._region[at : at + self._words[_SIZES + revision % 2]])
            if self._words[_REVISION] == revision:  # so this half was not written meanwhile
                return revision, _decoder.decode(data)

    def write(self, orders: StandingOrders) -> None:
        """Let `orders` hold from now on. Raises TooManyOrders, and nothing is changed."""
        data = _encoder.encode(orders)
        if len(data) > self._room:
            raise TooManyOrders(
                f"the queues, limits and rates that were changed on this node take {len(data)} bytes, more than the "
                f"{self._room} there are: set them in the settings and restart the node"
            )
        with self._lock:
            revision = self._words[_REVISION] + 1
            at = self._half(revision)
            self._region[at : at + len(data)] = data
            self._words[_SIZES + revision % 2] = len(data)
            self._words[_REVISION] = revision

    @property
    def _room(self) -> int:
        return (len(self._region) - _HEAD_BYTES) // 2

    def _half(self, revision: int) -> int:
        return _HEAD_BYTES + revision % 2 * self._room

    def release_memory(self) -> None:
        self._words.release()
        self._region.release()
