"""Workflows through a worker, on each kind of store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.services.canvas.conftest import World

from sedano import chain, chord, group
from sedano.canvas.unrolled import Unrolled
from sedano.result import result_from_tuple

PATIENCE_S = 60.0


def test_given_tasks_instead_of_signatures_when_applied_then_each_stands_for_a_call_without_arguments(world: World) -> None:
    inner = chord([world.total, world.total], chain(world.total.s(), group(world.add.s(8), world.add.s(16)), world.total))
    assert chord([world.add.s(0, 1)], inner).apply_async().get(timeout=PATIENCE_S) == 28
    assert chain(world.add.s(1, 2), world.same)().get(timeout=PATIENCE_S) == 3


def test_given_a_task_that_returns_a_result_when_asked_then_it_is_a_tuple_that_gives_the_result(world: World) -> None:
    told = world.app.tasks["proj.started"].delay().get(timeout=PATIENCE_S)
    assert isinstance(told, list)
    result = result_from_tuple(told, app=world.app)
    assert result.get(timeout=PATIENCE_S) == 9
    assert result.parent.get(timeout=PATIENCE_S) == [4, 5]


def test_given_a_header_from_a_generator_when_applied_then_each_member_goes_out_before_the_next_is_made(world: World) -> None:
    ended: list[bool] = []

    def members() -> Iterator[Any]:
        first = world.add.s(0, 1)
        first_id = first.freeze().id
        yield first
        yield group(world.add.s(1, 1), world.add.s(2, 1))
        yield world.add.s(3, 1)
        ended.append(world.app.AsyncResult(first_id).get(timeout=PATIENCE_S) == 1)
        yield world.add.s(4, 1) | world.add.s(0)

    result = chord(members(), world.total.s())()
    assert ended == [True]
    assert result.get(timeout=PATIENCE_S) == 15
    assert result.parent.get(timeout=PATIENCE_S) == [1, 2, 3, 4, 5]
    assert chord((world.add.s(i, i) for i in range(0)), world.same.s())().get(timeout=PATIENCE_S) == []


def test_given_a_header_from_a_generator_when_looked_at_then_it_is_a_list(world: World) -> None:
    made = chord((world.same.s(i) for i in range(3)), world.total.s())
    assert isinstance(made.kwargs["header"], Unrolled)
    assert made.kwargs["header"] == [world.same.s(i) for i in range(3)]
    assert len(made.clone().kwargs["header"]) == 3
    assert (made | world.add.s(1))().get(timeout=PATIENCE_S) == 4
