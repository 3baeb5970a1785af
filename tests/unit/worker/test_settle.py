"""From an attempt, or from the want of one, to the settlement."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from sedano.app.attempt import Attempt
from sedano.app.base import Celery
from sedano.contracts import Delivery, Fate, Outcome, Settlement, encode_settlement
from sedano.exceptions import Reject, Retry
from sedano.protocol import envelope
from sedano.protocol.call import build, read, read_body
from sedano.protocol.results import decode_meta
from sedano.rules.loss import LossVerdict
from sedano.testing import FakeClock
from sedano.worker.context import SlotOptions
from sedano.worker.held import Held, request_of
from sedano.worker.settle import Settler

OPTIONS = SlotOptions(queues=("celery",), clock=FakeClock())
NODE = "w1@h"


def make_app(**settings: Any) -> Any:
    app: Any = Celery("settling", broker="memory://", backend="memory://", set_as_current=False)
    app.conf.update(settings)

    @app.task(name="early", shared=False)
    def early(x: int = 0) -> int:
        return x

    @app.task(name="late", shared=False, acks_late=True)
    def late(x: int = 0) -> int:
        return x

    @app.task(name="picky", shared=False, acks_late=True, acks_on_failure=False, acks_on_timeout=False)
    def picky() -> None: ...

    @app.task(name="again", shared=False, retry_on_worker_lost=True, max_retries=1, default_retry_delay=5)
    def again(x: int = 0) -> None: ...

    @app.task(name="errback", shared=False, bind=True)
    def errback(self: Any, task_id: str) -> None: ...

    return app


def delivery_of(task: str, *args: Any, deliveries: int = 0, **options: Any) -> Delivery:
    message = build(task, "id1", args, routing_key="celery", **options)
    if deliveries:
        message = envelope.redelivered(message, deliveries)
    return Delivery("tag1", "celery", envelope.encode(message), message, priority=3, deliveries=deliveries)


def held_of(settler: Settler, delivery: Delivery) -> Held:
    assert delivery.message is not None
    call = read(delivery.message)
    terms = settler.book.find(call.task)
    assert terms is not None
    return Held(delivery, call, terms, read_body(delivery.message))


def settle(app: Any, delivery: Delivery, attempt: Attempt, options: SlotOptions = OPTIONS) -> Settlement:
    settler = Settler(app, NODE, options)
    held = held_of(settler, delivery)
    request = request_of(held.call, delivery, NODE, held.body)
    return settler.settle(held, request, attempt)


def meta_of(settlement: Settlement) -> dict[str, Any]:
    assert settlement.result is not None
    return decode_meta(settlement.result.payload)


SUCCESS = Attempt(Outcome.SUCCESS, "SUCCESS", 5)
FAILURE = Attempt(Outcome.FAILURE, "FAILURE", exc=ValueError("boom"), traceback="tb")
IGNORED = Attempt(Outcome.IGNORED, "IGNORED")
REQUEUED = Attempt(Outcome.REJECTED, "REJECTED", exc=Reject("busy", requeue=True), requeue=True)
REJECTED = Attempt(Outcome.REJECTED, "REJECTED", exc=Reject("no"))


@pytest.mark.parametrize(
    ("task", "attempt", "fate", "status"),
    [
        ("early", SUCCESS, Fate.ACK, "SUCCESS"),
        ("late", SUCCESS, Fate.ACK, "SUCCESS"),
        ("early", FAILURE, Fate.DEAD, "FAILURE"),
        ("late", FAILURE, Fate.DEAD, "FAILURE"),
        ("picky", FAILURE, Fate.DEAD, "FAILURE"),
        ("early", IGNORED, Fate.ACK, None),
        ("late", IGNORED, Fate.ACK, None),
        ("early", REJECTED, Fate.DEAD, "FAILURE"),
        ("late", REJECTED, Fate.DEAD, "FAILURE"),
        ("early", REQUEUED, Fate.REQUEUE, None),
        ("late", REQUEUED, Fate.ACK, None),  # the same message goes out again, uncounted
    ],
)
def test_fates(task: str, attempt: Attempt, fate: Fate, status: str | None) -> None:
    settlement = settle(make_app(), delivery_of(task), attempt)

    assert (settlement.tag, settlement.task_id, settlement.outcome, settlement.fate) == ("tag1", "id1", attempt.outcome, fate)
    assert (settlement.dead is not None) == (fate is Fate.DEAD)
    assert (None if settlement.result is None else meta_of(settlement)["status"]) == status


def test_given_a_late_requeue_then_the_same_message_goes_out_again_uncounted() -> None:
    (out,) = settle(make_app(), delivery_of("late", 7, deliveries=2), REQUEUED).messages_out

    assert (out.routing_key, out.exchange, out.priority, out.due) == ("celery", "", 3, None)
    assert envelope.is_redelivered(out.message)
    assert envelope.deliveries_of(out.message) == 2
    assert read(out.message).id == "id1"


def test_given_a_retry_then_its_message_goes_out_with_a_due_time_and_the_cause_is_stored() -> None:
    app = make_app()
    cause = KeyError("k")
    sig = app.tasks["early"].signature((1,), countdown=60, task_id="id1", retries=1)
    attempt = Attempt(Outcome.RETRY, "RETRY", exc=Retry(exc=cause, when=60, sig=sig), traceback="tb", retry=sig)

    settlement = settle(app, delivery_of("early", 1), attempt)

    (out,) = settlement.messages_out
    assert out.due is not None
    assert read(out.message).retries == 1
    assert settlement.fate is Fate.ACK
    assert settlement.result is not None
    assert not settlement.result.ready
    assert repr(meta_of(settlement)["result"]) == "KeyError('k')"


def test_given_a_retry_into_a_queue_that_this_node_does_not_read_then_it_goes_out_as_a_producer_sends_it() -> None:
    """Nobody might ever look into the schedule of that queue: it may have Celery workers only."""
    app = make_app()
    sig = app.tasks["early"].signature((1,), countdown=60, task_id="id1", retries=1, queue="celerys")
    attempt = Attempt(Outcome.RETRY, "RETRY", exc=Retry(when=60, sig=sig), traceback="tb", retry=sig)

    (out,) = settle(app, delivery_of("early", 1), attempt).messages_out

    assert (out.routing_key, out.due) == ("celerys", None)
    assert read(out.message).eta is not None


def test_given_result_lifetimes_then_records_carry_them() -> None:
    app = make_app(result_expires=100, result_failure_expires=7)

    kept = [settle(app, delivery_of("early"), attempt).result for attempt in (SUCCESS, FAILURE)]

    assert [None if write is None else write.ttl_s for write in kept] == [100.0, 7.0]


@pytest.mark.parametrize("never", [None, 0])
def test_given_results_that_never_expire_then_they_have_no_end(never: int | None) -> None:
    write = settle(make_app(result_expires=never), delivery_of("early"), SUCCESS).result

    assert write is not None
    assert write.ttl_s is None


def test_given_no_retention_then_a_failure_is_not_kept() -> None:
    settlement = settle(make_app(), delivery_of("early"), FAILURE, replace(OPTIONS, dead_keep_s=0.0))

    assert (settlement.fate, settlement.dead) == (Fate.ACK, None)


def test_given_a_header_task_of_a_chord_then_its_part_is_counted_in_the_same_step() -> None:
    body = {"task": "late", "args": [], "kwargs": {}, "options": {"task_id": "body"}, "subtask_type": None, "immutable": False}

    settlement = settle(make_app(), delivery_of("early", group_id="g1", group_index=2, chord=body), SUCCESS)

    part = settlement.chord_part
    assert part is not None
    assert (part.group_id, part.task_id, part.group_index, part.ttl_s) == ("g1", "id1", 2, 86400.0)
    assert msgspec.json.decode(part.payload) == [1, "id1", "SUCCESS", 5]


def test_given_a_failing_step_of_a_chain_then_the_later_steps_fail_with_it() -> None:
    app = make_app()
    settler = Settler(app, NODE, OPTIONS)
    chain = [
        {"task": "late", "args": [], "kwargs": {}, "options": {"task_id": "step2"}, "subtask_type": None, "immutable": False}
    ]
    delivery = delivery_of("early", chain=chain)
    held = held_of(settler, delivery)

    others = settler.settle(held, request_of(held.call, delivery, NODE, held.body), FAILURE).more_results

    assert [(write.task_id, decode_meta(write.payload)["status"]) for write in others] == [("step2", "FAILURE")]


# -- without an attempt --------------------------------------------------------------------------------------------------

Build = Callable[[Settler, Delivery], Settlement]


@pytest.mark.parametrize(
    ("build_it", "outcome", "fate", "status", "exception"),
    [
        (lambda s, d: s.lost(d, "signal 9"), Outcome.LOST, Fate.DEAD, "FAILURE", "WorkerLostError('signal 9')"),
        (lambda s, d: s.hard_limit(d, 3.0), Outcome.FAILURE, Fate.DEAD, "FAILURE", "TimeLimitExceeded(3)"),
        (lambda s, d: s.terminated(d), Outcome.REVOKED, Fate.ACK, "REVOKED", "TaskRevokedError('terminated')"),
        (lambda s, d: s.revoked(d), Outcome.REVOKED, Fate.ACK, "REVOKED", "TaskRevokedError('revoked')"),
        (lambda s, d: s.expired(d), Outcome.EXPIRED, Fate.ACK, "REVOKED", "TaskRevokedError('expired')"),
    ],
)
def test_ends_without_an_attempt(build_it: Build, outcome: Outcome, fate: Fate, status: str, exception: str) -> None:
    settlement = build_it(Settler(make_app(), NODE, OPTIONS), delivery_of("early", 1))

    assert (settlement.outcome, settlement.fate) == (outcome, fate)
    meta = meta_of(settlement)
    assert (meta["status"], repr(meta["result"]), meta["traceback"]) == (status, exception, None)


def test_given_a_late_call_at_its_hard_limit_without_acks_on_timeout_then_it_goes_back_counted() -> None:
    settlement = Settler(make_app(), NODE, OPTIONS).hard_limit(delivery_of("picky"), 3.0)

    assert (settlement.fate, settlement.dead) == (Fate.REQUEUE, None)
    assert meta_of(settlement)["status"] == "FAILURE"


def test_given_retry_on_worker_lost_then_a_lost_call_is_retried_as_often_as_it_may() -> None:
    settler = Settler(make_app(), NODE, OPTIONS)

    first = settler.lost(delivery_of("again", 4), "signal 9")
    second = settler.lost(delivery_of("again", 4, retries=1), "signal 9")

    (out,) = first.messages_out
    assert (first.outcome, first.fate, read(out.message).retries) == (Outcome.RETRY, Fate.ACK, 1)
    assert meta_of(first)["status"] == "RETRY"
    assert (second.outcome, meta_of(second)["status"]) == (Outcome.LOST, "FAILURE")


def test_given_a_lost_call_with_an_errback_then_the_errback_is_sent() -> None:
    sig = {"task": "elsewhere", "args": [], "kwargs": {}, "options": {}, "subtask_type": None, "immutable": False}

    settlement = Settler(make_app(), NODE, OPTIONS).lost(delivery_of("early", 1, errbacks=[sig]), "signal 9")

    (out,) = settlement.messages_out
    assert read(out.message).task == "elsewhere"
    assert list(read_body(out.message).args) == ["id1"]


class _Deadly:
    def __reduce__(self) -> Any:
        return (_never, ())


def _never() -> None:
    raise AssertionError("a pickled body was opened in a process that must not die of it")


def test_given_a_pickled_body_when_its_call_is_lost_then_it_is_not_opened_again() -> None:
    delivery = delivery_of("early")
    assert delivery.message is not None
    delivery.message.body = pickle.dumps(([_Deadly()], {}, {}))
    delivery.message.content_type = "application/x-python-serialize"

    settlement = Settler(make_app(accept_content=["json", "pickle"]), NODE, OPTIONS).lost(delivery, "signal 11")

    assert settlement.outcome is Outcome.LOST


def test_given_a_name_that_nobody_knows_then_a_lost_call_still_ends() -> None:
    settlement = Settler(make_app(), NODE, OPTIONS).lost(delivery_of("gone"), "signal 9")

    assert (settlement.fate, meta_of(settlement)["status"]) == (Fate.DEAD, "FAILURE")


def test_verdicts_follow_the_tasks_own_word_about_lost_workers() -> None:
    app = make_app()

    @app.task(name="celerys", shared=False, acks_late=True, reject_on_worker_lost=False)
    def celerys() -> None: ...

    settler = Settler(app, NODE, OPTIONS)

    def verdict(task: str, *, early: bool, deliveries: int = 0) -> LossVerdict:
        return settler.judge(delivery_of(task, deliveries=deliveries), begun=True, early=early, started=True)

    assert verdict("early", early=True) is LossVerdict.LOST
    assert verdict("late", early=False) is LossVerdict.REDELIVER
    assert verdict("late", early=False, deliveries=4) is LossVerdict.POISON
    assert verdict("celerys", early=False) is LossVerdict.LOST


def test_given_a_settlement_that_cannot_be_stored_then_its_plain_form_has_neither_result_nor_messages() -> None:
    app = make_app()
    settlement = settle(app, delivery_of("early"), SUCCESS)

    plain = Settler(app, NODE, OPTIONS).unstorable(settlement, ValueError("too large"))

    assert (plain.tag, plain.fate, plain.messages_out) == ("tag1", Fate.DEAD, ())
    assert meta_of(plain)["status"] == "FAILURE"


def test_given_half_characters_in_what_cannot_be_run_then_its_letter_can_be_written_by_every_store() -> None:
    settler = Settler(make_app(), NODE, OPTIONS)
    delivery = delivery_of("early")
    assert delivery.message is not None
    delivery.message.headers.update(id="i\ud800", task="early\ud800")

    settlement = settler.unreadable(delivery, "wrong: \udfff")

    assert (settlement.task_id, settlement.result) == ("", None)
    assert settlement.dead is not None
    assert (settlement.dead.task, settlement.dead.detail) == ("early\\ud800", "wrong: \\udfff")
    encode_settlement(settlement)


def test_given_results_that_are_sent_to_callers_then_each_record_names_the_queue_of_its_caller() -> None:
    later = [{"task": "late", "options": {"task_id": "next"}}]
    app, delivery = make_app(), delivery_of("early", reply_to="caller", chain=later)
    told, kept = Settler(app, NODE, OPTIONS), Settler(app, NODE, OPTIONS)
    told.records.how = replace(told.records.how, replies=True)

    for settler, where in ((told, "caller"), (kept, "")):
        held = held_of(settler, delivery)
        request = request_of(held.call, delivery, NODE, held.body)
        failed = settler.settle(held, request, FAILURE)
        ends = [
            failed,
            settler.unreadable(delivery, "no message"),
            settler.expired(delivery),
            settler.unknown(delivery, held.call),
            settler.unstorable(failed, ValueError("full")),
            Settlement("t", Outcome.SUCCESS, result=settler.records.write(held.call, None, "SUCCESS", 5)),
        ]
        assert [[write.reply_to for write in end.writes] for end in ends] == [
            [where, where], [where], [where, where], [where, where], [where, where], [where]
        ]  # fmt: skip
