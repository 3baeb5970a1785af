"""A call of a workflow fails, in each position: which states, which exceptions, who is told. Nobody waits for ever."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest
from tests.apps import MakeApp
from tests.services.canvas.conftest import World

from sedano import chain, chord, group, states
from sedano.exceptions import ChordError, EncodeError, ImproperlyConfigured, NotRegistered

PATIENCE_S = 60.0


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.01)


def test_given_a_failing_header_when_asked_then_its_own_error_is_raised_and_the_body_has_a_chord_error(world: World) -> None:
    result = chord([world.add.s(1, 1), world.fail.s("why")], world.total.s()).apply_async()
    with pytest.raises(LookupError, match="why"):
        result.get(timeout=PATIENCE_S)
    until(lambda: result.state == states.FAILURE)
    assert isinstance(result.result, ChordError)
    with pytest.raises(ChordError, match=r"Dependency \S+ raised LookupError\('why'\)"):
        result.get(timeout=PATIENCE_S, follow_parents=False)
    again = world.app.AsyncResult(result.id)
    with pytest.raises(ChordError):
        again.get(timeout=PATIENCE_S)

    async def ask() -> None:
        result._cache = None
        await result.aget(PATIENCE_S)

    with pytest.raises(LookupError, match="why"):
        asyncio.run(ask())


def test_given_errbacks_with_arguments_when_a_call_fails_then_each_is_called_in_its_form(world: World) -> None:
    failing = world.fail.s("why")
    for errback in (
        world.told_id_with.s("a"),
        world.told_id_with.s(label="b"),
        world.told_with.s("c"),
        world.told_id.s(),
        world.told.s(),
    ):
        failing.link_error(errback)
    result = failing.apply_async()
    with pytest.raises(LookupError):
        result.get(timeout=PATIENCE_S)
    until(lambda: len(world.heard) == 5)
    assert sorted(told[:3] if told[0] != "told" else told[:2] for told in world.heard) == [
        ("told", result.id),
        ("told_id", result.id),
        ("told_id_with", result.id, "a"),
        ("told_id_with", result.id, "b"),
        ("told_with", result.id, "c"),
    ]


def test_given_a_body_of_several_calls_when_the_header_fails_then_the_headers_error_is_raised(world: World) -> None:
    header = [world.add.s(1, 1), world.fail.s("why")]
    for body in (
        group(world.same.s(), world.same.s()),
        world.total.s() | world.add.s(1),
        chord([world.same.s(), world.same.s()], world.same.s()),
    ):
        result = chord(header, body).apply_async()
        with pytest.raises(LookupError, match="why"):
            result.get(timeout=PATIENCE_S)


def test_given_chords_in_a_header_when_one_fails_then_an_errback_of_the_whole_is_called_once(world: World) -> None:
    inner = chord([world.same.s(1), world.fail.s("why")], world.same.s())
    whole = chord([world.same.s(2), inner], world.same.s())
    whole.link_error(world.told_id.s())
    result = whole.apply_async()
    with pytest.raises(ChordError):
        result.get(timeout=PATIENCE_S, follow_parents=False)
    until(lambda: bool(world.heard))
    last = chain(world.same.s(1), world.same.s())()  # what goes out with a failure is there before what is sent after it
    last.get(timeout=PATIENCE_S)
    assert world.heard == [("told_id", result.id)]
    assert [child.id for child in result.children[0]] != []


def test_given_errbacks_of_a_group_when_a_member_fails_then_they_are_called_and_so_are_those_of_its_chord(world: World) -> None:
    body = group(world.fail.s(), world.same.s()).set(link_error=world.told_id_with.s(label="group"))
    result = chord([world.add.s(1, 1)], body).apply_async(link_error=world.told_id_with.s(label="chord"))
    with pytest.raises(LookupError):
        result.get(timeout=PATIENCE_S)
    until(lambda: len(world.heard) == 2)
    assert sorted(told[2] for told in world.heard) == ["chord", "group"]
    assert {told[1] for told in world.heard} == {result[0].id}


# -- each position -------------------------------------------------------------------------------------------------------------


def test_given_a_step_that_fails_when_asked_then_what_is_before_it_stands_and_what_is_behind_it_failed(world: World) -> None:
    for position in range(3):
        steps = [world.same.si(step) for step in range(3)]
        steps[position] = world.fail.si(f"step {position}")
        last = chain(*steps)()
        results = [last.parent.parent, last.parent, last]
        with pytest.raises(LookupError, match=f"step {position}"):
            last.get(timeout=PATIENCE_S)
        until(lambda asked=results: all(result.ready() for result in asked))
        assert [result.state for result in results] == [states.SUCCESS] * position + [states.FAILURE] * (3 - position)
        with pytest.raises(LookupError):
            world.app.AsyncResult(last.id).get(timeout=PATIENCE_S)


def test_given_several_parts_that_fail_when_asked_then_the_body_fails_once_and_nothing_hangs(world: World) -> None:
    header = [world.fail.s("a"), world.same.s(1), world.fail.s("b"), world.fail.s("c")]
    body = world.total.s().on_error(world.told_id.s())
    result = chord(header, body).apply_async()
    with pytest.raises(LookupError):
        result.get(timeout=PATIENCE_S)
    until(lambda: result.ready() and bool(world.heard))
    assert [part.state for part in result.parent] == [states.FAILURE, states.SUCCESS, states.FAILURE, states.FAILURE]
    chain(world.same.s(1), world.same.s())().get(timeout=PATIENCE_S)
    assert world.heard == [("told_id", result.id)]


def test_given_a_body_that_fails_when_asked_then_it_is_its_own_error_and_its_errback_is_told(world: World) -> None:
    result = chord([world.same.s(1), world.same.s(2)], world.fail.si("body").on_error(world.told.s())).apply_async()
    with pytest.raises(LookupError, match="body"):
        result.get(timeout=PATIENCE_S)
    until(lambda: bool(world.heard))
    assert world.heard[0][:2] == ("told", result.id)


def test_given_an_errback_that_fails_when_called_then_the_others_are_called_and_the_call_has_its_own_error(
    world: World,
) -> None:
    for workflow in (world.fail.s("why"), chord([world.fail.s("why"), world.same.s(1)], world.total.s())):
        world.heard.clear()
        workflow.link_error(world.fail_told.s())
        workflow.link_error(world.told_id.s())
        result = workflow.apply_async()
        with pytest.raises(LookupError, match="why"):
            result.get(timeout=PATIENCE_S)
        until(lambda: len(world.heard) == 2)
        assert {told[0] for told in world.heard} == {"fail_told", "told_id"}


def test_given_a_task_that_no_worker_knows_when_its_workflow_is_asked_then_it_has_failed(world: World) -> None:
    unknown = world.app.signature("proj.nobody", args=(1,), immutable=True)
    for workflow in (world.same.s(1) | unknown | world.same.s(), chord([unknown, world.same.s(1)], world.total.s())):
        result = workflow.apply_async()
        with pytest.raises((NotRegistered, ChordError)):
            result.get(timeout=PATIENCE_S)


# -- what is wrong is said at the call -----------------------------------------------------------------------------------------


def test_given_arguments_that_cannot_be_written_when_a_workflow_is_sent_then_nothing_of_it_goes_out(world: World) -> None:
    bad = world.same.s(object())
    for workflow in (
        chain(world.same.s(1), bad),
        group(bad, world.same.s(1)),
        chord([bad, world.same.s(1)], world.total.s()),
        chord([world.same.s(1), world.same.s(2)], bad),
    ):
        with pytest.raises(EncodeError, match="object"):
            workflow.apply_async()


def test_given_what_is_no_signature_when_a_workflow_is_made_then_type_error(world: World) -> None:
    for made in (
        lambda: group([1, 2]),
        lambda: chain(world.same.s(1), "text"),
        lambda: chord([world.same.s(1), 7], world.total.s()),
        lambda: chord([world.same.s(1)], 7),
        lambda: chord((each for each in [3]), world.total.s())(),
        lambda: chord([world.same.s(1)])(),
    ):
        with pytest.raises(TypeError, match=r"signature|body"):
            made()


def test_given_no_result_backend_when_a_chord_is_sent_then_it_says_what_to_set(make_app: MakeApp) -> None:
    app = make_app(backend="disabled://")

    @app.task
    def same(value: object) -> object:
        return value

    for workflow in (
        chord([same.s(1), same.s(2)], same.s()),
        group(same.s(1), same.s(2)) | same.s(),
        chord(map(same.s, [1]), same.s()),
    ):
        with pytest.raises(ImproperlyConfigured, match="result_backend"):
            workflow.apply_async()
