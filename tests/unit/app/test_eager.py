"""`apply`, and `task_always_eager`."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.apps import MakeApp, sent

from sedano import AsyncResult, Celery, EagerResult, Task
from sedano.exceptions import AlwaysEagerIgnored, EncodeError, Ignore, MaxRetriesExceededError, Reject


def test_given_apply_then_the_call_runs_here_with_a_full_request(app: Celery) -> None:
    @app.task(bind=True)
    def look(self: Task, a: int) -> dict[str, Any]:
        request = self.request
        return {
            "id": request.id,
            "args": request.args,
            "eager": request.is_eager,
            "direct": request.called_directly,
            "retries": request.retries,
            "headers": request.headers,
            "info": request.delivery_info,
            "root": request.root_id,
        }

    result = look.apply((1,), task_id="id-1", headers={"x": 1}, queue="q", priority=3)
    assert isinstance(result, EagerResult)
    assert (result.id, result.state, result.ready(), result.successful()) == ("id-1", "SUCCESS", True, True)
    assert result.get() == {
        "id": "id-1",
        "args": (1,),
        "eager": True,
        "direct": False,
        "retries": 0,
        "headers": {"x": 1},
        "info": {"is_eager": True, "exchange": None, "routing_key": None, "priority": 3},
        "root": "id-1",
    }


def test_given_a_failure_then_get_raises_it_and_throw_raises_it_at_once(make_app: MakeApp) -> None:
    app = make_app()

    @app.task
    def fail() -> None:
        raise ValueError("boom")

    result = fail.apply()
    assert (result.state, result.failed()) == ("FAILURE", True)
    assert isinstance(result.result, ValueError)
    assert "ValueError: boom" in (result.traceback or "")
    with pytest.raises(ValueError, match="boom"):
        result.get()
    assert isinstance(result.get(propagate=False), ValueError)
    with pytest.raises(ValueError, match="boom"):
        fail.apply(throw=True)
    app.conf.task_eager_propagates = True
    with pytest.raises(ValueError, match="boom"):
        fail.apply()


def test_given_errors_are_raised_when_a_call_is_ignored_or_rejected_then_that_is_its_state(app: Celery) -> None:
    @app.task
    def leave(error: str) -> None:
        raise Ignore("seen") if error == "ignore" else Reject("not here", requeue=False)

    app.conf.task_eager_propagates = True
    assert leave.apply(("ignore",)).state == "IGNORED"
    assert leave.apply(("reject",), throw=True).state == "REJECTED"


def test_given_retries_then_they_run_at_once_up_to_the_limit(app: Celery) -> None:
    seen: list[tuple[int, int]] = []

    @app.task(bind=True, max_retries=3, default_retry_delay=1000)
    def stubborn(self: Task, n: int) -> str:
        seen.append((n, self.request.retries))
        if self.request.retries < 2:
            raise self.retry(args=(n + 1,))
        return "done"

    result = stubborn.apply((0,), task_id="id-1")
    assert (result.get(), result.id) == ("done", "id-1")
    assert seen == [(0, 0), (1, 1), (2, 2)]

    @app.task(bind=True, max_retries=1)
    def hopeless(self: Task) -> None:
        self.retry()

    assert isinstance(hopeless.apply().result, MaxRetriesExceededError)


def test_given_always_eager_then_delay_runs_and_arguments_take_the_way_through_the_serializer(make_app: MakeApp) -> None:
    app = make_app(task_always_eager=True)

    @app.task
    def kind(value: Any) -> str:
        return type(value).__name__

    assert kind.delay((1, 2)).get() == "list"
    with pytest.raises(EncodeError):
        kind.delay(object())
    assert sent(app) == []
    with pytest.raises(TypeError, match="countdown"):
        kind.apply_async((1,), contdown=1)


def test_given_always_eager_set_later_then_it_counts_from_then_on(app: Celery) -> None:
    @app.task
    def one() -> int:
        return 1

    assert isinstance(one.delay(), AsyncResult)
    app.conf.task_always_eager = True
    assert isinstance(one.delay(), EagerResult)
    app.conf.update(task_always_eager=False)
    assert not isinstance(one.delay(), EagerResult)
    assert len(sent(app)) == 2


def test_given_always_eager_then_links_and_errbacks_run(make_app: MakeApp) -> None:
    app = make_app(task_always_eager=True)
    heard: list[Any] = []

    @app.task
    def work(x: int) -> int:
        if x < 0:
            raise ValueError(x)
        return x

    @app.task
    def callback(result: Any, extra: Any = None) -> None:
        heard.append(("callback", result, extra))

    @app.task
    def errback_of_id(task_id: str) -> None:
        heard.append(("id", task_id))

    @app.task
    def errback_of_all(request: Any, exc: Any, traceback: Any) -> None:
        heard.append(("all", request.id, repr(exc), "Traceback" in traceback))

    work.apply_async((1,), link=callback.s("more"))
    work.apply_async((2,), link=[callback.s(), callback.si("alone")])
    work.apply_async((-1,), task_id="id-1", link_error=[errback_of_id.s(), errback_of_all.s()])
    assert heard == [
        ("callback", 1, "more"),
        ("callback", 2, None),
        ("callback", "alone", None),
        ("all", "id-1", "ValueError(-1)", True),
        ("id", "id-1"),
    ]


def test_given_store_eager_result_then_the_result_can_be_asked_for(make_app: MakeApp) -> None:
    app = make_app(task_always_eager=True, task_store_eager_result=True)

    @app.task
    def one() -> int:
        return 41

    assert app.AsyncResult(one.delay().id).get(timeout=1) == 41

    @app.task(ignore_result=True)
    def none() -> int:
        return 41

    assert app.AsyncResult(none.delay().id).state == "PENDING"


def test_given_always_eager_when_send_task_then_it_is_sent_with_a_warning(make_app: MakeApp) -> None:
    app = make_app(task_always_eager=True)
    with pytest.warns(AlwaysEagerIgnored):
        app.send_task("any.name")
    assert len(sent(app)) == 1


def test_given_always_eager_when_adelay_then_it_runs_without_blocking_the_loop(make_app: MakeApp) -> None:
    app = make_app(task_always_eager=True)

    @app.task
    async def work(x: int) -> int:
        await asyncio.sleep(0)
        return x

    async def serve() -> int:
        return await (await work.adelay(3))

    assert asyncio.run(serve()) == 3


def test_given_a_task_that_calls_another_eagerly_then_waiting_for_it_is_no_error(make_app: MakeApp) -> None:
    app = make_app(task_always_eager=True)

    @app.task
    def inner() -> int:
        return 1

    @app.task(bind=True)
    def outer(self: Task) -> tuple[int, Any, Any]:
        result = inner.apply()
        return result.result, self.request.id, len(self.request.children)

    assert outer.apply(task_id="o").get() == (1, "o", 0)
