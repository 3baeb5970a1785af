"""States on the way, and calling a call back."""

from __future__ import annotations

import uuid

import pytest
from tests.interop.peers import Pair

pytestmark = [pytest.mark.celery, pytest.mark.redis]


def test_given_a_call_that_nobody_sent_when_asked_then_it_is_pending(pair: Pair) -> None:
    assert pair.ask("result = AsyncResult('nobody')\n[result.state, result.ready(), result.result]") == ["PENDING", False, None]


def test_given_a_tracked_task_when_it_runs_then_its_state_is_started_and_tells_who(pair: Pair) -> None:
    source = """
        result = tracked.delay(gate)
        until(lambda: result.state == "STARTED")
        info = result.info
        opened(gate)
        [info, result.get(timeout=PATIENCE)]
    """
    info, pid = pair.ask(source, gate=uuid.uuid4().hex)
    assert info == {"pid": pid, "hostname": pair.name}


def test_given_a_task_that_reports_when_it_runs_then_its_own_state_can_be_read(pair: Pair) -> None:
    source = """
        result = progress.delay(gate)
        until(lambda: result.state == "PROGRESS")
        info = result.info
        opened(gate)
        [info, result.get(timeout=PATIENCE), result.state]
    """
    assert pair.ask(source, gate=uuid.uuid4().hex) == [{"done": 3, "of": 10}, "done", "SUCCESS"]


def test_given_a_call_for_later_when_revoked_then_it_never_runs_and_the_caller_hears_it(pair: Pair) -> None:
    label = f"revoked-{uuid.uuid4().hex}"
    source = """
        result = mark.apply_async((label,), countdown=0.8)
        result.revoke()
        [outcome(result), result.state]
    """
    assert pair.ask(source, label=label) == [("raised", "TaskRevokedError", ("revoked",)), "REVOKED"]
    # Whoever holds it would have run it by the time that a later call is done.
    assert pair.ask("add.apply_async((1, 1), countdown=1).get(timeout=PATIENCE)") == 2
    assert label not in pair.place.ledger.starts()


def test_given_a_running_call_when_revoked_with_terminate_then_it_ends_and_the_worker_goes_on(pair: Pair) -> None:
    task_id = pair.ask("result = hold.delay('never')\nresult.id")
    pair.place.until_started([task_id])
    source = "result = AsyncResult(task_id)\nresult.revoke(terminate=True)\n[outcome(result), result.state]"
    assert pair.ask(source, task_id=task_id) == [("raised", "TaskRevokedError", ("terminated",)), "REVOKED"]
    assert pair.ask("[add.delay(n, 1).get(timeout=PATIENCE) for n in range(4)]") == [1, 2, 3, 4]
