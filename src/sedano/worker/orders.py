"""What an operator has changed about a running node, in memory that the supervisor shares with its slots.

The supervisor writes, slots read: they compare `revision` with the one they know, which costs nothing, and read the whole when
it differs. A slot that starts reads it first, so what was changed holds for it too.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

import msgspec

from sedano.exceptions import SedanoError

ORDERS_BYTES = 1024 * 1024  # memory is used only as far as it is written
_HEAD_BYTES = 16
_REVISION, _SIZE = 0, 1
_PATIENCE_S = 1.0


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
        """(revision, what holds). Of a writer that died in the middle, what can be read after a second."""
        until = time.monotonic() + _PATIENCE_S
        while True:
            before = self._words[_REVISION]
            if before == 0:
                return 0, StandingOrders()
            if before % 2 == 0 or time.monotonic() > until:
                data = bytes(self._region[_HEAD_BYTES : _HEAD_BYTES + self._words[_SIZE]])
                if self._words[_REVISION] == before:
                    return before, _decoder.decode(data)
            time.sleep(0.0001)

    def write(self, orders: StandingOrders) -> None:
        """Let `orders` hold from now on. Raises TooManyOrders, and nothing is changed."""
        data = _encoder.encode(orders)
        if len(data) > len(self._region) - _HEAD_BYTES:
            raise TooManyOrders(
                f"the queues, limits and rates that were changed on this node take {len(data)} bytes, more than the "
                f"{len(self._region) - _HEAD_BYTES} there are: set them in the settings and restart the node"
            )
        with self._lock:
            self._words[_REVISION] += 1  # odd: being written
            self._region[_HEAD_BYTES : _HEAD_BYTES + len(data)] = data
            self._words[_SIZE] = len(data)
            self._words[_REVISION] += 1

    def release_memory(self) -> None:
        self._words.release()
        self._region.release()
