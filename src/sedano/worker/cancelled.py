"""Workflows that an operator has cancelled: which calls are part of one, and how a call ends that ran on meanwhile.

An order to cancel is a revoke of the name `order_of(id)`, where the id is that of the workflow, or the root that all its calls
name. So it reaches every slot as any revoke does: with the next turn, before anything that the turn brought is run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from sedano import states
from sedano.app.attempt import Attempt
from sedano.app.context import Context, children_of
from sedano.canvas.plan import doomed
from sedano.contracts import Outcome, ResultWrite, Settlement
from sedano.contracts.workflows import cancelled_ids
from sedano.exceptions import TaskRevokedError
from sedano.protocol.call import WORKFLOW_HEADER, Call

if TYPE_CHECKING:
    from sedano.worker.held import Held
    from sedano.worker.settle import Settler

REASON = "cancelled"

__all__ = ["REASON", "cancelled_ids", "cut", "heard", "is_part", "told_too_late"]


def is_part(call: Call, cancelled: Collection[str]) -> bool:
    return call.root_id in cancelled or call.headers.get(WORKFLOW_HEADER) in cancelled


def cut(settler: Settler, held: Held, request: Context, attempt: Attempt) -> Settlement:
    """The end of a call that ran while its workflow was cancelled: its own outcome counts, and nothing comes after it. A retry
    or a replacement does not come either, so it is REVOKED then."""
    call, outcome = held.call, attempt.outcome
    goes_on = outcome is Outcome.RETRY or request.replacement is not None or (outcome is Outcome.REJECTED and attempt.requeue)
    if goes_on or request.pending_retries:
        return settler.cancelled_call(held.delivery)
    children = [child.as_tuple() for child in children_of(request) or ()]
    write, part = settler.records.of_attempt(call, held.terms, request, attempt, children)
    steps, parts = settler.records.of_doomed(
        doomed(request.chain), TaskRevokedError(REASON), state=states.REVOKED, request=request
    )
    fate, dead = settler.fate(held, attempt)
    return Settlement(
        held.delivery.tag, outcome, fate, call.id, call.retries, write, (), part, dead, steps, parts,
    )  # fmt: skip


def told_too_late(settler: Settler, applied: Iterable[Settlement]) -> list[ResultWrite]:
    """REVOKED for what was decided before the order was known here: later steps that failed with a call, and a retry, which is
    in the schedule and will be refused when it is due."""
    writes: list[ResultWrite] = []
    for settlement in applied:
        call = settler.unheard.get(settlement.tag)
        if call is None or not is_part(call, settler.cancelled):
            continue
        calls = [Call("", write.task_id) for write in settlement.more_results]
        if settlement.outcome is Outcome.RETRY:
            calls.append(call)
        writes += [settler.records.write(one, None, states.REVOKED, TaskRevokedError(REASON)) for one in calls]
    return writes


def heard(settler: Settler, applied: Iterable[Settlement]) -> None:
    """These settlements are in the store, and orders that came before them are known."""
    for settlement in applied:
        settler.unheard.pop(settlement.tag, None)
