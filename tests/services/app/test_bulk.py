"""Many calls at once: shapes, order, round trips, what is told when a part of them is not sent."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any

import pytest
from tests.apps import MakeApp, sent
from tests.roundtrips import CountingRelay
from tests.servers import RedisServer

from sedano import AsyncResult, Celery, Context, signals
from sedano.app import batches
from sedano.app.context import running
from sedano.contracts import Outgoing
from sedano.exceptions import BrokerUnavailable, EncodeError, MessageTooLarge, NotAllSent, OperationalError, StoreFull

StoreApp = Callable[..., Celery]


def sent_calls(app: Celery, *queues: str) -> list[tuple[str, str]]:
    """(id, arguments as text) in the order in which they will be taken."""
    found: list[tuple[str, str]] = []
    while deliveries := sent(app, *(queues or ("celery",)), limit=1000):
        for delivery in deliveries:
            assert delivery.message is not None
            found.append((delivery.message.headers["id"], delivery.message.headers["argsrepr"]))
    return found


@pytest.fixture(autouse=True)
def steady_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow this machine is at the moment, steps keep their size."""
    monkeypatch.setattr(batches, "_BRISK_S", 60.0)


@pytest.fixture
def relay(redis_server: RedisServer) -> Generator[CountingRelay]:
    redis_server.command("FLUSHALL")
    with CountingRelay(redis_server.socket) as relay:
        yield relay


@pytest.fixture
def counted(make_app: MakeApp, relay: CountingRelay) -> Celery:
    """An app whose connection is open and whose queue is declared; the counters stand at zero."""
    app = make_app(broker=relay.url, backend=relay.url)
    app.task(name="add")(lambda x, y=0: x + y)
    app.tasks["add"].delay(0)
    sent(app, "celery")
    relay.reset()
    return app


class Wire:
    """Stands where a driver stands, and fails as the test says: no real store can be told to."""

    def __init__(self, *outcomes: BaseException | None) -> None:
        self.outcomes = list(outcomes)
        self.published: list[str] = []
        self.sizes: list[int] = []

    def publish(self, messages: Sequence[Outgoing]) -> None:
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if outcome is not None:
            raise outcome
        self.sizes.append(len(messages))
        self.published += [message.message.headers["id"] for message in messages]

    def declare(self, queues: Any) -> None: ...
    def reconnect(self) -> None: ...
    def close(self) -> None: ...


def on_wire(app: Celery, wire: Wire) -> None:
    app.sender._open_broker = lambda: wire  # type: ignore[assignment,return-value]


# -- send_many ------------------------------------------------------------------------------------------------------------


def test_given_calls_of_every_shape_when_sent_then_results_and_messages_come_in_their_order(store_app: StoreApp) -> None:
    app = store_app()
    add = app.task(name="add")(lambda x, y=0: x + y)
    results = app.send_many(
        [
            add.s(1),
            (add, (2,)),
            [add, (3,), {"y": 1}],
            (add, (4,), None, {"task_id": "four", "priority": 0}),
            ("add", (5,)),
            ("unknown.here", (6,)),
            dict(add.s(7)),
            add.signature((8,), task_id="eight"),
        ]
    )
    assert sent_calls(app) == [(result.id, f"({number},)") for number, result in enumerate(results, 1)]
    assert (results[3].id, results[7].id) == ("four", "eight")
    assert all(type(result) is AsyncResult for result in results)
    assert app.send_many([]) == []


@pytest.mark.parametrize(
    "call", [5, (), "add", (1, 2, 3, 4, 5), (5, ()), ("add", (1,), {}, {"countdwn": 5}), ("add", (1, 2, 3))]
)
def test_given_what_is_no_call_then_the_error_names_its_place_and_nothing_is_sent(app: Celery, call: Any) -> None:
    app.task(name="add")(lambda x, y=0: x + y)
    with pytest.raises(TypeError) as caught:
        app.send_many([("add", (1,)), call])
    assert "call number 1 (from 0)" in "".join(caught.value.__notes__)
    assert sent_calls(app) == []


def test_given_options_that_send_calls_to_several_places_then_each_arrives_at_its_own(store_app: StoreApp) -> None:
    app = store_app()
    calls = [("t", (number,), None, {"queue": f"q{number % 3}", "retry": number % 2 == 0}) for number in range(10)]
    results = app.send_many(calls)
    for queue in range(3):
        assert sent_calls(app, f"q{queue}") == [(results[n].id, f"({n},)") for n in range(queue, 10, 3)]


def test_given_a_generator_of_many_calls_then_no_step_is_larger_than_its_bound(app: Celery) -> None:
    wire = Wire()
    on_wire(app, wire)
    results = app.send_many(("t", (number,)) for number in range(3000))
    assert wire.published == [result.id for result in results]
    assert max(wire.sizes) <= 1000
    wire.sizes.clear()
    app.send_many(("t", ("x" * (1 << 20),)) for _ in range(9))
    assert max(wire.sizes) <= 4


def test_given_eager_mode_then_the_calls_are_run_here(make_app: MakeApp) -> None:
    app = make_app(task_always_eager=True)
    add = app.task(name="add")(lambda x, y=0: x + y)
    assert [result.get() for result in app.send_many([add.s(1), (add, (2, 3))])] == [1, 5]
    assert [result.get() for result in asyncio.run(app.asend_many([add.s(1)]))] == [1]
    with app.batch():
        assert add.delay(1, 1).get() == 2


def test_given_asyncio_when_many_are_sent_then_it_is_the_same(store_app: StoreApp) -> None:
    app = store_app()
    results = asyncio.run(app.asend_many(("t", (number,)) for number in range(300)))
    assert sent_calls(app) == [(result.id, f"({number},)") for number, result in enumerate(results)]


# -- when a part is not sent ----------------------------------------------------------------------------------------------


def calls(count: int) -> list[tuple[str, tuple[int], None, dict[str, Any]]]:
    options = {"retry": False}
    return [("t", (number,), None, options) for number in range(count)]


def test_given_a_broker_that_goes_away_in_the_middle_then_the_error_tells_which_calls_were_sent(app: Celery) -> None:
    wire = Wire(None, BrokerUnavailable("cut"))
    on_wire(app, wire)
    results: list[Any] = []
    with (
        pytest.raises(
            NotAllSent, match=r"128 of 300 calls were sent; of 128 more it is not known.*; 44 were not sent"
        ) as caught,
        app.batch(),
    ):
        results += [app.send_task(*call[:2], retry=False) for call in calls(300)]
    error = caught.value
    assert isinstance(error, OperationalError)
    assert [result.id for result in error.sent] == wire.published
    assert [*error.sent, *error.unknown, *error.unsent] == results
    assert (len(error.sent), len(error.unknown), len(error.unsent)) == (128, 128, 44)
    with pytest.raises(RuntimeError, match=f"call {results[-1].id} was not sent: of its batch only a part was sent"):
        results[-1].get(timeout=0)


@pytest.mark.parametrize("error", [StoreFull("full"), MessageTooLarge("large")])
def test_given_a_store_that_refuses_then_nothing_is_unknown(app: Celery, error: Exception) -> None:
    wire = Wire(None, error)
    on_wire(app, wire)
    with pytest.raises(NotAllSent) as caught:
        app.send_many(iter(calls(300)))
    assert caught.value.__cause__ is error
    assert [result.id for result in caught.value.sent] == wire.published
    assert caught.value.unknown == []
    assert len(caught.value.unsent) == 128  # the generator was not asked for more


def test_given_a_bad_call_after_sent_ones_then_the_error_tells_which_were_sent(app: Celery) -> None:
    wire = Wire()
    on_wire(app, wire)
    with pytest.raises(NotAllSent, match="call number 200") as caught:
        app.send_many([*calls(200), ("t", (object(),))])
    assert isinstance(caught.value.__cause__, EncodeError)
    assert [result.id for result in caught.value.sent] == wire.published
    assert (len(caught.value.sent), len(caught.value.unsent)) == (128, 72)


def test_given_an_interrupt_in_the_middle_then_it_is_raised_and_says_what_was_sent(app: Celery) -> None:
    wire = Wire(None, KeyboardInterrupt())
    on_wire(app, wire)
    with pytest.raises(KeyboardInterrupt) as caught:
        app.send_many(calls(200))
    assert "128 of 200 calls were sent; of 72 more it is not known" in "".join(caught.value.__notes__)
    assert app.send_many(calls(1))[0].id == wire.published[-1]


def test_given_a_broker_that_comes_back_then_the_step_is_repeated(app: Celery) -> None:
    wire = Wire(None, BrokerUnavailable("cut"))
    on_wire(app, wire)
    policy = {"interval_start": 0, "interval_step": 0, "max_retries": 2}
    results = app.send_many(("t", (), None, {"retry_policy": policy}) for _ in range(200))
    assert wire.published == [result.id for result in results]


@pytest.mark.redis
def test_given_redis_that_is_killed_between_blocks_then_no_call_is_silently_lost(make_app: MakeApp) -> None:
    with RedisServer() as server:
        app = make_app(broker=server.url, backend=server.url)
        app.send_many(calls(10))
        server.kill()
        with pytest.raises(NotAllSent) as caught:
            app.send_many(calls(10))
        assert len(caught.value.unknown) == 10
        server.start()
        assert len(app.send_many(calls(10))) == len(sent_calls(app)) == 10


# -- batch ----------------------------------------------------------------------------------------------------------------


def test_given_a_block_then_its_calls_go_out_at_its_end_in_their_order(store_app: StoreApp) -> None:
    app = store_app()
    add = app.task(name="add")(lambda x, y=0: x + y)
    with app.batch():
        results = [add.delay(1), add.apply_async((2,)), app.send_task("other", (3,)), add.s(4).delay()]
        results += app.send_many([add.s(5)])
        assert sent_calls(app) == []
        assert len({result.id for result in results}) == 5
    assert sent_calls(app) == [(result.id, f"({number},)") for number, result in enumerate(results, 1)]


def test_given_an_exception_in_the_block_then_nothing_is_sent_and_its_results_say_so(app: Celery) -> None:
    results: list[Any] = []
    with pytest.raises(ZeroDivisionError), app.batch():  # noqa: PT012
        results.append(app.send_task("t"))
        raise ZeroDivisionError
    assert sent_calls(app) == []
    with pytest.raises(RuntimeError, match="dropped, because an exception ended the block"):
        results[0].get(timeout=0)
    app.send_task("t")
    assert len(sent_calls(app)) == 1


def test_given_an_unsent_call_when_it_is_waited_for_then_the_error_says_why_and_after_the_block_it_can_be(app: Celery) -> None:
    async def wait(result: Any) -> None:
        await result

    with app.batch():
        result = app.send_task("t")
        with pytest.raises(RuntimeError, match="is in a batch that is still open"):
            result.get()
        with pytest.raises(RuntimeError, match="is in a batch that is still open"):
            asyncio.run(wait(result))
    with pytest.raises(result.TimeoutError):
        result.get(timeout=0)


def test_given_blocks_inside_of_each_other_then_all_goes_out_with_the_outermost(app: Celery) -> None:
    with app.batch():
        app.send_task("t", (1,))
        with app.batch():
            app.send_task("t", (2,))
        with pytest.raises(ZeroDivisionError), app.batch():  # noqa: PT012
            app.send_task("t", (3,))
            raise ZeroDivisionError
        app.send_task("t", (4,))
        assert sent_calls(app) == []
    assert [text for _, text in sent_calls(app)] == ["(1,)", "(2,)", "(4,)"]


def test_given_two_apps_then_each_block_collects_its_own(make_app: MakeApp) -> None:
    one, other = make_app(), make_app()
    with one.batch():
        one.send_task("t")
        other.send_task("t")
        assert (len(sent_calls(one)), len(sent_calls(other))) == (0, 1)
        with other.batch():
            other.send_task("t")
            one.send_task("t")
        assert (len(sent_calls(one)), len(sent_calls(other))) == (0, 1)
    assert len(sent_calls(one)) == 2


def test_given_a_call_that_cannot_be_prepared_then_its_own_line_raises_and_the_others_go_out(app: Celery) -> None:
    with app.batch():
        app.send_task("t", (1,))
        with pytest.raises(EncodeError):
            app.send_task("t", (object(),))
    assert [text for _, text in sent_calls(app)] == ["(1,)"]


def test_given_threads_and_asyncio_tasks_then_they_are_no_part_of_the_block(app: Celery) -> None:
    with app.batch():
        thread = threading.Thread(target=lambda: app.send_task("t", ("thread",)))
        thread.start()
        thread.join(10)
        assert [text for _, text in sent_calls(app)] == ["('thread',)"]

    async def main() -> None:
        async with app.batch():
            await app.asend_task("t", ("mine",))
            app.send_task("t", ("mine too",))
            await asyncio.create_task(app.asend_task("t", ("task",)))  # type: ignore[arg-type]
            await asyncio.to_thread(app.send_task, "t", ("thread",))
            await app.asend_many([("t", ("many",))])
            assert [text for _, text in sent_calls(app)] == ["('task',)", "('thread',)"]

    asyncio.run(main())
    assert [text for _, text in sent_calls(app)] == ["('mine',)", "('mine too',)", "('many',)"]


def test_given_an_exception_in_an_async_block_then_nothing_is_sent(app: Celery) -> None:
    async def main() -> None:
        async with app.batch():
            await app.asend_task("t")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(main())
    assert sent_calls(app) == []


def test_given_receivers_of_signals_then_after_task_publish_comes_when_the_call_was_sent(app: Celery) -> None:
    heard: list[tuple[str, str]] = []

    def before(headers: Any, **_: Any) -> None:
        heard.append(("before", headers["id"]))

    def after(headers: Any, **_: Any) -> None:
        heard.append(("after", headers["id"]))

    signals.before_task_publish.connect(before)
    signals.after_task_publish.connect(after)
    try:
        with app.batch():
            result = app.send_task("t")
            assert heard == [("before", result.id)]
        assert heard == [("before", result.id), ("after", result.id)]
        with pytest.raises(ZeroDivisionError), app.batch():  # noqa: PT012
            app.send_task("t")
            raise ZeroDivisionError
        assert [what for what, _ in heard] == ["before", "after", "before"]
        many = app.send_many([("t",), ("t",)])
        assert heard[-2:] == [("after", result.id) for result in many]
    finally:
        signals.before_task_publish.disconnect(before)
        signals.after_task_publish.disconnect(after)


def test_given_a_running_call_then_what_it_sends_together_become_its_children_and_what_was_dropped_does_not(
    app: Celery,
) -> None:
    task = app.task(name="parent")(lambda: None)
    request = Context(id="parent", called_directly=False)
    with running(task, request):
        with app.batch():
            one = app.send_task("t")
        (two,) = app.send_many([("t",)])
        with pytest.raises(ZeroDivisionError), app.batch():  # noqa: PT012
            app.send_task("t")
            raise ZeroDivisionError
    assert request.children == [one, two]


def test_given_a_fork_inside_of_a_block_then_the_childs_calls_go_out_at_once_and_the_parents_once(
    store_app: StoreApp,
) -> None:
    app = store_app()
    if app.stores.broker_url.startswith("memory://"):
        pytest.skip("a memory store belongs to one process")
    block = app.batch()
    block.__enter__()
    app.send_task("t", ("parent",))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            app.send_task("t", ("child",))
            block.__exit__(None, None, None)
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert [text for _, text in sent_calls(app)] == ["('child',)"]
    block.__exit__(None, None, None)
    assert [text for _, text in sent_calls(app)] == ["('parent',)"]


def test_given_a_fork_while_other_threads_publish_then_the_children_can_send(store_app: StoreApp) -> None:
    """As in gunicorn: the app is used before the fork, the sender's lock may be held at that moment."""
    app = store_app()
    if app.stores.broker_url.startswith("memory://"):
        pytest.skip("a memory store belongs to one process")
    stop = threading.Event()
    # A fork in the middle of a thread's first import leaves Python's own lock of that module held in the child.
    mine = [app.send_task("t", ("parent",)).id]

    def keep_sending() -> None:
        while not stop.is_set():
            mine.append(app.send_task("t", ("parent",)).id)

    threads = [threading.Thread(target=keep_sending) for _ in range(2)]
    for thread in threads:
        thread.start()
    children: list[int] = []
    for number in range(5):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                app.send_task("t", (number,))
                app.send_many([("t", (number,))] * 3)
                with app.batch():
                    app.send_task("t", (number,))
                asyncio.run(app.asend_task("t", (number,)))  # type: ignore[arg-type]
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 5
    stop.set()
    for thread in threads:
        thread.join(10)
    found = sent_calls(app)
    assert len({task_id for task_id, _ in found}) == len(found)
    assert sorted(text for _, text in found if text != "('parent',)") == sorted(f"({n},)" for n in range(5) for _ in range(6))
    assert {task_id for task_id, text in found if text == "('parent',)"} == set(mine)


# -- round trips ----------------------------------------------------------------------------------------------------------


@pytest.mark.redis
def test_given_one_call_then_it_is_one_round_trip(counted: Celery, relay: CountingRelay) -> None:
    add = counted.tasks["add"]
    for _ in range(10):
        add.delay(1)
    assert (relay.round_trips, relay.connections) == (10, 0)
    for number in range(10):
        add.apply_async((number,), countdown=60)
        add.apply_async((number,), priority=3)
    assert relay.round_trips == 30


@pytest.mark.redis
def test_given_many_calls_then_they_are_few_round_trips_of_bounded_size(counted: Celery, relay: CountingRelay) -> None:
    add = counted.tasks["add"]
    counted.send_many((add, (number,)) for number in range(5000))
    assert relay.round_trips <= 5000 // 128 + 1
    assert relay.largest < 8 << 20
    relay.reset()
    with counted.batch():
        for number in range(5000):
            add.delay(number)
        assert relay.round_trips == 0
    assert relay.round_trips <= 5000 // 128 + 1
    assert len(sent_calls(counted)) == 10_000


@pytest.mark.redis
def test_given_a_broker_that_is_far_away_then_steps_grow() -> None:
    pace = batches.Pace()
    for expected in (128, 256, 512, 1000, 1000):
        assert pace.limit == expected
        with pace:
            pace._began -= 100.0


@pytest.mark.redis
def test_given_eight_threads_that_send_then_they_share_round_trips(counted: Celery, relay: CountingRelay) -> None:
    add = counted.tasks["add"]
    relay.go_on.clear()
    threads = [threading.Thread(target=add.delay, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 10
    while len(counted.sender._waiting) < 7:  # one is on its way, and the others wait for it
        assert time.monotonic() < deadline
        time.sleep(0.001)
    relay.go_on.set()
    for thread in threads:
        thread.join(30)
    assert relay.round_trips == 2
    assert len(sent_calls(counted)) == 8


@pytest.mark.redis
def test_given_asyncio_tasks_that_send_at_once_then_they_share_round_trips(counted: Celery, relay: CountingRelay) -> None:
    add = counted.tasks["add"]

    async def main() -> None:
        sending = [asyncio.create_task(add.adelay(number)) for number in range(2500)]
        await asyncio.sleep(0)  # each task has begun now and handed over its call
        relay.go_on.set()
        await asyncio.gather(*sending)

    relay.go_on.clear()
    asyncio.run(main())
    assert relay.round_trips <= 5, relay.round_trips
    assert relay.largest < 2 << 20
    assert len(sent_calls(counted)) == 2500
