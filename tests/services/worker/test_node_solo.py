"""The pool without processes: a node on its own, and the worker that lives inside a test."""

from __future__ import annotations

import gc
import itertools
import logging
import os
import signal
import threading
import time
import uuid
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from tests.servers import RedisServer, is_left_out
from tests.services.worker.nodes import PATIENCE_S, NodeWorld

from sedano.app.base import Celery
from sedano.app.connect import Stores
from sedano.drivers import memory
from sedano.exceptions import BrokerUnavailable, ImproperlyConfigured, WorkerLostError, WorkerShutdown
from sedano.testing.worker import WorkerDidNotStop, start_worker
from sedano.worker import reconnect, supervisor

SOLO = ["-P", "solo"]


# -- a node ------------------------------------------------------------------------------------------------------------


def test_given_the_pool_solo_when_a_node_runs_calls_then_it_is_one_process(world: NodeWorld) -> None:
    node = world.ready(options=SOLO)
    assert world.get("pid") == node.pid
    assert node.processes() == [node.pid]
    assert "pool     solo, 1 slot, in this process" in node.log()
    world.get("say", "hello")
    node.wait_for_line(r"WARNING/MainProcess\] hello$")
    assert node.stop() == 0
    assert world.leases() == []


def test_given_a_call_longer_than_the_lease_when_another_node_watches_then_it_runs_once(world: NodeWorld) -> None:
    world.ready(options=SOLO)
    late = world.send("hold_late", "gate")
    world.until_started(late)
    world.ready("w2@test", options=SOLO)
    time.sleep(3.0)  # the lease is 2 s: nothing can be waited for that must not happen
    world.open_gate("gate")
    assert late.get(timeout=PATIENCE_S) is False
    assert world.ledger.starts()[late.id] == 1


def test_given_calls_behind_a_long_one_when_50_ms_are_over_then_another_node_runs_them(world: NodeWorld) -> None:
    world.ready(options=SOLO)
    for result in [world.send("maybe_hold") for _ in range(30)]:
        result.get(timeout=PATIENCE_S)
    long_ = world.send("maybe_hold", "gate")
    others = [world.send("maybe_hold") for _ in range(20)]
    world.ready("w2@test", options=SOLO)
    for other in others:
        other.get(timeout=PATIENCE_S)
    assert not long_.ready()
    world.open_gate("gate")
    long_.get(timeout=PATIENCE_S)


@pytest.mark.parametrize("numbers", [(signal.SIGINT, signal.SIGINT), (signal.SIGQUIT,)])
def test_given_a_cold_stop_when_a_late_call_runs_then_it_goes_back(world: NodeWorld, numbers: tuple[int, ...]) -> None:
    node = world.ready(options=SOLO)
    late = world.send("hold_late", "gate")
    world.until_started(late)
    for number in numbers:
        node.signal(number)
        node.wait_for_line("(Warm|Cold) shutdown")
    assert node.wait() == (0 if numbers == (signal.SIGQUIT,) else 1)
    assert world.leases() == []
    world.open_gate("gate")
    world.ready("w2@test", options=SOLO)
    assert late.get(timeout=PATIENCE_S) is True


def test_given_term_when_a_call_runs_then_it_is_finished(world: NodeWorld) -> None:
    node = world.ready(options=SOLO)
    running = world.send("hold", "gate")
    world.until_started(running)
    node.signal(signal.SIGTERM)
    node.wait_for_line("Warm shutdown")
    world.open_gate("gate")
    assert node.wait() == 0
    assert running.get(timeout=60) == "gate"


def test_given_a_pool_that_there_is_not_when_a_node_starts_then_it_says_which_there_are(world: NodeWorld) -> None:
    node = world.node(options=["-P", "fibres"])
    assert node.wait() != 0
    assert "there is no pool 'fibres': use prefork" in node.log()


# -- inside a test -----------------------------------------------------------------------------------------------------


@pytest.fixture
def app() -> Iterator[Any]:
    url = f"memory://{uuid.uuid4().hex}"
    app: Any = Celery("embedded", broker=url, backend=url, set_as_current=False)
    yield app
    app.close()
    memory.forget_store(url)


def test_given_a_worker_in_the_test_when_a_call_is_sent_then_it_runs_in_this_process(app: Any) -> None:
    @app.task
    def where() -> int:
        return os.getpid()

    before = threading.active_count()
    with start_worker(app) as worker:
        assert where.delay().get(timeout=60) == os.getpid()
        assert worker.is_ready()
        assert app.control.inspect(timeout=60).ping(destination=["test@embedded"]) == {"test@embedded": {"ok": "pong"}}
    assert threading.active_count() <= before + 1  # the reader of results may live on


def test_given_a_mailbox_that_opens_late_when_the_worker_is_ready_then_the_first_ping_is_answered(
    app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_bus = Stores.open_bus

    def open_late(stores: Stores) -> Any:
        if threading.current_thread().name == "sedano-mailbox":
            time.sleep(0.5)  # the fault itself: a broker that is slow to answer one of the node's connections
        return open_bus(stores)

    monkeypatch.setattr(Stores, "open_bus", open_late)
    with start_worker(app):
        assert app.control.inspect(timeout=5).ping(destination=["test@embedded"]) == {"test@embedded": {"ok": "pong"}}


def test_given_a_mailbox_that_cannot_be_opened_when_the_worker_starts_then_it_works_without_and_says_so(
    app: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_stores: Stores) -> Any:
        raise BrokerUnavailable("this user may not subscribe")

    monkeypatch.setattr(supervisor, "MAILBOX_PATIENCE_S", 0.2)
    monkeypatch.setattr(Stores, "open_bus", refuse)
    with start_worker(app) as worker:
        assert worker.is_ready()
    assert "works and hears no commands" in caplog.text


def test_given_a_broker_that_comes_back_when_the_supervisor_has_it_then_the_slot_does_not_wait_for_its_own_next_try(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if is_left_out("redis"):
        pytest.skip("SEDANO_WITHOUT names redis")
    monkeypatch.setattr(reconnect, "backoff", lambda _longest_s=0.0: itertools.repeat(3600.0))  # the slot's, not the keeper's
    caplog.set_level(logging.DEBUG)
    with RedisServer() as server:
        app: Any = Celery("embedded", broker=server.url, backend=server.url, set_as_current=False)
        app.conf.broker_connection_max_retries = None

        @app.task
        def add(x: int, y: int) -> int:
            return x + y

        with start_worker(app):
            server.kill()
            deadline = time.monotonic() + 60
            while "Trying again in 3600.00 seconds" not in caplog.text:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            server.start()
            assert add.delay(2, 3).get(timeout=60) == 5
        app.close()


def test_given_one_worker_after_another_in_the_test_when_they_have_stopped_then_no_file_is_left_open(app: Any) -> None:
    def count() -> int:
        with start_worker(app) as worker:
            app.tasks["celery.backend_cleanup"].delay().get(timeout=60)
        worker.stop()  # too late, and harmless
        return len(os.listdir("/proc/self/fd"))

    count()
    gc.collect()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert [count() for _ in range(3)] == [count()] * 3
        gc.collect()
    assert [str(one.message) for one in told if one.category is ResourceWarning] == []


def test_given_an_order_that_nobody_waits_for_any_more_when_the_supervisor_goes_on_then_it_is_not_carried_out(
    app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "ANSWER_S", 0.05)
    goes_on, done = threading.Event(), list[str]()
    with start_worker(app) as worker:
        assert worker.supervisor is not None
        worker.supervisor.post(lambda: goes_on.wait(60) and None)
        with pytest.raises(TimeoutError):
            worker.supervisor.ask(lambda: done.append("late"))
        goes_on.set()
        monkeypatch.undo()
        worker.supervisor.ask(lambda: done.append("in time"))
    assert done == ["in time"]


def test_given_a_countdown_when_the_worker_is_in_the_test_then_the_call_runs_when_it_is_due(app: Any) -> None:
    @app.task
    def at() -> float:
        return time.time()

    with start_worker(app):
        sent = time.time()
        ran = at.apply_async(countdown=0.5).get(timeout=60)
    assert 0.5 <= ran - sent < 1.5


def test_given_a_task_that_leaves_the_process_when_the_worker_is_in_the_test_then_the_call_is_lost_and_the_worker_goes_on(
    app: Any,
) -> None:
    @app.task
    def leave() -> None:
        raise SystemExit(3)

    @app.task
    def add(x: int, y: int) -> int:
        return x + y

    with start_worker(app):
        with pytest.raises(WorkerLostError, match="exitcode 3"):
            leave.delay().get(timeout=60)
        assert add.delay(2, 3).get(timeout=60) == 5


def test_given_a_task_that_asks_the_worker_to_stop_when_it_runs_then_the_worker_stops(app: Any) -> None:
    @app.task
    def stop() -> None:
        raise WorkerShutdown(0)

    with start_worker(app) as worker:
        stop.delay()
        deadline = time.monotonic() + 60
        while worker.exitcode is None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert worker.exitcode == 0


def test_given_a_task_that_does_not_end_when_the_block_ends_then_the_error_says_so(app: Any) -> None:
    gate, entered = threading.Event(), threading.Event()

    @app.task
    def hold() -> None:
        entered.set()
        gate.wait()

    def use() -> None:
        with start_worker(app, shutdown_timeout=0.2):
            hold.delay()
            assert entered.wait(60)

    with pytest.raises(WorkerDidNotStop, match="does not end within"):
        use()
    gate.set()


def test_given_settings_that_cannot_be_when_the_worker_starts_then_the_test_gets_the_error(app: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match="no queue to consume"), start_worker(app, exclude_queues=("celery",)):
        pass
