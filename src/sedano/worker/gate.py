"""Holds calls of rate-limited tasks back until their time.

A call that comes too early waits where it costs least: for a moment in hand, for longer in the store's schedule, and when very
many are before it in its queue, which is left alone for a while.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum

from sedano.clock import Clock
from sedano.contracts import Throttled
from sedano.rules.rates import Verdict
from sedano.worker.buckets import Buckets
from sedano.worker.held import Held
from sedano.worker.orders import TaskRate
from sedano.worker.stash import Stash

IN_HAND_S = 1.0
MOST_IN_HAND = 32
PROMPT_S = 1.0
"""A call that comes back so much later than it was told to, or by more than an interval, waits as a new one does: who knows
how many came late with it."""

Throttle = Callable[[str, float, bool], Throttled]
"""`Coordination.throttle`: task, calls a second, whether the call has waited for its turn already. Never raises."""


class Wait(Enum):
    """Where a call waits that comes too early."""

    IN_HAND = "in hand"
    IN_STORE = "in the store's schedule"
    IN_QUEUE = "in its queue"


class Gate:
    """One slot's. `rates` are the limits that hold: while there are none, nobody need ask. `throttle` is asked besides where
    the limits are the whole cluster's."""

    def __init__(
        self, buckets: Buckets, stash: Stash, clock: Clock, *, schedule: bool, throttle: Throttle | None = None
    ) -> None:
        self.rates: Mapping[str, TaskRate] = {}
        self._buckets, self._stash, self._clock = buckets, stash, clock
        self._schedule, self._throttle = schedule, throttle
        self._in_hand: set[str] = set()

    def lets(self, held: Held) -> Verdict:
        """Whether the call may begin now; it is counted then."""
        rate = self.rates.get(held.call.task)
        if rate is None:
            return Verdict(True)
        now = self._clock.monotonic()
        returns = held.tag in self._in_hand
        if returns:
            self._in_hand.discard(held.tag)
        elif self._schedule and (at := self._buckets.promise_of(held.call.id)):
            returns = abs(now - at) < max(PROMPT_S, 1.0 / rate.per_s)
        if self._throttle is None:
            return self._buckets.take(rate.place, rate.per_s, now, returns=returns)
        asked = self._throttle(held.call.task, rate.per_s, returns)
        return Verdict(asked.wait_s <= 0.0, now + asked.wait_s, asked.far)

    def place(self, held: Held, verdict: Verdict) -> tuple[Wait, float]:
        """Where `held` waits, and until when: Unix seconds, or monotonic ones for IN_QUEUE."""
        if verdict.far:
            return Wait.IN_QUEUE, verdict.at
        wait_s = verdict.at - self._clock.monotonic()
        if len(self._in_hand) >= MOST_IN_HAND:
            self._in_hand.intersection_update(self._stash.tags())
        if not self._schedule or (wait_s <= IN_HAND_S and len(self._in_hand) < MOST_IN_HAND):
            self._in_hand.add(held.tag)
            return Wait.IN_HAND, self._clock.wall() + wait_s
        self._buckets.promise(held.call.id, verdict.at)
        return Wait.IN_STORE, self._clock.wall() + wait_s
