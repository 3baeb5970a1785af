"""The worker's metrics: one table of names, and what they say now.

Every label has few values: task names are capped (`tallies.MOST_TASKS`), queues are those that the node consumes. Nothing here
waits for anything: what the store knows was asked before (`depths.py`).
"""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable, Iterable, Sequence

from sedano import __version__
from sedano.contracts import Depth, Outcome
from sedano.worker.depths import DepthWatch
from sedano.worker.exposition import Family, Metric, page
from sedano.worker.plan import NodePlan
from sedano.worker.supervisor import Supervisor
from sedano.worker.table import Phase, SharedTable
from sedano.worker.tallies import BOUNDS_S, MOST_TASKS, OTHERS, OUTCOMES, Tally

MOST_QUEUES = 100

BUILD = Metric("sedano_build_info", "gauge", "1; what runs here.", ("version", "python", "pool", "node"))
STARTED = Metric("sedano_start_time_seconds", "gauge", "When the worker started, Unix time.")
READY = Metric("sedano_ready", "gauge", "1 when the worker takes calls, 0 when /readyz says why not.")
SLOTS = Metric("sedano_slots", "gauge", "Slots by what they do: starting, idle, busy, stopping.", ("state",))
SLOTS_MOST = Metric("sedano_slots_most", "gauge", "How many calls this worker runs at once at most (-c, --autoscale).")
RUNNING = Metric("sedano_calls_running", "gauge", "Calls that run now.")
CALLS = Metric("sedano_calls_total", "counter", "Calls that ran to their end here, by what they ended in.", ("task", "outcome"))
RUNTIME = Metric("sedano_call_runtime_seconds", "histogram", "From the start of a call to its outcome.", ("task",))
LATENESS = Metric(
    "sedano_call_lateness_seconds",
    "histogram",
    "From the time at which a call with eta or countdown was due to its start.",
    ("task",),
)
STARTS = Metric(
    "sedano_slot_starts_total", "counter", "Slots that were started: the first ones, and those that replaced others."
)
DEATHS = Metric(
    "sedano_slot_deaths_total",
    "counter",
    "Slots that ended: by themselves (ended), with an error (failed), by a signal from outside (killed), or by the worker "
    "(time_limit, terminated, cold_stop, wedged).",
    ("cause",),
)
LAG = Metric("sedano_loop_lag_seconds", "gauge", "How long the supervisor's loop let an errand wait, lately.")
LEASE_AGE = Metric("sedano_lease_age_seconds", "gauge", "Since the broker last renewed the worker's leases.")
QUEUE = Metric(
    "sedano_queue_messages",
    "gauge",
    "Messages of a queue in the store, whoever holds them: ready, delayed, reserved, begun, parked, dead.",
    ("queue", "state"),
)
OLDEST = Metric(
    "sedano_queue_oldest_seconds", "gauge", "How long the first ready message waits, where the store knows it.", ("queue",)
)
PAUSED = Metric("sedano_queue_paused", "gauge", "1 when nothing is taken from the queue.", ("queue",))
WANTED = Metric(
    "sedano_workers_wanted",
    "gauge",
    "How many workers of this size could run at once what is ready, reserved or begun in the queues of this one.",
)
STORE_UP = Metric("sedano_store_up", "gauge", "1 when the store answered the last question about its queues.")
STORE_AGE = Metric("sedano_store_age_seconds", "gauge", "How old the numbers of the queues are.")

METRICS = (
    BUILD, STARTED, READY, SLOTS, SLOTS_MOST, RUNNING, CALLS, RUNTIME, LATENESS, STARTS, DEATHS, LAG, LEASE_AGE,
    QUEUE, OLDEST, PAUSED, WANTED, STORE_UP, STORE_AGE,
)  # fmt: skip
_STATES = {Phase.STARTING: "starting", Phase.IDLE: "idle", Phase.BUSY: "busy", Phase.STOPPING: "stopping"}
_FIELDS = ("ready", "delayed", "reserved", "begun", "parked", "dead")


class NodeMetrics:
    """Used by the thread of the port alone. `lanes` tells how many calls a process runs at once, 0 where each runs one."""

    def __init__(
        self, plan: NodePlan, table: SharedTable, supervisor: Supervisor, depths: DepthWatch, lanes: Callable[[], int]
    ) -> None:
        self._lanes = lanes
        self._plan, self._table, self._supervisor, self._depths = plan, table, supervisor, depths
        self._names: set[str] = set()  # tasks that have labels of their own, in the order in which they came

    def page(self) -> bytes:
        """All of it as Prometheus reads it."""
        self._depths.want()
        self._supervisor.vitals.measure(self._supervisor.post)
        return page([*self._node(), *self._calls(), *self._queues()])

    def _node(self) -> Iterable[Family]:
        plan, vitals = self._plan, self._supervisor.vitals
        labels = {"version": __version__, "python": platform.python_version(), "pool": plan.pool, "node": plan.node}
        yield _one(BUILD, 1, labels)
        yield _one(STARTED, vitals.began_at)
        yield _one(READY, 0 if self._supervisor.unready() else 1)
        phases = [row.phase for row in self._table]
        slots = Family(SLOTS)
        for phase, state in _STATES.items():
            slots.say(phases.count(phase), {"state": state})
        yield slots
        yield _one(SLOTS_MOST, self._most())
        yield _one(RUNNING, self._running())
        yield _one(STARTS, vitals.starts)
        deaths = Family(DEATHS)
        for cause, count in sorted(vitals.deaths.items()):
            deaths.say(count, {"cause": cause})
        yield deaths
        yield _one(LAG, vitals.lag_now_s)
        renewed_at = self._supervisor.servers.current.keeper.renewed_at
        if renewed_at:
            yield _one(LEASE_AGE, max(0.0, time.monotonic() - renewed_at))

    def _most(self) -> int:
        """How many calls run at once at most, as it is now: an operator may change it."""
        supervisor = self._supervisor
        if supervisor.autoscale is not None:
            return supervisor.autoscale.bounds[0]
        return self._lanes() or supervisor.size.wanted

    def _running(self) -> int:
        if self._table.boards:
            return sum(len(board.running()) for board in self._table.boards)
        return sum(row.running() is not None for row in self._table)

    # -- calls --------------------------------------------------------------------------------------------------------

    def _calls(self) -> Iterable[Family]:
        calls, runtimes, lates = Family(CALLS), Family(RUNTIME), Family(LATENESS)
        for task, tallies in sorted(self._by_task().items()):
            label = {"task": task}
            by_outcome = {outcome: _summed([tally.runtimes[outcome] for tally in tallies]) for outcome in OUTCOMES}
            for outcome, counts in by_outcome.items():
                if any(counts) or outcome in (Outcome.SUCCESS, Outcome.FAILURE, Outcome.RETRY):
                    calls.say(sum(counts), {**label, "outcome": str(outcome)})
            runtimes.spread(BOUNDS_S, _summed(list(by_outcome.values())), sum(tally.runtime_sum_s for tally in tallies), label)
            late = _summed([tally.late for tally in tallies])
            if any(late):
                lates.spread(BOUNDS_S, late, sum(tally.late_sum_s for tally in tallies), label)
        return calls, runtimes, lates

    def _by_task(self) -> dict[str, list[Tally]]:
        """No more than `MOST_TASKS` names, those that came first, and one for all others."""
        found: dict[str, list[Tally]] = {}
        for slot in self._table.tallies:
            for tally in slot.tallies():
                if tally.task not in self._names and len(self._names) < MOST_TASKS and tally.task != OTHERS:
                    self._names.add(tally.task)
                found.setdefault(tally.task if tally.task in self._names else OTHERS, []).append(tally)
        return found

    # -- queues -------------------------------------------------------------------------------------------------------

    def _queues(self) -> Iterable[Family]:
        latest, now = self._depths.latest, time.time()
        if latest.at is None:
            return [_one(STORE_UP, 0)] if latest.is_away else []
        messages, oldest, paused = Family(QUEUE), Family(OLDEST), Family(PAUSED)
        for depth in latest.depths[:MOST_QUEUES]:
            label = {"queue": depth.queue}
            for name in _FIELDS:
                messages.say(getattr(depth, name), {**label, "state": name})
            if depth.since is not None:
                oldest.say(max(0.0, now - depth.since), label)
            paused.say(1 if depth.paused else 0, label)
        return [
            messages,
            oldest,
            paused,
            _one(WANTED, workers_wanted(latest.depths, self._most())),
            _one(STORE_UP, 0 if latest.is_away else 1),
            _one(STORE_AGE, time.monotonic() - latest.at),
        ]


def workers_wanted(depths: Sequence[Depth], concurrency: int) -> int:
    """How many workers with `concurrency` slots could run at once what is there to run; what is paused is not."""
    calls = sum(depth.reserved + depth.begun + (0 if depth.paused else depth.ready) for depth in depths)
    return math.ceil(calls / concurrency)


def _one(metric: Metric, value: float, labels: dict[str, str] | None = None) -> Family:
    family = Family(metric)
    family.say(value, labels)
    return family


def _summed(rows: Sequence[Sequence[int]]) -> list[int]:
    return [sum(column) for column in zip(*rows, strict=True)]


Answer = tuple[int, str, bytes]


def answers(supervisor: Supervisor, page_of: Callable[[], tuple[str, bytes]]) -> dict[str, Callable[[], Answer]]:
    """What the port answers, by path."""

    def livez() -> Answer:
        reason = supervisor.lifeless()
        return _text(503 if reason else 200, reason or "ok")

    def readyz() -> Answer:
        reason = supervisor.unready()
        return _text(503 if reason else 200, f"not ready: {reason}" if reason else "ready")

    def metrics() -> Answer:
        return (200, *page_of())

    return {"/livez": livez, "/readyz": readyz, "/metrics": metrics}


def _text(status: int, text: str) -> Answer:
    return status, "text/plain; charset=utf-8", f"{text}\n".encode()
