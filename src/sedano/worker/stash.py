"""What a slot has reserved and not begun, and in which order it looks at its queues."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Collection, Iterable, Sequence

from sedano.contracts import Delivery
from sedano.rules.window import MAX_WINDOW, RunTimes, choose_window
from sedano.worker.held import Held


class Stash:
    """Calls in hand, in the order in which they came. They are in the store's lease too: losing this object loses nothing."""

    def __init__(self, times: RunTimes, window_s: float) -> None:
        self._ready: deque[Held] = deque()
        self._later: list[tuple[float, int, Delivery]] = []
        self._count = itertools.count()
        self._times = times
        self._window_s = window_s

    def __len__(self) -> int:
        return len(self._ready) + len(self._later)

    def add(self, held: Held) -> None:
        self._ready.append(held)

    @property
    def ready(self) -> int:
        """How many may be begun now."""
        return len(self._ready)

    def hasten(self) -> None:
        """Look again at all that waits for its time."""
        self._later = [(0.0, count, delivery) for _, count, delivery in self._later]
        heapq.heapify(self._later)

    def add_later(self, due: float, delivery: Delivery) -> None:
        """Keep what is not to be begun before `due`: its rate limit, or a store that has no schedule."""
        heapq.heappush(self._later, (due, next(self._count), delivery))

    def due(self, now: float) -> list[Delivery]:
        """Take out those of `add_later` whose time has come."""
        found: list[Delivery] = []
        while self._later and self._later[0][0] <= now:
            found.append(heapq.heappop(self._later)[2])
        return found

    def next_due(self) -> float | None:
        return self._later[0][0] if self._later else None

    def take_window(self, most: int) -> list[Held]:
        """Take out the calls to begin together: as many as are predicted to take one window's time, at most `most`."""
        ready = self._ready
        if not ready or most <= 0:
            return []
        if len(ready) == 1:
            return [ready.popleft()]
        front = list(itertools.islice(ready, min(MAX_WINDOW, most)))
        predict = self._times.predict
        count = choose_window(
            [predict(held.call.task) for held in front],
            window_s=self._window_s,
            redelivered=[held.delivery.redelivered for held in front],
        )
        for _ in range(count):
            ready.popleft()
        return front[:count]

    def tags(self) -> list[str]:
        return [held.tag for held in self._ready] + [delivery.tag for _, _, delivery in self._later]

    def deliveries(self) -> list[Delivery]:
        return [held.delivery for held in self._ready] + [delivery for _, _, delivery in self._later]

    def take_out(self, queues: Collection[str]) -> list[str]:
        """Take out what came from `queues`; their tags."""
        gone = [held.tag for held in self._ready if held.delivery.queue in queues]
        gone += [delivery.tag for _, _, delivery in self._later if delivery.queue in queues]
        if gone:
            self._ready = deque(held for held in self._ready if held.delivery.queue not in queues)
            self._later = [entry for entry in self._later if entry[2].queue not in queues]
            heapq.heapify(self._later)
        return gone

    def clear(self) -> None:
        self._ready.clear()
        self._later.clear()


class QueueOrder:
    """The order in which a turn looks at the queues: Celery's `queue_order_strategy`.

    `round_robin` moves a queue that gave something behind the others; `priority` keeps the order given; `sorted` sorts.
    `held` are queues that are left alone until some time (monotonic): the front of each is a call that comes far too early.
    """

    def __init__(self, queues: Sequence[str], strategy: str) -> None:
        self._all: tuple[str, ...] = tuple(sorted(queues)) if strategy == "sorted" else tuple(queues)
        self.names = self._all
        self.held: dict[str, float] = {}
        self._rotates = strategy == "round_robin" and len(queues) > 1

    def hold(self, queue: str, until: float) -> None:
        self.held[queue] = until
        self.names = tuple(name for name in self._all if name not in self.held)

    def let_go(self, now: float) -> None:
        """Look again at those that were held until `now`."""
        self.held = {queue: until for queue, until in self.held.items() if until > now}
        self.names = tuple(name for name in self._all if name not in self.held)

    def let_all_go(self) -> None:
        """Look at all again: other limits hold now."""
        self.held = {}
        self.names = self._all

    def gave(self, queues: Iterable[str]) -> None:
        if self._rotates:
            used = dict.fromkeys(queues)
            self._all = (*(name for name in self._all if name not in used), *used)
            self.names = self._all if not self.held else tuple(name for name in self._all if name not in self.held)
