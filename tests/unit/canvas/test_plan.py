"""What goes out after a call: outcome in, sends out."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from sedano.canvas.plan import after_failure, after_success, failed_with


def sig(task: str, **parts: Any) -> dict[str, Any]:
    return {"task": task, "args": [], "kwargs": {}, "options": {}, "subtask_type": None, "immutable": False, **parts}


def group_of(*tasks: dict[str, Any], **options: Any) -> dict[str, Any]:
    return sig("celery.group", kwargs={"tasks": list(tasks)}, subtask_type="group", options=options)


def success(value: Any = 5, callbacks: Any = None, chain: Any = None, priority: int | None = None) -> list[Any]:
    ids = (f"new-{number}" for number in count(1))
    return after_success(
        value, task_id="t", root_id="r", callbacks=callbacks, chain=chain, priority=priority, new_id=lambda: next(ids)
    )


def test_given_nothing_then_nothing_goes_out() -> None:
    assert success() == []
    assert after_failure(None, task_id="t", root_id=None, new_id=lambda: "g") == []
    assert failed_with(None) == []


def test_given_one_callback_then_it_gets_the_value_and_its_ancestry() -> None:
    (send,) = success(callbacks=[sig("cb")], priority=3)
    assert (send.signature["task"], send.args, send.group_id) == ("cb", (5,), None)
    assert send.options == {"parent_id": "t", "root_id": "r", "priority": 3}


def test_given_several_callbacks_then_they_go_out_as_one_group() -> None:
    first, second = success(callbacks=[sig("a"), sig("b")])
    assert first.group_id == second.group_id == "new-1"
    assert [send.options["group_index"] for send in (first, second)] == [0, 1]
    assert first.options["group_id"] == "new-1"


def test_given_a_chain_then_its_last_item_is_next_and_takes_the_rest() -> None:
    rest = [sig("third"), sig("second")]
    (send,) = success(chain=[*rest, sig("first", options={"task_id": "id-1"})])
    assert send.signature["task"] == "first"
    assert send.options["chain"] == rest
    assert send.args == (5,)
    (last,) = success(chain=[sig("only")])
    assert last.options["chain"] == []


def test_given_a_group_as_the_last_step_then_each_member_goes_out_with_its_place() -> None:
    sends = success(chain=[group_of(sig("a"), sig("b"), task_id="gid", queue="q")])
    assert [send.signature["task"] for send in sends] == ["a", "b"]
    assert [send.options for send in sends] == [
        {"queue": "q", "parent_id": "t", "root_id": "r", "group_id": "gid", "group_index": place} for place in (0, 1)
    ]
    assert all(send.args == (5,) for send in sends)


def test_given_a_chain_as_a_callback_then_its_first_step_goes_out_with_the_rest() -> None:
    nested = sig("celery.chain", kwargs={"tasks": [sig("a"), sig("b"), sig("c")]}, subtask_type="chain")
    (send,) = success(callbacks=[nested])
    assert send.signature["task"] == "a"
    assert [step["task"] for step in send.options["chain"]] == ["c", "b"]
    (step,) = success(chain=[sig("z"), nested])
    assert [later["task"] for later in step.options["chain"]] == ["z", "c", "b"]


def test_given_a_group_in_the_middle_of_a_chain_then_it_is_refused_and_not_dropped() -> None:
    with pytest.raises(NotImplementedError, match="chord"):
        success(chain=[sig("after"), group_of(sig("a"))])


def test_given_errbacks_then_each_gets_the_failed_id() -> None:
    sends = after_failure([sig("a"), sig("b", immutable=True)], task_id="t", root_id=None, new_id=lambda: "g")
    assert [send.args for send in sends] == [("t",), ("t",)]
    assert sends[1].options == {"parent_id": "t", "root_id": "t", "group_id": "g", "group_index": 1}


def test_given_a_chain_that_broke_then_its_later_steps_fail_too() -> None:
    steps = [sig("c", options={"task_id": "3"}), sig("b"), sig("a", options={"task_id": "1"})]
    assert failed_with(steps) == ["3", "1"]
