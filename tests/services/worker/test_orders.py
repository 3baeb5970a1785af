"""What operators order a running node: rates, time limits, size, queues."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.services.worker.nodes import PATIENCE_S, NodeWorld

from sedano.exceptions import SoftTimeLimitExceeded

World = Callable[..., NodeWorld]

RATED = """
@app.task(rate_limit="10/s")
def rated():
    return time.monotonic()

@app.task
def free():
    return time.monotonic()

@app.task
def nap(seconds):
    time.sleep(seconds)
    return seconds

@app.task
def at_once(count):
    from pathlib import Path
    me = Path(HERE) / f"now-{os.getpid()}-{time.monotonic_ns()}"
    me.touch()
    until = time.monotonic() + 20.0
    while len(list(Path(HERE).glob("now-*"))) < count and time.monotonic() < until:
        time.sleep(0.01)
    seen = len(list(Path(HERE).glob("now-*")))
    return seen
"""
POOLS = ["prefork", "solo", "threads", "asyncio"]


def ask(world: NodeWorld, command: str, **arguments: Any) -> dict[str, Any]:
    """The answer of the one node."""
    (reply,) = world.app.control.broadcast(command, arguments, reply=True, timeout=PATIENCE_S)
    (answer,) = reply.values()
    return dict(answer)


def rates(world: NodeWorld, name: str, count: int) -> float:
    """Seconds from the first to the last begin of so many calls."""
    times = [result.get(timeout=PATIENCE_S) for result in [world.send(name) for _ in range(count)]]
    return float(max(times) - min(times))


@pytest.mark.parametrize("pool", [*POOLS, *(pytest.param(green, marks=pytest.mark.long) for green in ("gevent", "eventlet"))])
def test_given_a_task_with_a_rate_when_many_are_sent_then_they_begin_at_that_rate_and_others_do_not_wait_for_them(
    world: NodeWorld, store: str, pool: str
) -> None:
    world.write_tasks(more=RATED)
    world.ready(concurrency=1 if pool == "solo" else 2, options=["-P", pool])
    world.get("free")
    limited = [world.send("rated") for _ in range(30)]
    others = [world.send("free") for _ in range(20)]
    last_other = max(result.get(timeout=PATIENCE_S) for result in others)
    times = sorted(result.get(timeout=PATIENCE_S) for result in limited)
    assert times[-1] - times[0] >= 2.8
    assert times[-1] - last_other > 1.0
    for first, tenth in zip(times, times[11:], strict=False):
        assert tenth - first >= 0.99


@pytest.mark.setting("task_default_rate_limit", "worker_disable_rate_limits")
def test_given_limits_in_the_settings_when_calls_are_sent_then_they_hold_unless_all_are_off(make_world: World) -> None:
    world = make_world(task_default_rate_limit="10/s")
    world.ready()
    times = [world.send("pid") for _ in range(11)]
    began = time.monotonic()
    for result in times:
        result.get(timeout=PATIENCE_S)
    assert time.monotonic() - began > 0.8
    off = make_world(task_default_rate_limit="1/h", worker_disable_rate_limits=True)
    off.ready()
    for result in [off.send("pid") for _ in range(5)]:
        result.get(timeout=PATIENCE_S)


def test_given_a_limit_set_by_an_operator_when_it_is_taken_away_then_what_waits_runs_at_once(
    world: NodeWorld, store: str
) -> None:
    world.write_tasks(more=RATED)
    world.ready(concurrency=2)
    assert ask(world, "rate_limit", task_name="tasks.free", rate_limit="1/m") == {"ok": "new rate limit set successfully"}
    results = [world.send("free") for _ in range(20)]
    deadline = time.monotonic() + PATIENCE_S
    while not any(result.ready() for result in results):  # of two slots either may be the first
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert sum(result.ready() for result in results) == 1
    assert ask(world, "rate_limit", task_name="tasks.free", rate_limit=0) == {"ok": "rate limit disabled successfully"}
    for result in results:
        result.get(timeout=20.0)


MANY = """
for n in range(1100):
    app.task(name=f"tasks.one-of-very-many-tasks-{n}")(lambda: time.monotonic())
"""


@pytest.mark.setting("task_default_rate_limit")
def test_given_very_many_tasks_when_all_are_limited_then_each_has_a_limit_of_its_own(make_world: World) -> None:
    world = make_world(task_default_rate_limit="10/m")
    world.write_tasks(more=MANY)
    world.ready()
    for result in [world.send(f"one-of-very-many-tasks-{n}") for n in (0, 1023, 1024, 1099)]:
        result.get(timeout=5.0)


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_given_more_calls_than_are_looked_ahead_when_they_wait_then_the_limit_is_used(
    world: NodeWorld, store: str, pool: str
) -> None:
    world.write_tasks(more=RATED)
    world.ready(concurrency=1, options=["-P", pool])
    ask(world, "rate_limit", task_name="tasks.free", rate_limit="10/s")
    sent = [world.send("free") for _ in range(700)]  # 600 have a time, the others are left in their queue
    last = world.send("pid")  # behind them
    world.until(lambda: sum(result.ready() for result in sent) >= 80, 12.0)
    ask(world, "rate_limit", task_name="tasks.free", rate_limit="10000/s")
    for result in [*sent, last]:
        result.get(timeout=20.0)


@pytest.mark.setting("task_rate_limit_scope")
def test_given_a_limit_of_the_whole_cluster_when_two_nodes_work_then_both_together_keep_it(
    make_world: World, store: str
) -> None:
    world = make_world(task_rate_limit_scope="cluster")
    world.write_tasks(more=RATED)
    for name in ("w1@test", "w2@test"):
        world.node(name, concurrency=2)
    for node in world.nodes:
        node.wait_ready()
    assert rates(world, "rated", 30) >= 2.8


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_given_a_time_limit_set_by_an_operator_when_a_call_is_longer_then_it_is_over(
    world: NodeWorld, store: str, pool: str
) -> None:
    world.write_tasks(more=RATED)
    world.ready(concurrency=1, options=["-P", pool])
    assert world.get("nap", 0.3) == 0.3
    assert ask(world, "time_limit", task_name="tasks.nap", soft=0.2, hard=30) == {"ok": "time limits set successfully"}
    with pytest.raises(SoftTimeLimitExceeded):
        world.get("nap", 20)
    assert ask(world, "time_limit", task_name="tasks.nap") == {"ok": "time limits set successfully"}
    assert world.get("nap", 0.5) == 0.5


@pytest.mark.parametrize("pool", ["prefork", "threads", "asyncio", "gevent"])
def test_given_a_pool_when_it_is_to_grow_and_to_shrink_then_so_many_calls_run_at_once(
    world: NodeWorld, store: str, pool: str
) -> None:
    world.write_tasks(more=RATED)
    world.ready(concurrency=2, options=["-P", pool])
    assert ask(world, "pool_grow", n=3) == {"ok": "pool will grow"}
    results = [world.send("at_once", 5) for _ in range(5)]
    assert max(result.get(timeout=PATIENCE_S) for result in results) == 5
    for mark in world.folder.glob("now-*"):
        mark.unlink()
    assert ask(world, "pool_shrink", n=4) == {"ok": "pool will shrink"}
    (stats,) = world.app.control.inspect(timeout=PATIENCE_S).stats().values()
    assert stats["pool"]["max-concurrency"] == 1
    results = [world.send("nap", 0.3) for _ in range(3)]
    began = time.monotonic()
    for result in results:
        result.get(timeout=PATIENCE_S)
    assert time.monotonic() - began > 0.8
    assert "1 to" in str(ask(world, "pool_shrink", n=1)) or "0 can go" in str(ask(world, "pool_shrink", n=1))


@pytest.mark.setting("worker_pool_restarts")
def test_given_new_code_when_the_pool_is_restarted_with_reload_then_it_runs_and_nothing_is_lost(make_world: World) -> None:
    world = make_world(worker_pool_restarts=True)
    world.ready(concurrency=2)
    before = world.get("pid")
    assert ask(world, "pool_restart") == {"ok": "reload started"}
    running = world.send("hold", "gate")
    world.write_tasks(more=RATED)
    assert ask(world, "pool_restart", modules=["tasks"], reload=True) == {"ok": "reload started"}
    waiting = [world.send("pid") for _ in range(5)]
    world.open_gate("gate")
    assert running.get(timeout=PATIENCE_S) == "gate"
    assert before not in {result.get(timeout=PATIENCE_S) for result in waiting}
    assert world.get("nap", 0) == 0


def test_given_a_pool_that_scales_itself_when_it_gets_other_bounds_then_they_hold(world: NodeWorld, store: str) -> None:
    world.write_tasks(more=RATED)
    world.ready(options=["--autoscale=2,1"])
    assert ask(world, "autoscale", max=4, min=3) == {"ok": "autoscale now max=4 min=3"}
    results = [world.send("at_once", 4) for _ in range(4)]
    assert max(result.get(timeout=PATIENCE_S) for result in results) == 4
    (stats,) = world.app.control.inspect(timeout=PATIENCE_S).stats().values()
    assert {key: stats["autoscaler"][key] for key in ("max", "min")} == {"max": 4, "min": 3}
    assert "room for" in ask(world, "autoscale", max=400, min=1)["error"]
    assert "not supported with autoscale" in ask(world, "pool_grow", n=1)["error"]


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_given_queues_when_they_are_added_and_cancelled_then_the_node_takes_from_those_only(
    world: NodeWorld, store: str, pool: str
) -> None:
    world.ready(concurrency=1, options=["-P", pool])
    other = world.send("pid", queue="other")
    assert ask(world, "add_consumer", queue="other") == {"ok": "add consumer other"}
    other.get(timeout=PATIENCE_S)
    assert ask(world, "cancel_consumer", queue="celery") == {"ok": "no longer consuming from celery"}
    stays = world.send("pid")
    world.get("pid", queue="other")
    assert [queue["name"] for queue in next(iter(world.app.control.inspect(timeout=PATIENCE_S).active_queues().values()))] == [
        "other"
    ]
    assert world.broker.depth(["celery"])[0].ready == 1
    ask(world, "add_consumer", queue="celery")
    stays.get(timeout=PATIENCE_S)


def test_given_a_slot_that_starts_after_orders_when_it_works_then_they_hold_for_it_too(world: NodeWorld, store: str) -> None:
    world.write_tasks(more=RATED)
    world.ready(concurrency=1)
    ask(world, "add_consumer", queue="other")
    ask(world, "time_limit", task_name="tasks.nap", soft=0.2, hard=30)
    world.send("kill_self", 9)
    with pytest.raises(SoftTimeLimitExceeded):
        world.get("nap", 20, queue="other")


def test_given_calls_of_several_tasks_when_the_node_is_asked_then_it_counts_each(world: NodeWorld, store: str) -> None:
    world.ready(concurrency=2)
    for result in [world.send("pid") for _ in range(7)] + [world.send("add", 1, 2)]:
        result.get(timeout=PATIENCE_S)
    (stats,) = world.app.control.inspect(timeout=PATIENCE_S).stats().values()
    assert stats["total"] == {"tasks.add": 1, "tasks.pid": 7}


@pytest.mark.parametrize(
    ("command", "arguments", "error"),
    [
        ("rate_limit", {"task_name": "tasks.pid", "rate_limit": "many"}, "Invalid rate limit string"),
        ("rate_limit", {"task_name": "tasks.none", "rate_limit": "1/s"}, "unknown task"),
        ("rate_limit", {"task_name": 5, "rate_limit": "1/s"}, "unknown task"),
        ("time_limit", {"task_name": "tasks.pid", "soft": "long", "hard": 1}, "give a number of seconds"),
        ("time_limit", {"task_name": "tasks.none", "soft": 1, "hard": 1}, "unknown task"),
        ("pool_grow", {"n": "many"}, "no number of processes"),
        ("pool_grow", {"n": 10_000}, "room for"),
        ("pool_shrink", {"n": 50}, "can go"),
        ("autoscale", {"max": 4, "min": 1}, "Autoscale not enabled"),
        ("pool_restart", {}, "Pool restarts not enabled"),
        ("add_consumer", {"queue": ""}, "no name of a queue"),
        ("add_consumer", {}, "queue"),
        ("objgraph", {}, "objgraph"),
    ],
)
def test_given_an_order_that_cannot_be_when_it_is_given_then_the_answer_says_why_and_the_node_goes_on(
    shared_node: NodeWorld, command: str, arguments: dict[str, Any], error: str
) -> None:
    assert error in ask(shared_node, command, **arguments)["error"]
    assert shared_node.get("add", 1, 2) == 3


def test_given_a_node_when_its_memory_is_asked_for_then_samples_are_kept(shared_node: NodeWorld) -> None:
    (sample,) = shared_node.app.control.inspect(timeout=PATIENCE_S).memsample().values()
    assert sample.endswith("MB")
    (dump,) = shared_node.app.control.inspect(timeout=PATIENCE_S).memdump().values()
    assert f"- rss (sample): {sample}" in dump


@pytest.fixture
def shared_node(world: NodeWorld) -> NodeWorld:
    world.ready(concurrency=1)
    return world
