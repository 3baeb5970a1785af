"""What waits in queues: ready messages by priority step, delayed calls, bindings."""

from __future__ import annotations

import bisect
import itertools
import math
import re
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from sedano.contracts import Outgoing, Parked, Place, QueueSpec, Where
from sedano.exceptions import OperationalError
from sedano.protocol import envelope

STEPS = (0, 3, 6, 9)


@dataclass(slots=True, eq=False)
class Item:
    """A stored message and where it belongs; `since` when it came to wait there (wall seconds), None for what is unknown."""

    raw: bytes
    queue: str
    step: int
    since: float | None = None


@dataclass(slots=True)
class _Queue:
    ready: dict[int, deque[Item]] = field(default_factory=lambda: {step: deque() for step in STEPS})
    delayed: list[tuple[float, int, Item]] = field(default_factory=list)  # (due, arrival, item), sorted
    parked: list[tuple[float, int, str, Item]] = field(default_factory=list)  # (due, arrival, task, item), sorted


def step_of(priority: int) -> int:
    """The step that serves Celery's priority number: 0 to 9, clipped, mapped down."""
    return STEPS[bisect.bisect(STEPS, min(max(priority, 0), 9)) - 1]


class Queues:
    """`on_ready(queue)` is called whenever a queue gets something that can be taken."""

    def __init__(self, on_ready: Callable[[str], None]) -> None:
        self._on_ready = on_ready
        self._queues: dict[str, _Queue] = {}
        self._bindings: dict[str, list[QueueSpec]] = {}
        self._arrivals = itertools.count()

    # -- known queues and bindings ------------------------------------------------------------------------------------

    def declare(self, spec: QueueSpec) -> None:
        self._queue(spec.name)
        bindings = self._bindings.setdefault(spec.exchange, [])
        if spec not in bindings:
            bindings.append(spec)

    def names(self) -> list[str]:
        return sorted(self._queues)

    def items_of(self, outgoing: Outgoing, now: float) -> list[Item]:
        """A copy for each queue that the message is routed to; nothing is stored yet.

        Raises `OperationalError` when there is no such queue, `EncodeError` when the message cannot be written.
        """
        raw, step = envelope.encode(outgoing.message), step_of(outgoing.priority)
        return [Item(raw, name, step, now) for name in self._route(outgoing)]

    def _route(self, outgoing: Outgoing) -> list[str]:
        if not outgoing.exchange:
            return [outgoing.routing_key]
        bindings = self._bindings.get(outgoing.exchange, ())
        names = dict.fromkeys(spec.name for spec in bindings if _matches(spec, outgoing.routing_key))
        if not names:
            raise OperationalError(
                f"exchange {outgoing.exchange!r} has no binding for key {outgoing.routing_key!r}: declare a queue with one"
            )
        return list(names)

    # -- coming in ----------------------------------------------------------------------------------------------------

    def put_last(self, item: Item) -> None:
        self._queue(item.queue).ready[item.step].append(item)
        self._on_ready(item.queue)

    def put_first(self, items: Sequence[Item]) -> None:
        """Put `items` before everything else of their queues; the first of them is the next to be taken."""
        for item in reversed(items):
            self._queue(item.queue).ready[item.step].appendleft(item)
            self._on_ready(item.queue)

    def delay(self, item: Item, due: float) -> None:
        item.since = due  # it has not waited before
        bisect.insort(self._queue(item.queue).delayed, (due, next(self._arrivals), item))

    def park(self, item: Item, task: str, due: float) -> None:
        bisect.insort(self._queue(item.queue).parked, (due, next(self._arrivals), task, item))

    # -- going out ----------------------------------------------------------------------------------------------------

    def take(self, queues: Sequence[str], limit: int) -> tuple[list[Item], bool]:
        """Up to `limit` items, lower steps first, then in the order of `queues`; and whether there is more."""
        lines = [self._queues[name].ready[step] for step in STEPS for name in queues if name in self._queues]
        taken: list[Item] = []
        for line in lines:
            while line and len(taken) < limit:
                taken.append(line.popleft())
        return taken, any(lines)

    def promote(self, queues: Iterable[str], now: float, limit: int) -> tuple[int, float | None]:
        """Move what is due to the heads; returns how many, and when the next is due."""
        names = [name for name in dict.fromkeys(queues) if name in self._queues]
        due = sorted(entry for name in names for entry in self._queues[name].delayed if entry[0] <= now)[:limit]
        for entry in due:
            self._queues[entry[2].queue].delayed.remove(entry)
        self.put_first([item for _, _, item in due])
        over = self._unpark(names, limit - len(due), until=now)
        self.put_first(over)
        left = [self._queues[name].delayed[0][0] for name in names if self._queues[name].delayed]
        left += [self._queues[name].parked[0][0] for name in names if self._queues[name].parked]
        return len(due) + len(over), min(left, default=None)

    def unpark(self, tasks: Collection[str], queues: Iterable[str], limit: int) -> int:
        """Move up to `limit` parked calls of `tasks` to the heads, those whose time ends first first; returns how many."""
        items = self._unpark(queues, limit, tasks=tasks)
        self.put_first(items)
        return len(items)

    def _unpark(
        self, queues: Iterable[str], limit: int, *, until: float = math.inf, tasks: Collection[str] | None = None
    ) -> list[Item]:
        names = [name for name in dict.fromkeys(queues) if name in self._queues]
        entries = sorted(
            entry
            for name in names
            for entry in self._queues[name].parked
            if entry[0] <= until and (tasks is None or entry[2] in tasks)
        )[:limit]
        for entry in entries:
            self._queues[entry[3].queue].parked.remove(entry)
        return [entry[3] for entry in entries]

    def handback(self, queues: Iterable[str], limit: int, now: float) -> int:
        """Move up to `limit` delayed calls, then parked ones, to the tails, earliest first, whether they are due or not."""
        names = [name for name in dict.fromkeys(queues) if name in self._queues]
        entries = sorted(entry for name in names for entry in self._queues[name].delayed)[:limit]
        for entry in entries:
            self._queues[entry[2].queue].delayed.remove(entry)
            entry[2].since = now
            self.put_last(entry[2])
        unparked = self._unpark(names, limit - len(entries))
        for item in unparked:
            self.put_last(item)
        return len(entries) + len(unparked)

    def purge(self, name: str) -> int:
        count = self.ready(name)
        if count:
            for line in self._queues[name].ready.values():
                line.clear()
        return count

    # -- looking ------------------------------------------------------------------------------------------------------

    def look(self, names: Iterable[str]) -> Iterator[tuple[bytes, Place]]:
        """Everything that waits in these queues, and how."""
        for name in names:
            queue = self._queues.get(name) or _Queue()
            for item in itertools.chain.from_iterable(queue.ready.values()):
                yield item.raw, Place(Where.READY, name)
            for due, _, item in queue.delayed:
                yield item.raw, Place(Where.DELAYED, name, due=due)
            for due, _, _, item in queue.parked:
                yield item.raw, Place(Where.PARKED, name, due=due)

    def schedule(self, names: Iterable[str], limit: int) -> tuple[int, list[tuple[float, Item]]]:
        """How many calls of these queues are delayed; the first `limit` of them, the earliest first."""
        known = [self._queues[name].delayed for name in dict.fromkeys(names) if name in self._queues]
        first = sorted(itertools.chain.from_iterable(known))[:limit]
        return sum(map(len, known)), [(due, item) for due, _, item in first]

    # -- counting -----------------------------------------------------------------------------------------------------

    def ready(self, name: str) -> int:
        queue = self._queues.get(name)
        return sum(map(len, queue.ready.values())) if queue else 0

    def since(self, name: str) -> float | None:
        """When the first of the heads of its steps came, as far as it is known."""
        queue = self._queues.get(name)
        heads = [line[0].since for line in queue.ready.values() if line] if queue else []
        return min((since for since in heads if since is not None), default=None)

    def delayed(self, name: str) -> int:
        queue = self._queues.get(name)
        return len(queue.delayed) if queue else 0

    def parked(self, name: str) -> list[Parked]:
        """By task name."""
        queue = self._queues.get(name)
        found: dict[str, Parked] = {}
        for due, _, task, _ in queue.parked if queue else ():
            before = found.get(task)
            found[task] = Parked(name, task, 1, due) if before is None else Parked(name, task, before.count + 1, before.due)
        return [found[task] for task in sorted(found)]

    def _queue(self, name: str) -> _Queue:
        return self._queues.setdefault(name, _Queue())


def _matches(spec: QueueSpec, routing_key: str) -> bool:
    """As Kombu's virtual exchanges: in a topic's pattern `*` is one word, `#` any text."""
    if spec.exchange_type == "fanout":
        return True
    if spec.exchange_type == "topic":
        words = {"*": r"[^.]+", "#": ".*?"}
        pattern = r"\.".join(words.get(word, re.escape(word)) for word in spec.routing_key.split("."))
        return re.fullmatch(pattern, routing_key) is not None
    return spec.routing_key == routing_key
