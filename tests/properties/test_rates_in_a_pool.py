"""Rate limits through a pool of slots that is simulated: a clock of its own, a queue, a store's schedule, slots that die.

Everything that decides is the engine's: `Gate`, `Buckets`, `Stash` and the rule. The loop around them is that of a slot,
without a store behind it.
"""

from __future__ import annotations

import heapq
import itertools
import random
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from sedano.contracts import Delivery
from sedano.rules.rates import BURST_S, horizon_s
from sedano.rules.window import RunTimes
from sedano.worker.buckets import BUCKETS_BYTES, Buckets
from sedano.worker.gate import Gate, Wait
from sedano.worker.held import Held
from sedano.worker.orders import TaskRate
from sedano.worker.stash import Stash

TASK = "tasks.rated"


class SimClock:
    def __init__(self) -> None:
        self.now = 1000.0

    def wall(self) -> float:
        return 1_700_000_000.0 + self.now

    def monotonic(self) -> float:
        return self.now


@dataclass
class _Slot:
    """`free_at`: it runs a call until then; `held`: the numbers of calls by the tags under which it has them."""

    stash: Stash
    gate: Gate
    free_at: float = 0.0
    held: dict[str, int] = field(default_factory=dict[str, int])
    queue_held_until: float = 0.0


class Pool:
    """Calls take `run_s`, more or less; what comes back from the schedule is up to `lateness_s` late."""

    def __init__(
        self,
        dice: random.Random,
        buckets: Buckets,
        per_s: float,
        slots: int,
        *,
        run_s: float,
        lateness_s: float,
        schedule: bool,
    ) -> None:
        self.clock = SimClock()
        self._dice, self._run_s, self._lateness_s = dice, run_s, lateness_s
        self._buckets, self._per_s, self._schedule = buckets, per_s, schedule
        self.slots = [self._new_slot() for _ in range(slots)]
        self.queue: deque[int] = deque()
        self.scheduled: list[tuple[float, int]] = []
        self.arrivals: list[tuple[float, int]] = []
        self.begun: dict[int, float] = {}
        self.begins: list[float] = []
        self.arrived: dict[int, float] = {}
        self._looking = 0
        self._tags = itertools.count()
        self._looks: list[tuple[float, int, int]] = []
        self._count = itertools.count()
        for index in range(slots):
            self._look(index, self.clock.now)

    def _new_slot(self) -> _Slot:
        stash = Stash(RunTimes(), 0.05)
        gate = Gate(self._buckets, stash, self.clock, schedule=self._schedule)
        gate.rates = {TASK: TaskRate(0, self._per_s)}
        return _Slot(stash, gate)

    def send(self, count: int, at: float) -> None:
        for _ in range(count):
            number = len(self.arrived)
            self.arrived[number] = at
            heapq.heappush(self.arrivals, (at, number))

    def _look(self, index: int, at: float) -> None:
        heapq.heappush(self._looks, (at, next(self._count), index))

    def kill(self, index: int) -> None:
        """What it has in hand goes back to the head of the queue; the call that it runs was begun."""
        slot = self.slots[index]
        self.queue.extendleft(slot.held[tag] for tag in slot.stash.tags())
        self.slots[index] = self._new_slot()

    def run(self, until: float, kills: list[float] | None = None) -> None:
        kills = sorted(kills or [])
        while self._looks and self._looks[0][0] <= until and (len(self.begun) < len(self.arrived) or self.arrivals):
            at, _, index = heapq.heappop(self._looks)
            self.clock.now = max(self.clock.now, at)
            while kills and kills[0] <= at:
                kills.pop(0)
                self.kill(self._dice.randrange(len(self.slots)))
            while self.arrivals and self.arrivals[0][0] <= at:
                self.queue.append(heapq.heappop(self.arrivals)[1])
            while self.scheduled and self.scheduled[0][0] <= at:
                self.queue.appendleft(heapq.heappop(self.scheduled)[1])
            self._step(index)

    def _step(self, index: int) -> None:
        slot, now = self.slots[index], self.clock.now
        self._looking = index
        if slot.free_at > now:
            self._look(index, slot.free_at)
            return
        wall = self.clock.wall()
        for delivery in slot.stash.due(wall):
            slot.stash.add(self._held(delivery.tag))
        took = False
        if slot.queue_held_until <= now and self.queue and not slot.stash.ready:
            number = self.queue.popleft()
            tag = f"d{next(self._tags)}"
            slot.held[tag] = number
            slot.stash.add(self._held(tag))
            took = True
        for held in slot.stash.take_window(1):
            verdict = slot.gate.lets(held)
            if verdict.go:
                number = slot.held.pop(held.tag)
                assert number not in self.begun
                self.begun[number] = now
                self.begins.append(now)
                slot.free_at = now + self._dice.uniform(0.5, 1.5) * self._run_s
                self._look(index, max(slot.free_at, now + 1e-4))
                return
            where, at = slot.gate.place(held, verdict)
            if where is Wait.IN_HAND:
                slot.stash.add_later(at, held.delivery)
            elif where is Wait.IN_STORE:
                late = self._dice.uniform(0.0, self._lateness_s)
                heapq.heappush(self.scheduled, (at - 1_700_000_000.0 + late, slot.held.pop(held.tag)))
            else:
                self.queue.appendleft(slot.held.pop(held.tag))
                slot.queue_held_until = at
        times = [now + 5.0]
        if took or slot.stash.ready:
            times.append(now + self._dice.uniform(0.0002, 0.002))
        due = slot.stash.next_due()
        if due is not None:
            times.append(due - 1_700_000_000.0)
        if slot.queue_held_until > now:
            times.append(slot.queue_held_until)
        else:  # a slot that waits for work is woken by it
            if self.queue:
                times.append(now + 0.002)
            if self.arrivals:
                times.append(self.arrivals[0][0])
            if self.scheduled:
                times.append(self.scheduled[0][0])
        self._look(index, max(min(times), now) + self._dice.uniform(0.0, 0.003))

    def _held(self, tag: str) -> Held:
        number = self.slots[self._looking].held[tag]
        delivery = cast("Delivery", _FakeDelivery(tag))
        return Held(delivery, cast("Any", _FakeCall(f"call-{number}")), cast("Any", None), None)


@dataclass
class _FakeDelivery:
    tag: str
    queue: str = "celery"
    redelivered: bool = False


@dataclass
class _FakeCall:
    id: str
    task: str = TASK


@contextmanager
def some_buckets() -> Iterator[Buckets]:
    with tempfile.TemporaryFile() as file:
        yield Buckets(memoryview(bytearray(BUCKETS_BYTES)), file.fileno(), 0)


def most_at_once(begins: list[float], per_s: float) -> float:
    """By how many calls the worst stretch of time is over its share (rate times length, and one)."""
    worst, lowest = -1e9, 1e9
    for k, at in enumerate(begins):
        lowest = min(lowest, at * per_s - k) if k == 0 else lowest
        worst = max(worst, (k - at * per_s) + lowest)
        lowest = min(lowest, at * per_s - k)
    return worst


def ran(
    dice: random.Random, per_s: float, *, schedule: bool = True, kills: int = 0, slots: int = 8, late_s: float = 0.02
) -> Pool:
    """A pool that has worked off what was sent: half of it at once, the other half at random times."""
    count = max(30, min(900, int(per_s * 150)))
    seconds = count / per_s
    with some_buckets() as buckets:
        pool = Pool(dice, buckets, per_s, slots, run_s=min(0.3 * slots / per_s, 5.0), lateness_s=late_s, schedule=schedule)
        start = pool.clock.now
        pool.send(count // 2, start)
        for _ in range(count - count // 2):
            pool.send(1, start + dice.uniform(0.0, seconds / 2))
        pool.run(start + 5 * seconds, [start + dice.uniform(0.0, seconds) for _ in range(kills)])
    return pool


@pytest.mark.parametrize("schedule", [True, False])
@pytest.mark.parametrize("per_s", [0.2, 1.0, 5.0, 30.0, 200.0])
@pytest.mark.parametrize("seed", range(3))
def test_given_many_slots_when_calls_come_at_any_time_and_slots_die_then_the_limit_is_kept_and_all_begin(
    seed: int, per_s: float, schedule: bool
) -> None:
    dice = random.Random(seed)
    pool = ran(dice, per_s, schedule=schedule, kills=20, slots=dice.randint(1, 12), late_s=dice.choice([0.0, 0.02, 0.4]))
    assert set(pool.begun) == set(pool.arrived)
    assert most_at_once(pool.begins, per_s) <= BURST_S * per_s + 1e-6


@pytest.mark.parametrize("late_s", [0.0, 0.02, 0.4])
@pytest.mark.parametrize("per_s", [0.2, 1.0, 5.0, 10.0, 30.0, 200.0])
@pytest.mark.parametrize("slots", [1, 2, 8])
def test_given_calls_that_wait_when_slots_are_free_then_the_limit_is_used_to_within_a_twentieth(
    slots: int, per_s: float, late_s: float
) -> None:
    pool = ran(random.Random(slots), per_s, slots=slots, late_s=late_s)
    ideal = (len(pool.arrived) - 1) / per_s
    assert pool.begins[-1] - pool.begins[0] <= ideal * 1.05


@pytest.mark.parametrize("per_s", [0.2, 1.0, 5.0, 10.0])
@pytest.mark.parametrize("seed", range(3))
def test_given_calls_that_wait_when_new_ones_keep_coming_then_none_is_overtaken_for_long(seed: int, per_s: float) -> None:
    pool = ran(random.Random(seed), per_s)
    order = sorted(pool.arrived, key=lambda number: (pool.arrived[number], number))
    rank = {number: place for place, number in enumerate(sorted(pool.begun, key=lambda number: pool.begun[number]))}
    ahead = max(rank[number] - place for place, number in enumerate(order))
    assert ahead <= horizon_s(1 / per_s) * per_s + 1
