"""The network between worker and Redis: answers that do not arrive, a node that is cut off, a slow line."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.arena import Arena, arena, check
from tests.faults.producer import Producer
from tests.servers import RedisServer, is_left_out

from sedano import Sedano, states
from sedano.exceptions import OperationalError
from sedano.testing.proxy import Proxy

PATIENCE_S = 60.0
ACKS = pytest.mark.parametrize("acks", ["early", "late"])


@pytest.fixture
def server() -> Iterator[RedisServer]:
    if is_left_out("redis"):
        pytest.skip("SEDANO_WITHOUT names redis")
    with RedisServer() as made:
        yield made


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[Proxy]:
    with Proxy(server.socket) as made:
        yield made


def url_of(proxy: Proxy) -> str:
    return f"redis://{proxy.host}:{proxy.port}/0"


def behind(proxy: Proxy) -> dict[str, str]:
    """The environment of a node that takes this way to the store."""
    return {"FAULT_BROKER": url_of(proxy), "FAULT_RESULTS": url_of(proxy)}


def wait_until_started(run: Arena, task_id: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not run.ledger.starts()[f"{task_id}:0"]:
        if time.monotonic() > deadline:
            pytest.fail(f"{task_id} does not start\n{run.logs()}", pytrace=False)
        time.sleep(0.01)  # another process writes the file: it can only be read again


@ACKS
@pytest.mark.parametrize("direction", ["down", "up"])
def test_given_connections_that_break_in_the_middle_of_an_answer_or_a_question_then_nothing_is_lost_or_doubled(
    server: RedisServer, proxy: Proxy, tmp_path: Path, acks: str, direction: str
) -> None:
    with arena(tmp_path, server.url, server.url, acks, lease_s=15.0) as run:
        node = run.node("worker", concurrency=2, **behind(proxy)).wait_ready(PATIENCE_S)
        with Producer(run, pause_s=0.004) as producer:
            for number in range(12):
                producer.wait_for(10)
                before = proxy.traffic.connections
                proxy.cut_after(1 + 97 * number, "down" if direction == "down" else "up")
                deadline = time.monotonic() + PATIENCE_S
                while proxy.traffic.connections == before and time.monotonic() < deadline:
                    time.sleep(0.01)  # the cut comes when the worker has said so much, and then it connects again
                assert proxy.traffic.connections > before, node.log()
        verdict = check(run)
        assert verdict.recorded == [], "no process died"
        if acks == "late":
            assert verdict.interrupted == []
            assert max(run.ledger.starts().values()) == 1, "no lease was lost: nothing is given out twice"


@ACKS
def test_given_a_node_that_is_cut_off_past_its_lease_then_the_other_has_its_work_and_its_own_late_results_are_refused(
    server: RedisServer, proxy: Proxy, tmp_path: Path, acks: str
) -> None:
    gate = tmp_path / "gate"
    with arena(tmp_path, server.url, server.url, acks) as run:
        node = run.node("island", concurrency=1, **behind(proxy)).wait_ready(PATIENCE_S)
        held = run.send("hold", str(gate))
        wait_until_started(run, held)
        proxy.refuse()
        proxy.cut()
        run.node("mainland", concurrency=2).wait_ready(PATIENCE_S)
        if acks == "early":
            lost = run.outcome(held, PATIENCE_S)
            assert (lost.state, lost.error) == (states.FAILURE, "WorkerLostError")
        else:
            deadline = time.monotonic() + PATIENCE_S
            while run.ledger.starts()[f"{held}:0"] < 2 and time.monotonic() < deadline:
                time.sleep(0.01)  # another process writes the file: it can only be read again
        for _ in range(30):
            run.send("work")
        gate.touch()
        verdict = check(run)
        assert verdict.recorded == ([held] if acks == "early" else [])
        proxy.accept()
        node.wait_for_line(rf"SUCCESS of task {held} \(attempt 0\) comes too late and is refused", PATIENCE_S)
        deadline = time.monotonic() + PATIENCE_S
        slots = set(node.slots())
        while not slots & {entry.pid for entry in run.ledger.entries() if entry.task_id != f"{held}:0"}:
            assert time.monotonic() < deadline, run.logs()
            run.outcome(run.send("work", 0.02), PATIENCE_S)  # the island consumes again
        check(run)


def test_given_a_line_of_50_milliseconds_then_everything_works(server: RedisServer, proxy: Proxy, tmp_path: Path) -> None:
    proxy.delay_s = 0.05
    with arena(tmp_path, url_of(proxy), url_of(proxy), "early") as run:
        run.node("worker", concurrency=2).wait_ready(PATIENCE_S)
        for number in range(8):
            run.send("work", countdown=0.3 if number % 4 == 0 else None)
        assert check(run).recorded == []


def test_given_a_sender_that_does_not_hear_that_its_call_was_accepted_then_it_sends_it_again_and_it_runs_twice(
    server: RedisServer, proxy: Proxy, tmp_path: Path
) -> None:
    """What cannot be promised: a lost answer looks like a lost call. `retry=False` leaves the choice to the caller."""
    with arena(tmp_path, server.url, server.url, "early") as run:
        sender = Sedano("sender", broker=url_of(proxy), backend=url_of(proxy), set_as_current=False)
        try:
            sender.send_task("faulty.work", task_id="warm-up")
            proxy.cut_after(0)
            sender.send_task("faulty.work", task_id="repeated")
            proxy.cut_after(0)
            with pytest.raises(OperationalError):
                sender.send_task("faulty.work", task_id="refused", retry=False)
        finally:
            sender.close()
        run.calls.update(dict.fromkeys(["warm-up", "repeated", "refused"], "work"))
        run.node("worker", concurrency=1)
        for task_id in run.calls:
            assert run.outcome(task_id, PATIENCE_S).state == states.SUCCESS
        last = run.send("work")
        assert run.outcome(last, PATIENCE_S).state == states.SUCCESS
        starts = run.ledger.starts()
        assert [starts[f"{task_id}:0"] for task_id in ("warm-up", "repeated", "refused")] == [1, 2, 1]
