"""What became of the calls of one cell."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import asdict, dataclass

from tests.faults.arena import Outcome, judge
from tests.faults.matrix.shapes import Fault
from tests.faults.matrix.stage import Stage

from sedano import states

ALLOWANCE_S = 20.0
"""For a machine that has other things to do: nothing counts as stuck while calls still end, nor this long after that."""


@dataclass(frozen=True)
class Found:
    """The figures of one cell.

    `lost`: SUCCESS without a run; a late-ack call recorded as lost. `repeated`: early-ack attempts that started twice.
    `stuck`: no outcome. `late`: started more than two leases after it was due and the last fault was over. `recorded`:
    early-ack calls with the outcome `WorkerLostError`; `again`: attempts that started twice, late-ack ones, and
    those whose acknowledgement the server itself has forgotten; both are as promised.
    `interrupted`: started and not ended, the proof that the fault hit calls that ran. `forgiven`: gone with the store's data.
    `refused`: the client was told that the store did not take the call.
    """

    calls: int
    hits: int
    lost: int = 0
    repeated: int = 0
    stuck: int = 0
    late: int = 0
    recorded: int = 0
    again: int = 0
    interrupted: int = 0
    forgiven: int = 0
    refused: int = 0
    error: str = ""

    @property
    def is_wrong(self) -> bool:
        return bool(self.lost or self.repeated or self.stuck or self.error)

    def asdict(self) -> dict[str, int | str]:
        return asdict(self)


def verdict_of(stage: Stage, fault: Fault, outcomes: dict[str, Outcome]) -> tuple[Found, list[str]]:
    """The figures, and the ids of the calls that are wrong."""
    told = judge(stage.run, outcomes)
    starts: dict[str, list[float]] = defaultdict(list)
    for entry in stage.run.ledger.entries():
        if entry.event == "start":
            starts[entry.task_id].append(entry.at)
    if stage.place.rabbit is not None:
        stage.may_repeat.update(_sent_twice(starts))
    gone = {task_id for task_id in told.stuck if task_id in stage.forgiven} if fault.forgives else set()
    lost = [task_id for task_id in told.lost if task_id not in stage.forgiven]
    stuck = [task_id for task_id in told.stuck if task_id not in gone]
    doubled = [task_id for task_id in told.doubled if task_id not in stage.forgiven | stage.may_repeat]
    late = sum(
        starts[f"{task_id}:0"][-1] > max(due, stage.last_fault) + 2 * stage.run.lease_s
        for task_id, due in stage.load.due.items()
        if starts[f"{task_id}:0"]
    )
    may_start_again = None if stage.run.acks == "late" else stage.may_repeat
    again = sum(
        len(moments) > 1 and (may_start_again is None or attempt.partition(":")[0] in may_start_again)
        for attempt, moments in starts.items()
    )
    found = Found(
        calls=len(stage.run.calls), hits=stage.hits, lost=len(lost), repeated=len(doubled), stuck=len(stuck), late=late,
        recorded=len(told.recorded), again=again, interrupted=len(told.interrupted), forgiven=len(gone),
        refused=len(stage.load.errors),
    )  # fmt: skip
    wrong = [f"{kind} {task_id} {outcomes[task_id]}" for kind, ids in
             (("lost", lost), ("stuck", stuck), ("repeated", doubled)) for task_id in ids]  # fmt: skip
    return found, wrong


def _sent_twice(starts: dict[str, list[float]]) -> set[str]:
    """Calls of which only a retry ran twice. A node that never hears whether RabbitMQ has the message sends it again."""
    twice: dict[str, list[int]] = defaultdict(list)
    for attempt, moments in starts.items():
        task_id, _, retries = attempt.partition(":")
        if len(moments) > 1:
            twice[task_id].append(int(retries))
    return {task_id for task_id, attempts in twice.items() if min(attempts) > 0}


def all_outcomes(stage: Stage) -> dict[str, Outcome]:
    """How every call ended. Waits for two leases and the allowance after the last moment in which anything went on."""
    patience_s = 2 * stage.run.lease_s + ALLOWANCE_S
    outcomes: dict[str, Outcome] = {}
    ended, moved_at = stage.progress.ended, time.monotonic()
    for task_id in stage.run.calls:
        at_most_s = 0.02 if task_id in stage.forgiven else 2.0
        while True:
            outcomes[task_id] = outcome = stage.run.outcome(task_id, at_most_s)
            now = stage.progress.ended
            if outcome.state in states.READY_STATES or now != ended:
                ended, moved_at = now, time.monotonic()
            if outcome.state in states.READY_STATES or task_id in stage.forgiven:
                break
            if time.monotonic() > max(moved_at, stage.last_fault) + patience_s:
                break
    return outcomes
