"""What becomes of the deliveries of a slot that died: decided from its row, exactly.

    reserved ................................... release
    begun, not in the window, not started ...... un-begin: it did not run
    taken back ................................. un-begin (the take-back itself may not have reached the store)
    finished ................................... the settlement that stands in the row
    started .................................... by the cause of death:
        hard time limit ........................ FAILURE, TimeLimitExceeded
        terminated by an operator .............. REVOKED
        cold stop .............................. late ack: back to its queue; early ack: lost
        anything else .......................... `rules/loss.py`: redeliver, lost or poison

Without a row (a slot of a dead node) nobody knows what was started: `rules/loss.py` decides for all that was begun.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sedano.contracts import Delivery, Settlement, Standing, decode_settlement
from sedano.exceptions import TimeLimitExceeded, WorkerLostError
from sedano.rules.loss import LossVerdict
from sedano.worker.settle import Settler
from sedano.worker.table import CallStatus, Cause, RowView


@dataclass(slots=True)
class Verdicts:
    """What to do with taken-over deliveries. `lost` are those of the settlements that had no outcome of their own, with the
    verdict, for the log; `failed` are (task id, exception as text) of calls that were ended, for who listens."""

    settle: list[Settlement] = field(default_factory=list)
    unbegin: list[str] = field(default_factory=list)
    release: list[str] = field(default_factory=list)
    lost: list[tuple[Delivery, LossVerdict]] = field(default_factory=list)
    terminated: list[Delivery] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)


def judge_slot(view: RowView, deliveries: Sequence[Delivery], settler: Settler, *, detail: str, cold: bool) -> Verdicts:
    """Judge what the dead slot of `view` left. `detail` says how it died; `cold` that the node stops cold."""
    verdicts = Verdicts()
    places = {note.tag: k for k, note in enumerate(view.notes)}
    for delivery in deliveries:
        if delivery.standing is Standing.RESERVED:
            verdicts.release.append(delivery.tag)
            continue
        k = places.get(delivery.tag)
        status = view.statuses[k] if k is not None else CallStatus.BEGUN
        if k is None or status in (CallStatus.BEGUN, CallStatus.TAKEN):
            verdicts.unbegin.append(delivery.tag)
        elif status is CallStatus.FINISHED:
            verdicts.settle.append(decode_settlement(view.settlements[delivery.tag]))
        else:
            cause = view.causes.get(delivery.tag, view.condemned)
            cause = Cause.COLD_STOP if cold and cause is Cause.NONE else cause
            judge_started(verdicts, delivery, settler, cause, detail, view.notes[k].hard_s)
    return verdicts


def judge_stranger(deliveries: Sequence[Delivery], settler: Settler, *, detail: str) -> Verdicts:
    """Judge what an owner left of which nobody knows what it had started."""
    verdicts = Verdicts()
    for delivery in deliveries:
        if delivery.standing is Standing.RESERVED:
            verdicts.release.append(delivery.tag)
        else:
            _judge_loss(verdicts, delivery, settler, None, detail)
    return verdicts


def judge_started(
    verdicts: Verdicts, delivery: Delivery, settler: Settler, cause: Cause, detail: str, hard_s: float | None
) -> None:
    """Judge a call that was running and was ended because of `cause`."""
    if cause is Cause.HARD_LIMIT:
        verdicts.settle.append(settler.hard_limit(delivery, hard_s or 0.0))
        _note_failure(verdicts, delivery, settler, TimeLimitExceeded(hard_s))
    elif cause is Cause.TERMINATED:
        verdicts.settle.append(settler.terminated(delivery))
        verdicts.terminated.append(delivery)
    elif cause is Cause.COLD_STOP and delivery.standing is Standing.BEGUN_LATE:
        verdicts.settle.append(settler.redeliver(delivery))  # never poison: it is the operator who ended it
    else:
        _judge_loss(verdicts, delivery, settler, True, detail)


def _judge_loss(verdicts: Verdicts, delivery: Delivery, settler: Settler, started: bool | None, detail: str) -> None:
    verdict = settler.judge(delivery, begun=True, early=delivery.standing is Standing.BEGUN_EARLY, started=started)
    if verdict is LossVerdict.REDELIVER:
        verdicts.settle.append(settler.redeliver(delivery))
    elif verdict is LossVerdict.POISON:
        verdicts.settle.append(settler.poison(delivery, detail))
    elif verdict is LossVerdict.LOST:
        verdicts.settle.append(settler.lost(delivery, detail))
    else:
        raise AssertionError(f"a begun delivery that may have started cannot be judged {verdict}")
    if verdict is not LossVerdict.REDELIVER:
        _note_failure(verdicts, delivery, settler, WorkerLostError(detail))
    verdicts.lost.append((delivery, verdict))


def _note_failure(verdicts: Verdicts, delivery: Delivery, settler: Settler, exc: Exception) -> None:
    if tells(delivery, settler):
        verdicts.failed.append((verdicts.settle[-1].task_id, repr(exc)))


def tells(delivery: Delivery, settler: Settler) -> bool:
    """Whether who follows events is to hear of this call."""
    terms = None if delivery.message is None else settler.book.find(str(delivery.message.headers.get("task")))
    return terms is None or terms.tells
