"""Calls that are revoked, by id or by stamp: what the nodes do, what they answer, what stands in the result store."""

from __future__ import annotations

import pickle
import shelve
import signal
import sys
import types
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.services.worker.nodes import PATIENCE_S, NodeWorld

from sedano.exceptions import TaskRevokedError
from sedano.worker.control.statedb import revoked_ids

World = Callable[..., NodeWorld]
POOLS = ("processes", "threads", "asyncio", "gevent", "eventlet")


def told(world: NodeWorld, command: str, arguments: dict[str, Any]) -> Any:
    (answer,) = world.app.control.broadcast(command, arguments, destination=["w1@test"], reply=True, timeout=PATIENCE_S)
    return answer["w1@test"]


def stamped(world: NodeWorld, name: str, *args: Any, **stamps: Any) -> Any:
    task = world.app.signature(f"tasks.{name}", args=args)
    task.stamp(**stamps)
    return task.apply_async()


# -- the state at once ----------------------------------------------------------------------------------------------------


def test_given_calls_that_wait_when_revoked_then_their_state_is_revoked_at_once(make_world: World, store: str) -> None:
    world = make_world()
    world.ready(concurrency=1)
    running = world.send("hold", "gate")
    world.until_started(running)
    waiting, delayed = world.send("add", 1, 1), world.send("add", 2, 2, countdown=3000)
    done_before = world.app.AsyncResult("done-before")
    world.app.backend.store_result("done-before", 5, "SUCCESS")

    ids = [running.id, waiting.id, delayed.id, "done-before", "never-sent"]
    assert told(world, "revoke", {"task_id": ids})["ok"].endswith("flagged as revoked")

    assert [world.app.AsyncResult(id_).state for id_ in ids[1:3]] == ["REVOKED", "REVOKED"]
    with pytest.raises(TaskRevokedError, match="revoked"):
        waiting.get(timeout=PATIENCE_S)
    assert done_before.state == "SUCCESS"
    assert world.app.AsyncResult("never-sent").state == "REVOKED"
    assert running.state == "PENDING"
    world.open_gate("gate")
    assert running.get(timeout=PATIENCE_S) == "gate"
    assert world.get("add", 3, 4) == 7  # what was revoked before it has been looked at by now
    assert world.ledger.starts().get(waiting.id) is None


def test_given_ten_thousand_ids_when_revoked_in_one_message_then_all_are_and_the_node_goes_on(
    make_world: World, store: str
) -> None:
    world = make_world()
    node = world.ready(concurrency=1)
    ids = [f"id-{number}" for number in range(10_000)]
    answer = told(world, "revoke", {"task_id": ids})
    assert answer["ok"].startswith("tasks {'id-")
    assert sorted(told(world, "revoked", {})) == sorted(ids)
    assert world.app.AsyncResult("id-9999").state == "REVOKED"
    assert world.get("add", 1, 2) == 3
    assert "Tasks flagged as revoked: id-0, id-1, " in node.log()
    refused = world.send("add", 1, 1, task_id="id-5")
    with pytest.raises(TaskRevokedError):
        refused.get(timeout=PATIENCE_S)


def test_given_no_result_backend_when_revoked_then_the_order_holds(make_world: World) -> None:
    world = make_world(result_backend=None)
    world.settings["result_backend"] = None
    world.write_tasks()
    node = world.ready(concurrency=1)
    assert told(world, "revoke", {"task_id": "a"}) == {"ok": "tasks {'a'} flagged as revoked"}
    world.app.send_task("tasks.add", (1, 1), task_id="a")
    node.wait_for_line(r"Discarding revoked task: tasks.add\[a\]")


# -- stamps ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pool", POOLS)
def test_given_a_revoked_stamp_when_calls_bear_it_then_they_do_not_run_in_any_pool(make_world: World, pool: str) -> None:
    world = make_world()
    node = world.ready(concurrency=1, options=["-P", pool])
    assert told(world, "revoke_by_stamped_headers", {"headers": {"order": ["a", "b"]}}) == {
        "ok": "headers {'order': ['a', 'b']} flagged as revoked, but not terminated"
    }
    refused = [stamped(world, "add", 1, 1, order="a"), stamped(world, "add", 1, 1, order=["x", "b"])]
    others = [stamped(world, "add", 1, 1, order="c"), stamped(world, "add", 1, 1, customer="a"), world.send("add", 1, 1)]
    for result in refused:
        with pytest.raises(TaskRevokedError):
            result.get(timeout=PATIENCE_S)
    assert [result.get(timeout=PATIENCE_S) for result in others] == [2, 2, 2]
    node.wait_for_line(rf"Discarding revoked task: tasks.add\[{refused[0].id}\] \(revoked by header: {{'order': 'a'}}\)")
    assert told(world, "revoked", {}) == []


@pytest.mark.parametrize("pool", POOLS)
def test_given_running_calls_with_a_stamp_when_terminated_by_it_then_they_end_and_others_go_on(
    make_world: World, pool: str
) -> None:
    world = make_world()
    world.ready(concurrency=2, options=["-P", pool])
    doomed, other = stamped(world, "hold", "never", order="a"), stamped(world, "hold", "gate", order="b")
    world.until_started(doomed)
    world.until_started(other)
    asked = {"headers": {"order": "a"}, "terminate": True, "signal": "SIGTERM"}
    assert told(world, "revoke_by_stamped_headers", asked) == {
        "ok": "headers defaultdict(<class 'set'>, {'order': {'a'}}) revoked"
    }
    with pytest.raises(TaskRevokedError):
        doomed.get(timeout=PATIENCE_S)
    nobody = {"headers": {"order": "z"}, "terminate": True}
    assert told(world, "revoke_by_stamped_headers", nobody) == {"ok": "headers {'order': 'z'} were not terminated"}
    world.open_gate("gate")
    assert other.get(timeout=PATIENCE_S) == "gate"


def test_given_a_stamp_revoked_by_the_client_when_nodes_start_later_or_hear_nothing_then_they_heed_it(
    make_world: World, store: str
) -> None:
    world = make_world()
    first = world.ready(concurrency=1, options=["-P", "processes"])
    running = stamped(world, "hold", "never", order="a")
    world.until_started(running)
    # by the store alone: nobody is told
    world.app.control.revoke_by_stamped_headers({"order": "a"}, terminate=True, pattern="nobody*", matcher="glob")
    with pytest.raises(TaskRevokedError):
        running.get(timeout=PATIENCE_S)
    assert first.stop() == 0
    world.ready(concurrency=1)
    later = stamped(world, "add", 1, 1, order="a")
    with pytest.raises(TaskRevokedError):
        later.get(timeout=PATIENCE_S)
    result = stamped(world, "add", 2, 2, order="d")
    assert result.get(timeout=PATIENCE_S) == 4
    result.revoke_by_stamped_headers({"order": {"d"}})
    with pytest.raises(TaskRevokedError):
        stamped(world, "add", 1, 1, order="d").get(timeout=PATIENCE_S)


def test_given_a_group_when_revoked_then_none_of_its_calls_runs(world: NodeWorld) -> None:
    from sedano import group  # noqa: PLC0415

    calls = [world.app.signature("tasks.add", args=(n, n), countdown=600) for n in range(3)]
    group_result = group(calls).apply_async()
    world.ready(concurrency=1)
    ((answer,),) = [reply.values() for reply in group_result.revoke(wait=True, timeout=PATIENCE_S)]
    assert answer["ok"].endswith("flagged as revoked")
    assert [world.app.AsyncResult(child.id).state for child in group_result.children] == ["REVOKED"] * 3


# -- signals --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SIGTERM", "KILL", "SIGINT", "HUP", "SIGQUIT", "ABRT", "SIGUSR2"])
@pytest.mark.parametrize("pool", ["processes", "threads"])
def test_given_any_signal_when_a_running_call_is_terminated_then_it_is_revoked(make_world: World, pool: str, name: str) -> None:
    world = make_world()
    world.ready(concurrency=1, options=["-P", pool])
    result = world.send("hold", "never")
    world.until_started(result)
    assert told(world, "terminate", {"task_id": result.id, "signal": name}) == {"ok": f"terminate: {result.id}"}
    with pytest.raises(TaskRevokedError):
        result.get(timeout=PATIENCE_S)
    world.open_gate("never")
    assert world.get("add", 1, 2) == 3


# -- wrong words ----------------------------------------------------------------------------------------------------------


def test_given_wrong_arguments_when_told_then_each_is_an_error_and_the_node_goes_on(world: NodeWorld) -> None:
    node = world.ready(concurrency=1)
    wrong: list[tuple[str, dict[str, Any], str]] = [
        ("revoke", {"task_id": 5}, "TypeError('a task id is text, not int: 5')"),
        ("revoke", {"task_id": ["a", None]}, "TypeError('a task id is text, not NoneType: None')"),
        ("revoke", {"task_id": "x" * 1_000_000}, "is no task id: it has 1000000 characters"),
        ("revoke", {"task_id": "a", "terminate": True, "signal": "NOPE"}, "there is no signal 'NOPE'"),
        ("revoke", {"task_id": "a", "terminate": True, "signal": {"a": 1}}, "there is no signal"),
        ("terminate", {"task_id": "a", "signal": "99"}, "there is no signal '99'"),
        ("revoke_by_stamped_headers", {"headers": "x"}, "TypeError('headers are a str"),
        ("revoke_by_stamped_headers", {"headers": None}, "TypeError"),
        ("revoke_by_stamped_headers", {"headers": ["x"]}, "is no header=stamp"),
        ("revoke_by_stamped_headers", {"headers": {"h": "x" * 1_000_000}}, "a stamp is longer than"),
        ("revoke_by_stamped_headers", {"headers": {"h": "x"}, "signal": "NOPE"}, "there is no signal 'NOPE'"),
        ("hello", {"from_node": "w2@test", "revoked": 5}, "TypeError"),
    ]
    for command, arguments, said in wrong:
        assert said in told(world, command, arguments)["error"], command
    assert told(world, "revoked", {}) == []
    assert told(world, "revoke", {"task_id": []}) == {"ok": "tasks set() flagged as revoked"}
    assert told(world, "revoke_by_stamped_headers", {"headers": ["h=x", "h2=y=z"]}) == {
        "ok": "headers {'h': 'x', 'h2': 'y=z'} flagged as revoked, but not terminated"
    }
    assert told(world, "revoke_by_stamped_headers", {"headers": {"h": {"deep": [1, None]}}})["ok"]
    assert world.get("add", 1, 2) == 3
    assert node.process.poll() is None
    for said in ("x", 5, ["h"], {"": "x"}, {5: "x"}):
        with pytest.raises((TypeError, ValueError)):
            world.app.control.revoke_by_stamped_headers(said)
    with pytest.raises(ValueError, match="no signal"):
        world.app.control.revoke_by_stamped_headers({"h": "x"}, signal="NOPE")


# -- Celery's state db ------------------------------------------------------------------------------------------------------


class LimitedSet:
    """Pickled as Celery's is."""

    def __init__(self, data: dict[Any, float]) -> None:
        self.data = data

    def __reduce__(self) -> Any:
        return LimitedSet, (50_000, 10_800, self.data, 0)


def state_db(path: Path, kept: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file as a Celery worker writes it."""
    module = types.ModuleType("celery.utils.collections")
    module.LimitedSet = LimitedSet  # type: ignore[attr-defined]
    for name in ("celery", "celery.utils"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, "celery.utils.collections", module)
    monkeypatch.setattr(LimitedSet, "__module__", "celery.utils.collections")
    with shelve.open(str(path), protocol=2) as shelf:
        shelf.update({"__proto__": 3, "clock": 7, "zrevoked": zlib.compress(pickle.dumps(kept, protocol=2))})
    return path


def test_given_a_state_db_of_celerys_when_a_node_starts_with_it_then_what_was_revoked_there_is_revoked_here(
    world: NodeWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        path = state_db(tmp_path / "worker.state", LimitedSet({"a": 1.0, "b": 2.0, 5: 3.0}), patch)
    world.ready(concurrency=1, options=["--statedb", str(path)])
    assert sorted(told(world, "revoked", {})) == ["a", "b"]
    with pytest.raises(TaskRevokedError):
        world.send("add", 1, 1, task_id="a").get(timeout=PATIENCE_S)


class Bomb:
    def __reduce__(self) -> Any:
        return (signal.raise_signal, (signal.SIGKILL,))


@pytest.mark.parametrize("kept", [Bomb(), 5, None, {"x": Bomb()}], ids=["bomb", "number", "nothing", "map"])
def test_given_a_state_db_with_something_else_in_it_when_read_then_nothing_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kept: Any
) -> None:
    path = state_db(tmp_path / "worker.state", kept, monkeypatch)
    assert revoked_ids(str(path)) == []
    assert "cannot be read" in caplog.text or kept is None
    (tmp_path / "broken").write_bytes(b"\xff" * 100)
    assert revoked_ids(str(tmp_path / "broken")) == []
    assert revoked_ids(str(tmp_path / "none")) == []
