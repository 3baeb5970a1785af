"""When a call runs, and when it does not any more: countdown, ETA in all forms, expiry, priority."""

from __future__ import annotations

import uuid

import pytest
from tests.interop.peers import Pair

pytestmark = [pytest.mark.celery, pytest.mark.redis]

AHEAD_S = 0.8
LATE_S = 8.0
"""How late a call may start on a busy machine: before the slow look of a worker that was not told would find it."""


def test_given_calls_for_later_when_sent_in_every_form_then_each_runs_when_it_is_due(pair: Pair) -> None:
    source = """
        due = time.time() + ahead
        there = timezone(timedelta(hours=8))
        at_utc = datetime.fromtimestamp(due, timezone.utc)
        sent = {
            "countdown": now.apply_async(countdown=due - time.time()),
            "utc": now.apply_async(eta=at_utc),
            "zone": now.apply_async(eta=at_utc.astimezone(there)),
            "naive, in the app's zone": now.apply_async(eta=at_utc.replace(tzinfo=None)),
            "text": now.apply_async(eta=at_utc.astimezone(there).isoformat()),
        }
        [due, {form: result.get(timeout=PATIENCE) for form, result in sent.items()}]
    """
    due, began = pair.ask(source, ahead=AHEAD_S)
    late = {form: at - due for form, at in began.items()}
    assert all(-0.01 < seconds < LATE_S for seconds in late.values()), late


def test_given_an_expiry_when_it_is_over_before_the_start_then_the_call_is_revoked(pair: Pair) -> None:
    source = """
        hour = timedelta(hours=1)
        utc = datetime.now(timezone.utc)
        over = [
            now.apply_async(expires=utc - hour),
            now.apply_async(expires=(utc - hour).astimezone(timezone(timedelta(hours=8)))),
            now.apply_async(countdown=0.6, expires=0.2),
        ]
        ahead = [now.apply_async(expires=60), now.apply_async(expires=utc + hour), now.apply_async(countdown=0.3, expires=60)]
        [[(outcome(one), one.state) for one in over], [outcome(one)[0] for one in ahead]]
    """
    over, ahead = pair.ask(source)
    assert over == [(("raised", "TaskRevokedError", ("expired",)), "REVOKED")] * 3
    assert ahead == ["value"] * 3


def test_given_waiting_calls_of_every_priority_when_a_worker_comes_then_lower_steps_run_first(pair: Pair) -> None:
    queue = f"steps-{uuid.uuid4().hex[:8]}"
    source = "[now.apply_async(priority=p, queue=queue).id for p in priorities]"
    ids = pair.ask(source, queue=queue, priorities=[9, 8, 6, 5, 3, 2, 0])
    node = pair.place.ready(pair.engine, f"steps@{queue}", "-Q", queue, concurrency=1)
    began = pair.ask("[AsyncResult(task_id).get(timeout=PATIENCE) for task_id in ids]", ids=ids)
    node.stop()
    in_order = [priority for _, priority in sorted(zip(began, [9, 8, 6, 5, 3, 2, 0], strict=True))]
    assert in_order == [2, 0, 5, 3, 8, 6, 9]


def test_given_a_time_limit_when_a_call_takes_longer_then_it_fails_with_the_limit(pair: Pair) -> None:
    source = """
        soft = hold.apply_async(("never",), soft_time_limit=0.3)
        hard = hold.apply_async(("never",), time_limit=0.6)
        [outcome(soft), outcome(hard)]
    """
    assert pair.ask(source) == [("raised", "SoftTimeLimitExceeded", ()), ("raised", "TimeLimitExceeded", (0.6,))]
