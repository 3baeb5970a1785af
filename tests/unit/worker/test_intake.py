"""What is decided about a delivery before it is begun."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from sedano import signals
from sedano.app.base import Celery
from sedano.contracts import Delay, Delivery, Fate, Outcome, Settlement
from sedano.protocol import envelope
from sedano.protocol.call import build
from sedano.testing import FakeClock
from sedano.worker.announced import Announced
from sedano.worker.context import SlotOptions
from sedano.worker.held import Held
from sedano.worker.intake import DECODED_AT_ONCE, Decision, Intake
from sedano.worker.settle import Settler

CLOCK = FakeClock()
NOW = CLOCK.wall()


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def intake_of(
    *, successful: Callable[[str], bool] = lambda task_id: False, announced: Announced | None = None, **settings: Any
) -> Intake:
    app: Any = Celery("intake", broker="memory://", backend="memory://", set_as_current=False)
    app.conf.update(settings)
    for name, late in (("early", False), ("late", True)):
        app.task(lambda *args: None, name=name, shared=False, acks_late=late)
    options = SlotOptions(queues=("celery",), clock=CLOCK)
    return Intake(Settler(app, "w1@h", options), "w1@h", options, successful, announced=announced)


def delivery_of(task: str = "early", *args: Any, redelivered: bool = False, deliveries: int = 0, **options: Any) -> Delivery:
    message = build(task, "id1", args, routing_key="celery", **options)
    return Delivery("tag1", "celery", envelope.encode(message), message, redelivered=redelivered, deliveries=deliveries)


def pickled() -> Delivery:
    delivery = delivery_of()
    assert delivery.message is not None
    delivery.message.body = pickle.dumps(((), {}, {}))
    delivery.message.content_type, delivery.message.content_encoding = "application/x-python-serialize", "binary"
    return delivery


def shape(decision: Decision) -> str:
    """`run`, `run undecoded`, `delay` or the outcome and fate of a settlement."""
    if isinstance(decision, Held):
        return "run" if decision.body is not None else "run undecoded"
    if isinstance(decision, Delay):
        return "delay"
    return f"{decision.outcome} {decision.fate}"


@pytest.mark.parametrize(
    ("delivery", "expected"),
    [
        (delivery_of(), "run"),
        (delivery_of("late"), "run"),
        (delivery_of(eta=iso(NOW + 1)), "delay"),
        (delivery_of(eta=iso(NOW)), "run"),
        (delivery_of(expires=iso(NOW - 1)), "expired ack"),
        (delivery_of(expires=iso(NOW + 1)), "run"),
        (delivery_of(eta=iso(NOW + 60), expires=iso(NOW - 1)), "expired ack"),
        (delivery_of("gone"), "unknown ack"),
        (delivery_of("late", deliveries=4), "run"),
        (delivery_of("late", deliveries=5), "poison dead"),
        (Delivery("tag1", "celery", b"x", None, unreadable="no JSON"), "unreadable dead"),
        (pickled(), "unreadable dead"),
        (delivery_of("early", "x" * DECODED_AT_ONCE), "run undecoded"),
        (delivery_of(compression="zlib"), "run undecoded"),
        (delivery_of("late", redelivered=True), "run"),
    ],
)
def test_decisions(delivery: Delivery, expected: str) -> None:
    assert shape(intake_of().decide(delivery, NOW)) == expected


def test_given_pickle_is_accepted_then_the_body_is_not_opened_before_the_call_is_begun() -> None:
    assert shape(intake_of(accept_content=["json", "pickle"]).decide(pickled(), NOW)) == "run undecoded"


def test_given_a_delay_then_it_names_the_eta() -> None:
    assert intake_of().decide(delivery_of(eta=iso(NOW + 60)), NOW) == Delay("tag1", NOW + 60)


@pytest.mark.parametrize(
    ("redelivered", "successful", "expected"),
    [(True, True, "ignored ack"), (True, False, "run"), (False, True, "run")],
)
def test_given_deduplication_then_only_a_redelivery_of_a_success_is_skipped(
    redelivered: bool, successful: bool, expected: str
) -> None:
    intake = intake_of(worker_deduplicate_successful_tasks=True, successful=lambda task_id: successful)

    assert shape(intake.decide(delivery_of("late", redelivered=redelivered), NOW)) == expected


def test_given_a_call_in_hand_when_it_is_looked_at_again_then_expiry_and_revokes_count() -> None:
    intake = intake_of()
    expiring, plain = (intake.decide(delivery, NOW) for delivery in (delivery_of(expires=iso(NOW + 1)), delivery_of()))
    assert isinstance(expiring, Held)
    assert isinstance(plain, Held)

    assert intake.again(expiring, NOW) is None
    late = intake.again(expiring, NOW + 2)
    assert intake.again(plain, NOW + 2) is None
    intake.revoked = frozenset({"id1"})
    revoked = intake.again(plain, NOW + 2)

    assert isinstance(late, Settlement)
    assert isinstance(revoked, Settlement)
    assert (late.outcome, revoked.outcome, revoked.fate) == (Outcome.EXPIRED, Outcome.REVOKED, Fate.ACK)


@pytest.mark.parametrize("options", [{}, {"eta": iso(NOW - 1)}, {"eta": iso(NOW - 1), "retries": 1}])
def test_a_call_that_was_not_delayed_here_is_received_when_it_begins(
    options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    intake = intake_of()
    held = intake.decide(delivery_of(**options), NOW)
    assert isinstance(held, Held)

    intake.begun(held)

    assert [record.getMessage() for record in caplog.records].count("Task early[id1] received") == 1


def test_a_call_that_a_slot_of_this_node_delayed_is_not_received_again_by_another(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    announced = Announced()
    first, second = intake_of(announced=announced), intake_of(announced=announced)
    assert isinstance(first.decide(delivery_of(eta=iso(NOW + 60)), NOW), Delay)
    assert isinstance(second.decide(delivery_of(eta=iso(NOW + 60)), NOW + 1), Delay)  # clocks differ
    held = second.decide(delivery_of(eta=iso(NOW + 60)), NOW + 1000)
    assert isinstance(held, Held)

    second.begun(held)

    lines = [record.getMessage() for record in caplog.records]
    assert [line.startswith("Task early[id1] received") for line in lines] == [True]


def test_limits_of_the_call_win_over_those_of_the_task_and_of_the_settings() -> None:
    intake = intake_of(task_time_limit=100, task_soft_time_limit=90)
    own, general = (intake.decide(delivery, NOW) for delivery in (delivery_of(time_limit=10, soft_time_limit=5), delivery_of()))
    assert isinstance(own, Held)
    assert isinstance(general, Held)

    assert (own.note().hard_s, own.note().soft_s) == (10, 5)
    assert (general.note().hard_s, general.note().soft_s) == (100, 90)
    assert replace(own, body=None).note().early


def test_given_a_task_that_nobody_knows_here_when_it_comes_then_it_is_parked_with_its_time_and_the_line_is_written_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR)
    intake = intake_of()
    first = intake.decide(delivery_of("gone"), NOW)
    assert isinstance(first, Settlement)
    (out,) = first.messages_out
    assert (first.fate, first.result, out.routing_key, out.parked, out.due) == (Fate.ACK, None, "celery", "gone", NOW + 600)
    assert envelope.parked_until(out.message) == NOW + 600

    again = intake.decide(Delivery("tag2", "celery", b"", out.message), NOW + 300)
    assert isinstance(again, Settlement)
    assert again.messages_out[0].due == NOW + 900
    assert len(caplog.records) == 1

    over = intake.decide(Delivery("tag3", "celery", b"", out.message), NOW + 600)
    assert isinstance(over, Settlement)
    assert (over.fate, over.outcome, over.messages_out) == (Fate.DEAD, Outcome.UNKNOWN, ())
    assert "no worker came that knows it" in caplog.records[-1].getMessage()


def test_given_a_call_that_was_parked_when_it_is_read_then_its_retries_do_not_carry_the_time_on() -> None:
    delivery = delivery_of()
    assert delivery.message is not None
    parked = envelope.parked(delivery.message, NOW + 600)
    held = intake_of().decide(Delivery("tag1", "celery", b"", parked), NOW)
    assert isinstance(held, Held)
    assert envelope.PARKED_HEADER not in held.call.headers
    assert envelope.parked_until(envelope.redelivered(parked, 1)) is None


@pytest.mark.parametrize("now", [NOW + 300, NOW + 900], ids=["early", "late"])
def test_given_a_parked_call_when_it_was_revoked_or_expired_meanwhile_then_it_is_discarded(now: float) -> None:
    intake = intake_of()
    intake.revoked = {"id1"}
    (revoked, expired) = (delivery_of("gone").message, delivery_of("gone", expires=iso(NOW + 10)).message)
    assert revoked is not None
    assert expired is not None
    parked = [Delivery("tag1", "celery", b"", envelope.parked(message, NOW + 600)) for message in (revoked, expired)]
    assert [shape(intake.decide(delivery, now)) for delivery in parked] == ["revoked ack", "expired ack"]


def received(delivery: Delivery) -> Any:
    """The request that receivers of `task_received` get of it."""
    heard: list[Any] = []
    intake = intake_of()

    def receiver(sender: Any, request: Any, **_: Any) -> None:
        heard.append((sender, request))

    signals.task_received.connect(receiver)
    held = intake.decide(delivery, NOW)
    assert isinstance(held, Held)
    intake.begun(held)
    ((sender, request),) = heard
    assert type(sender).__name__ == "Consumer"
    assert sender.hostname == "w1@h"
    assert sender.app is request.app
    return request


def test_receivers_of_task_received_get_what_celery_calls_a_request() -> None:
    request = received(delivery_of("early", 1, "x", kwargs={"k": 2}, expires=iso(NOW + 60), shadow="nick"))

    assert (request.id, request.task_id, request.name, request.type) == ("id1", "id1", "nick", "early")
    assert (request.args, request.kwargs) == ([1, "x"], {"k": 2})
    assert request.expires == datetime.fromtimestamp(NOW + 60, UTC)
    assert request.eta is None
    assert request.hostname == "w1@h"
    assert request.delivery_info["routing_key"] == "celery"
    assert request.info(safe=True)["args"] == "(1, 'x')"
    assert str(request).startswith("nick[id1] expires:[")
    assert request.request_dict["task"] == "early"
    assert request.retries == 0


def test_a_body_that_was_not_decoded_yet_is_when_a_receiver_asks() -> None:
    big = "x" * (DECODED_AT_ONCE + 1)

    assert received(delivery_of("early", big)).args == [big]


def test_a_revoked_call_is_not_received() -> None:
    heard: list[Any] = []
    intake = intake_of()
    intake.revoked = {"id1"}

    def receiver(**named: Any) -> None:
        heard.append(named)

    signals.task_received.connect(receiver)

    intake.decide(delivery_of(), NOW)

    assert heard == []
