"""The pools that run many calls in one process: what each does with results, errors, limits, orders and deaths."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.services.worker.nodes import PATIENCE_S, NodeWorld

from sedano.exceptions import SoftTimeLimitExceeded, TaskRevokedError, TimeLimitExceeded, WorkerLostError
from sedano.testing.node import Node

World = Callable[..., NodeWorld]
POOLS = ("threads", "asyncio", "gevent", "eventlet")

MORE = '''
import asyncio, threading

@app.task
def boom():
    raise ValueError("boom")

@app.task
async def aboom():
    await asyncio.sleep(0)
    raise ValueError("boom")

@app.task
async def aadd(x, y):
    await asyncio.sleep(0.01)
    return x + y

@app.task
def nap(seconds):
    time.sleep(seconds)
    return seconds

@app.task
async def anap(seconds):
    await asyncio.sleep(seconds)
    return seconds

local = threading.local()

@app.task(bind=True)
def who(self, number):
    from sedano import current_task
    local.number = number
    before = (self.request.id, current_task.request.args[0], local.number)
    time.sleep(0.05)
    after = (self.request.id, current_task.request.args[0], local.number)
    return [number, list(before), list(after)]

@app.task(bind=True)
async def awho(self, number):
    from sedano import current_task
    before = (self.request.id, current_task.request.args[0])
    await asyncio.sleep(0.05)
    after = (self.request.id, current_task.request.args[0])
    return [number, [*before, number], [*after, number]]

def briefly():
    for _ in range(1200):
        time.sleep(0.05)

@app.task(soft_time_limit=0.3)
def soft():
    try:
        briefly()
    except SoftTimeLimitExceeded:
        return "cleaned up"

@app.task(soft_time_limit=0.3)
async def asoft():
    try:
        await asyncio.sleep(60)
    except SoftTimeLimitExceeded:
        await asyncio.sleep(0.01)
        return "cleaned up"

@app.task(soft_time_limit=0.3)
def soft_uncaught():
    briefly()

@app.task(time_limit=0.5)
def hard():
    briefly()

@app.task(time_limit=0.5)
async def ahard():
    await asyncio.sleep(60)

@app.task(bind=True, time_limit=0.5)
def stubborn_hard(self):
    while True:
        try:
            ledger.start(self.request.id)
            briefly()
        except BaseException:
            pass

@app.task(bind=True)
def long(self):
    ledger.start(self.request.id)
    briefly()

@app.task(bind=True)
async def along(self):
    ledger.start(self.request.id)
    await asyncio.sleep(60)

@app.task(time_limit=0.5)
def hog():
    """Keeps its thread, and in a pool of one thread the process, to itself."""
    while True:
        pass

@app.task(time_limit=0.5)
async def ahog():
    time.sleep(60)

@app.task
def leave():
    sys.exit(3)

@app.task(bind=True)
def chatty(self):
    return [add.delay(n, n).id for n in range(3)]
'''


@pytest.fixture(params=[*POOLS[:3], pytest.param(POOLS[3], marks=pytest.mark.long)])
def pool(request: pytest.FixtureRequest) -> str:
    """Eventlet runs its calls as gevent does: what both share is tried with one of them unless there is time."""
    return str(request.param)


@pytest.fixture(params=POOLS)
def every_pool(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def node_of(world: NodeWorld, pool: str, concurrency: int = 20, name: str = "w1@test", more: str = "", **options: Any) -> Node:
    world.write_tasks(MORE + more)
    words = ["-P", pool, *options.pop("options", [])]
    return world.ready(name, concurrency=concurrency, options=words, **options)


def child(world: NodeWorld) -> int:
    """The process that runs the calls."""
    pid = world.get("pid")
    assert isinstance(pid, int)
    return pid


# -- calls -------------------------------------------------------------------------------------------------------------


def test_given_a_pool_when_tasks_return_raise_and_await_then_each_has_its_outcome(
    world: NodeWorld, store: str, every_pool: str
) -> None:
    node = node_of(world, every_pool)
    assert world.get("add", 2, 3) == 5
    assert world.get("aadd", 2, 3) == 5
    for name in ("boom", "aboom"):
        with pytest.raises(ValueError, match="boom"):
            world.get(name)
    world.until(lambda: node.log().count("ValueError: boom") == 2)
    log = node.log()
    assert f"pool     {every_pool}, 20 " in log
    assert log.count("Traceback") == 2
    assert "sedano/worker/pools" not in log  # a traceback begins with the task
    assert len(world.get("chatty")) == 3
    assert node.stop() == 0
    assert world.leases() == []


def test_given_a_hundred_calls_at_once_when_each_looks_at_its_request_then_it_sees_its_own(world: NodeWorld, pool: str) -> None:
    node_of(world, pool, concurrency=100)
    sent = [world.send(name, number) for number in range(100) for name in ("who", "awho")]
    for result in sent:
        number, before, after = result.get(timeout=PATIENCE_S)
        assert before == after == [result.id, number, number]


@pytest.mark.parametrize("task", ["nap", "anap"])
def test_given_a_thousand_calls_that_sleep_when_a_thousand_may_run_then_they_sleep_together(
    world: NodeWorld, pool: str, task: str
) -> None:
    """In a row they would take 1,000 seconds."""
    node_of(world, pool, concurrency=1000)
    began = time.monotonic()
    sent = [world.send(task, 1.0) for _ in range(1000)]
    assert {result.get(timeout=2 * PATIENCE_S) for result in sent} == {1.0}
    assert time.monotonic() - began < 150  # most of it goes by before they are all sent, on a machine that is busy


def test_given_an_idle_pool_then_it_has_one_lease_and_one_process_for_all_lanes(world: NodeWorld, pool: str) -> None:
    node = node_of(world, pool, concurrency=50)
    assert [lease for lease in world.leases() if "/0/" in lease] != []
    assert len(world.leases()) <= 2  # the lanes' and the reaper's
    assert node.slots() == [child(world)]


def test_given_a_task_that_leaves_when_others_run_then_only_it_is_lost(world: NodeWorld, pool: str) -> None:
    node_of(world, pool)
    other = world.send("nap", 1.0)
    pid = child(world)
    with pytest.raises(WorkerLostError, match="SystemExit"):
        world.get("leave")
    assert other.get(timeout=PATIENCE_S) == 1.0
    assert child(world) == pid


# -- limits and orders ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["", "a"])
def test_given_a_soft_limit_when_a_call_runs_longer_then_it_is_raised_inside_it(world: NodeWorld, pool: str, kind: str) -> None:
    node = node_of(world, pool)
    assert world.get(f"{kind}soft") == "cleaned up"
    with pytest.raises(SoftTimeLimitExceeded):
        world.get("soft_uncaught")
    node.wait_for_line(r"Soft time limit \(0.3s\) exceeded for tasks.a?soft\[")


@pytest.mark.parametrize("kind", ["", "a"])
def test_given_a_hard_limit_when_a_call_runs_longer_then_it_fails_and_its_neighbours_go_on(
    world: NodeWorld, pool: str, kind: str
) -> None:
    node = node_of(world, pool)
    pid = child(world)
    other = world.send("nap", 2.0)
    with pytest.raises(TimeLimitExceeded):
        world.get(f"{kind}hard")
    assert other.get(timeout=PATIENCE_S) == 2.0
    assert child(world) == pid
    assert re.search(r"ERROR/MainProcess\] Hard time limit \(0.5s\) exceeded for tasks.a?hard\[", node.log())


def test_given_a_call_that_hears_nothing_when_its_hard_limit_is_over_then_it_fails_and_the_process_is_replaced_when_it_is_free(
    world: NodeWorld, pool: str
) -> None:
    world.write_tasks(MORE)
    node = node_of(world, pool, concurrency=2)
    pid = child(world)
    with pytest.raises(TimeLimitExceeded):
        world.get("stubborn_hard")
    node.wait_for_line("does not end: it is settled")
    world.until(lambda: child(world) != pid)
    assert node.stop() == 0


@pytest.mark.parametrize(("pool", "task"), [("asyncio", "ahog"), ("gevent", "hog"), ("eventlet", "hog")])
def test_given_a_call_that_keeps_the_process_to_itself_when_its_hard_limit_is_over_then_the_supervisor_ends_the_process(
    world: NodeWorld, pool: str, task: str
) -> None:
    node = node_of(world, pool, concurrency=5)
    late = world.send("hold_late", "gate")
    world.until_started(late)
    pid = child(world)
    with pytest.raises(TimeLimitExceeded):
        world.get(task)
    world.open_gate("gate")
    assert late.get(timeout=PATIENCE_S) is True  # redelivered
    assert child(world) != pid
    assert "it is killed" in node.log()


@pytest.mark.parametrize("task", ["long", "along"])
def test_given_a_running_call_when_it_is_revoked_with_terminate_then_it_ends_and_its_neighbours_go_on(
    world: NodeWorld, pool: str, task: str
) -> None:
    node_of(world, pool)
    pid = child(world)
    running, other = world.send(task), world.send("hold", "gate")
    world.until_started(running)
    world.until_started(other)
    running.revoke(terminate=True)
    with pytest.raises(TaskRevokedError, match="terminated"):
        running.get(timeout=PATIENCE_S)
    world.open_gate("gate")
    assert other.get(timeout=PATIENCE_S) == "gate"
    assert child(world) == pid


# -- deaths ------------------------------------------------------------------------------------------------------------


def test_given_a_process_that_is_killed_when_calls_run_then_early_ones_are_lost_and_late_ones_run_again(
    world: NodeWorld, store: str, pool: str
) -> None:
    node = node_of(world, pool, concurrency=10)
    pid = child(world)
    early = [world.send("hold", "never") for _ in range(4)]
    late = [world.send("hold_late", "gate") for _ in range(4)]
    for result in (*early, *late):
        world.until_started(result)
    os.kill(pid, signal.SIGKILL)
    for result in early:
        with pytest.raises(WorkerLostError, match=r"signal 9 \(SIGKILL\)"):
            result.get(timeout=PATIENCE_S)
    for result in late:
        world.until_started(result, times=2)
    world.open_gate("gate")
    assert [result.get(timeout=PATIENCE_S) for result in late] == [True] * 4
    starts = world.ledger.starts()
    assert all(starts[result.id] == 1 for result in early)
    assert node.stop() == 0
    assert world.leases() == []


def test_given_term_under_load_when_calls_run_then_they_are_finished_and_the_rest_is_left_to_others(
    world: NodeWorld, pool: str
) -> None:
    node = node_of(world, pool, concurrency=5)
    running = [world.send("hold", "gate") for _ in range(5)]
    for result in running:
        world.until_started(result)
    waiting = [world.send("add", number, 1) for number in range(20)]
    node.signal(signal.SIGTERM)
    node.wait_for_line("Warm shutdown")
    world.open_gate("gate")
    assert node.wait() == 0
    assert [result.get(timeout=1) for result in running] == ["gate"] * 5
    assert world.broker.depth(["celery"])[0].ready == 20
    assert world.leases() == []
    node_of(world, pool, name="w2@test")
    assert [result.get(timeout=PATIENCE_S) for result in waiting] == [number + 1 for number in range(20)]


def test_given_a_cold_stop_when_calls_run_then_the_late_one_goes_back_and_the_early_one_is_lost(
    world: NodeWorld, pool: str
) -> None:
    node = node_of(world, pool)
    early, late = world.send("hold", "never"), world.send("hold_late", "gate")
    world.until_started(early)
    world.until_started(late)
    node.signal(signal.SIGQUIT)
    assert node.wait() == 0
    with pytest.raises(WorkerLostError):
        early.get(timeout=PATIENCE_S)
    assert world.leases() == []
    world.open_gate("gate")
    node_of(world, pool, name="w2@test")
    assert late.get(timeout=PATIENCE_S) is True


def test_given_a_maximum_of_tasks_when_it_is_reached_by_every_lane_then_the_process_is_replaced(world: NodeWorld) -> None:
    node_of(world, "threads", concurrency=2, options=["--max-tasks-per-child", "3"])
    pids = [child(world) for _ in range(12)]
    assert len(set(pids)) in (2, 3)
    assert max(pids.count(pid) for pid in pids) == 6


# -- how a pool is chosen -------------------------------------------------------------------------------------------------

PATCHED = """
import socket
PATCHED_AT_IMPORT = socket.socket.__module__

@app.task
def patched():
    return PATCHED_AT_IMPORT
"""


@pytest.mark.parametrize(
    ("words", "settings", "environment"),
    [
        (["-P", "{pool}"], {}, {}),
        (["--pool={pool}"], {}, {}),
        (["--pool", "celery.concurrency.{pool}:TaskPool"], {}, {}),
        ([], {"worker_pool": "{pool}"}, {}),
        ([], {}, {"CELERY_WORKER_POOL": "{pool}"}),
        (["-P", "{pool}"], {}, {"SEDANO_AS_CELERY": "1"}),
    ],
)
@pytest.mark.parametrize("pool", ["gevent", "eventlet"])
def test_given_a_green_pool_however_it_is_chosen_then_the_process_is_patched_before_the_app_is_imported(
    make_world: World, pool: str, words: list[str], settings: dict[str, str], environment: dict[str, str]
) -> None:
    world = make_world(**{name: value.format(pool=pool) for name, value in settings.items()})
    world.write_tasks(PATCHED)
    world.ready(
        options=[word.format(pool=pool) for word in words],
        environment={name: value.format(pool=pool) for name, value in environment.items()},
    )
    assert world.get("patched").startswith(pool)


@pytest.mark.parametrize(
    ("library", "patch", "pool"),
    [
        ("gevent", "from gevent import monkey; monkey.patch_all()", "own"),
        ("eventlet", "import eventlet; eventlet.monkey_patch()", "own"),
        ("eventlet", "import eventlet; eventlet.monkey_patch()", "prefork"),
    ],
)
def test_given_an_app_that_patches_the_process_that_imports_it_when_a_node_runs_it_then_it_works_and_stops(
    world: NodeWorld, library: str, patch: str, pool: str
) -> None:
    world.write_tasks(patch)
    node = world.ready(options=["-P", library if pool == "own" else pool])
    assert [world.get("add", number, 1) for number in range(3)] == [1, 2, 3]
    assert node.stop() == 0
    assert world.leases() == []


CUSTOM = """
from concurrent.futures import ThreadPoolExecutor
from celery.concurrency.base import BasePool, apply_target

class TaskPool(BasePool):
    def on_start(self):
        self.executor = ThreadPoolExecutor(self.limit, thread_name_prefix="custom")

    def on_stop(self):
        self.executor.shutdown(wait=False)

    def on_apply(self, target, args=None, kwargs=None, callback=None, accept_callback=None, **_):
        return self.executor.submit(apply_target, target, args, kwargs, callback, accept_callback)
"""


@pytest.mark.parametrize(
    ("words", "environment"),
    [(["-P", "custom"], {"CELERY_CUSTOM_WORKER_POOL": "own:TaskPool"}), (["-P", "own:TaskPool"], {})],
)
def test_given_a_pool_class_of_the_users_own_when_calls_come_then_it_runs_them(
    world: NodeWorld, words: list[str], environment: dict[str, str]
) -> None:
    (world.folder / "own.py").write_text(CUSTOM)
    world.write_tasks("""
import threading

@app.task
def thread():
    return threading.current_thread().name
""")
    node = world.ready(options=words, environment=environment)
    assert world.get("thread").startswith("custom")
    assert "pool     own:TaskPool, 2 calls at once" in node.log()
    assert node.stop() == 0


def test_given_a_pool_whose_package_is_missing_when_a_node_starts_then_it_says_what_to_install(
    world: NodeWorld, tmp_path: Path
) -> None:
    hide = tmp_path / "hide"
    hide.mkdir()
    (hide / "sitecustomize.py").write_text("""
import sys
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "eventlet":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hide())
""")
    path = os.pathsep.join([str(hide), *filter(None, [os.environ.get("PYTHONPATH")])])
    node = world.node(options=["-P", "eventlet"], environment={"PYTHONPATH": path})
    assert node.wait() != 0
    assert "pip install 'sedano[eventlet]'" in node.log()


def test_given_receivers_of_eventlets_signals_when_a_node_lives_then_they_are_called(world: NodeWorld) -> None:
    world.write_tasks("""
def note(text):
    with open(HERE + "/notes", "a") as file: file.write(text + "\\n")

@signals.eventlet_pool_started.connect
def a(**kwargs): note("started")
@signals.eventlet_pool_apply.connect
def b(**kwargs): note("apply")
@signals.eventlet_pool_preshutdown.connect
def c(**kwargs): note("preshutdown")
@signals.eventlet_pool_postshutdown.connect
def d(**kwargs): note("postshutdown")
@signals.worker_process_init.connect
def e(**kwargs): note("process_init")
""")
    node = world.ready(options=["-P", "eventlet"])
    world.get("add", 1, 1)
    assert node.stop() == 0
    told = (world.folder / "notes").read_text().split()
    assert told == ["process_init", "started", "apply", "preshutdown", "postshutdown"]
