"""kill -9 at every named point, on every store, in both ack modes: nothing lost, nothing stuck, no early-ack attempt twice.

A run starts several victims, each armed with one point, beside one node that survives; calls are sent until all victims have
been killed at their points. One round in the default run kills at the first passing, the next at a later one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.arena import Arena, arena, check, feed_until
from tests.faults.points import ELSEWHERE, GROUPS, SEPARATE, hit_of
from tests.servers import RedisServer

from sedano.crashpoints import POINTS
from sedano.testing.faults import CrashAt

LONG = os.environ.get("SEDANO_LONG") == "1"
ROUNDS = 20 if LONG else 2


def test_every_point_is_in_a_test():
    tested = [*(point for points in GROUPS.values() for point in points), *SEPARATE, *ELSEWHERE]
    assert sorted(tested) == sorted(POINTS)


@pytest.fixture
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """(broker, results) of the store that the test asks for."""
    kind: str = request.param
    if kind.startswith("sqlite"):
        broker = f"sqlite:///{tmp_path}/broker.db"
        return broker, f"sqlite:///{tmp_path}/results.db" if kind == "sqlite-apart" else broker
    if kind == "rabbitmq":
        return request.getfixturevalue("rabbit_url"), f"sqlite:///{tmp_path}/results.db"
    server: RedisServer = request.getfixturevalue("redis_server")
    server.command("FLUSHALL")
    if kind == "redis-apart":
        second: RedisServer = request.getfixturevalue("second_redis_server")
        second.command("FLUSHALL")
        return server.url, second.url
    return server.url, server.url


@pytest.fixture(scope="module")
def second_redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


RABBITMQ = pytest.param("rabbitmq", marks=[pytest.mark.rabbitmq, pytest.mark.long])
EACH = pytest.mark.parametrize("stores", ["sqlite", "redis", RABBITMQ], indirect=True)
APART = pytest.mark.parametrize("stores", ["sqlite-apart", "redis-apart", RABBITMQ], indirect=True)
ACKS = pytest.mark.parametrize("acks", ["early", "late"])
EACH_ROUND = pytest.mark.parametrize("round_", range(ROUNDS))


def victims(run: Arena, points: list[str], round_: int, folder: Path) -> list[CrashAt]:
    """Start one node for each point; small processes' lives make them pass the points of births and deaths too."""
    crashes = []
    for number, point in enumerate(points):
        crash = CrashAt(point, folder, hit=hit_of(point, round_))
        crashes.append(crash)
        run.node(f"victim{number}", crash, options=["--max-tasks-per-child", "5"])
    return crashes


@EACH_ROUND
@ACKS
@EACH
@pytest.mark.parametrize("group", [name for name in GROUPS if name != "reaper"])
def test_given_kill_9_at_a_point_then_every_call_has_its_outcome(stores, acks, group, round_, tmp_path):
    with arena(tmp_path, *stores, acks, deliveries=2) as run:
        crashes = victims(run, GROUPS[group], round_, tmp_path)
        run.node("survivor", concurrency=1)
        feed_until(run, crashes)
        verdict = check(run)
        if group == "slot-call":
            # Proof that the kills landed inside begun windows.
            starts = run.ledger.starts()
            if acks == "early":
                # A poison call that never started was not its own victim: the kill at slot.call.before has met it.
                met = [task_id for task_id in verdict.poisoned if not starts[f"{task_id}:0"]]
                assert len(verdict.recorded) + len(met) >= len(crashes), run.logs()
            else:
                alive = [task_id for task_id, kind in run.calls.items() if kind != "die"]
                assert any(starts[f"{task_id}:{retry}"] > 1 for task_id in alive for retry in (0, 1)), run.logs()


@EACH_ROUND
@ACKS
@APART
def test_given_results_in_another_store_and_kill_9_between_the_two_then_the_result_arrives(stores, acks, round_, tmp_path):
    with arena(tmp_path, *stores, acks, deliveries=2) as run:
        crashes = victims(run, SEPARATE, round_, tmp_path)
        run.node("survivor", concurrency=1)
        feed_until(run, crashes)
        check(run)


@EACH_ROUND
@ACKS
@EACH
@pytest.mark.parametrize("point", GROUPS["reaper"])
def test_given_kill_9_of_the_reaper_then_the_next_one_finishes_its_work(stores, acks, point, round_, tmp_path):
    if acks == "late" and stores[0].startswith("amqp"):
        pytest.skip("what was not acknowledged the server gives to others: there is nothing to take over")
    gate = tmp_path / "gate"
    with arena(tmp_path, *stores, acks, deliveries=3) as run:
        first = run.node("first", concurrency=2).wait_ready()
        held = [run.send("hold", str(gate)) for _ in range(2)]
        for _ in range(20):
            run.send("work")
        wait_for_starts(run, held)
        crash = CrashAt(point, tmp_path)
        reaper = run.node("reaper", crash).wait_ready()
        first.kill()
        assert reaper.wait() != 0
        assert crash.reached()
        gate.touch()
        run.node("survivor", concurrency=2)
        verdict = check(run)
        if acks == "early":
            assert set(verdict.recorded) == set(held)
        else:
            assert verdict.recorded == []


def wait_for_starts(run: Arena, task_ids: list[str]) -> None:
    """Until each of these calls has started somewhere."""
    deadline = time.monotonic() + 60
    while not all(run.ledger.starts()[f"{task_id}:0"] for task_id in task_ids):
        if time.monotonic() > deadline:
            pytest.fail(f"not started: {task_ids}\n{run.logs()}", pytrace=False)
        time.sleep(0.01)  # another process writes the file: it can only be read again


@EACH_ROUND
@ACKS
@EACH
def test_given_kill_9_of_a_whole_node_in_mid_run_then_another_does_its_work(stores, acks, round_, tmp_path):
    gate = tmp_path / "gate"
    with arena(tmp_path, *stores, acks, deliveries=3) as run:
        victim = run.node("victim", concurrency=2).wait_ready()
        running = run.send("hold", str(gate))
        for number in range(60 + 20 * round_):
            run.send("work", 0.001 * (number % 3), countdown=0.5 if number % 10 == 0 else None)
        wait_for_starts(run, [running])
        victim.kill()
        gate.touch()
        run.node("survivor", concurrency=2)
        verdict = check(run)
        assert running in verdict.interrupted, "the kill must land inside a begun window"
        assert (running in verdict.recorded) is (acks == "early")


@EACH
@pytest.mark.parametrize("point", ["sender.publish.before", "sender.publish.after"])
def test_given_kill_9_of_the_sender_then_what_it_was_told_is_accepted_is_done(stores, point, tmp_path):
    with arena(tmp_path, *stores, "early") as run:
        crash = CrashAt(point, tmp_path, hit=7)
        program = "from faulty import work\nwhile True:\n    result = work.delay()\n    print(result.id, flush=True)\n"
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=Path(__file__).parent / "project",
            env={**os.environ, **run.environment, **crash.environment()},
            capture_output=True,
            text=True,
            check=False,
        )
        accepted = done.stdout.split()
        assert crash.reached()
        assert len(accepted) == 6
        run.calls.update(dict.fromkeys(accepted, "work"))
        run.node("worker")
        check(run)


def test_given_kill_9_while_handing_back_then_the_delayed_calls_are_still_there(redis_server, tmp_path):
    redis_server.command("FLUSHALL")
    with arena(tmp_path, redis_server.url, redis_server.url, "early") as run:
        crash = CrashAt("supervisor.handback.before", tmp_path)
        node = run.node("victim", crash).wait_ready()
        for _ in range(5):
            run.send("work", countdown=10)
        run.outcome(run.send("work"), 60)
        node.signal(15)
        node.wait()
        assert crash.reached()
        run.node("survivor")
        check(run)
