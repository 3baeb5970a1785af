"""What replaces the processes of a pool, and how they are started."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.services.worker.nodes import PATIENCE_S, NodeWorld

from sedano.exceptions import WorkerLostError

World = Callable[..., NodeWorld]

GROWS = """
KEPT = []

@app.task
def grow(mebibytes):
    KEPT.append(b"x" * (mebibytes << 20))
    return os.getpid()
"""


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_given_a_limit_of_memory_when_a_call_makes_its_process_grow_beyond_it_then_that_one_is_replaced_after_the_call(
    world: NodeWorld, store: str, pool: str
) -> None:
    world.write_tasks(more=GROWS)
    node = world.ready(concurrency=1, options=["-P", pool, "--max-memory-per-child", "250000"])
    first = world.get("grow", 1)
    assert world.get("grow", 1) == first
    assert world.get("grow", 300) == first
    second = world.get("pid")
    assert second != first
    assert world.get("pid") == second
    node.wait_for_line(r"WARNING/.*child process exiting after exceeding memory limit \(\d{6}KiB / 250000KiB\)")
    assert "exited with" not in node.log()
    assert "has no effect" not in node.log()


@pytest.mark.setting("worker_max_memory_per_child")
def test_given_a_limit_of_memory_when_calls_wait_behind_the_one_that_is_too_large_then_its_successor_runs_them(
    make_world: World,
) -> None:
    world = make_world(worker_max_memory_per_child=250_000, worker_long_task_time=30.0)  # nobody takes back what waits
    world.write_tasks(more=GROWS)
    world.ready(concurrency=1)
    warm = {result.get(timeout=PATIENCE_S) for result in [world.send("grow", 0) for _ in range(40)]}  # windows of many now
    (slot,) = warm
    os.kill(slot, signal.SIGSTOP)
    first, *behind = [world.send("grow", mebibytes) for mebibytes in (300, 0, 0, 0, 0, 0)]
    os.kill(slot, signal.SIGCONT)
    assert {first.get(timeout=PATIENCE_S)} == warm
    others = {result.get(timeout=PATIENCE_S) for result in behind}
    assert len(others) == 1
    assert not others & warm


SIGNALS = """
def note(text):
    with open(HERE + "/notes", "a") as file: file.write(text + "\\n")

note("imported")

@signals.worker_before_create_process.connect
def a(sender, **kwargs): note("before_create")
@signals.worker_process_init.connect
def b(sender, **kwargs): note(f"init {sender}")
@signals.worker_process_shutdown.connect
def c(sender, pid, exitcode, **kwargs): note(f"shutdown {sender} {pid == os.getpid()} {exitcode}")

@app.task
def command():
    return [word.decode() for word in open("/proc/self/cmdline", "rb").read().split(b"\\0")]
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_given_a_start_method_when_processes_are_made_then_it_is_used_and_the_signals_are_sent_in_their_order(
    world: NodeWorld, store: str, method: str
) -> None:
    world.write_tasks(more=SIGNALS)
    node = world.ready(concurrency=1, options=["--pool-start-method", method, "--max-tasks-per-child", "1"])
    command = world.get("command")
    assert ("sedano.worker.respawn" in command) is (method == "spawn")
    assert world.get("add", 1, 2) == 3
    world.until(lambda: (world.folder / "notes").read_text().count("init w1@test") == 3)
    assert node.stop() == 0
    assert "has no effect" not in node.log()
    notes = (world.folder / "notes").read_text().splitlines()
    one = ["before_create", *(["imported"] if method == "spawn" else []), "init w1@test", "shutdown w1@test True 0"]
    assert notes == ["imported", *one, *one, *one]


@pytest.mark.setting("worker_pool_start_method")
def test_given_the_start_method_in_the_settings_when_a_node_starts_then_it_is_used(make_world: World) -> None:
    world = make_world(worker_pool_start_method="spawn")
    world.write_tasks(more=SIGNALS)
    world.ready(concurrency=1)
    assert "sedano.worker.respawn" in world.get("command")


# -- growing and shrinking ---------------------------------------------------------------------------------------------

SOON = {"AUTOSCALE_KEEPALIVE": "1"}


def test_given_an_autoscale_when_calls_wait_then_the_pool_grows_and_without_work_it_shrinks_and_ends_no_call(
    world: NodeWorld, store: str
) -> None:
    node = world.ready(concurrency=None, options=["--autoscale", "3,1"], environment=SOON)
    assert "prefork, 1 to 3 processes" in node.log()
    assert len(node.slots()) == 1
    long_ = world.send("hold", "long")
    world.until_started(long_)
    short = [world.send("hold", "short") for _ in range(3)]
    world.until(lambda: len(world.ledger.starts()) == 3)
    node.wait_for_line("Scaling up [12] processes.")
    assert len(node.slots()) == 3
    world.open_gate("short")
    for result in short:
        assert result.get(timeout=PATIENCE_S) == "short"
    world.until(lambda: len(node.slots()) == 1)
    node.wait_for_line("Scaling down [12] processes.")
    world.open_gate("long")
    assert long_.get(timeout=PATIENCE_S) == "long"
    assert world.ledger.starts()[long_.id] == 1
    assert world.get("add", 1, 2) == 3
    assert "exited with" not in node.log()
    assert len(world.leases()) <= 2  # the slot's, and the reaper's own if it had something to give back
    assert node.stop() == 0
    assert world.leases() == []


def test_given_an_autoscale_from_0_when_calls_come_and_go_then_processes_do(world: NodeWorld, store: str) -> None:
    node = world.ready(concurrency=None, options=["--autoscale", "2"], environment=SOON)
    assert len(node.processes()) == 2, "the supervisor and the template"
    assert world.get("add", 1, 2) == 3
    world.until(lambda: len(node.processes()) == 2)
    assert world.get("add", 3, 2) == 5
    assert node.stop() == 0


def test_given_an_autoscale_when_a_process_is_killed_then_another_one_takes_its_place(world: NodeWorld) -> None:
    node = world.ready(concurrency=None, options=["--autoscale", "3,1"])
    with pytest.raises(WorkerLostError):
        world.get("kill_self", signal.SIGKILL)
    assert world.get("add", 1, 2) == 3
    assert len(node.slots()) == 1


def test_given_an_autoscale_and_a_pool_of_one_process_when_it_starts_then_the_most_is_its_concurrency(world: NodeWorld) -> None:
    node = world.ready(concurrency=None, options=["-P", "threads", "--autoscale", "7,2"])
    assert "threads, 7 threads" in node.log()


# -- killed over memory ------------------------------------------------------------------------------------------------


def test_given_a_process_that_somebody_kills_when_its_call_is_lost_then_signal_and_memory_are_named_and_no_more(
    world: NodeWorld, store: str
) -> None:
    world.write_tasks(more=GROWS)
    node = world.ready(concurrency=1)
    world.get("grow", 100)
    text = r"^Worker exited prematurely: signal 9 \(SIGKILL\); the process had held up to 1\d\d MiB of memory\.$"
    lost = world.send("kill_self", signal.SIGKILL)
    with pytest.raises(WorkerLostError, match=text):
        lost.get(timeout=PATIENCE_S)
    (letter,) = world.broker.dead_letters()
    assert "signal 9 (SIGKILL); the process had held up to 1" in letter.note.detail
    assert "out-of-memory" not in node.log()


@pytest.fixture
def small_group() -> Iterator[Path]:
    """A control group with room for 300 MiB; skipped where this process may not make one."""
    base = next((path for path in (Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")) if path.is_dir()), None)
    group = (base or Path("/none")) / f"sedano-test-{os.getpid()}"
    limit = group / ("memory.limit_in_bytes" if group.parent.name == "memory" else "memory.max")
    try:
        group.mkdir()
        limit.write_text(str(300 << 20))
    except OSError:
        with contextlib.suppress(OSError):
            group.rmdir()
        pytest.skip("no control group with a limit of memory can be made here")
    yield group
    for _ in range(600):  # it is gone when its last process is
        with contextlib.suppress(OSError):
            group.rmdir()
            return
        time.sleep(0.1)


def test_given_a_call_that_takes_more_memory_than_there_is_when_the_system_kills_it_then_that_is_said(
    make_world: World, small_group: Path
) -> None:
    world = make_world(task_acks_late=True, task_max_deliveries=2)
    world.write_tasks(more=GROWS)
    enter = ["sh", "-c", f'echo $$ > {small_group}/cgroup.procs; exec "$@"', "sh", sys.executable, "-m", "sedano"]
    node = world.ready(concurrency=1, command=enter)
    lost = world.send("grow", 400)
    text = r"last time: Worker exited prematurely: signal 9 \(SIGKILL\), sent by the system's out-of-memory killer; the"
    with pytest.raises(WorkerLostError, match=text):
        lost.get(timeout=PATIENCE_S)
    assert world.get("add", 1, 2) == 3
    node.wait_for_line(r"Slot 0 \(pid \d+\) was ended by the system's out-of-memory killer; .* up to 2\d\d MiB")
    assert node.stop() == 0


def test_given_the_pool_solo_when_a_node_starts_then_worker_process_init_is_sent_once_in_it(world: NodeWorld) -> None:
    world.write_tasks(more=SIGNALS)
    node = world.ready(concurrency=None, options=["-P", "solo"])
    assert world.get("add", 1, 2) == 3
    assert node.stop() == 0
    assert (world.folder / "notes").read_text().splitlines() == ["imported", "init w1@test"]


@pytest.mark.parametrize(
    ("autoscale", "keepalive", "told"),
    [("0", "30", "an autoscale of '0,0' cannot be"), ("2,1", "soon", "AUTOSCALE_KEEPALIVE='soon' cannot be")],
)
def test_given_an_autoscale_that_cannot_be_when_a_node_starts_then_it_says_so_and_does_not(
    world: NodeWorld, autoscale: str, keepalive: str, told: str
) -> None:
    node = world.node(concurrency=None, options=["--autoscale", autoscale], environment={"AUTOSCALE_KEEPALIVE": keepalive})
    assert node.wait() != 0
    assert told in node.log()
    assert "Traceback" not in node.log()
