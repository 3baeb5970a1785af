"""All bad input at once, in every pool: each message and call ends as it does alone, and the node goes on in the processes that
it had. `test_bad_input.py` and `test_bad_values.py` do it one by one; in these pools when the long tests run."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from tests.faults.badcalls import ENDS_BADLY, ENDS_ITS_PROCESS
from tests.faults.badmessages import NO_CALL, NOT_JSON, ODD, UNKNOWN, bomb, bomb_in_protocol_1, envelope, headers
from tests.faults.served import OTHER_POOLS, PATIENCE_S, Served, serving_pool

from sedano.contracts import DeadLetter


def letters(served: Served, wanted: int) -> list[DeadLetter]:
    """All dead letters, when there are as many as that."""
    broker = served.broker
    deadline = time.monotonic() + PATIENCE_S
    try:
        while len(found := list(broker.dead_letters(limit=2 * wanted))) < wanted and time.monotonic() < deadline:
            time.sleep(0.05)  # another process writes them: it can only be asked again
    finally:
        broker.close()
    assert len(found) == wanted, served.node.log()
    return found


@pytest.mark.parametrize("pool", OTHER_POOLS)
def test_given_all_bad_input_at_once_when_a_pool_gets_it_then_each_ends_with_its_cause_and_the_node_goes_on(
    tmp_path: Path, pool: str
) -> None:
    trace = tmp_path / "executed"
    bad = [*NOT_JSON, *NO_CALL, *UNKNOWN, bomb(str(trace)), bomb_in_protocol_1(str(trace))]
    odd = {more.get("id") or f"odd-{name}": more for name, more in ODD.items()}
    with serving_pool("redis", pool, tmp_path) as served:
        for message in bad:
            served.put(message.raw)
        for task_id, more in odd.items():
            served.put(envelope(headers={**headers(task_id), **more}))
        ending = [(case, served.send(case.name, *case.args)) for case in ENDS_BADLY]
        served.goes_on()
        for task_id in odd:
            assert served.app.AsyncResult(task_id).get(timeout=PATIENCE_S) == 5
        for case, result in ending:
            exc = result.get(timeout=PATIENCE_S, propagate=False)
            assert type(exc).__name__ == case.error
            assert case.text in str(exc)
        notes = {letter.raw: letter.note for letter in letters(served, len(bad) + len(ending))}
        for message in bad:
            note = notes[message.raw]
            assert (note.cause, note.task_id) == (message.cause, message.task_id), message.name
            assert re.search(message.detail, note.detail), note.detail
        assert not trace.exists(), "a pickle was loaded that is not accepted"
        served.goes_on()
        for case in ENDS_ITS_PROCESS:
            exc = served.send(case.name).get(timeout=PATIENCE_S, propagate=False)
            assert type(exc).__name__ == "WorkerLostError"
            assert case.error in str(exc) or case.text in str(exc)
        assert served.get("add", 2, 3) == 5
