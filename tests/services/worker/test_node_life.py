"""A node from its start to its stop: what it says, whom it tells, how it leaves."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.services.worker.nodes import PATIENCE_S, NodeWorld

from sedano.exceptions import WorkerLostError

World = Callable[..., NodeWorld]


ENDS_ITS_CHILD = """
import multiprocessing

@app.task
def end_child():
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    child.start()
    child.terminate()
    child.join(60)
    exitcode = child.exitcode
    child.kill()
    return exitcode
"""


def test_given_a_node_when_it_starts_then_its_banner_tells_what_it_is_and_it_runs_calls(world: NodeWorld, store: str) -> None:
    node = world.ready()
    assert world.get("add", 2, 3) == 5
    log = node.log()
    for told in ("node     w1@test", "pool     prefork, 2 processes", "acks     early", "lease    2 s", ". tasks.add"):
        assert told in log
    assert re.search(r"\.> celery +exchange=celery\(direct\) key=celery", log)
    assert f"INFO/MainProcess] Connected to {store}" in log
    assert log.index("[tasks]") < log.index("w1@test ready.")


def test_given_a_print_in_a_task_when_it_runs_then_it_is_a_warning_line_of_its_process(world: NodeWorld) -> None:
    node = world.ready()
    world.get("say", "hello from a task")
    node.wait_for_line(r"WARNING/ForkPoolWorker-\d\] hello from a task$")


def test_given_term_when_nothing_runs_then_the_exit_code_is_0_and_the_store_is_as_if_nobody_was_there(world: NodeWorld) -> None:
    node = world.ready()
    assert world.get("add", 1, 1) == 2
    processes = node.processes()
    assert node.stop() == 0
    assert "worker: Warm shutdown (MainProcess)" in node.log()
    assert "taken over" not in node.log()
    assert world.leases() == []
    assert not any(os.path.exists(f"/proc/{pid}") for pid in processes)


def test_given_term_again_and_again_when_a_call_runs_then_it_is_finished_and_what_waits_is_left_to_others(
    world: NodeWorld,
    store: str,
) -> None:
    node = world.ready(concurrency=1)
    running = world.send("hold", "gate")
    world.until_started(running)
    waiting = [world.send("add", 1, n) for n in range(3)]
    for _ in range(3):
        node.signal(signal.SIGTERM)
    node.wait_for_line("Warm shutdown")
    world.until(lambda: world.broker.depth(["celery"])[0].ready == 3)
    world.open_gate("gate")
    assert node.wait() == 0
    assert running.get(timeout=1) == "gate"
    assert node.log().count("Warm shutdown") == 1
    world.ready("w2@test")
    assert [result.get(timeout=PATIENCE_S) for result in waiting] == [1, 2, 3]


def test_given_int_once_when_nothing_runs_then_the_stop_is_warm_and_the_exit_code_1(world: NodeWorld) -> None:
    node = world.ready()
    node.signal(signal.SIGINT)
    assert node.wait() == 1
    log = node.log()
    assert "worker: Hitting Ctrl+C again will initiate cold shutdown, terminating all running tasks!" in log
    assert "worker: Warm shutdown (MainProcess)" in log


@pytest.mark.parametrize("numbers", [(signal.SIGINT, signal.SIGINT), (signal.SIGQUIT,)])
def test_given_a_cold_stop_when_calls_run_then_the_late_one_goes_back_and_the_early_one_is_lost(
    world: NodeWorld, store: str, numbers: tuple[int, ...]
) -> None:
    node = world.ready()
    early, late = world.send("hold", "never"), world.send("hold_late", "gate")
    world.until_started(early)
    world.until_started(late)
    for number in numbers:
        node.signal(number)
        node.wait_for_line("(Warm|Cold) shutdown")
    assert node.wait() == (0 if numbers == (signal.SIGQUIT,) else 1)
    assert "worker: Cold shutdown (MainProcess)" in node.log()
    with pytest.raises(WorkerLostError):
        early.get(timeout=60)
    assert world.leases() == []
    world.open_gate("gate")
    world.ready("w2@test")
    assert late.get(timeout=PATIENCE_S) is True  # redelivered


def test_given_sigterm_remapped_when_a_call_runs_then_the_stop_is_cold(world: NodeWorld) -> None:
    node = world.ready(environment={"REMAP_SIGTERM": "SIGQUIT"})
    running = world.send("hold", "never")
    world.until_started(running)
    assert node.stop() == 0
    assert "Cold shutdown" in node.log()


def test_given_a_drain_timeout_when_a_call_runs_longer_then_the_warm_stop_becomes_cold(make_world: World) -> None:
    world = make_world(worker_drain_timeout=0.3)
    node = world.ready()
    world.until_started(world.send("hold", "never"))
    assert node.stop() == 0
    assert node.log().index("Warm shutdown") < node.log().index("Cold shutdown")


def test_given_hup_when_the_node_has_no_terminal_then_it_starts_again_under_the_same_process_id(world: NodeWorld) -> None:
    node = world.ready()
    node.signal(signal.SIGHUP)
    node.wait_for_line("Restarting celery worker")
    world.until(lambda: node.log().count("w1@test ready.") == 2)
    assert world.get("add", 2, 2) == 4


def test_given_receivers_of_the_worker_signals_when_a_node_lives_then_each_is_called_in_celerys_order(world: NodeWorld) -> None:
    world.write_tasks("""
def note(text):
    with open(HERE + "/notes", "a") as file: file.write(text + "\\n")

@signals.celeryd_init.connect
def a(sender, instance, conf, options, **kwargs): note(f"celeryd_init {sender} {instance.hostname} {conf.task_default_queue}")
@signals.import_modules.connect
def b(sender, **kwargs): note(f"import_modules {sender.main}")
@signals.celeryd_after_setup.connect
def c(sender, instance, conf, **kwargs):
    instance.app.amqp.queues.select_add(f"{sender}.dq")
    note(f"celeryd_after_setup {sender}")
@signals.worker_init.connect
def d(sender, **kwargs): note(f"worker_init {sender.hostname}")
@signals.worker_before_create_process.connect
def e(sender, **kwargs): note("before_create")
@signals.worker_process_init.connect
def f(sender, **kwargs): note(f"process_init {sender}")
@signals.worker_process_shutdown.connect
def g(sender, pid, exitcode, **kwargs): note(f"process_shutdown {sender} {pid == os.getpid()} {exitcode}")
@signals.worker_ready.connect
def h(sender, **kwargs): note(f"worker_ready {sender.hostname}")
@signals.worker_shutting_down.connect
def i(sender, sig, how, exitcode, **kwargs): note(f"shutting_down {sender} {sig} {how} {exitcode}")
@signals.worker_shutdown.connect
def j(sender, **kwargs): note(f"worker_shutdown {sender.hostname}")
""")
    node = world.ready(concurrency=1)
    assert world.get("add", 1, 1, queue="w1@test.dq") == 2
    assert node.stop() == 0
    assert (world.folder / "notes").read_text().splitlines() == [
        "import_modules tasks",
        "celeryd_init w1@test w1@test celery",
        "worker_init w1@test",
        "celeryd_after_setup w1@test",
        "before_create",
        "process_init w1@test",
        "worker_ready w1@test",
        "shutting_down w1@test SIGTERM Warm 0",
        "process_shutdown w1@test True 0",
        "worker_shutdown w1@test",
    ]


def test_given_a_task_that_starts_a_process_of_its_own_when_it_ends_it_then_that_process_ends(world: NodeWorld) -> None:
    world.write_tasks(more=ENDS_ITS_CHILD)
    world.ready(concurrency=1)
    assert world.get("end_child") == -signal.SIGTERM


def test_given_a_pidfile_when_a_second_node_wants_it_then_it_refuses_and_the_file_goes_with_the_first(world: NodeWorld) -> None:
    first = world.ready(options=["--pidfile", "%n.pid"])
    assert (world.folder / "w1.pid").read_text() == f"{first.pid}\n"
    second = world.node(options=["--pidfile", "%n.pid"])
    assert second.wait() == 73
    assert f"Pidfile (w1.pid) already exists.\nSeems we're already running? (pid: {first.pid})" in second.log()
    first.stop()
    assert not (world.folder / "w1.pid").exists()


def test_given_calls_that_wait_when_a_node_starts_with_purge_then_they_are_gone(world: NodeWorld, store: str) -> None:
    for n in range(3):
        world.send("add", 1, n)
    node = world.ready(options=["--purge"])
    assert "purge: Erased 3 messages from the queue." in node.log()
    assert world.get("add", 5, 5) == 10
    node.wait_for_line("Task tasks.add")  # the log comes by another way than the result
    assert node.log().count("received") == 1


def test_given_pickle_and_root_when_a_node_starts_then_it_refuses_unless_forced(make_world: World) -> None:
    if os.getuid() != 0:
        pytest.skip("only root is refused")
    world = make_world(accept_content=["json", "pickle"])
    refused = world.node(environment={"C_FORCE_ROOT": ""})
    assert refused.wait() == 1
    assert "accepts pickle" in refused.log()
    world.ready("w2@test")


def test_given_two_processes_per_child_when_calls_run_then_each_process_runs_two(world: NodeWorld, store: str) -> None:
    node = world.ready(concurrency=1, options=["--max-tasks-per-child", "2"])
    pids = [world.get("pid") for _ in range(6)]
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [2, 2, 2]
    assert "exited with" not in node.log()


def test_given_the_queues_of_q_and_x_when_a_node_starts_then_it_takes_from_those_only(make_world: World) -> None:
    world = make_world(task_queues={"celery": {}, "mail": {}, "feeds": {}})
    node = world.ready(options=["-X", "mail,celery"])
    other = world.ready("w2@test", options=["-Q", "mail"])
    assert world.get("add", 1, 2, queue="feeds") == 3
    assert world.get("add", 1, 2, queue="mail") == 3
    assert ".> feeds" in node.log()
    assert ".> mail" not in node.log()
    assert other.log().count("received") == 1


def test_given_an_idle_node_when_seconds_pass_then_its_processes_hardly_wake_up(make_world: World, store: str) -> None:
    world = make_world(worker_lease_time=20.0)
    node = world.ready()
    assert world.get("add", 1, 1) == 2
    time.sleep(1.0)  # the watch over the call that ran ends
    before = {pid: wakeups(pid) for pid in node.processes()}
    time.sleep(4.0)  # that nothing happens can only be seen by letting time pass
    for pid, count in before.items():
        assert wakeups(pid) - count <= 8


def wakeups(pid: int) -> int:
    """How often the threads of a process have waited for something and went on."""
    found = [
        re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status.read_text(), re.MULTILINE)
        for status in Path(f"/proc/{pid}/task").glob("*/status")
    ]
    return sum(int(match[1]) for match in found if match is not None)
