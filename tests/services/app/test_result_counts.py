"""What reading results costs: round trips, subscriptions, memory."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable, Generator
from functools import partial
from typing import Any

import pytest
from tests.apps import MakeApp
from tests.roundtrips import CountingRelay
from tests.servers import RedisServer

from sedano import Celery
from sedano.contracts import ResultWrite
from sedano.protocol import results
from sedano.result import ahead, waiting

pytestmark = pytest.mark.redis

MANY = 10_000


@pytest.fixture
def relay(redis_server: RedisServer) -> Generator[CountingRelay]:
    redis_server.command("FLUSHALL")
    with CountingRelay(redis_server.socket) as relay:
        yield relay


@pytest.fixture
def reading(make_app: MakeApp, relay: CountingRelay) -> Celery:
    """An app whose connections are open; the counters stand at zero."""
    app = make_app(broker=relay.url, backend=relay.url)
    finish(app, "first")
    assert app.AsyncResult("first").get(timeout=60) == "first"
    assert app.AsyncResult("first").ready()
    relay.reset()
    return app


@pytest.fixture
def writing(make_app: MakeApp, redis_server: RedisServer) -> Celery:
    return make_app(broker=redis_server.url, backend=redis_server.url)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow this machine is: what is counted here is not tidied up in between."""
    monkeypatch.setattr(waiting, "TIDY_S", 600.0)


@pytest.fixture
def tidy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "TIDY_S", 0.05)
    monkeypatch.setattr(waiting, "LONGEST_AHEAD_S", 0.1)


def finish(app: Celery, *task_ids: str, size: int = 0) -> None:
    store = app.stores.open_results()
    for start in range(0, len(task_ids), 1000):
        store.store(
            [
                ResultWrite(task_id, results.encode_meta(results.state(task_id, "SUCCESS", task_id + size * "x")), 60.0, True)
                for task_id in task_ids[start : start + 1000]
            ]
        )
    store.close()


def channels(server: RedisServer) -> set[str]:
    return {name.decode() for name in server.command("PUBSUB", "CHANNELS")}


def is_heard(server: RedisServer, task_id: str) -> bool:
    return "celery-task-meta-" + task_id in channels(server)


def waiting_for(app: Celery, task_id: str) -> tuple[threading.Thread, list[Any]]:
    got: list[Any] = []
    thread = threading.Thread(target=lambda: got.append(app.AsyncResult(task_id).get(timeout=60)))
    thread.start()
    return thread, got


def until(claim: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.usefixtures("patient")
def test_given_results_that_are_there_when_got_one_by_one_then_each_is_one_round_trip(
    reading: Celery, writing: Celery, relay: CountingRelay
) -> None:
    names = [f"call-{number}" for number in range(5)]
    finish(writing, *names)
    for name in names:
        assert reading.AsyncResult(name).get(timeout=60) == name
    assert (relay.round_trips, relay.connections) == (5, 0)
    for name in names:
        assert reading.AsyncResult(name).state == "SUCCESS"
    assert relay.round_trips == 10


@pytest.mark.usefixtures("patient")
def test_given_a_result_that_comes_later_when_waited_for_then_it_is_one_round_trip_and_a_push(
    reading: Celery, writing: Celery, relay: CountingRelay, redis_server: RedisServer
) -> None:
    for number in range(3):
        name = f"call-{number}"
        thread, got = waiting_for(reading, name)
        until(partial(is_heard, redis_server, name))
        finish(writing, name)
        thread.join(60)
        assert got == [name]
    assert (relay.round_trips, relay.connections) == (3, 0)
    assert channels(redis_server) == {"celery-task-meta-call-2"}, "the others went with the next watch"


@pytest.mark.usefixtures("patient")
def test_given_ten_thousand_results_when_each_is_got_then_they_are_few_round_trips(
    reading: Celery, writing: Celery, relay: CountingRelay
) -> None:
    names = [f"call-{number}" for number in range(MANY)]
    finish(writing, *names)
    mine = [reading.AsyncResult(name) for name in names]
    assert [result.get(timeout=60) for result in mine] == names
    assert relay.round_trips <= 20
    relay.reset()
    mine = [reading.AsyncResult(name) for name in names]
    assert all(result.ready() for result in mine)
    assert relay.round_trips <= 20


@pytest.mark.usefixtures("patient")
def test_given_ten_thousand_results_when_awaited_one_by_one_then_they_are_few_round_trips(
    reading: Celery, writing: Celery, relay: CountingRelay
) -> None:
    names = [f"call-{number}" for number in range(MANY)]
    finish(writing, *names)
    mine = [reading.AsyncResult(name) for name in names]

    async def awaited() -> list[Any]:
        return [await result for result in mine]

    assert asyncio.run(awaited()) == names
    assert relay.round_trips <= 60


@pytest.mark.usefixtures("patient")
def test_given_ten_thousand_calls_that_end_meanwhile_when_each_is_got_then_they_are_few_round_trips(
    reading: Celery, writing: Celery, relay: CountingRelay, redis_server: RedisServer
) -> None:
    names = [f"call-{number}" for number in range(MANY)]
    mine = [reading.AsyncResult(name) for name in names]

    def work() -> None:
        until(lambda: "celery-task-meta-call-0" in channels(redis_server))
        finish(writing, *names)

    worker = threading.Thread(target=work)
    worker.start()
    assert [result.get(timeout=60) for result in mine] == names
    worker.join(60)
    assert relay.round_trips <= 100


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("is_ready", [True, False])
def test_given_a_set_of_ten_thousand_when_joined_then_it_is_few_round_trips(
    reading: Celery, writing: Celery, relay: CountingRelay, redis_server: RedisServer, is_ready: bool
) -> None:
    names = [f"call-{number}" for number in range(MANY)]

    def work() -> None:
        until(lambda: is_ready or len(channels(redis_server)) >= MANY)
        finish(writing, *names)

    worker = threading.Thread(target=work)
    worker.start()
    if is_ready:
        worker.join(60)
        relay.reset()
    assert reading.ResultSet([reading.AsyncResult(name) for name in names]).get(timeout=60) == names
    worker.join(60)
    # Those that run: read, subscribed, read again. Now and then channels of ended ones are left, which nobody waits for.
    assert relay.round_trips <= (15 if is_ready else 75)


@pytest.mark.usefixtures("patient")
def test_given_large_records_when_read_then_no_question_brings_more_than_some_megabytes(
    reading: Celery, writing: Celery
) -> None:
    names = [f"call-{number}" for number in range(100)]
    finish(writing, *names, size=400_000)
    reading.backend.reader.pace = ahead.Pace()
    mine: list[Any] = [reading.AsyncResult(name) for name in names]
    for result in mine:
        assert len(result.get(timeout=60)) > 400_000
        result._cache = None
        held = sum(len(other.payload_ahead or b"") for other in mine)
        assert held <= 2 * ahead.MOST_BYTES


@pytest.mark.usefixtures("tidy")
def test_given_results_that_nobody_reads_on_when_time_passes_then_no_channel_and_no_entry_is_left(
    reading: Celery, writing: Celery, redis_server: RedisServer
) -> None:
    names = [f"call-{number}" for number in range(200)]
    mine = [reading.AsyncResult(name) for name in names]
    finish(writing, *names[:4])
    assert [result.get(timeout=60) for result in mine[:4]] == names[:4]
    with pytest.raises(Exception, match="timed out"):
        mine[4].get(timeout=0.02)
    until(lambda: not channels(redis_server))
    table = reading.backend.reader.table
    assert table.is_idle()
    assert not table.has_foreseen()
    until(lambda: reading.backend.reader._tidier is None)
    finish(writing, *names)
    assert [result.get(timeout=60) for result in mine] == names, "and they can be read later"


@pytest.mark.usefixtures("tidy")
def test_given_a_thread_that_waits_for_long_then_the_channels_of_others_are_dropped_all_the_same(
    reading: Celery, writing: Celery, redis_server: RedisServer
) -> None:
    thread, got = waiting_for(reading, "long")
    until(lambda: channels(redis_server))
    finish(writing, "short")
    assert reading.AsyncResult("short").get(timeout=60) == "short"
    until(lambda: channels(redis_server) == {"celery-task-meta-long"})
    finish(writing, "long")
    thread.join(60)
    assert got == ["long"]


@pytest.mark.usefixtures("patient")
def test_given_results_that_are_let_go_of_then_what_was_read_ahead_for_them_goes_too(
    reading: Celery, writing: Celery, redis_server: RedisServer
) -> None:
    mine = [reading.AsyncResult(f"call-{number}") for number in range(40)]
    finish(writing, "call-0")
    assert mine[0].get(timeout=60) == "call-0"
    with pytest.raises(Exception, match="timed out"):
        mine[1].get(timeout=0.02)
    assert reading.backend.reader.table.has_foreseen()
    mine.clear()
    gc.collect()
    finish(writing, "other")
    assert reading.AsyncResult("other").get(timeout=60) == "other"
    assert not reading.backend.reader.table.has_foreseen()
    until(lambda: channels(redis_server) == {"celery-task-meta-other"})


def test_given_fire_and_forget_when_many_results_are_made_then_none_is_remembered(reading: Celery) -> None:
    unread: Any = ahead.Unread()
    for number in range(5000):
        result = reading.AsyncResult(f"call-{number}")
        unread.note(result)
    assert len(unread._made) <= 600
    kept = [reading.AsyncResult(f"kept-{number}") for number in range(1000)]
    for result in kept:
        unread.note(result)
        unread.note(reading.AsyncResult("dropped"))
    assert unread.behind(kept[0], 10) == kept[1:11]
    assert unread.behind(kept[-1], 10) == []


def test_given_reads_that_use_what_came_early_then_the_pace_grows_and_else_it_falls() -> None:
    pace = ahead.Pace()
    windows: list[int] = []
    for _ in range(7):
        windows.append(pace.next())
        pace.asked(windows[-1], [b"x"])
        for _ in range(windows[-1]):
            pace.used()
    assert windows == [0, 8, 32, 128, 512, 999, 999]
    for _ in range(3):
        windows.append(pace.next())
        pace.asked(windows[-1], [b"x"])
    assert windows[-3:] == [999, 249, 62]
    pace.asked(62, [b"x" * 1_000_000] * 62)
    assert pace.next() <= 4
