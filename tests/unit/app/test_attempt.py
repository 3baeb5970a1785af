"""One attempt: outcomes, hooks, signals, async functions, retries."""

from __future__ import annotations

import asyncio
import contextvars
import signal
from typing import Any

import pytest
from tests.apps import MakeApp

from sedano import Celery, Context, Task, signals, states
from sedano.app.attempt import Attempt, CallEnded, fail_attempt, run_attempt
from sedano.contracts import Outcome
from sedano.exceptions import (
    EncodeError,
    Ignore,
    MaxRetriesExceededError,
    Reject,
    Retry,
    SoftTimeLimitExceeded,
    TimeLimitExceeded,
    WorkerShutdown,
)


def request(**values: Any) -> Context:
    return Context(
        {"id": "id-1", "args": (), "kwargs": {}, "called_directly": False, "delivery_info": {}, "root_id": "id-1", **values}
    )


def run(task: Any, *args: Any, **kwargs: Any) -> Attempt:
    return run_attempt(task, request(args=args, kwargs=kwargs), args, kwargs)


class Recording(Task):
    """Notes which hooks were called, with what."""

    calls: list[tuple[Any, ...]]

    def __init__(self) -> None:
        self.calls = []

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        self.calls.append(("before_start", task_id, args, kwargs))

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        self.calls.append(("on_success", retval, task_id, args, kwargs))

    def on_failure(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        self.calls.append(("on_failure", repr(exc), task_id, args, kwargs, "Traceback" in str(einfo)))

    def on_retry(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        self.calls.append(("on_retry", repr(exc), task_id, args, kwargs, "Retry" in einfo.traceback))

    def after_return(self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        self.calls.append(("after_return", status, repr(retval), task_id, einfo))


def test_given_a_function_that_returns_then_success_with_its_value_and_hooks_in_order(app: Celery) -> None:
    @app.task(base=Recording)
    def add(x: int, y: int) -> int:
        return x + y

    attempt = run(add, 2, y=3)
    assert (attempt.outcome, attempt.state, attempt.value) == (Outcome.SUCCESS, states.SUCCESS, 5)
    assert attempt.runtime_s >= 0
    assert add.calls == [  # type: ignore[attr-defined]
        ("before_start", "id-1", (2,), {"y": 3}),
        ("on_success", 5, "id-1", (2,), {"y": 3}),
        ("after_return", "SUCCESS", "5", "id-1", None),
    ]


def test_given_a_function_that_raises_then_failure_with_a_traceback_of_the_users_frames(app: Celery) -> None:
    @app.task(base=Recording)
    def fail(x: int) -> None:
        raise ValueError("boom", x)

    attempt = run(fail, 1)
    assert attempt.outcome is Outcome.FAILURE
    assert attempt.state == "FAILURE"
    assert isinstance(attempt.exc, ValueError)
    assert attempt.traceback is not None
    assert attempt.traceback.startswith("Traceback (most recent call last):\n")
    assert 'attempt.py", line' not in attempt.traceback.replace("test_attempt.py", "")
    assert 'raise ValueError("boom", x)' in attempt.traceback
    assert attempt.traceback.rstrip().endswith("ValueError: ('boom', 1)")
    assert attempt.einfo is not None
    assert attempt.einfo.type is ValueError
    assert [call[0] for call in fail.calls] == ["before_start", "on_failure", "after_return"]  # type: ignore[attr-defined]


def test_given_ignore_or_reject_then_no_hooks_and_nothing_to_store(app: Celery) -> None:
    @app.task(base=Recording)
    def leave(how: str) -> None:
        raise Ignore if how == "ignore" else Reject("no", requeue=how == "requeue")

    assert run(leave, "ignore").outcome is Outcome.IGNORED
    rejected, requeued = run(leave, "reject"), run(leave, "requeue")
    assert (rejected.outcome, rejected.state, rejected.requeue) == (Outcome.REJECTED, "REJECTED", False)
    assert requeued.requeue is True
    assert {call[0] for call in leave.calls} == {"before_start"}  # type: ignore[attr-defined]


def test_given_before_start_fails_then_the_call_fails(app: Celery) -> None:
    class Refusing(Task):
        def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
            raise ValueError("not today")

    ran: list[int] = []

    @app.task(base=Refusing)
    def work() -> None:
        ran.append(1)

    assert isinstance(run(work).exc, ValueError)
    assert ran == []


def test_given_a_hook_that_raises_then_the_outcome_stands_and_the_error_is_logged(
    app: Celery, caplog: pytest.LogCaptureFixture
) -> None:
    class Clumsy(Task):
        def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
            raise RuntimeError("oops")

    @app.task(base=Clumsy)
    def work() -> int:
        return 1

    assert run(work).value == 1
    assert "on_success handler raised: RuntimeError('oops')" in caplog.text


def test_given_what_must_stop_the_process_then_it_comes_through_and_the_stack_is_clean(app: Celery) -> None:
    @app.task
    def stop(how: str) -> None:
        raise KeyboardInterrupt if how == "int" else WorkerShutdown(0)

    for how, kind in (("int", KeyboardInterrupt), ("shutdown", SystemExit)):
        with pytest.raises(kind):
            run(stop, how)
        assert stop.request.id is None
        assert app.current_task is None


def test_given_a_cancelled_error_or_another_that_is_no_plain_exception_then_the_call_fails_and_the_process_lives(
    app: Celery,
) -> None:
    class Late(BaseException): ...

    async def cancelled() -> None:
        raise asyncio.CancelledError

    @app.task
    def runs_a_loop() -> None:
        asyncio.run(cancelled())

    @app.task
    def late() -> None:
        raise Late("too late")

    for task, kind in ((runs_a_loop, asyncio.CancelledError), (late, Late)):
        attempt = run(task)
        assert (attempt.outcome, attempt.state, type(attempt.exc)) == (Outcome.FAILURE, states.FAILURE, kind)
        assert attempt.traceback is not None
        with pytest.raises(kind):
            task.apply()


def test_given_a_call_that_is_ended_from_outside_then_whoever_ends_it_says_what_becomes_of_it(app: Celery) -> None:
    @app.task
    def ended() -> None:
        raise CallEnded

    with pytest.raises(CallEnded):
        run(ended)


def test_given_receivers_then_signals_carry_celerys_arguments(app: Celery) -> None:
    seen: list[tuple[str, dict[str, Any]]] = []

    def note(name: str) -> Any:
        def receive(signal: Any, sender: Any, **named: Any) -> None:
            seen.append((name, {"sender": sender, **named}))

        getattr(signals, name).connect(receive, weak=False, dispatch_uid=name)
        return receive

    names = ("task_prerun", "task_postrun", "task_success", "task_failure", "task_retry")
    for name in names:
        note(name)
    try:

        @app.task(bind=True)
        def work(self: Task, how: str) -> str:
            if how == "fail":
                raise ValueError(how)
            if how == "retry":
                raise self.retry(countdown=1, exc=ValueError("why"))
            return how

        run(work, "ok")
        run(work, "fail")
        run(work, "retry")
    finally:
        for name in names:
            getattr(signals, name).disconnect(dispatch_uid=name)
    assert [name for name, _ in seen] == [
        "task_prerun", "task_success", "task_postrun",
        "task_prerun", "task_failure", "task_postrun",
        "task_prerun", "task_retry", "task_postrun",
    ]  # fmt: skip
    prerun, success, postrun, _, failure, _, _, retried, last = (named for _, named in seen)
    assert prerun == {"sender": work, "task_id": "id-1", "task": work, "args": ("ok",), "kwargs": {}}
    assert success["result"] == "ok"
    assert (postrun["state"], postrun["retval"]) == ("SUCCESS", "ok")
    assert failure["task_id"] == "id-1"
    assert isinstance(failure["exception"], ValueError)
    assert failure["args"] == ("fail",)
    assert failure["einfo"].type is ValueError
    assert isinstance(retried["reason"], Retry)
    assert retried["request"].id == "id-1"
    assert last["state"] == "RETRY"


def test_given_a_request_then_the_task_reads_it_and_only_while_it_runs(app: Celery) -> None:
    @app.task(bind=True)
    def look(self: Task) -> tuple[Any, ...]:
        inner = plain(self)
        return self.request.id, self.request.called_directly, inner, self.request.id

    @app.task(bind=True)
    def plain(self: Task, other: Task) -> tuple[Any, ...]:
        return self.request.id, self.request.called_directly, other.request.id

    assert run(look).value == ("id-1", False, (None, True, "id-1"), "id-1")
    assert look.request.called_directly is True


def test_given_a_base_whose_call_goes_on_to_tasks_own_then_the_request_stays(app: Celery) -> None:
    class Wrapping(Task):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return ("wrapped", super().__call__(*args, **kwargs))

    @app.task(base=Wrapping, bind=True)
    def look(self: Task) -> tuple[Any, ...]:
        return self.request.id, self.request.called_directly

    assert run(look).value == ("wrapped", ("id-1", False))
    assert look() == ("wrapped", (None, True))  # type: ignore[comparison-overlap]


async def slow(task: Any, seen: list[Any]) -> str:
    seen.append(task.request.id)
    await asyncio.sleep(0)
    seen.append(task.request.id)
    return "done"


def test_given_an_async_function_when_run_in_a_thread_without_a_loop_then_its_result_is_the_value(app: Celery) -> None:
    seen: list[Any] = []

    @app.task(bind=True)
    async def work(self: Task) -> str:
        return await slow(self, seen)

    assert run(work).value == "done"
    assert run(work).value == "done"
    assert seen == ["id-1"] * 4
    assert work.plan.is_coroutine


def test_given_an_async_function_when_a_loop_runs_in_this_thread_then_it_still_runs(app: Celery) -> None:
    @app.task
    async def work() -> str:
        await asyncio.sleep(0)
        return "beside"

    async def serve() -> str:
        return work.apply().get()

    assert asyncio.run(serve()) == "beside"

    async def call() -> str:
        return await work()

    assert asyncio.run(call()) == "beside"


def test_given_an_async_function_that_fails_or_retries_then_the_outcome_says_so(app: Celery) -> None:
    @app.task(bind=True, autoretry_for=(KeyError,), max_retries=3, default_retry_delay=2)
    async def work(self: Task, how: str) -> None:
        await asyncio.sleep(0)
        if how == "fail":
            raise ValueError(how)
        if how == "auto":
            raise KeyError(how)
        raise self.retry(countdown=5)

    assert isinstance(run(work, "fail").exc, ValueError)
    assert run(work, "retry").retry.options["countdown"] == 5
    assert run(work, "auto").retry.options["countdown"] == 2


def test_given_an_exception_from_a_signal_handler_then_the_coroutine_is_cancelled_and_cleans_up(app: Celery) -> None:
    """As a soft time limit comes: it hits the loop, which sleeps, not the coroutine."""
    cleaned: list[str] = []

    def strike(signum: int, frame: Any) -> None:
        raise SoftTimeLimitExceeded(1)

    @app.task
    async def work() -> None:
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            await asyncio.Event().wait()
        finally:
            cleaned.append("yes")

    before = signal.signal(signal.SIGALRM, strike)
    try:
        attempt = run(work)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert isinstance(attempt.exc, SoftTimeLimitExceeded)
    assert cleaned == ["yes"]

    @app.task
    async def after() -> str:
        return "the loop still works"

    assert run(after).value == "the loop still works"


def test_given_a_context_variable_when_an_async_task_sets_it_then_it_stays_inside(app: Celery) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="outside")

    @app.task
    async def work() -> str:
        before = variable.get()
        variable.set("inside")
        return before

    assert run(work).value == "outside"
    assert run(work).value == "outside"


def test_given_prepare_that_fails_then_a_success_becomes_a_failure_before_anybody_heard_of_it(app: Celery) -> None:
    @app.task(base=Recording)
    def work() -> object:
        return object()

    seen: list[str] = []

    def prepare(attempt: Attempt) -> None:
        seen.append(attempt.state)
        if attempt.state == states.SUCCESS:
            raise EncodeError("an object")

    attempt = run_attempt(work, request(), (), {}, prepare)
    assert attempt.state == "FAILURE"
    assert isinstance(attempt.exc, EncodeError)
    assert seen == ["SUCCESS", "FAILURE"]
    assert [call[0] for call in work.calls] == ["before_start", "on_failure", "after_return"]  # type: ignore[attr-defined]


def test_given_prepare_that_fails_then_a_retry_becomes_a_reject(app: Celery) -> None:
    @app.task(bind=True)
    def work(self: Task) -> None:
        self.retry(countdown=1)

    def prepare(attempt: Attempt) -> None:
        if attempt.state == states.RETRY:
            raise EncodeError("no")

    attempt = run_attempt(work, request(), (), {}, prepare)
    assert (attempt.outcome, attempt.requeue) == (Outcome.REJECTED, False)


def test_given_a_call_that_could_not_run_when_it_is_failed_then_the_hooks_hear_of_it(app: Celery) -> None:
    @app.task(base=Recording)
    def work() -> None: ...

    attempt = fail_attempt(work, request(), TimeLimitExceeded(5))
    assert attempt.state == "FAILURE"
    assert attempt.traceback is None
    assert [call[0] for call in work.calls] == ["on_failure"]  # type: ignore[attr-defined]


def test_given_retry_in_a_worker_then_nothing_is_published_and_the_signature_says_all(app: Celery) -> None:
    @app.task(bind=True, max_retries=3, default_retry_delay=7)
    def work(self: Task, a: int, b: int = 0) -> None:
        raise self.retry(exc=KeyError("x"))

    values = request(
        args=(1,),
        kwargs={"b": 2},
        group="g",
        group_index=4,
        chain=[{"task": "next"}],
        chord={"task": "body"},
        callbacks=[{"task": "cb"}],
        errbacks=[{"task": "eb"}],
        headers={"own": 1, "x-death": "gone"},
        timelimit=[9, 8],
        reply_to="me",
        expires="2099-01-01T00:00:00+00:00",
        shadow="shown",
        stamped_headers=["s"],
        stamps={"s": "stamp"},
        replaced_task_nesting=1,
        delivery_info={"exchange": "", "routing_key": "feeds", "priority": 6},
        ignore_result=True,
    )
    attempt = run_attempt(work, values, (1,), {"b": 2})
    assert attempt.outcome is Outcome.RETRY
    assert isinstance(attempt.exc, Retry)
    assert isinstance(attempt.exc.exc, KeyError)
    signature = attempt.retry
    assert (signature.task, tuple(signature.args), signature.kwargs) == (work.name, (1,), {"b": 2})
    options = signature.options
    expected = {
        "task_id": "id-1",
        "retries": 1,
        "countdown": 7,
        "queue": "feeds",
        "priority": 6,
        "group_id": "g",
        "group_index": 4,
        "chain": [{"task": "next"}],
        "chord": {"task": "body"},
        "link": [{"task": "cb"}],
        "link_error": [{"task": "eb"}],
        "headers": {"own": 1},
        "time_limit": 9,
        "soft_time_limit": 8,
        "reply_to": "me",
        "expires": "2099-01-01T00:00:00+00:00",
        "shadow": "shown",
        "stamped_headers": ["s"],
        "s": "stamp",
        "replaced_task_nesting": 1,
        "ignore_result": True,
        "root_id": "id-1",
    }
    assert {name: options[name] for name in expected} == expected


def test_given_the_last_retry_then_the_cause_is_raised_or_max_retries_exceeded(app: Celery) -> None:
    @app.task(bind=True, max_retries=2)
    def work(self: Task, why: str | None) -> None:
        raise self.retry(exc=KeyError(why) if why else None, countdown=0)

    assert isinstance(run_attempt(work, request(retries=2), ("x",), {}).exc, KeyError)
    exceeded = run_attempt(work, request(retries=2, args=(None,)), (None,), {}).exc
    assert isinstance(exceeded, MaxRetriesExceededError)
    assert tuple(exceeded.task_args) == (None,)
    assert "Can't retry" in str(exceeded)
    assert run_attempt(work, request(retries=1), ("x",), {}).outcome is Outcome.RETRY


def test_given_max_retries_none_then_it_retries_for_ever_and_an_argument_overrides_it(app: Celery) -> None:
    @app.task(bind=True, max_retries=None)
    def work(self: Task, most: int | None) -> None:
        self.retry(max_retries=most, countdown=0)

    assert run_attempt(work, request(retries=1000, args=(None,)), (None,), {}).outcome is Outcome.RETRY
    assert run_attempt(work, request(retries=3, args=(3,)), (3,), {}).outcome is Outcome.FAILURE


def test_given_throw_false_then_the_retry_goes_out_with_the_settlement(app: Celery) -> None:
    @app.task(bind=True)
    def work(self: Task) -> str:
        self.retry(throw=False, countdown=3)
        return "went on"

    values = request()
    attempt = run_attempt(work, values, (), {})
    assert attempt.value == "went on"
    assert values.pending_retries is not None
    assert values.pending_retries[0].options["retries"] == 1


def test_given_a_task_called_as_a_function_when_it_retries_then_the_cause_is_raised(app: Celery) -> None:
    @app.task(bind=True)
    def work(self: Task, how: str) -> None:
        if how == "given":
            raise self.retry(exc=KeyError("given"))
        try:
            raise ValueError("handled")
        except ValueError:
            self.retry()

    with pytest.raises(KeyError):
        work("given")
    with pytest.raises(ValueError, match="handled"):
        work("handled")


@pytest.mark.parametrize(
    ("options", "retries", "countdown"),
    [
        ({"retry_backoff": True, "retry_jitter": False}, 0, 1),
        ({"retry_backoff": True, "retry_jitter": False}, 3, 8),
        ({"retry_backoff": 5, "retry_jitter": False}, 2, 20),
        ({"retry_backoff": True, "retry_backoff_max": 6, "retry_jitter": False}, 9, 6),
        ({"retry_kwargs": {"countdown": 4}}, 1, 4),
        ({"retry_kwargs": {"countdown": 4}, "retry_backoff": True, "retry_jitter": False}, 1, 2),
        ({}, 0, 180),
    ],
)
def test_given_autoretry_options_then_the_countdown_is_celerys(
    app: Celery, options: dict[str, Any], retries: int, countdown: float
) -> None:
    @app.task(autoretry_for=(ConnectionError,), max_retries=20, **options)
    def work() -> None:
        raise ConnectionError("down")

    attempt = run_attempt(work, request(retries=retries), (), {})
    assert attempt.retry.options["countdown"] == countdown
    assert isinstance(getattr(attempt.exc, "exc", None), ConnectionError)


def test_given_autoretry_then_other_exceptions_and_those_excluded_fail_at_once(app: Celery) -> None:
    @app.task(autoretry_for=(Exception,), dont_autoretry_for=(KeyError,), retry_kwargs={"max_retries": 1})
    def work(kind: str) -> None:
        raise {"key": KeyError, "value": ValueError, "ignore": Ignore}[kind](kind)

    assert run(work, "key").outcome is Outcome.FAILURE
    assert run(work, "value").outcome is Outcome.RETRY
    assert run(work, "ignore").outcome is Outcome.IGNORED
    assert run_attempt(work, request(retries=1), ("value",), {}).outcome is Outcome.FAILURE


def test_given_autoretry_as_attributes_of_a_base_then_they_count(make_app: MakeApp) -> None:
    class Stubborn(Task):
        autoretry_for = (ValueError,)
        max_retries = 5

    app = make_app()

    @app.task(base=Stubborn)
    def work() -> None:
        raise ValueError

    assert run(work).outcome is Outcome.RETRY

    class ByHand(app.Task):  # type: ignore[name-defined,misc]
        name = "by hand"
        autoretry_for = (ValueError,)

        def run(self) -> None:
            raise ValueError

    assert run(app.register_task(ByHand())).outcome is Outcome.RETRY


def test_given_update_state_then_a_record_is_written_for_the_running_call(app: Celery) -> None:
    @app.task(bind=True)
    def work(self: Task) -> None:
        self.update_state(state="PROGRESS", meta={"done": 3})

    run(work)
    result = app.AsyncResult("id-1")
    assert (result.state, result.info) == ("PROGRESS", {"done": 3})


def test_given_update_state_where_no_call_runs_then_it_says_that_it_needs_an_id(app: Celery) -> None:
    @app.task
    def work() -> None: ...

    with pytest.raises(ValueError, match="task_id must not be empty"):
        work.update_state(state="PROGRESS")
