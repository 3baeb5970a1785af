"""Whatever lies in a queue: it becomes a dead letter with a cause or the call's FAILURE, and the node goes on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.faults.badmessages import NO_CALL, NOT_JSON, ODD, UNKNOWN, Bad, bomb, bomb_in_protocol_1, envelope, headers
from tests.faults.served import PATIENCE_S, QUEUE, Served


def check(served: Served, bad: Bad) -> None:
    served.put(bad.raw)
    letter = served.letter(bad.raw)
    assert letter.note.cause == bad.cause
    assert re.search(bad.detail, letter.note.detail), letter.note.detail
    assert "\n" not in letter.note.detail
    assert letter.note.task_id == bad.task_id
    if bad.task_id:
        error = served.app.AsyncResult(bad.task_id).get(timeout=PATIENCE_S, propagate=False)
        assert type(error).__name__ == bad.error
    served.goes_on()


@pytest.mark.parametrize("bad", [*NOT_JSON, *NO_CALL, *UNKNOWN], ids=lambda bad: bad.name)
def test_given_a_message_that_nobody_can_run_then_it_is_a_dead_letter_with_its_cause_and_the_node_goes_on(
    served: Served, bad: Bad
) -> None:
    check(served, bad)


@pytest.mark.parametrize("make", [bomb, bomb_in_protocol_1])
def test_given_a_pickle_that_is_not_accepted_then_nothing_of_it_is_executed(served: Served, make, tmp_path: Path) -> None:
    trace = tmp_path / "executed"
    check(served, make(str(trace)))
    assert not trace.exists()


@pytest.mark.parametrize(("name", "more"), ODD.items(), ids=ODD)
def test_given_odd_headers_that_leave_the_call_readable_then_it_is_run(served: Served, name: str, more) -> None:
    task_id = more.get("id") or f"odd-{name}"
    served.put(envelope(headers={**headers(task_id), **more}))
    assert served.app.AsyncResult(task_id).get(timeout=PATIENCE_S) == 5
    served.goes_on()


def test_given_protocol_1_with_nothing_but_task_and_id_then_it_is_run(served: Served) -> None:
    served.put(envelope({"task": "strange.size", "id": "minimal", "args": ["four"]}, None))
    assert served.app.AsyncResult("minimal").get(timeout=PATIENCE_S) == 4


def test_given_dead_letters_then_the_command_lists_them_with_cause_and_detail(served: Served) -> None:
    for bad in (NOT_JSON[1], NO_CALL[-1], UNKNOWN[0]):
        served.put(bad.raw)
        served.letter(bad.raw)
    listed = served.listed()
    causes = {(letter["cause"], letter["task_id"]) for letter in listed}
    assert {("unreadable", ""), ("unreadable", NO_CALL[-1].task_id), ("unknown", UNKNOWN[0].task_id)} <= causes
    assert all(letter["detail"] and letter["queue"] == QUEUE for letter in listed)
