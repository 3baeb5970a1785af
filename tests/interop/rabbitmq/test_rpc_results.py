"""Results that are sent back to the caller (rpc://), between the engines."""

from __future__ import annotations

import uuid

import pytest
from tests.interop.peers import Pair

pytestmark = [pytest.mark.celery, pytest.mark.rabbitmq, pytest.mark.redis]


def test_given_calls_when_they_end_then_the_caller_gets_each_value(rpc_pair: Pair) -> None:
    source = "sent = [mul.delay(n, n) for n in range(100)]\n[result.get(timeout=PATIENCE) for result in sent]"
    assert rpc_pair.ask(source) == [n * n for n in range(100)]


def test_given_a_task_that_fails_then_the_caller_hears_the_error(rpc_pair: Pair) -> None:
    source = """
        result = fail.delay("boom", 42)
        [outcome(result), result.state, result.traceback.startswith("Traceback"), outcome(tell.delay("where"))]
    """
    assert rpc_pair.ask(source) == [
        ("raised", "ValueError", ("boom", 42)), "FAILURE", True, ("raised", "TooSecret", ("where",)),
    ]  # fmt: skip


def test_given_retries_and_states_on_the_way_then_the_last_one_is_what_the_caller_gets(rpc_pair: Pair) -> None:
    if not rpc_pair.caller.is_sedano:
        pytest.skip("a Celery that has waited for a result before may miss the states that its own consumer has taken")
    source = """
        result = progress.delay(gate)
        until(lambda: result.state == "PROGRESS")
        info = result.info
        opened(gate)
        [info, result.get(timeout=PATIENCE), result.state, flaky.delay(2).get(timeout=PATIENCE)[0]]
    """
    assert rpc_pair.ask(source, gate=uuid.uuid4().hex) == [{"done": 3, "of": 10}, "done", "SUCCESS", 2]


def test_given_a_chain_and_a_group_then_their_results_reach_the_caller(rpc_pair: Pair) -> None:
    source = """
        from celery import chain, group
        [chain(add.s(1, 2), mul.s(3), add.s(10))().get(timeout=PATIENCE),
         group(add.s(n, n) for n in range(5))().get(timeout=PATIENCE)]
    """
    assert rpc_pair.ask(source) == [19, [0, 2, 4, 6, 8]]


def test_given_a_call_whose_result_nobody_wants_then_none_is_sent(rpc_pair: Pair) -> None:
    source = "[mark.apply_async((label,), ignore_result=True).get(timeout=PATIENCE), add.delay(1, 1).get(timeout=PATIENCE)]"
    label = uuid.uuid4().hex
    assert rpc_pair.ask(source, label=label) == [None, 2]
    rpc_pair.place.until(lambda: rpc_pair.place.ledger.ends()[label])
