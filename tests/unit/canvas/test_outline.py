"""What is kept of a workflow when it is sent: every call by name and id, in few bytes."""

from __future__ import annotations

from itertools import count
from typing import Any

import msgspec
import pytest
from tests.apps import MakeApp

from sedano import chain, chord, group
from sedano.canvas.freezing import NOWHERE
from sedano.canvas.outline import Outline, OutlineWriter, described, holds, outline_of, packed, read_record, unpacked
from sedano.canvas.plan import Planner
from sedano.protocol.ids import new_id


def written(signature: Any, ids: Any = new_id) -> tuple[bytes, Planner, Any]:
    writer = OutlineWriter()
    planner = Planner(ids, None, writer)
    node = planner.start(signature)
    return writer.record(node.id, 12.5, "root", "parent"), planner, node


def shown(outline: Outline) -> Any:
    """Names without ids."""
    if outline.kind == "call":
        return outline.task
    return [outline.kind, *map(shown, outline.parts)]


@pytest.fixture
def tasks(make_app: MakeApp) -> Any:
    app = make_app()

    class Tasks:
        add = app.task(name="add")(lambda x, y: x + y)
        total = app.task(name="total")(lambda values: sum(values))

    return Tasks


def test_given_shapes_in_each_other_when_written_then_the_outline_is_the_tree_of_what_runs(tasks: Any) -> None:
    add, total = tasks.add, tasks.total
    workflow = add.s(1, 2) | group(add.s(3), add.s(4) | add.s(5)) | total.s() | group(add.s(6), chord([add.s(7, 7)], total.s()))
    record, planner, node = written(workflow)
    outline = outline_of(read_record(record))
    assert shown(outline) == [
        "chain",
        "add",
        ["chord", "add", ["chain", "add", "add"], "total"],
        ["group", "add", ["chord", "add", "total"]],
    ]
    kept = read_record(record)
    assert (kept.id, kept.sent_at, kept.root_id, kept.parent_id) == (node.id, 12.5, "root", "parent")
    ids = set(outline.ids())
    assert {send.signature["options"]["task_id"] for send in planner.plan.sends} <= ids
    assert {node.id, *(member.id for member in node.members)} <= ids
    assert {result.id for result in node.ancestors()} <= ids


def test_given_many_calls_alike_when_written_then_they_take_their_ids_and_little_more(tasks: Any) -> None:
    members = [tasks.add.s(i) | tasks.add.s(i) for i in range(1000)]
    record, _, _ = written(chord(members, tasks.total.s()))
    assert len(record) < 16 * 2002 + 200
    outline = outline_of(read_record(record))
    assert len(outline.header) == 1000
    assert len(set(outline.ids())) == 2002
    assert described(read_record(record).shape) == "chord of 1000, then total"


def test_given_ids_that_are_no_uuids_when_written_then_they_are_kept_as_they_are(tasks: Any) -> None:
    numbers = count()
    record, _, node = written(group(tasks.add.s(1, 1), tasks.add.s(2, 2)), lambda: f"id {next(numbers)}")
    assert [call.id for call in outline_of(read_record(record)).calls()] == [member.id for member in node.members]
    assert holds(record, node.members[1].id)
    assert not holds(record, "id 9")


@pytest.mark.parametrize(
    "ids", [[], [new_id(), new_id()], [new_id().upper()], [new_id().replace("-", "") + "----"], [new_id(), "x"], ["é" * 36]]
)
def test_given_any_ids_when_packed_then_they_come_out_the_same(ids: list[str]) -> None:
    assert unpacked(packed(ids)) == ids


def test_given_an_id_when_looked_for_in_a_record_then_it_is_found_wherever_it_stands(tasks: Any) -> None:
    record, _, node = written(chain(tasks.add.s(1, 1), tasks.add.s(2), tasks.add.s(3)))
    assert all(holds(record, result.id) for result in node.ancestors())
    assert not holds(record, new_id())


def test_given_one_call_when_written_then_it_is_no_workflow(tasks: Any) -> None:
    for signature, is_workflow in (
        (tasks.add.s(1, 1), False),
        (chain(tasks.add.s(1, 1)), False),
        (group(tasks.add.s(1, 1)), True),
    ):
        writer = OutlineWriter()
        Planner(new_id, None, writer).start(signature)
        assert writer.is_workflow is is_workflow


def test_given_a_header_that_comes_bit_by_bit_when_written_then_the_outline_is_whole(tasks: Any) -> None:
    writer = OutlineWriter()
    workflow = chord([tasks.add.s(0, 0)], tasks.total.s())
    planner = Planner(new_id, None, writer)
    *_, node = planner.grow(workflow, (tasks.add.s(i, i) for i in range(3)), (), {}, {}, NOWHERE)
    outline = outline_of(read_record(writer.record(node.id, 0.0, "", "")))
    assert shown(outline) == ["chord", "add", "add", "add", "total"]
    assert [call.id for call in outline.calls()][-1] == node.id


def test_given_a_record_that_cannot_be_read_then_it_is_said(tasks: Any) -> None:
    record, _, _ = written(group(tasks.add.s(1, 1)))
    values = msgspec.msgpack.decode(record)
    with pytest.raises(msgspec.DecodeError, match="version 2"):
        read_record(msgspec.msgpack.encode([2, *values[1:]]))
    with pytest.raises(ValueError, match="fewer ids"):
        outline_of(read_record(msgspec.msgpack.encode([*values[:-1], b""])))
