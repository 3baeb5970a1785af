"""One run of a fault test: a store, nodes of which some are to die, calls, and the verdict."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sedano import Sedano, states
from sedano.exceptions import TimeoutError as ResultTimeout
from sedano.testing import ledger
from sedano.testing.faults import CrashAt
from sedano.testing.ledger import Ledger
from sedano.testing.node import Node

PROJECT = Path(__file__).parent / "project"
LEASE_S = 2.0
# Stuck means: no outcome within two lease times after the last fault (DESIGN's definition); what runs itself comes on top.
PATIENCE_S = 2 * LEASE_S + 60.0


@dataclass
class Outcome:
    """How one call ended: its state, and the name of the exception's class."""

    state: str
    error: str | None = None


@dataclass
class Arena:
    """The store of a run and everything about it. `acks` is "early" or "late"."""

    folder: Path
    broker: str
    results: str
    acks: str
    lease_s: float = LEASE_S
    deliveries: int = 5
    nodes: list[Node] = field(default_factory=list)
    calls: dict[str, str] = field(default_factory=dict)  # id -> kind

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.folder / "ledger")
        self.app = Sedano("arena", broker=self.broker, backend=self.results, set_as_current=False)
        self._stack = contextlib.ExitStack()

    @property
    def environment(self) -> dict[str, str]:
        return {
            "FAULT_BROKER": self.broker,
            "FAULT_RESULTS": self.results,
            "FAULT_ACKS": self.acks,
            "FAULT_LEDGER": str(self.ledger.path),
            "FAULT_LEASE": str(self.lease_s),
            "FAULT_DELIVERIES": str(self.deliveries),
            # RabbitMQ keeps messages and nothing else.
            "FAULT_AGREED": f"sqlite:///{self.folder}/agreed.db" if self.broker.startswith("amqp") else "",
        }

    def node(
        self,
        name: str,
        crash: CrashAt | None = None,
        *,
        concurrency: int = 1,
        options: Sequence[str] = (),
        command: Sequence[str] | None = None,
        **more: str,
    ) -> Node:
        """Start a worker node; its end is the arena's care. `command`: what is run instead of `sedano`."""
        environment = {**self.environment, **(crash.environment() if crash is not None else {}), **more}
        node = Node(
            "faulty",
            cwd=PROJECT,
            name=f"{name}@arena",
            concurrency=concurrency,
            loglevel="INFO",
            options=options,
            command=command,
            environment=environment,
        )
        self.nodes.append(node)
        return self._stack.enter_context(node)

    def send(self, kind: str, *arguments: Any, **options: Any) -> str:
        """Send one call of `faulty.<kind>`; counts as accepted when this returns."""
        task_id: str = self.app.send_task(f"faulty.{kind}", args=arguments, **options).id
        self.calls[task_id] = kind
        return task_id

    def outcome(self, task_id: str, timeout_s: float) -> Outcome:
        result = self.app.AsyncResult(task_id)
        try:
            value = result.get(timeout=max(0.01, timeout_s), propagate=False)
        except ResultTimeout:
            if (state := result.state) not in states.READY_STATES:
                return Outcome(state)
            value = result.get(propagate=False)  # it came just now
        return Outcome(result.state, type(value).__name__ if isinstance(value, BaseException) else None)

    def outcomes(self, patience_s: float = PATIENCE_S) -> dict[str, Outcome]:
        """How every call ended, waiting for `patience_s` in all."""
        deadline = time.monotonic() + patience_s
        return {task_id: self.outcome(task_id, deadline - time.monotonic()) for task_id in self.calls}

    def close(self) -> None:
        self._stack.close()
        self.app.close()

    def logs(self) -> str:
        return "\n\n".join(f"=== {node.name}\n{node.log()}" for node in self.nodes)


@dataclass
class Verdict:
    """What must be empty, and what is told besides."""

    stuck: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    recorded: list[str] = field(default_factory=list)
    interrupted: list[str] = field(default_factory=list)
    poisoned: list[str] = field(default_factory=list)


def judge(arena: Arena, outcomes: dict[str, Outcome]) -> Verdict:
    """The verdict over all calls of the run.

    lost: SUCCESS without an end in the ledger, or FAILURE by WorkerLostError of a late-ack call that is not poison.
    doubled: an attempt (call and retry number) of an early-ack call that started twice.
    """
    told = ledger.judge(
        arena.ledger,
        arena.calls,
        {task_id: (outcome.state, outcome.error) for task_id, outcome in outcomes.items()},
        lambda task_id: (f"{task_id}:0", f"{task_id}:1"),
    )
    is_early = arena.acks == "early"
    failed = [call for call in arena.calls if outcomes[call].state in states.READY_STATES - {states.SUCCESS}]
    poisoned = [task_id for task_id in failed if arena.calls[task_id] == "die"]
    recorded = [task_id for task_id in failed if is_early and task_id in told.recorded_lost and task_id not in poisoned]
    lost = [*told.lost, *(task_id for task_id in failed if task_id not in poisoned and task_id not in recorded)]
    return Verdict(told.stuck, lost, told.repeated if is_early else [], recorded, told.interrupted, poisoned)


def check(arena: Arena) -> Verdict:
    """Wait for all outcomes and demand: nothing stuck, nothing lost, no early-ack attempt started twice."""
    outcomes = arena.outcomes()
    verdict = judge(arena, outcomes)
    if verdict.stuck or verdict.lost or verdict.doubled:
        wrong = [*verdict.stuck, *verdict.lost, *verdict.doubled]
        told = {task_id: (arena.calls[task_id], outcomes[task_id]) for task_id in wrong}
        keep = os.environ.get("SEDANO_FAULT_LOGS")
        if keep:
            Path(keep).write_text(arena.logs())
        pytest.fail(
            f"stuck {verdict.stuck}\nlost {verdict.lost}\ndoubled {verdict.doubled}\n{told}\n{arena.logs()}", pytrace=False
        )
    return verdict


@contextlib.contextmanager
def arena(folder: Path, broker: str, results: str, acks: str, **options: Any) -> Iterator[Arena]:
    made = Arena(folder, broker, results, acks, **options)
    try:
        yield made
    finally:
        made.close()


def feed_until(arena: Arena, crashes: Sequence[CrashAt], *, at_most_s: float = 150.0) -> None:
    """Send calls of every kind until all `crashes` have happened, then a few more that the survivors must do."""
    deadline = time.monotonic() + at_most_s
    number = 0
    while not all(crash.reached() for crash in crashes):
        if time.monotonic() > deadline:
            missing = [crash.point for crash in crashes if not crash.reached()]
            pytest.fail(f"never reached: {missing}\n{arena.logs()}", pytrace=False)
        number += 1
        arena.send("work", 0.002 * (number % 4))
        if number % 5 == 0:
            arena.send("again")
        if number % 7 == 0:
            arena.send("work", countdown=0.1)
        if number % 40 == 20:
            arena.send("die")
        if number > 40:
            # Not to flood the store while the last victim gets there: wait for one call's outcome at a time.
            arena.outcome(arena.send("work"), 0.25)
    for _ in range(10):
        arena.send("work")
