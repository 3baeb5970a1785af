"""What a node does when a process of it dies, when the broker does, and when a call runs too long."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.servers import RedisServer
from tests.services.worker.nodes import PATIENCE_S, NodeWorld

from sedano.exceptions import TaskRevokedError, TimeLimitExceeded, WorkerLostError
from sedano.testing.faults import CrashAt

World = Callable[..., NodeWorld]


def lives(pid: int) -> bool:
    """Whether the process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# -- slots -----------------------------------------------------------------------------------------------------------


def test_given_an_early_call_when_its_process_is_killed_then_it_has_failed_at_once_and_the_node_goes_on(
    world: NodeWorld,
    store: str,
) -> None:
    node = world.ready(concurrency=1)
    result = world.send("kill_self", signal.SIGKILL)
    with pytest.raises(WorkerLostError, match=r"Worker exited prematurely: signal 9 \(SIGKILL\)"):
        result.get(timeout=60)
    assert world.get("add", 2, 2) == 4
    node.wait_for_line(r"ERROR/MainProcess\] Process 'ForkPoolWorker-1' pid:\d+ exited with 'signal 9 \(SIGKILL\)'")
    node.wait_for_line(r"ERROR/MainProcess\] Task handler raised error: WorkerLostError")


def test_given_a_late_call_when_its_process_is_killed_once_then_it_runs_again(world: NodeWorld, store: str) -> None:
    node = world.ready()
    result = world.send("hold_late", "gate")
    world.until_started(result)
    os.kill(world.ledger.entries()[0].pid, signal.SIGKILL)
    world.until_started(result, times=2)
    world.open_gate("gate")
    assert result.get(timeout=PATIENCE_S) is True
    assert len(node.slots()) == 2


def test_given_a_process_hook_that_kills_each_process_when_the_node_starts_then_the_restarts_are_slowed_down(
    world: NodeWorld,
) -> None:
    world.write_tasks("""
@signals.worker_process_init.connect
def die(**kwargs): os._exit(3)
""")
    node = world.node(concurrency=1)
    node.wait_for_line("has died 2 times in a row right after its start; the next one is started in 1.0 s")
    assert node.stop() == 0


def test_given_a_term_for_the_whole_group_when_a_call_runs_then_only_the_supervisor_hears_it(world: NodeWorld) -> None:
    node = world.ready()
    running = world.send("hold", "gate")
    world.until_started(running)
    os.killpg(node.pid, signal.SIGTERM)
    node.wait_for_line("Warm shutdown")
    world.open_gate("gate")
    assert node.wait() == 0
    assert running.get(timeout=60) == "gate"
    assert "exited with" not in node.log()


# -- template and supervisor -------------------------------------------------------------------------------------------


def test_given_a_template_that_is_killed_when_calls_run_then_they_are_settled_and_another_template_works(
    world: NodeWorld,
    store: str,
) -> None:
    node = world.ready()
    early, late = world.send("hold", "never"), world.send("hold_late", "gate")
    world.until_started(early)
    world.until_started(late)
    template, slots = node.template(), node.slots()
    os.kill(template, signal.SIGKILL)
    with pytest.raises(WorkerLostError):
        early.get(timeout=PATIENCE_S)
    assert not any(lives(pid) for pid in slots)
    world.until_started(late, times=2)
    world.open_gate("gate")
    assert late.get(timeout=PATIENCE_S) is True
    assert node.template() != template
    assert "The template process" in node.log()
    assert node.stop() == 0
    assert world.leases() == []


def test_given_a_supervisor_that_is_killed_when_calls_run_then_nothing_of_it_lives_and_another_node_takes_over(
    world: NodeWorld,
    store: str,
) -> None:
    node = world.ready()
    early, late = world.send("hold", "never"), world.send("hold_late", "gate")
    world.until_started(early)
    world.until_started(late)
    processes = node.processes()
    os.kill(node.pid, signal.SIGKILL)
    node.wait()
    world.until(lambda: not any(lives(pid) for pid in processes))
    other = world.ready("w2@test")
    began = time.monotonic()
    world.until_started(late, times=2)
    assert time.monotonic() - began < 6.0  # the lease is 2 s
    world.open_gate("gate")
    assert late.get(timeout=PATIENCE_S) is True
    with pytest.raises(WorkerLostError):
        early.get(timeout=PATIENCE_S)
    assert other.stop() == 0
    assert world.leases() == []


def test_given_a_node_that_is_stopped_and_resumed_when_its_calls_were_taken_over_then_its_late_outcomes_are_refused(
    world: NodeWorld,
    store: str,
) -> None:
    node = world.ready(concurrency=1)
    late = world.send("hold_late", "gate")
    world.until_started(late)
    frozen = node.processes()
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    world.ready("w2@test", concurrency=1)
    world.until_started(late, times=2)
    world.open_gate("gate")
    assert late.get(timeout=PATIENCE_S) is True  # the second run's
    for pid in frozen:
        os.kill(pid, signal.SIGCONT)
    node.wait_for_line("comes too late and is refused")
    assert late.get(timeout=1) is True
    assert world.get("add", 1, 2) == 3


@pytest.mark.parametrize("spawns", [False, True])
def test_given_an_app_that_starts_threads_when_it_is_imported_then_each_process_imports_it_anew(
    world: NodeWorld, store: str, spawns: bool
) -> None:
    world.write_tasks(
        """
import threading
if THREADS:
    threading.Thread(target=threading.Event().wait, daemon=True, name="mine").start()
@app.task
def threads():
    return [thread.name for thread in threading.enumerate()]
""".replace("THREADS", str(spawns))
    )
    node = world.ready()
    assert world.get("threads") == (["MainThread", "mine"] if spawns else ["MainThread"])
    assert ("importing the app started threads (mine)" in node.log()) is spawns
    result = world.send("kill_self", signal.SIGKILL)
    with pytest.raises(WorkerLostError):
        result.get(timeout=PATIENCE_S)
    assert world.get("add", 2, 3) == 5
    processes = node.processes()
    assert node.stop() == 0
    assert not any(lives(pid) for pid in processes)


def test_given_an_app_that_cannot_be_loaded_any_more_when_the_template_dies_then_the_node_settles_and_ends_with_69(
    world: NodeWorld,
) -> None:
    node = world.ready()
    late = world.send("hold_late", "gate")
    world.until_started(late)
    world.write_tasks("raise RuntimeError('broken by a deployment')")
    os.kill(node.template(), signal.SIGKILL)
    assert node.wait() == 69
    assert "died 4 times in a row without having made a pool process" in node.log()
    assert node.log().count("CRITICAL") == 1
    assert world.leases() == []
    world.write_tasks()
    world.open_gate("gate")
    world.ready("w2@test")
    assert late.get(timeout=PATIENCE_S) is True


# -- limits and orders -------------------------------------------------------------------------------------------------


def test_given_a_soft_limit_when_it_is_over_then_the_task_may_clean_up(world: NodeWorld) -> None:
    node = world.ready()
    assert world.get("polite", soft_time_limit=0.3, time_limit=20) == "cleaned up"
    node.wait_for_line(r"WARNING/MainProcess\] Soft time limit \(0.3s\) exceeded for tasks.polite\[")


def test_given_a_hard_limit_when_it_is_over_then_the_process_is_replaced_and_the_call_has_failed(
    world: NodeWorld, store: str
) -> None:
    node = world.ready()
    result = world.send("stubborn", "never", soft_time_limit=0.2, time_limit=0.6)
    with pytest.raises(TimeLimitExceeded, match=r"0\.6"):
        result.get(timeout=PATIENCE_S)
    node.wait_for_line(r"ERROR/MainProcess\] Hard time limit \(0.6s\) exceeded for tasks.stubborn\[")
    world.until(lambda: len(node.slots()) == 2)
    assert world.get("add", 1, 1) == 2


@pytest.mark.parametrize("task", ["hold", "stubborn"])
def test_given_a_revoke_with_terminate_when_the_call_runs_then_it_is_revoked_and_its_process_replaced(
    world: NodeWorld, store: str, task: str
) -> None:
    node = world.ready()
    result = world.send(task, "never")
    world.until_started(result)
    result.revoke(terminate=True)
    with pytest.raises(TaskRevokedError, match="terminated"):
        result.get(timeout=PATIENCE_S)
    node.wait_for_line(rf"INFO/MainProcess\] Terminating {result.id} \(15\)")
    world.until(lambda: len(node.slots()) == 2)
    assert world.get("add", 1, 1) == 2


def test_given_a_revoke_when_the_call_waits_then_it_never_runs(world: NodeWorld, store: str) -> None:
    node = world.ready(concurrency=1)
    running = world.send("hold", "gate")
    world.until_started(running)
    waiting = world.send("hold", "other")
    waiting.revoke()
    node.wait_for_line(f"Tasks flagged as revoked: {waiting.id}")
    world.open_gate("gate")
    with pytest.raises(TaskRevokedError, match="revoked"):
        waiting.get(timeout=PATIENCE_S)
    assert world.ledger.starts()[waiting.id] == 0


def test_given_calls_begun_behind_one_that_turns_out_long_when_50_ms_are_over_then_another_process_runs_them(
    world: NodeWorld,
    store: str,
) -> None:
    world.ready(concurrency=2)
    for result in [world.send("maybe_hold") for _ in range(40)]:  # measured and steady now: windows of many
        result.get(timeout=PATIENCE_S)
    long_ = world.send("maybe_hold", "gate")
    others = [world.send("maybe_hold") for _ in range(60)]
    pids = {other.get(timeout=PATIENCE_S) for other in others}
    world.open_gate("gate")
    assert long_.get(timeout=PATIENCE_S) not in pids or len(pids) == 2


# -- the broker --------------------------------------------------------------------------------------------------------


def test_given_a_broker_that_is_killed_and_started_again_when_it_is_back_then_the_node_consumes_by_itself(
    world: NodeWorld,
) -> None:
    node = world.ready()
    assert world.get("add", 1, 1) == 2
    world.server.kill()
    node.wait_for_line("consumer: Connection to broker lost. Trying to re-establish the connection...")
    world.server.start()
    assert world.get("add", 2, 2) == 4
    world.until(lambda: node.log().count("Connected to redis") >= 2)
    assert node.stop() == 0


def test_given_no_broker_when_a_node_starts_then_it_waits_for_one_and_says_so(world: NodeWorld) -> None:
    world.server.kill()
    try:
        node = world.node()
        node.wait_for_line(r"consumer: Cannot connect to redis\+socket:")
        node.wait_for_line(r"Trying again in 0.33 seconds... \(2\)")
    finally:
        world.server.start()
    node.wait_ready()
    assert world.get("add", 1, 1) == 2


def test_given_no_broker_and_no_retry_at_the_start_when_a_node_starts_then_it_ends_with_1(make_world: World) -> None:
    world = make_world(broker_connection_retry_on_startup=False)
    world.server.kill()
    try:
        node = world.node()
        assert node.wait() == 1
    finally:
        world.server.start()
    assert "gives up: its broker cannot be reached" in node.log()


def test_given_a_delayed_call_when_the_only_node_stops_then_it_is_back_in_its_queue_for_celery_to_find(
    world: NodeWorld,
) -> None:
    node = world.ready()
    result = world.send("add", 1, 1, countdown=3600)
    world.until(lambda: world.broker.depth(["celery"])[0].delayed == 1)
    assert node.stop() == 0
    depth = world.broker.depth(["celery"])[0]
    assert (depth.ready, depth.delayed) == (1, 0)
    assert result.id.encode() in world.server.command("LINDEX", "celery", 0)


def test_given_no_broker_any_more_when_a_node_is_told_to_stop_then_it_ends_in_about_a_lease_time(world: NodeWorld) -> None:
    node = world.ready()
    late = world.send("hold_late", "gate")
    world.until_started(late)
    world.server.kill()
    try:
        node.wait_for_line("consumer: Cannot connect")
        world.open_gate("gate")
        began = time.monotonic()
        assert node.stop() == 0
        assert time.monotonic() - began < 10.0  # the lease is 2 s; a slot and the supervisor wait for one each
    finally:
        world.server.start()


def test_given_a_node_that_waits_for_its_broker_when_it_is_told_to_stop_then_it_stops(world: NodeWorld) -> None:
    world.server.kill()
    try:
        node = world.node()
        node.wait_for_line("consumer: Cannot connect")
        assert node.stop() == 0
    finally:
        world.server.start()


def test_given_a_template_that_is_killed_during_a_warm_stop_when_a_call_runs_then_the_node_ends(world: NodeWorld) -> None:
    node = world.ready()
    late = world.send("hold_late", "gate")
    world.until_started(late)
    template = node.template()
    node.signal(signal.SIGTERM)
    node.wait_for_line("Warm shutdown")
    os.kill(template, signal.SIGKILL)
    assert node.wait() == 0
    assert world.leases() == []
    world.open_gate("gate")
    world.ready("w2@test")
    assert late.get(timeout=PATIENCE_S) is True


# -- results in another store ------------------------------------------------------------------------------------------


def test_given_results_in_another_store_when_processes_and_nodes_die_then_every_outcome_gets_there(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    redis_server.command("FLUSHALL")
    world = NodeWorld(f"sqlite:///{tmp_path}/store.db", tmp_path, redis_server, result_backend=redis_server.url)
    try:
        node = world.ready()
        assert world.get("add", 2, 3) == 5
        with pytest.raises(WorkerLostError):
            world.send("kill_self", signal.SIGKILL).get(timeout=PATIENCE_S)
        early, late = world.send("hold", "never"), world.send("hold_late", "gate")
        world.until_started(early)
        world.until_started(late)
        node.kill()
        world.ready("w2@test")
        with pytest.raises(WorkerLostError):
            early.get(timeout=PATIENCE_S)
        world.open_gate("gate")
        assert late.get(timeout=PATIENCE_S) is True
    finally:
        world.close()


@pytest.mark.parametrize("point", ["slot.results.before", "slot.results.after"])
def test_given_results_in_another_store_when_a_slot_dies_between_the_stores_then_the_outcome_gets_there_once(
    redis_server: RedisServer, tmp_path: Path, point: str
) -> None:
    redis_server.command("FLUSHALL")
    world = NodeWorld(f"sqlite:///{tmp_path}/store.db", tmp_path, redis_server, result_backend=redis_server.url)
    crash = CrashAt(point, marks=tmp_path)
    try:
        node = world.ready(environment=crash.environment())
        assert world.get("add", 2, 3) == 5
        world.until(crash.reached)
        assert world.get("add", 3, 4) == 7
        assert node.stop() == 0
        assert world.leases() == []
    finally:
        world.close()


@pytest.mark.long
def test_given_a_broker_that_hangs_when_ten_seconds_are_over_then_the_node_says_so_and_consumes_when_it_is_back(
    world: NodeWorld,
) -> None:
    node = world.ready()
    assert world.get("add", 1, 1) == 2
    server = world.server._process
    assert server is not None
    server.send_signal(signal.SIGSTOP)
    try:
        node.wait_for_line("w1@test is not ready: the broker has not answered", timeout_s=60)
    finally:
        server.send_signal(signal.SIGCONT)
    assert world.get("add", 2, 2) == 4
    node.wait_for_line("w1@test is ready again: every connection is answered", timeout_s=60)
