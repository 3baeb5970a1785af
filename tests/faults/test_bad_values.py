"""Calls that anybody can send and that end badly: each has its outcome and its dead letter, and the node goes on."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
from tests.faults.badcalls import ENDS_BADLY, ENDS_ITS_PROCESS, Ends
from tests.faults.badmessages import envelope, headers
from tests.faults.served import PATIENCE_S, Served

from sedano.exceptions import EncodeError
from sedano.protocol.call import build

MIB = 1 << 20
LARGE = 100 * MIB


# -- the task ends in a way that nobody can write down -----------------------------------------------------------------


@pytest.mark.parametrize(("name", "args", "error", "text"), ENDS_BADLY)
def test_given_a_call_that_ends_badly_then_it_is_a_failure_with_its_reason_and_the_node_goes_on(
    served: Served, name: str, args: tuple[Any, ...], error: str, text: str
) -> None:
    result = served.send(name, *args)
    exc = result.get(timeout=PATIENCE_S, propagate=False)
    assert (result.state, type(exc).__name__) == ("FAILURE", error)
    assert text in str(exc)
    letter = served.letter(task_id=result.id)
    assert letter.note.cause == "failure"
    assert error in letter.note.detail
    served.goes_on()


@pytest.mark.parametrize("case", ENDS_ITS_PROCESS, ids=lambda case: case.name)
def test_given_a_task_that_ends_its_process_then_it_is_lost_and_the_node_goes_on(served: Served, case: Ends) -> None:
    result = served.send(case.name)
    exc = result.get(timeout=PATIENCE_S, propagate=False)
    assert type(exc).__name__ == "WorkerLostError"
    assert case.text in str(exc) or f"the task raised {case.error}" in str(exc), exc
    assert served.letter(task_id=result.id).note.cause == "lost"
    assert served.get("add", 2, 3) == 5
    served.note_processes()


def test_given_a_result_that_is_no_number_then_it_arrives(served: Served) -> None:
    nan, inf = served.get("give_not_a_number")
    assert math.isnan(nan)
    assert inf == math.inf
    assert math.isnan(served.get("add", math.nan, 1))


def test_given_a_result_with_half_a_character_then_it_arrives(served: Served) -> None:
    assert served.get("give_surrogate") == "half a pair: \ud800"


# -- what follows the call cannot be sent ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("embed", "reason"),
    [
        ({"callbacks": [{"task": "strange.add", "args": 5}]}, "TypeError"),
        ({"callbacks": [{"task": "strange.add", "options": {"queue": 5}}]}, "queue must be a name"),
        ({"chain": [{"task": "strange.add", "options": {"countdown": "soon"}}]}, "countdown must be a number"),
    ],
)
def test_given_a_callback_that_cannot_be_sent_then_the_call_is_a_failure(
    served: Served, embed: dict[str, Any], reason: str
) -> None:
    task_id = f"embed-{reason}"
    served.put(envelope([[2, 3], {}, embed], headers(task_id)))
    served.app.AsyncResult(task_id).get(timeout=PATIENCE_S, propagate=False)
    assert served.app.AsyncResult(task_id).state == "FAILURE"
    assert re.search(reason, served.letter(task_id=task_id).note.detail)
    served.goes_on()


# -- at the sender -----------------------------------------------------------------------------------------------------


def test_given_arguments_that_cannot_be_written_then_the_sender_is_told_and_nothing_is_sent(served: Served) -> None:
    deep: list[Any] = []
    for _ in range(10_000):
        deep = [deep]
    itself: list[Any] = []
    itself.append(itself)
    for value in (object(), {1, 2}, deep, itself):
        with pytest.raises(EncodeError):
            served.send("add", value, 1)
    served.goes_on()


@pytest.mark.parametrize("priority", [10**30, -5, 10])
def test_given_a_priority_out_of_range_then_the_nearest_is_meant(served: Served, priority: int) -> None:
    assert served.get("add", 2, 3, priority=priority) == 5


# -- large -------------------------------------------------------------------------------------------------------------


def peak_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index]


def test_given_an_argument_of_100_mb_and_a_result_of_50_then_both_arrive_and_memory_is_bounded(served: Served) -> None:
    assert served.get("size", "x" * LARGE) == LARGE
    assert len(served.get("give", 50)) == 50 * MIB
    supervisor, *others = served.node.processes()
    assert peak_bytes(supervisor) < LARGE  # it never holds a message
    assert max(map(peak_bytes, others)) < 10 * LARGE
    served.goes_on()


def test_given_a_large_body_that_cannot_be_read_then_it_is_a_dead_letter(served: Served) -> None:
    raw = envelope(b'["' + b"x" * 20 * MIB, headers("large and half"))
    served.put(raw)
    letter = served.letter(task_id="large and half")
    assert letter.note.cause == "unreadable"
    served.goes_on()


def test_given_a_small_body_that_grows_a_thousandfold_then_the_call_is_run(served: Served) -> None:
    message = build("strange.size", "bomb", (" " * 100 * MIB,), routing_key="celery", compression="zlib")
    assert len(message.body) < MIB
    served.put(envelope(message.body, message.headers))
    assert served.app.AsyncResult("bomb").get(timeout=60) == 100 * MIB
    served.goes_on()
