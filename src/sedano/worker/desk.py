"""The one place from which a node's standing orders are changed: queues, time limits, rate limits, size.

Commands come one after another in the mailbox's thread, others from the supervisor's; what they decide is written into the
shared table, and slots are woken to read it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from sedano.rules.rates import horizon_s
from sedano.worker.buckets import MOST_BUCKETS
from sedano.worker.orders import StandingOrders, TaskRate, TooManyOrders
from sedano.worker.table import SharedTable


@dataclass(frozen=True, slots=True)
class DeskHands:
    """`wake()` makes every slot look at the table; `hasten(until)` brings calls back to their queues that stand in the store's
    schedule with a time before `until` (monotonic)."""

    wake: Callable[[], None]
    hasten: Callable[[float], None]


class OrderDesk:
    """From any thread. Every method raises TooManyOrders when the table has no room, and then nothing is changed."""

    def __init__(self, table: SharedTable, rates: Mapping[str, float], lanes: int, hands: DeskHands) -> None:
        self._table, self._hands = table, hands
        self._lock = threading.Lock()
        self._places: dict[str, int] = {}
        self.orders = StandingOrders(lanes=lanes)
        if rates:
            self.orders = msgspec.structs.replace(self.orders, rates={name: self._rate(name, rates[name]) for name in rates})
        table.orders.write(self.orders)

    def consume(self, queues: tuple[str, ...]) -> None:
        self._change(queues=queues)

    def limit(self, task: str, soft_s: float | None, hard_s: float | None) -> None:
        with self._lock:
            self._change(limits={**self.orders.limits, task: (soft_s, hard_s)})

    def rate(self, task: str, per_s: float) -> None:
        """0.0: no limit. What waits for its time under the old limit comes back and is judged anew."""
        with self._lock:
            rates = {name: rate for name, rate in self.orders.rates.items() if name != task}
            place, old = self._places.get(task), self.orders.rates.get(task)
            promised = 0.0 if place is None else self._table.buckets.promised(place)
            if per_s:
                rates[task] = self._rate(task, per_s)
            if place is not None:
                self._table.buckets.clear(place)
            self._change(rates=rates)
        if old is not None:  # a slot that has not heard of it yet may still promise as far as the old limit goes
            interval = 1.0 / old.per_s
            promised = max(promised, time.monotonic() + max(horizon_s(interval), interval))
        if promised:
            self._hands.hasten(promised)

    def resize(self, lanes: int) -> None:
        self._change(lanes=lanes)

    def _rate(self, task: str, per_s: float) -> TaskRate:
        place = self._places.get(task)
        if place is None:
            if len(self._places) >= MOST_BUCKETS:
                raise TooManyOrders(f"a node keeps rate limits of {MOST_BUCKETS} tasks at most: {task} would be one more")
            place = self._places[task] = len(self._places)
        return TaskRate(place, per_s)

    def _change(self, **fields: Any) -> None:
        new = msgspec.structs.replace(self.orders, **fields)
        self._table.orders.write(new)
        self.orders = new
        self._hands.wake()
