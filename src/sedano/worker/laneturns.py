"""What the owner of many lanes needs besides a slot's turns: it is woken by its own calls, and takes calls in order."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence

from sedano.contracts import Broker, Results, ResultWrite
from sedano.exceptions import OperationalError
from sedano.polling import POLLIN, new_poll
from sedano.rules.window import RunTimes
from sedano.worker.context import SlotContext
from sedano.worker.held import Held
from sedano.worker.settle import Settler
from sedano.worker.stash import Stash
from sedano.worker.turns import Turns

SUSPECT_AFTER = 2
"""A call whose process was lost so often may be what kills it: only one such call runs at a time, so that a poison call is
found out instead of taking the same neighbours along until all of them count as poison."""


class LaneStash(Stash):
    """Reserved calls that no lane has taken yet."""

    def __init__(self) -> None:
        super().__init__(RunTimes(), 0.0)

    def take_lanes(self, most: int, *, suspects: int) -> list[Held]:
        """Take out up to `most`; of those that were lost `SUSPECT_AFTER` times or more up to `suspects`."""
        found: list[Held] = []
        left: list[Held] = []
        while self._ready and len(found) < most:
            held = self._ready.popleft()
            if is_suspect(held):
                if suspects <= 0:
                    left.append(held)
                    continue
                suspects -= 1
            found.append(held)
        self._ready.extendleft(reversed(left))
        return found


def is_suspect(held: Held) -> bool:
    return held.delivery.deliveries >= SUSPECT_AFTER


class LaneTurns(Turns):
    """Turns that also wake up for `own_fd`."""

    def __init__(
        self, ctx: SlotContext, broker: Broker, settler: Settler, stash: Stash, url: str, most: int | None, own_fd: int
    ) -> None:
        super().__init__(ctx, broker, settler, stash, url, most)
        self._fds = [ctx.wake_fd, own_fd]

    def wait(self, timeout_s: float) -> None:
        """Wait for work, for the supervisor or for a call that ends."""
        if not self.order.names:
            self.pause(timeout_s)
            return
        fds = self._fds if self._broker.capabilities.wait_fds else []
        self.patiently(lambda: self._broker.wait(self.order.names, timeout_s, fds))
        self.drain()

    def pause(self, seconds: float) -> None:
        """Wait for the supervisor, or for a call that ends."""
        self._readable(seconds)
        self.drain()

    def drain(self) -> None:
        for fd in self._readable(0.0):  # never an empty one: in a process that eventlet has patched, reading waits
            os.read(fd, 4096)

    def _readable(self, seconds: float) -> Sequence[int]:
        poll = new_poll()
        for fd in self._fds:
            poll.register(fd, POLLIN)
        return [fd for fd, _ in poll.poll(seconds * 1000)]


class SharedResults:
    """The result store for what lanes write while they run (STARTED): one connection, used by one of them at a time."""

    def __init__(self, open_results: Callable[[], Results | None]) -> None:
        self._open = open_results
        self._results: Results | None = None
        self._lock = threading.Lock()

    def store(self, writes: Sequence[ResultWrite]) -> None:
        """Raises OperationalError."""
        with self._lock:
            if self._results is None:
                self._results = self._open()
                if self._results is None:
                    raise OperationalError("results are off: set result_backend")
            try:
                self._results.store(writes)
            except OperationalError:
                self._results.reconnect()
                self._results.store(writes)

    def close(self) -> None:
        with self._lock:
            if self._results is not None:
                self._results.close()
                self._results = None
