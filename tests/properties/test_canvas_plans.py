"""Whatever is nested in whatever: what the planner sends gives what plain Python gives, in every order of events, and ends."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.properties.workflows import World, calls_of, signature_of, trees, value_of

from sedano.canvas import Signature

many = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def orders(data: st.DataObject) -> Any:
    return lambda waiting: data.draw(st.integers(0, waiting - 1)) if waiting > 1 else 0


@many
@given(trees(), st.data())
def test_given_any_workflow_then_its_result_is_that_of_plain_python(tree: Any, data: st.DataObject) -> None:
    world = World(orders(data))
    node = world.start(signature_of(tree), "x")
    world.run()
    assert world.value(node) == value_of(tree, "x")
    assert world.done == set(world.sizes), "every chord was completed"


@many
@given(trees(), st.data())
def test_given_a_workflow_that_was_written_and_read_then_it_runs_the_same(tree: Any, data: st.DataObject) -> None:
    read = Signature.from_dict(json.loads(json.dumps(signature_of(tree))))
    world = World(orders(data))
    node = world.start(read, "x")
    world.run()
    assert world.value(node) == value_of(tree, "x")


@many
@given(trees(), st.sets(st.sampled_from("abcd"), min_size=1, max_size=2), st.data())
def test_given_tasks_that_fail_then_every_call_has_an_end(tree: Any, failing: set[str], data: st.DataObject) -> None:
    """Nobody waits for what cannot come: what did not run has failed along with what it waited for."""
    world = World(orders(data), frozenset(failing))
    node = world.start(signature_of(tree), "x")
    world.run()
    ended = world.values.keys() | world.failed
    assert set(calls_of(node)) <= ended
    assert not world.values.keys() & world.failed


@many
@given(trees())
def test_given_a_frozen_workflow_when_it_is_frozen_again_then_nothing_changes(tree: Any) -> None:
    planner = World(lambda _: 0).planner()
    frozen, node = planner._freezer.freeze(signature_of(tree))
    again, same = planner._freezer.freeze(frozen)
    assert json.loads(json.dumps(again)) == json.loads(json.dumps(frozen))
    assert same.as_tuple() == node.as_tuple()
