"""What goes out after a call: outcome in, sends out."""

from __future__ import annotations

from itertools import count
from typing import Any

from sedano.canvas import Signature, chord, group
from sedano.canvas.plan import ChordStart, Part, Plan, Planner, after_failure, after_header, after_success, doomed, errbacks_of


def sig(task: str, **parts: Any) -> dict[str, Any]:
    return {"task": task, "args": [], "kwargs": {}, "options": {}, "subtask_type": None, "immutable": False, **parts}


def group_of(*tasks: dict[str, Any], **options: Any) -> dict[str, Any]:
    return sig("celery.group", kwargs={"tasks": list(tasks)}, subtask_type="group", options=options)


def planner() -> Planner:
    ids = (f"new-{number}" for number in count(1))
    return Planner(lambda: next(ids))


def success(value: Any = 5, callbacks: Any = None, chain: Any = None, priority: int | None = None) -> Plan:
    made = planner()
    after_success(made, value, task_id="t", root_id="r", callbacks=callbacks, chain=chain, priority=priority)
    return made.plan


def failure(errbacks: Any) -> Plan:
    made = planner()
    after_failure(made, errbacks, task_id="t", root_id=None)
    return made.plan


def places(plan: Plan) -> list[tuple[Any, Any]]:
    return [(send.signature["options"].get("group_id"), send.signature["options"].get("group_index")) for send in plan.sends]


def chord_of(header: list[dict[str, Any]], body: dict[str, Any], **options: Any) -> dict[str, Any]:
    kwargs = {"header": header, "body": body, "kwargs": {}}
    return sig("celery.chord", kwargs=kwargs, subtask_type="chord", options=options)


def test_given_nothing_then_nothing_goes_out() -> None:
    assert success().sends == []
    assert failure(None).sends == []
    assert doomed(None).ids == ()


def test_given_one_callback_then_it_gets_the_value_and_its_ancestry() -> None:
    plan = success(callbacks=[sig("cb")], priority=3)
    (send,) = plan.sends
    assert (send.signature["task"], send.args) == ("cb", (5,))
    assert send.options == {"parent_id": "t", "root_id": "r", "priority": 3}
    assert [child.as_tuple() for child in plan.children] == [[["new-1", None], None]]


def test_given_several_callbacks_then_they_go_out_as_one_group() -> None:
    plan = success(callbacks=[sig("a"), sig("b")])
    assert places(plan) == [("new-1", 0), ("new-1", 1)]
    (child,) = plan.children
    assert [member.id for member in child.members or ()] == ["new-2", "new-3"]


def test_given_a_chain_then_its_last_item_is_next_and_takes_the_rest() -> None:
    rest = [sig("third"), sig("second")]
    (send,) = success(chain=[*rest, sig("first", options={"task_id": "id-1"})]).sends
    assert (send.signature["task"], send.signature["options"]["task_id"]) == ("first", "id-1")
    assert send.options["chain"] == rest
    assert send.args == (5,)
    (last,) = success(chain=[sig("only")]).sends
    assert last.options["chain"] == []


def test_given_a_group_as_the_last_step_then_each_member_goes_out_with_its_place() -> None:
    plan = success(chain=[group_of(sig("a"), sig("b"), task_id="gid", queue="q")])
    assert [send.signature["task"] for send in plan.sends] == ["a", "b"]
    assert places(plan) == [("gid", 0), ("gid", 1)]
    assert [send.options for send in plan.sends] == [{"queue": "q", "parent_id": "t", "root_id": "r"}] * 2
    assert all(send.args == (5,) for send in plan.sends)


def test_given_a_chain_as_a_callback_then_its_first_step_goes_out_with_the_rest() -> None:
    nested = sig("celery.chain", kwargs={"tasks": [sig("a"), sig("b"), sig("c")]}, subtask_type="chain")
    (send,) = success(callbacks=[nested]).sends
    assert send.signature["task"] == "a"
    assert [step["task"] for step in send.options["chain"]] == ["c", "b"]
    (step,) = success(chain=[sig("z"), nested]).sends
    assert [later["task"] for later in step.options["chain"]] == ["z", "c", "b"]


def test_given_a_group_in_the_middle_of_a_chain_then_it_is_a_chord_with_the_next_step_as_its_body() -> None:
    plan = success(chain=[sig("last"), sig("after", options={"task_id": "id-9"}), group_of(sig("a"), sig("b"), task_id="gid")])
    assert plan.chords == [ChordStart("gid", 2)]
    bodies = [send.signature["options"]["chord"] for send in plan.sends]
    assert {body["options"]["task_id"] for body in bodies} == {"id-9"}
    assert [step["task"] for step in bodies[0]["options"]["chain"]] == ["last"]


def test_given_a_chord_without_a_header_then_its_body_goes_out_with_no_results() -> None:
    plan = success(chain=[chord_of([], sig("body"))])
    (send,) = plan.sends
    assert (send.signature["task"], send.args, plan.chords) == ("body", ([],), [])


def test_given_a_header_with_a_chain_that_ends_in_a_group_then_its_results_are_one_part_with_one_place() -> None:
    tail = sig("celery.chain", kwargs={"tasks": [sig("a"), group_of(sig("b"), sig("c"))]}, subtask_type="chain")
    made = planner()
    made.start(chord_of([tail, sig("d")], sig("body")))
    assert [start.size for start in made.plan.chords] == [2]
    first, other = made.plan.sends
    (waiting,) = first.options["chain"]
    listed = waiting["kwargs"]["body"]
    assert (listed["task"], listed["options"]["chord"]["task"]) == ("celery.accumulate", "body")
    assert [each["options"]["group_index"] for each in (listed, other.signature)] == [0, 1]
    assert "chord" not in first.signature["options"]


def test_given_all_results_of_a_header_then_the_body_gets_them_as_one_list() -> None:
    made = planner()
    after_header(made, sig("body", options={"task_id": "id-1"}), [1, 2], task_id="last", root_id="r")
    (send,) = made.plan.sends
    assert (send.args, send.options) == (([1, 2],), {"parent_id": "last", "root_id": "r"})


def test_given_errbacks_then_each_gets_the_failed_id() -> None:
    plan = failure([sig("a"), sig("b", immutable=True)])
    assert [send.args for send in plan.sends] == [("t",), ("t",)]
    assert plan.sends[1].options == {"parent_id": "t", "root_id": "t"}
    assert places(plan) == [("new-1", 0), ("new-1", 1)]


def test_given_a_chain_that_broke_then_its_later_steps_fail_too() -> None:
    chord = chord_of([sig("h", options={"task_id": "2"})], sig("body", options={"task_id": "3"}))
    steps = [chord, sig("b"), sig("a", options={"task_id": "1"})]
    assert sorted(doomed(steps).ids) == ["1", "2", "3"]


def test_given_a_chain_that_broke_inside_of_a_header_then_its_part_fails_and_the_parts_of_doomed_chords_do_not_count() -> None:
    outer = sig("outer", options={"task_id": "o"})
    inner_body = sig("inner", options={"task_id": "i", "chord": outer, "group_id": "g", "group_index": 4})
    inner_part = sig("h", options={"task_id": "h", "chord": inner_body, "group_id": "inner-g", "group_index": 0})
    lost = doomed([chord_of([inner_part], inner_body)])
    assert sorted(lost.ids) == ["h", "i"]
    assert lost.parts == (Part("i", "g", 4, outer),)


def test_given_a_body_that_is_a_chain_then_the_errbacks_of_its_steps_are_called_once_each() -> None:
    errback = sig("err")
    steps = [sig("a", options={"link_error": [errback]}), sig("b", options={"link_error": [errback, sig("other")]})]
    body = sig("celery.chain", kwargs={"tasks": steps}, subtask_type="chain")
    ((told, errbacks),) = errbacks_of(body)
    assert told is body
    assert [each["task"] for each in errbacks] == ["err", "other"]


def test_given_a_body_that_is_a_group_then_each_of_its_results_has_errbacks_of_its_own() -> None:
    first, second, inner = Signature("first"), Signature("second"), Signature("inner")
    for each in (first, second, inner):
        each.link_error(Signature("err"))
    second.link_error(Signature("other"))
    body = group(first, second, chord([Signature("header")], inner))
    body.options["link_error"] = [Signature("of the group"), Signature("err")]
    told = [(call["task"], [each["task"] for each in errbacks]) for call, errbacks in errbacks_of(body)]
    assert told == [("first", ["err", "of the group"]), ("second", ["err", "other"]), ("inner", ["err"])]
