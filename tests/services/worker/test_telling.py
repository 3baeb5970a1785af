"""What a node announces: its heartbeats and what becomes of its calls."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from tests.services.worker.nodes import PATIENCE_S, NodeWorld

from sedano.exceptions import OperationalError
from sedano.protocol.events import read_events

World = Callable[..., NodeWorld]
Event = dict[str, Any]

LIVES = """
@app.task
def boom():
    raise ValueError("wrong")

@app.task(bind=True)
def again(self):
    if self.request.retries == 0:
        raise self.retry(countdown=0.1, exc=KeyError("once"))
    return "done"

@app.task(bind=True, acks_late=True)
def refuse(self):
    from sedano.exceptions import Reject
    raise Reject("no", requeue=False)

@app.task
def ignore():
    from sedano.exceptions import Ignore
    raise Ignore

@app.task
def mark(name):
    from pathlib import Path
    (Path(HERE) / f"{{name}}-{{os.getpid()}}-{{time.monotonic_ns()}}").touch()
""".replace("{{", "{").replace("}}", "}")


class Listener:
    """Collects the events of a store in the order in which they came."""

    def __init__(self, world: NodeWorld) -> None:
        self._bus = world.app.stores.open_bus()
        self._box = self._bus.open_events("listener")
        self.events: list[Event] = []

    def until(self, wanted: Callable[[list[Event]], bool]) -> list[Event]:
        deadline = time.monotonic() + PATIENCE_S
        while not wanted(self.events):
            if time.monotonic() > deadline:
                raise AssertionError(f"not heard; heard was: {[e['type'] for e in self.events]}")
            self.listen(0.2)
        return self.events

    def listen(self, seconds: float) -> None:
        for message in self._box.receive(seconds):
            self.events += read_events(message)

    def life(self, task_id: str, last: str) -> list[Event]:
        """The events of a call up to the first of type `last`."""
        self.until(lambda events: any(e["type"] == last and e.get("uuid") == task_id for e in events))
        return [event for event in self.events if event.get("uuid") == task_id]

    def close(self) -> None:
        self._box.close()
        self._bus.close()


@contextmanager
def listening(world: NodeWorld) -> Iterator[Listener]:
    with closing(Listener(world)) as listener:
        yield listener


def kinds(events: list[Event]) -> list[str]:
    return [event["type"].removeprefix("task-") for event in events]


@pytest.mark.parametrize("pool", ["prefork", "solo", "threads", "asyncio", "gevent", "eventlet"])
def test_given_events_on_when_calls_live_and_end_then_each_step_is_told_in_its_order(
    world: NodeWorld, store: str, pool: str
) -> None:
    world.write_tasks(more=LIVES)
    node = world.ready(concurrency=1 if pool == "solo" else 2, options=["-P", pool, "-E"])
    with listening(world) as heard:
        added = world.send("add", 2, 3)
        life = heard.life(added.id, "task-succeeded")
        assert kinds(life) == ["received", "started", "succeeded"]
        received, started, succeeded = life
        told = {key: value for key, value in received.items() if key not in started}
        assert told == {
            "name": "tasks.add", "args": "(2, 3)", "kwargs": "{}", "root_id": added.id, "parent_id": None, "retries": 0,
            "eta": None, "expires": None,
        }  # fmt: skip
        assert (succeeded["result"], succeeded["runtime"] >= 0) == ("5", True)
        assert {event["hostname"] for event in life} == {"w1@test"}
        assert {event["pid"] for event in life} == {node.pid}
        assert received["clock"] < started["clock"] < succeeded["clock"]
        assert set(started) == {"hostname", "utcoffset", "pid", "clock", "uuid", "timestamp", "type"}

        boom = heard.life(world.send("boom").id, "task-failed")
        assert kinds(boom) == ["received", "started", "failed"]
        assert boom[-1]["exception"] == "ValueError('wrong')"
        assert "ValueError: wrong" in boom[-1]["traceback"]

        again = heard.life(world.send("again").id, "task-succeeded")
        assert kinds(again) == ["received", "started", "retried", "received", "started", "succeeded"]
        assert again[2]["exception"] == "KeyError('once')"
        assert (again[3]["retries"], again[3]["eta"] is not None) == (1, True)

        refused = heard.life(world.send("refuse").id, "task-rejected")
        assert (kinds(refused), refused[3]["requeue"]) == (["received", "started", "failed", "rejected"], False)

        ignored = world.send("ignore")
        expired = heard.life(world.send("add", 1, 1, expires=-5).id, "task-revoked")
        assert kinds(expired) == ["received", "revoked"]
        assert {key: expired[1][key] for key in ("terminated", "signum", "expired")} == {
            "terminated": False, "signum": None, "expired": True,
        }  # fmt: skip
        assert kinds(heard.life(ignored.id, "task-started")) == ["received", "started"]


@pytest.mark.parametrize("pool", ["prefork", "threads", "gevent"])
def test_given_calls_that_are_ended_from_outside_when_one_listens_then_it_hears_how(
    world: NodeWorld, store: str, pool: str
) -> None:
    world.ready(concurrency=2, options=["-P", pool, "-E"])
    with listening(world) as heard:
        running = world.send("hold", "never")
        heard.life(running.id, "task-started")
        running.revoke(terminate=True)
        revoked = heard.life(running.id, "task-revoked")
        assert kinds(revoked) == ["received", "started", "revoked"]
        assert (revoked[-1]["terminated"], revoked[-1]["signum"], revoked[-1]["expired"]) == (True, signal.SIGTERM, False)
        late = heard.life(world.send("hold", "never", time_limit=0.5).id, "task-failed")
        assert "TimeLimitExceeded" in late[-1]["exception"]
        if pool == "prefork":
            lost = heard.life(world.send("kill_self", signal.SIGKILL).id, "task-failed")
            assert kinds(lost) == ["received", "started", "failed"]
            assert lost[-1]["exception"].startswith("WorkerLostError")


@pytest.mark.setting("worker_send_task_events")
def test_given_the_setting_when_the_node_works_then_it_tells_and_cannot_be_told_to_be_silent(
    make_world: World, store: str
) -> None:
    world = make_world(worker_send_task_events=True)
    world.ready()
    control = world.app.control
    assert control.enable_events(reply=True, timeout=PATIENCE_S) == [{"w1@test": {"ok": "task events already enabled"}}]
    assert control.disable_events(reply=True, timeout=PATIENCE_S) == [{"w1@test": {"ok": "task events already disabled"}}]
    with listening(world) as heard:
        assert kinds(heard.life(world.send("pid").id, "task-succeeded")) == ["received", "started", "succeeded"]


def test_given_a_silent_node_when_events_are_enabled_and_disabled_then_it_tells_in_between_only(
    world: NodeWorld, store: str
) -> None:
    world.ready()
    control = world.app.control
    with listening(world) as heard:
        world.get("pid")
        assert control.enable_events(reply=True, timeout=PATIENCE_S) == [{"w1@test": {"ok": "task events enabled"}}]
        assert control.enable_events(reply=True, timeout=PATIENCE_S) == [{"w1@test": {"ok": "task events already enabled"}}]
        told = world.send("pid")
        heard.life(told.id, "task-succeeded")
        assert control.disable_events(reply=True, timeout=PATIENCE_S) == [{"w1@test": {"ok": "task events disabled"}}]
        assert control.disable_events(reply=True, timeout=PATIENCE_S) == [{"w1@test": {"ok": "task events already disabled"}}]
        world.get("pid")
        beats = len([e for e in heard.events if e["type"] == "worker-heartbeat"])
        heard.until(lambda events: len([e for e in events if e["type"] == "worker-heartbeat"]) > beats)
        assert {event["uuid"] for event in heard.events if "uuid" in event} == {told.id}


def test_given_a_node_when_it_comes_beats_and_goes_then_all_is_told(world: NodeWorld, store: str) -> None:
    with listening(world) as heard:
        node = world.ready(concurrency=2, options=["--heartbeat-interval", "0.3"])
        running = world.send("hold", "gate")
        heard.until(lambda events: any(e["type"] == "worker-heartbeat" and e["active"] == 1 for e in events))
        world.open_gate("gate")
        running.get(timeout=PATIENCE_S)
        heard.until(lambda events: any(e["type"] == "worker-heartbeat" and e["processed"] == 1 for e in events))
        node.stop()
        heard.until(lambda events: events[-1]["type"] == "worker-offline")
        online, *beats, offline = heard.events
        assert online["type"] == "worker-online"
        assert {beat["type"] for beat in beats} == {"worker-heartbeat"}
        assert set(offline) == set(online) == set(beats[0]) == {
            "hostname", "utcoffset", "pid", "clock", "freq", "active", "processed", "loadavg", "sw_ident", "sw_ver",
            "sw_sys", "timestamp", "type",
        }  # fmt: skip
        assert {beat["freq"] for beat in beats} == {0.3}
        assert len(online["loadavg"]) == 3
        clocks = [event["clock"] for event in heard.events]
        assert clocks == sorted(set(clocks))


def test_given_a_node_without_heartbeats_when_a_monitor_asks_for_one_then_that_is_all_it_sends(
    world: NodeWorld, store: str
) -> None:
    with listening(world) as heard:
        world.ready(options=["--without-heartbeat", "--without-gossip", "--without-mingle"])
        heard.listen(1.0)
        assert heard.events == []
        world.app.control.heartbeat()
        (beat,) = heard.until(lambda events: bool(events))
        assert (beat["type"], beat["freq"], "active" in beat) == ("worker-heartbeat", 5.0, False)


def test_given_a_broker_that_goes_away_when_it_is_back_then_the_node_tells_again(world: NodeWorld) -> None:
    world.ready(options=["-E"])
    world.get("pid")
    world.server.restart()
    with listening(world) as heard:
        deadline = time.monotonic() + PATIENCE_S
        while not any(event["type"] == "task-succeeded" for event in heard.events):
            assert time.monotonic() < deadline
            try:
                world.send("pid")
            except OperationalError:
                continue
            heard.listen(1.0)


@pytest.mark.parametrize("beats", [True, False], ids=["gossip", "alone"])
def test_given_two_nodes_when_an_election_is_held_then_one_of_them_acts(world: NodeWorld, store: str, beats: bool) -> None:
    world.write_tasks(more=LIVES)
    names = ["w1@test", "w2@test"] if beats else ["w1@test"]
    for name in names:
        world.node(name, concurrency=1)
    for node in world.nodes:
        node.wait_ready()
    if beats and store == "redis":  # they must have heard of each other
        with listening(world) as heard:
            heard.until(lambda events: {event["hostname"] for event in events} >= set(names))
    action = world.app.signature("tasks.mark", args=("elected",))
    world.app.control.election("who", "task", dict(action))
    deadline = time.monotonic() + PATIENCE_S
    while not list(world.folder.glob("elected-*")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for name in names:
        world.app.control.ping([name], timeout=PATIENCE_S)
    assert len(list(world.folder.glob("elected-*"))) == 1


def test_given_results_and_names_that_are_no_plain_text_when_told_then_they_arrive_in_some_form(world: NodeWorld) -> None:
    world.write_tasks(
        more='@app.task\ndef odd():\n    return "\\ud800 and " + "x" * 100_000\n\n'
        '@app.task\ndef long():\n    raise ValueError("y" * 200_000)\n'
    )
    world.ready(options=["-E"])
    with listening(world) as heard:
        assert kinds(heard.life(world.send("odd").id, "task-succeeded"))[-1] == "succeeded"
        failed = heard.life(world.send("long").id, "task-failed")[-1]
        assert failed["exception"].startswith("ValueError('yyy")


def test_given_a_stopped_supervisor_when_calls_run_on_then_no_slot_waits_for_it_to_tell(world: NodeWorld, store: str) -> None:
    world.settings["worker_lease_time"] = 600.0  # nobody renews it: a slot that has lost its lease does wait for the supervisor
    world.write_tasks()
    node = world.ready(concurrency=1, options=["-E"])
    world.get("pid")
    os.kill(node.pid, signal.SIGSTOP)
    try:
        for result in [world.send("add", n, n) for n in range(200)]:
            result.get(timeout=PATIENCE_S)
    finally:
        os.kill(node.pid, signal.SIGCONT)
