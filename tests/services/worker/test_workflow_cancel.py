"""A workflow that two nodes run is cancelled: both hear of it, and what runs is ended when that is asked for."""

from __future__ import annotations

import pytest
from tests.services.worker.conftest import Make
from tests.services.worker.nodes import PATIENCE_S

from sedano import chord, states
from sedano.exceptions import TaskRevokedError


def test_given_two_nodes_when_a_workflow_is_cancelled_then_what_runs_is_ended_and_nothing_else_begins(
    make_world: Make, store: str
) -> None:
    world = make_world()
    app = world.app
    hold, add = (lambda gate: app.signature("tasks.hold", (gate,))), app.signature("tasks.add", (1,))
    first, second = world.ready("w1@test", concurrency=1), world.ready("w2@test", concurrency=1)
    result = chord([hold("a") | add, hold("b"), hold("c"), hold("d")], app.signature("tasks.say")).delay()
    running = [result.parent[0].parent, *list(result.parent)[1:]]
    world.until(lambda: len(world.ledger.starts()) == 2)
    begun = [part for part in running if part.id in world.ledger.starts()]

    def nodes() -> set[str]:
        text = app.workflows.show(result.id)
        return {name for name in ("w1@test", "w2@test") if f"running on {name}" in text}

    world.until(lambda: nodes() == {"w1@test", "w2@test"})

    done = app.workflows.cancel(result.id, terminate=True)

    assert set(done.running) == {part.id for part in begun}
    for part in (result, *result.parent, *running):
        with pytest.raises(TaskRevokedError):
            part.get(timeout=PATIENCE_S)
        world.until(lambda part=part: app.AsyncResult(part.id).state == states.REVOKED)  # type: ignore[misc]
    assert {world.get("add", n, 1) for n in range(6)} == set(range(1, 7))
    assert set(world.ledger.starts()) == {part.id for part in begun}
    assert not world.ledger.ends()
    assert app.AsyncResult(result.id).state == states.REVOKED
    assert app.workflows.get(result.id).summary.state == "cancelled"
    assert first.process.poll() is None
    assert second.process.poll() is None


@pytest.mark.parametrize("pool", ["threads", "asyncio"])
def test_given_calls_that_run_side_by_side_in_a_process_when_cancelled_then_nothing_comes_after_them(
    make_world: Make, pool: str
) -> None:
    world = make_world()
    app = world.app
    hold, add = app.signature("tasks.hold", ("gate",)), app.signature("tasks.add", (1,))
    world.ready(options=["-P", pool], concurrency=2)
    result = chord([hold | add, hold, hold], app.signature("tasks.say")).delay()
    world.until(lambda: len(world.ledger.starts()) == 2)

    done = app.workflows.cancel(result.id)

    assert set(done.running) == set(world.ledger.starts())
    world.open_gate("gate")
    for id_ in done.running:
        assert app.AsyncResult(id_).get(timeout=PATIENCE_S) == "gate"
    for id_ in done.revoked:
        with pytest.raises(TaskRevokedError):
            app.AsyncResult(id_).get(timeout=PATIENCE_S)
    assert {world.get("add", n, 1) for n in range(6)} == set(range(1, 7))
    assert len(world.ledger.starts()) == 2
    assert {app.AsyncResult(id_).state for id_ in done.revoked} == {states.REVOKED}
