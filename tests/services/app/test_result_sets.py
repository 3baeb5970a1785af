"""Sets and groups of results, and the trees below and above a result."""

from __future__ import annotations

import asyncio
import io
import pickle
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from sedano import AsyncResult, Celery, EagerResult, exceptions
from sedano.contracts import ResultWrite
from sedano.protocol import results
from sedano.result import GroupResult, ResultSet, denied_join_result, result_from_tuple

StoreApp = Callable[..., Celery]


def finish(app: Celery, task_id: str, value: Any, state: str = "SUCCESS", children: Any = ()) -> None:
    meta = results.state(task_id, state, value, children=children, date_done="2026-01-01T00:00:00+00:00")
    app.backend.reader.store(ResultWrite(task_id, results.encode_meta(meta), None, True))


def finish_all(app: Celery, values: dict[str, Any]) -> None:
    for name, value in values.items():
        finish(app, name, value)


def named(app: Celery, *names: str) -> list[Any]:
    return [app.AsyncResult(name) for name in names]


def test_given_members_when_added_and_removed_then_a_set_is_as_celerys(store_app: StoreApp) -> None:
    app = store_app()
    a, b, c = named(app, "a", "b", "c")
    some = app.ResultSet([a])
    some.add(b)
    some.add(b)
    assert some.results == [a, b]
    some.remove("a")
    with pytest.raises(KeyError):
        some.remove("a")
    some.discard(a)
    some.update([b, c, c])
    assert (list(some), len(some), some[1], "c" in some) == ([b, c], 2, c, True)
    assert some == ResultSet([b, c])
    assert some.app is app
    assert repr(some) == "<ResultSet: [b, c]>"
    some.clear()
    assert (some.results, some.get(), some.ready(), some.supports_native_join) == ([], [], True, None)
    with pytest.raises(TypeError, match="unhashable"):
        hash(some)


def test_given_states_when_asked_then_a_set_answers_for_all(store_app: StoreApp) -> None:
    app = store_app()
    some = app.ResultSet(named(app, "a", "b"))
    assert (some.ready(), some.waiting(), some.successful(), some.failed(), some.completed_count()) == (
        False, True, False, False, 0,
    )  # fmt: skip
    finish(app, "a", 1)
    assert (some.ready(), some.successful(), some.completed_count()) == (False, False, 1)
    some.maybe_throw()
    finish(app, "b", ValueError("no"), "FAILURE")
    assert (some.ready(), some.waiting(), some.successful(), some.failed(), some.completed_count()) == (
        True, False, False, True, 1,
    )  # fmt: skip
    seen: list[Any] = []
    some.maybe_throw(callback=lambda *each: seen.append(each), propagate=False)
    assert [seen[0], seen[1][0], repr(seen[1][1])] == [("a", 1), "b", "ValueError('no')"]
    with pytest.raises(ValueError, match="no"):
        some.maybe_reraise()
    some.forget()
    assert not some.ready()
    assert app.backend.reader.fetch(["a", "b"]) == [None, None]


@pytest.mark.parametrize("join", ["get", "join", "join_native", "aget"])
def test_given_a_set_when_joined_then_values_come_in_the_order_of_the_members(store_app: StoreApp, join: str) -> None:
    app = store_app()
    inner = app.GroupResult("g", named(app, "c", "d"))
    some = app.ResultSet([*named(app, "a", "b"), inner, EagerResult("e", 5, "SUCCESS"), app.AsyncResult("a")])

    def joined(**options: Any) -> Any:
        return asyncio.run(some.aget(**options)) if join == "aget" else getattr(some, join)(**options)

    finish(app, "a", 1)
    with pytest.raises(exceptions.TimeoutError):
        joined(timeout=0.05)
    writer = threading.Timer(0.05, finish_all, (app, {"d": 4, "c": 3, "b": 2}))
    writer.start()
    assert joined(timeout=60) == [1, 2, [3, 4], 5, 1]
    writer.join(60)
    assert joined(timeout=60) == [1, 2, [3, 4], 5, 1], "again, from memory"
    seen: dict[str, Any] = {}
    assert not joined(timeout=60, callback=seen.__setitem__)
    assert {seen[name] for name in "abe"} == {1, 2, 5}


@pytest.mark.parametrize("join", ["join", "join_native", "aget"])
def test_given_a_member_that_fails_when_joined_then_it_is_raised_unless_asked_otherwise(store_app: StoreApp, join: str) -> None:
    app = store_app()
    finish(app, "a", ValueError("no"), "FAILURE")
    finish(app, "b", 2)
    some: Any = app.ResultSet(named(app, "a", "b"))

    def joined(**options: Any) -> Any:
        return asyncio.run(some.aget(**options)) if join == "aget" else getattr(some, join)(**options)

    with pytest.raises(ValueError, match="no"):
        joined(timeout=60)
    failed, value = joined(timeout=60, propagate=False)
    assert (repr(failed), value) == ("ValueError('no')", 2)
    assert [result.id for result in some._failed_join_report()] == ["a"]


def test_given_a_failure_when_joined_natively_then_nobody_waits_for_the_rest(store_app: StoreApp) -> None:
    app = store_app()
    some = app.ResultSet(named(app, "never", "a"))
    writer = threading.Timer(0.05, lambda: finish(app, "a", ValueError("no"), "FAILURE"))
    writer.start()
    with pytest.raises(ValueError, match="no"):
        some.join_native(timeout=60)
    writer.join(60)


def test_given_a_set_when_iterated_natively_then_each_comes_when_it_has_ended(store_app: StoreApp) -> None:
    app = store_app()
    some = app.ResultSet([*named(app, "a", "b", "c"), app.GroupResult("g", named(app, "x"))])
    finish(app, "b", 2)
    heard: list[Any] = []
    found = some.iter_native(timeout=60, on_message=heard.append)
    assert next(found) == ("g", named(app, "x"))
    assert next(found)[1]["result"] == 2
    for name in ("c", "a"):
        finish(app, name, name)
        task_id, meta = next(found)
        assert (task_id, meta["result"], meta["status"]) == (name, name, "SUCCESS")
    assert list(found) == []
    assert [meta["result"] for meta in heard] == [2, "c", "a"]

    async def collected() -> list[str]:
        return [task_id async for task_id, _ in app.ResultSet(named(app, "a", "b")).aiter_native(timeout=60)]

    assert sorted(asyncio.run(collected())) == ["a", "b"]


def test_given_a_set_that_was_read_ahead_when_it_is_awaited_then_it_is_there(store_app: StoreApp) -> None:
    app = store_app()
    first, second, *others = named(app, "a", "b", "c", "d", "e")
    finish(app, "a", 1)
    assert first.get(timeout=60) == 1
    reader = threading.Thread(target=second.get, kwargs={"timeout": 60})
    reader.start()
    deadline = time.monotonic() + 60
    while not all(map(app.backend.reader.table.is_foreseen, "cde")):
        assert time.monotonic() < deadline
        time.sleep(0.001)  # it is another thread's look ahead
    finish_all(app, {"c": 3, "d": 4, "e": 5, "b": 2})
    reader.join(60)
    assert all(other.payload_ahead for other in others)

    assert asyncio.run(app.ResultSet(others).aget(timeout=10)) == [3, 4, 5]


def test_given_a_task_when_a_set_is_waited_for_inside_of_it_then_it_is_refused(store_app: StoreApp) -> None:
    some = ResultSet(named(store_app(), "a"))
    with denied_join_result():
        for wait in (some.get, some.join, some.join_native, lambda: asyncio.run(some.aget())):
            with pytest.raises(RuntimeError, match=r"result.get\(\) within a task"):
                wait()
    with pytest.raises(exceptions.ImproperlyConfigured, match="join_native"):
        some.join(on_message=print)


@pytest.mark.parametrize("state", ["SUCCESS", "FAILURE"])
def test_given_callbacks_when_all_have_ended_then_the_right_one_is_called(store_app: StoreApp, state: str) -> None:
    app = store_app()
    some = app.ResultSet(named(app, "a", "b"))
    called = threading.Event()
    seen: list[Any] = []

    def noted(kind: str) -> Callable[[Any], None]:
        def note(result: Any) -> None:
            seen.append((kind, result is some))
            called.set()

        return note

    some.then(noted("value"), noted("error"))
    finish(app, "b", 1)
    assert not some.on_ready.ready
    finish(app, "a", ValueError("no") if state == "FAILURE" else 1, state)
    assert called.wait(60)
    expected = ("error" if state == "FAILURE" else "value", True)
    assert seen == [expected]
    some.on_ready.then(noted("value"), noted("error"))
    assert seen == [expected] * 2


def test_given_a_group_when_saved_then_it_is_restored_with_parents_and_inner_groups(store_app: StoreApp) -> None:
    app = store_app()
    parent = app.AsyncResult("p")
    group = app.GroupResult("g", [*named(app, "a"), app.GroupResult("h", named(app, "b"))], parent=parent)
    assert group.save() is group
    found = app.GroupResult.restore("g")
    assert found == group
    assert found.parent == "p"
    assert isinstance(found[1], GroupResult)
    finish(app, "a", 1)
    finish(app, "b", 2)
    assert found.get(timeout=60) == [1, [2]]
    group.delete()
    assert app.GroupResult.restore("g") is None
    assert GroupResult.restore("g", app=app) is None
    assert app.backend.restore_group("g") is None


def test_given_a_group_then_it_is_a_value_as_celerys(store_app: StoreApp) -> None:
    app = store_app()
    group = app.GroupResult("g", named(app, "a", "b"), parent=app.AsyncResult("p"))
    assert group.as_tuple() == (("g", (("p", None), None)), [(("a", None), None), (("b", None), None)])
    assert result_from_tuple(group.as_tuple(), app) == group
    assert result_from_tuple((("g", None), []), app) == GroupResult("g", [])
    assert result_from_tuple(["plain", None], app) == "plain"
    assert pickle.loads(pickle.dumps(group)) == group
    assert (str(group), repr(group), hash(group), group == "g", bool(group)) == (
        "g", "<GroupResult: g [a, b]>", hash("g"), True, True,
    )  # fmt: skip
    assert group.children == group.results
    assert group.as_list() == ["g", "p"]
    assert not GroupResult()
    assert isinstance(group, app.GroupResult)


def test_given_a_tree_when_walked_then_all_below_is_found_breadth_first(store_app: StoreApp) -> None:
    app = store_app()
    finish(app, "root", 0, children=[(("g", None), [(("a", None), None), (("b", None), None)]), (("c", None), None)])
    for name in "abc":
        finish(app, name, name)
    root = app.AsyncResult("root")
    assert [(str(parent), str(node)) for parent, node in root.iterdeps()] == [
        ("None", "root"), ("root", "g"), ("root", "c"), ("g", "a"), ("g", "b"),
    ]  # fmt: skip
    assert [value for _, value in root.collect(timeout=60)] == [0, ["a", "b"], "c", "a", "b"]
    assert root.get_leaf() == "b"
    graph = root.graph
    assert (len(graph), sorted(map(str, graph.edges())), graph.valency_of(root)) == (5, ["g", "root"], 5)
    order = list(map(str, graph.topsort()))
    assert order.index("a") < order.index("g") < order.index("root")
    drawn = io.StringIO()
    graph.to_dot(drawn)
    assert '"root" -> "g";' in drawn.getvalue()
    with pytest.raises(exceptions.IncompleteStream):
        list(app.AsyncResult("unknown").iterdeps())
    assert len(list(app.AsyncResult("unknown").iterdeps(intermediate=True))) == 1


def test_given_a_chain_when_a_parent_fails_while_the_last_is_waited_for_then_the_caller_hears_it(store_app: StoreApp) -> None:
    app = store_app()
    first = app.AsyncResult("first")
    last = AsyncResult("last", app=app, parent=AsyncResult("middle", app=app, parent=first))
    waits: list[Callable[[], Any]] = [lambda: last.get(timeout=60), lambda: asyncio.run(last.aget(timeout=60))]
    for wait in waits:
        app.backend.forget("first")
        first.forget()
        writer = threading.Timer(0.05, lambda: finish(app, "first", ValueError("no"), "FAILURE"))
        writer.start()
        with pytest.raises(ValueError, match="no"):
            wait()
        writer.join(60)
    finish(app, "last", 3)
    assert last.get(timeout=60, follow_parents=False) == 3
    assert last.as_list() == ["last", "middle", "first"]


def test_given_an_eager_result_when_revoked_then_get_raises_it() -> None:
    result = EagerResult("e", 1, "SUCCESS")
    result.revoke()
    with pytest.raises(exceptions.TaskRevokedError):
        result.get()
    assert (result.state, repr(result.result)) == ("REVOKED", "TaskRevokedError('revoked')")


def test_given_an_app_on_memory_when_a_set_is_revoked_then_all_its_calls_are(store_app: StoreApp) -> None:
    app = store_app()
    orders: list[Any] = []
    app.control.revoke = lambda task_ids, **options: orders.append((task_ids, options["terminate"]))
    app.ResultSet([*named(app, "a"), app.GroupResult("g", named(app, "b"))]).revoke(terminate=True)
    assert orders == [(["a", "b"], True)]
