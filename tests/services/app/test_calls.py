"""Calls that go through a store and come back as results."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from tests.services.app.conftest import Consumer

from sedano import AsyncResult, Celery, Task, exceptions
from sedano.exceptions import MaxRetriesExceededError
from sedano.result import allow_join_result

StoreApp = Callable[..., Celery]


def test_given_a_call_then_its_result_comes_back(store_app: StoreApp) -> None:
    app = store_app()

    @app.task
    def add(x: int, y: int) -> int:
        return x + y

    with Consumer(app):
        result = add.delay(2, 3)
        assert result.get(timeout=60) == 5
        assert (result.state, result.result, result.ready(), result.successful(), result.failed()) == (
            "SUCCESS",
            5,
            True,
            True,
            False,
        )
        assert result.date_done is not None
        assert result.date_done.tzinfo is not None
        assert result.children == []
        assert AsyncResult(result.id).get(timeout=60) == 5
        assert add.AsyncResult(result.id).exists()
        result.forget()
        assert not AsyncResult(result.id).exists()
        assert AsyncResult(result.id).state == "PENDING"


def test_given_a_failure_then_get_raises_the_exception_with_its_traceback_kept(store_app: StoreApp) -> None:
    app = store_app()

    @app.task
    def fail() -> None:
        raise ValueError("boom", 42)

    with Consumer(app):
        result = fail.delay()
        with pytest.raises(ValueError, match="boom") as caught:
            result.get(timeout=60)
        assert caught.value.args == ("boom", 42)
        assert isinstance(result.get(propagate=False), ValueError)
        assert isinstance(result.info, ValueError)
        assert "in fail" in (result.traceback or "")
        assert result.maybe_throw(propagate=False).args == ("boom", 42)
        app.conf.task_remote_tracebacks = True
        with pytest.raises(ValueError, match="boom") as caught:
            result.get(timeout=60)
        assert any("in fail" in note for note in caught.value.__notes__)


def test_given_no_answer_then_get_times_out(store_app: StoreApp) -> None:
    app = store_app()
    result = app.send_task("nobody.runs.it")
    with pytest.raises(exceptions.TimeoutError):
        result.get(timeout=0.05)
    with pytest.raises(exceptions.TimeoutError):
        result.get(timeout=0)
    assert result.state == "PENDING"
    assert result.result is None


def test_given_many_threads_that_wait_then_each_gets_its_own_and_no_subscription_is_left(store_app: StoreApp) -> None:
    app = store_app()

    @app.task
    def double(x: int) -> int:
        return 2 * x

    got: dict[int, int] = {}

    def wait(number: int, result: AsyncResult[int]) -> None:
        got[number] = result.get(timeout=60)

    # The waiters come first, so that they wait for one another's results too.
    results = [double.delay(number) for number in range(40)]
    threads = [threading.Thread(target=wait, args=(number, result)) for number, result in enumerate(results)]
    for thread in threads:
        thread.start()
    with Consumer(app):
        for thread in threads:
            thread.join(60)
    assert got == {number: 2 * number for number in range(40)}
    reader = app.backend.reader
    assert reader.table.is_idle()
    reader._tidy_now()
    assert reader.table.changes(few_too=True) == ([], [])


def test_given_a_result_asked_for_in_another_thread_without_an_app_then_the_current_one_is_found(store_app: StoreApp) -> None:
    app = store_app()
    one = app.task(name="one")(lambda: 1)
    seen: list[Any] = []
    with Consumer(app):
        task_id = one.delay().id
        thread = threading.Thread(target=lambda: seen.append(AsyncResult(task_id).get(timeout=60)))
        thread.start()
        thread.join(60)
    assert seen == [1]


def test_given_states_on_the_way_then_on_message_sees_them_and_callback_the_result(store_app: StoreApp) -> None:
    """A store may leave out a state that was overwritten at once, so each waits here until it was seen."""
    app = store_app()
    seen_by_caller = {state: threading.Event() for state in ("WAITED_FOR", "PROGRESS")}

    @app.task(bind=True)
    def work(self: Task) -> str:
        seen_by_caller["WAITED_FOR"].wait(60)
        self.update_state(state="PROGRESS", meta={"done": 1})
        seen_by_caller["PROGRESS"].wait(60)
        return "done"

    seen: list[Any] = []
    heard: list[Any] = []

    def note(meta: dict[str, Any]) -> None:
        if not seen or seen[-1][0] != meta["status"]:
            seen.append((meta["status"], meta["result"]))
        if meta["status"] in seen_by_caller:
            seen_by_caller[meta["status"]].set()

    with Consumer(app):
        result = work.delay()
        app.backend.store_result(result.id, None, "WAITED_FOR")
        assert result.get(timeout=60, on_message=note, callback=lambda *both: heard.append(both)) == "done"
    assert list(dict.fromkeys(map(str, seen))) == [
        str(("WAITED_FOR", None)),
        str(("PROGRESS", {"done": 1})),
        str(("SUCCESS", "done")),
    ]
    assert heard == [(result.id, "done")]


def test_given_a_result_that_is_ready_then_it_is_asked_for_once(store_app: StoreApp) -> None:
    app = store_app()
    one = app.task(name="one")(lambda: 1)
    with Consumer(app):
        result = one.delay()
        assert result.get(timeout=60) == 1
    app.backend.forget(result.id)
    assert result.get(timeout=60) == 1
    assert result.state == "SUCCESS"


def test_given_then_when_the_call_ends_then_the_callback_is_called(store_app: StoreApp) -> None:
    app = store_app()
    one = app.task(name="one")(lambda: 1)

    @app.task(name="bad")
    def bad() -> None:
        raise ValueError

    called = threading.Semaphore(0)
    heard: list[Any] = []

    def note(kind: str) -> Callable[[Any], None]:
        def receive(result: Any) -> None:
            heard.append((kind, result.state))
            called.release()

        return receive

    results = [one.delay(), bad.delay()]
    for result in results:
        result.then(note("ok"), on_error=note("error"))
    with Consumer(app):
        assert called.acquire(timeout=60)
        assert called.acquire(timeout=60)
        results[0].then(note("late"))
    assert sorted(heard) == [("error", "FAILURE"), ("late", "SUCCESS"), ("ok", "SUCCESS")]


def test_given_asyncio_then_calls_are_sent_and_awaited_without_blocking(store_app: StoreApp) -> None:
    app = store_app()

    @app.task
    async def double(x: int) -> int:
        await asyncio.sleep(0)
        return 2 * x

    async def serve() -> list[int]:
        results = await asyncio.gather(*(double.adelay(number) for number in range(20)))
        values = list(await asyncio.gather(*results))
        assert await results[0].aget() == 0
        named = await app.asend_task(double.name, (50,))
        assert await double.s(1).adelay() is not None
        values.append(await named)
        with pytest.raises(exceptions.TimeoutError):
            await app.AsyncResult("nobody").aget(timeout=0.05)
        return values

    with Consumer(app):
        assert asyncio.run(serve()) == [2 * number for number in range(20)] + [100]
    assert not app.backend.reader.table.has_served()


def test_given_a_plain_delay_inside_async_def_then_it_needs_no_loop_of_its_own(store_app: StoreApp) -> None:
    app = store_app()
    one = app.task(name="one")(lambda: 1)

    async def endpoint() -> str:
        return one.apply_async(args=[]).id

    with Consumer(app):
        assert app.AsyncResult(asyncio.run(endpoint())).get(timeout=60) == 1


def test_given_get_inside_a_task_then_it_is_refused_unless_allowed(store_app: StoreApp) -> None:
    app = store_app()
    one = app.task(name="one")(lambda: 1)
    ready: list[str] = []

    @app.task
    def waits(how: str) -> Any:
        result = AsyncResult(ready[0])
        if how == "allowed":
            with allow_join_result():
                return result.get(timeout=60)
        return result.get(timeout=60, disable_sync_subtasks=how != "argument")

    with Consumer(app):
        first = one.delay()
        first.get(timeout=60)
        ready.append(first.id)
        with pytest.raises(RuntimeError, match="Never call result"):
            waits.delay("plain").get(timeout=60)
        assert waits.delay("allowed").get(timeout=60) == 1
        assert waits.delay("argument").get(timeout=60) == 1


def test_given_an_ignored_result_then_get_gives_none_at_once(store_app: StoreApp) -> None:
    app = store_app()
    result = app.task(name="one", ignore_result=True)(lambda: 1).delay()
    assert result.ignored
    assert result.get() is None


def test_given_a_retry_then_the_call_comes_again_under_its_id_until_it_succeeds(store_app: StoreApp) -> None:
    app = store_app()

    @app.task(bind=True, max_retries=2)
    def flaky(self: Task, n: int) -> tuple[int, int]:
        if self.request.retries < 2:
            raise self.retry(args=(n + 1,), countdown=0)
        return n, self.request.retries

    @app.task(bind=True, max_retries=0)
    def hopeless(self: Task) -> None:
        self.retry(countdown=0)

    with Consumer(app):
        assert flaky.delay(0).get(timeout=60) == [2, 2]
        with pytest.raises(MaxRetriesExceededError):
            hopeless.delay().get(timeout=60)


def test_given_links_and_a_chain_then_the_next_calls_get_the_result_and_are_children(store_app: StoreApp) -> None:
    app = store_app()

    @app.task(name="add")
    def add(x: int, y: int) -> int:
        return x + y

    heard = threading.Semaphore(0)
    values: list[Any] = []

    @app.task(name="note")
    def note(*values_: Any) -> None:
        values.append(values_)
        heard.release()

    step = dict(add.s(10).set(task_id="step-2"))
    with Consumer(app):
        result = add.apply_async((1, 2), link=[note.s("a"), note.si("alone")], chain=[step])
        assert result.get(timeout=60) == 3
        assert app.AsyncResult("step-2").get(timeout=60) == 13
        for _ in range(2):
            assert heard.acquire(timeout=60)
        assert sorted(values, key=len) == [("alone",), (3, "a")]
        meta = app.backend.get_task_meta(result.id)
        assert result.children is not None
        assert [child.get(timeout=60) for child in result.children] == [[None, None], 13]
        assert [value for _, value in result.collect(timeout=60)] == [3, [None, None], 13, None, None]
        assert result.get_leaf() is None
    (group, parent), members = meta["children"][0]
    assert parent is None
    assert len(members) == 2
    assert meta["children"][1] == [["step-2", None], None]
    assert isinstance(group, str)


def test_given_a_failure_then_errbacks_are_called_or_sent(store_app: StoreApp) -> None:
    app = store_app()
    heard = threading.Semaphore(0)
    values: list[Any] = []

    @app.task(name="fail")
    def fail() -> None:
        raise ValueError("boom")

    @app.task(name="of_all")
    def of_all(request: Any, exc: Any, traceback: Any) -> None:
        values.append(("all", request.id, repr(exc)))
        heard.release()

    @app.task(name="of_id", bind=True)
    def of_id(self: Task, task_id: str) -> None:
        values.append(("id", task_id, self.request.parent_id))
        heard.release()

    with Consumer(app):
        result = fail.apply_async(link_error=[of_all.s(), of_id.s()], task_id="failing")
        with pytest.raises(ValueError, match="boom"):
            result.get(timeout=60)
        for _ in range(2):
            assert heard.acquire(timeout=60)
    assert sorted(values) == [("all", "failing", "ValueError('boom')"), ("id", "failing", "failing")]


def test_given_a_result_that_does_not_serialize_then_the_call_fails(store_app: StoreApp) -> None:
    app = store_app()
    odd = app.task(name="odd")(lambda: object())
    with Consumer(app), pytest.raises(Exception, match="object"):
        odd.delay().get(timeout=60)
