"""Waiting for results when something breaks: a lost store, a fork, a closed app."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.apps import MakeApp
from tests.servers import RedisServer

from sedano import Celery
from sedano.contracts import ResultWrite
from sedano.exceptions import OperationalError, ResultsUnavailable
from sedano.protocol import results

StoreApp = Callable[..., Celery]


def finish(app: Celery, task_id: str, value: Any) -> None:
    app.backend.store_result(task_id, value, "SUCCESS")


def until(claim: Callable[[], object]) -> None:
    """Wait for what nobody tells of."""
    deadline = time.monotonic() + 60
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def wait_in_thread(app: Celery, task_id: str, got: list[Any]) -> threading.Thread:
    """A thread that waits for the result; returns when it is known to the reader."""
    known = threading.Event()
    reader = app.backend.reader
    table = reader.table
    add = table.add

    def noted(waiter: Any, **options: Any) -> None:
        add(waiter, **options)
        known.set()

    table.add = noted

    def wait() -> None:
        try:
            got.append(app.AsyncResult(task_id).get(timeout=60))
        except Exception as exc:  # shown to the test
            got.append(exc)

    thread = threading.Thread(target=wait)
    thread.start()
    assert known.wait(60)
    table.add = add
    return thread


def test_given_a_leader_whose_result_came_then_the_others_are_served_on(store_app: StoreApp) -> None:
    app = store_app()
    got: dict[str, list[Any]] = {name: [] for name in "abc"}
    threads = [wait_in_thread(app, name, got[name]) for name in "abc"]
    for name, thread in zip("abc", threads, strict=True):
        finish(app, name, name)
        thread.join(60)
        assert got[name] == [name]


def test_given_followers_that_time_out_then_the_leader_goes_on(store_app: StoreApp) -> None:
    app = store_app()
    got: list[Any] = []
    thread = wait_in_thread(app, "leader", got)
    for _ in range(3):
        with pytest.raises(Exception, match="timed out"):
            app.AsyncResult("follower").get(timeout=0.02)
    finish(app, "leader", 1)
    thread.join(60)
    assert got == [1]


def test_given_two_that_wait_for_the_same_call_then_both_get_it(store_app: StoreApp) -> None:
    app = store_app()
    got: list[Any] = []
    threads = [wait_in_thread(app, "same", got) for _ in range(4)]
    finish(app, "same", 7)
    for thread in threads:
        thread.join(60)
    assert got == [7] * 4


def test_given_a_fork_while_a_thread_waits_then_the_child_can_wait_too(store_app: StoreApp) -> None:
    app = store_app()
    if app.stores.broker_url.startswith("memory://"):
        pytest.skip("a memory store belongs to one process")
    got: list[Any] = []
    thread = wait_in_thread(app, "of-parent", got)
    finish(app, "of-child", 2)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if app.AsyncResult("of-child").get(timeout=60) == 2 else 2
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    finish(app, "of-parent", 1)
    thread.join(60)
    assert got == [1]


@pytest.mark.redis
def test_given_redis_that_restarts_while_somebody_waits_then_the_result_still_comes(make_app: MakeApp) -> None:
    with RedisServer() as server:
        app = make_app(broker=server.url, backend=server.url)
        got: list[Any] = []
        thread = wait_in_thread(app, "one", got)
        server.restart()
        writer = make_app(broker=server.url, backend=server.url)
        finish(writer, "one", 1)
        thread.join(60)
        assert got == [1]


@pytest.mark.redis
def test_given_redis_that_stays_away_then_waiting_ends_with_an_operational_error(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sedano.result.waiting._TRIES", 1)
    with RedisServer() as server:
        app = make_app(broker=server.url, backend=server.url)
        got: list[Any] = []
        threads = [wait_in_thread(app, name, got) for name in ("one", "two")]
        server.kill()
        for thread in threads:
            thread.join(60)
        assert [type(error) for error in got] == [ResultsUnavailable] * 2
        with pytest.raises(OperationalError):
            _ = app.AsyncResult("one").state


def test_given_an_app_that_is_closed_then_who_waits_is_told(store_app: StoreApp) -> None:
    app = store_app()
    got: list[Any] = []
    thread = wait_in_thread(app, "never", got)
    app.close()
    thread.join(60)
    assert isinstance(got[0], ResultsUnavailable)


class Interrupted(Exception):
    """Raised by a signal handler, as a soft time limit or Ctrl+C is."""


def test_given_a_leader_that_is_interrupted_while_it_waits_then_the_others_still_hear_of_their_results(
    store_app: StoreApp,
) -> None:
    app = store_app()
    reader = app.backend.reader
    got: list[Any] = []
    threads: list[threading.Thread] = []
    leader = threading.main_thread().ident
    assert leader is not None

    def interrupt(*_: object) -> None:
        raise Interrupted

    def disturb() -> None:
        until(lambda: reader._stream is not None)
        threads.append(wait_in_thread(app, "follower", got))
        until(lambda: not reader.table._to_watch)
        signal.pthread_kill(leader, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, interrupt)
    disturber = threading.Thread(target=disturb)
    disturber.start()
    with pytest.raises(Interrupted):
        app.AsyncResult("leader").get(timeout=60)
    signal.signal(signal.SIGUSR1, before)
    disturber.join(60)
    until(lambda: reader._stream is not None and not reader.table._to_watch)  # the follower leads
    finish(app, "follower", 2)
    threads[0].join(60)
    assert got == [2]


def test_given_a_thread_that_is_busy_with_a_record_then_another_one_takes_the_lead(store_app: StoreApp) -> None:
    app = store_app()
    got: list[Any] = []
    entered, leave = threading.Event(), threading.Event()

    def dawdle(_meta: Any) -> None:
        entered.set()
        leave.wait(60)

    busy = threading.Thread(target=lambda: app.AsyncResult("busy").get(timeout=60, on_message=dawdle))
    busy.start()
    until(lambda: app.backend.reader._stream is not None)
    second, third = wait_in_thread(app, "second", []), wait_in_thread(app, "third", got)
    app.backend.store_result("busy", None, "STARTED")
    assert entered.wait(60)
    finish(app, "second", 2)
    second.join(60)
    finish(app, "third", 3)
    third.join(60)
    assert got == [3]
    leave.set()
    finish(app, "busy", 1)
    busy.join(60)


def test_given_a_store_that_refuses_to_be_listened_to_then_who_awaits_is_told_and_the_next_one_is_served(
    store_app: StoreApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = store_app()
    reader = app.backend.reader
    really_open = reader._open_stream
    refusals = [OperationalError("NOPERM"), OperationalError("NOPERM")]

    def open_stream() -> Any:
        if refusals:
            raise refusals.pop()
        return really_open()

    async def result() -> Any:
        return await app.AsyncResult("id-1").aget(timeout=60)

    monkeypatch.setattr(reader, "_open_stream", open_stream)
    for _ in range(2):
        with pytest.raises(OperationalError, match="NOPERM"):
            asyncio.run(result())
    finish(app, "id-1", 2)
    assert asyncio.run(result()) == 2


def test_given_extended_results_then_the_result_tells_about_the_call(store_app: StoreApp) -> None:
    app = store_app(result_extended=True)
    fields = results.extended_fields(
        name="t", args=[1], kwargs={"k": 2}, worker="w@h", retries=3, queue="q", stamped_headers=None, stamps=None
    )
    done, children = datetime.now(UTC).isoformat(), [[["c", None], None]]
    meta = results.state("id-1", "SUCCESS", 5, date_done=done, extended=fields, children=children)
    app.backend.reader.store(ResultWrite("id-1", results.encode_meta(meta), None, True))
    result = app.AsyncResult("id-1")
    assert (result.name, result.args, result.kwargs, result.worker, result.retries, result.queue) == (
        "t", [1], {"k": 2}, "w@h", 3, "q",
    )  # fmt: skip
    assert result.children is not None
    assert [child.id for child in result.children] == ["c"]


def test_given_a_success_that_is_stored_then_a_later_state_does_not_overwrite_it(store_app: StoreApp) -> None:
    app = store_app()
    finish(app, "id-1", 1)
    app.backend.store_result("id-1", None, "STARTED")
    assert app.AsyncResult("id-1").state == "SUCCESS"


def test_given_pickled_results_then_they_are_read_with_their_types(store_app: StoreApp) -> None:
    app = store_app(result_serializer="pickle", result_compression="zlib", accept_content=["json", "pickle"])
    finish(app, "id-1", (1, {2}))
    assert app.AsyncResult("id-1").get(timeout=60) == (1, {2})


def test_given_cleanup_then_nothing_that_is_still_kept_is_lost(store_app: StoreApp) -> None:
    app = store_app()
    finish(app, "id-1", 1)
    app.tasks["celery.backend_cleanup"]()
    assert app.AsyncResult("id-1").get(timeout=60) == 1
