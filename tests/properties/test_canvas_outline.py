"""Whatever is nested in whatever: the record of a workflow names every call that runs, and no other."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.properties.workflows import World, signature_of, trees

from sedano.canvas.outline import OutlineWriter, outline_of, read_record
from sedano.canvas.plan import Planner
from sedano.canvas.progress import Fact, progress_of, summary_of


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(trees(), st.sets(st.sampled_from("abcd"), max_size=2), st.data())
def test_given_any_workflow_when_it_has_run_then_its_record_names_each_of_its_calls(
    tree: Any, failing: set[str], data: st.DataObject
) -> None:
    world = World(lambda waiting: data.draw(st.integers(0, waiting - 1)) if waiting > 1 else 0, frozenset(failing))
    writer = OutlineWriter()
    planner = Planner(lambda: next(world.ids), "reply-here", writer)
    node = planner.start(signature_of(tree), ("x",))
    world.take(planner)
    record = read_record(writer.record(node.id, 0.0, "", ""))
    outline = outline_of(record)
    calls = [call.id for call in outline.calls()]
    assert len(calls) == len(set(calls))

    queued = [send.signature["options"]["task_id"] for send in planner.plan.sends]
    waits = progress_of(outline, dict.fromkeys(queued, Fact(message="queued in q")))
    assert {call.status for call in waits.calls()} <= {"queued", "waits"}

    world.run()

    assert set(calls) == world.values.keys() | world.failed
    facts = {id_: Fact("SUCCESS" if id_ in world.values else "FAILURE") for id_ in calls}
    assert summary_of([facts[id_].state for id_ in calls]).state == ("failed" if world.failed else "done")
    assert progress_of(outline, facts).status == ("FAILURE" if world.failed else "SUCCESS")
