"""What a task raises is raised in the caller; retries go on across engines."""

from __future__ import annotations

import pytest
from tests.interop.peers import Pair

pytestmark = [pytest.mark.celery, pytest.mark.redis]


def test_given_an_error_of_pythons_own_when_raised_then_the_caller_gets_it_with_its_arguments(pair: Pair) -> None:
    source = """
        result = fail.delay("boom", 42, None)
        try:
            result.get(timeout=PATIENCE)
            caught = None
        except ValueError as exc:
            caught = exc.args
        [caught, result.state, result.failed(), type(result.result).__name__, result.info.args, result.traceback,
         outcome(fail_by_lookup.delay("missing"))]
    """
    caught, state, failed, kind, args, trace, lookup = pair.ask(source)
    assert caught == args == ("boom", 42, None)
    assert (state, failed, kind) == ("FAILURE", True, "ValueError")
    assert trace.startswith("Traceback (most recent call last):")
    assert "raise ValueError(message, *more)" in trace
    assert trace.rstrip().endswith("ValueError: ('boom', 42, None)")
    assert lookup == ("raised", "KeyError", ("missing",))


def test_given_an_error_of_a_module_that_both_import_when_raised_then_the_caller_gets_this_class(pair: Pair) -> None:
    source = """
        import errors
        try:
            sell.delay("celery", 3).get(timeout=PATIENCE)
            caught = None
        except errors.OutOfStock as exc:
            caught = [exc.item, exc.wanted, exc.args]
        caught
    """
    assert pair.ask(source) == ["celery", 3, ("celery", 3)]


def test_given_an_error_that_the_caller_does_not_know_when_raised_then_it_gets_one_of_that_name(pair: Pair) -> None:
    assert pair.ask("outcome(tell.delay('where'))") == ("raised", "TooSecret", ("where",))
    assert pair.ask("import sys\n'secret' in sys.modules") is False


def test_given_propagate_off_when_a_task_fails_then_get_returns_the_error(pair: Pair) -> None:
    source = "value = fail.delay('boom').get(timeout=PATIENCE, propagate=False)\n[type(value).__name__, value.args]"
    assert pair.ask(source) == ["ValueError", ("boom",)]


def test_given_a_pickled_call_when_its_task_fails_then_the_caller_gets_the_error(pair: Pair) -> None:
    assert pair.ask("outcome(fail.apply_async(('boom',), serializer='pickle'))") == ("raised", "ValueError", ("boom",))


def test_given_a_task_that_retries_when_it_succeeds_at_last_then_the_same_result_tells(pair: Pair) -> None:
    source = "result = flaky.delay(2)\n[result.get(timeout=PATIENCE), result.id]"
    (retries, ran_as), task_id = pair.ask(source)
    assert retries == 2
    assert ran_as == task_id


def test_given_a_task_that_retries_too_often_when_it_gives_up_then_its_error_is_raised(pair: Pair) -> None:
    assert pair.ask("outcome(flaky.delay(99))") == ("raised", "ConnectionError", ("not yet", 3))
    assert pair.ask("outcome(auto.delay(2))") == ("value", 2)
    assert pair.ask("outcome(auto.delay(99))") == ("raised", "ConnectionError", ("not yet",))


def test_given_a_retry_that_waits_when_asked_then_its_state_and_reason_can_be_read(pair: Pair) -> None:
    source = """
        result = flaky.delay(1, countdown=1)
        until(lambda: result.state == "RETRY")
        [type(result.info).__name__, result.info.args, "ConnectionError" in result.traceback, result.get(timeout=PATIENCE)[0]]
    """
    assert pair.ask(source) == ["ConnectionError", ("not yet", 0), True, 1]


def test_given_a_task_that_nobody_has_when_called_then_the_caller_hears_not_registered(pair: Pair) -> None:
    source = "result = app.send_task('calc.nowhere', (1,))\n[outcome(result), result.state]"
    assert pair.ask(source) == [("raised", "NotRegistered", ("calc.nowhere",)), "FAILURE"]
