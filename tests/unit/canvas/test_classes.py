"""chain, group, chord and chunks as data: what `|` makes of them, what is linked where, stamps, and how they are shown."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
from tests.apps import MakeApp

from sedano import Celery, Signature, chain, chord, group, signature
from sedano.canvas import StampingVisitor, shapes


@pytest.fixture
def a(app: Celery) -> Any:
    return app.task(name="proj.a")(lambda *args: args)


def kinds(whole: Any) -> Any:
    """The shape of a workflow: names of tasks in lists of their kind."""
    if isinstance(whole, chain):
        return ["chain", *map(kinds, whole.tasks)]
    if isinstance(whole, group):
        return ["group", *map(kinds, whole.tasks)]
    if isinstance(whole, chord):
        return ["chord", [kinds(member) for member in whole.tasks], kinds(whole.body)]
    return whole.args[0]


def test_given_signatures_when_joined_then_they_make_what_celery_makes(a: Any) -> None:
    one, two, three, four = (a.s(number) for number in range(1, 5))
    pair = group(three, four)
    assert kinds(one | two | three) == ["chain", 1, 2, 3]
    assert kinds(one | (two | three)) == ["chain", 1, 2, 3]
    assert kinds(one | pair) == ["chain", 1, ["group", 3, 4]]
    assert kinds(one | group([two])) == ["chain", 1, 2]
    assert kinds(pair | one) == kinds(chain(pair, one)) == ["chord", [3, 4], 1]
    assert kinds(group([one]) | two) == ["chord", [1], 2]
    assert kinds(chain(group([one]), two)) == ["chain", 1, 2]
    assert kinds(group(one, two) | pair) == ["chord", [1, 2], ["group", 3, 4]]
    assert kinds(one | pair | two) == ["chain", 1, ["chord", [3, 4], 2]]
    assert kinds(one | pair | two | three) == ["chain", 1, ["chord", [3, 4], ["chain", 2, 3]]]
    assert kinds(chord([one], two) | three) == ["chord", [1], ["chain", 2, 3]]
    assert kinds(chord([one], two) | pair) == ["chain", ["chord", [1], 2], ["group", 3, 4]]
    assert kinds(one | chord([two], one) | pair) == ["chain", 1, ["chord", [2], ["chain", 1, ["group", 3, 4]]]]
    assert kinds(chain(one, two) | group()) == ["chain", 1, 2]
    assert kinds(pair | group()) == ["group", 3, 4]
    assert kinds(chain(one)) == ["chain", 1]
    assert chain()() is None


def test_given_a_join_when_it_is_made_then_what_was_joined_stays_as_it_was(a: Any) -> None:
    first, body = a.s(1), a.s(2)
    whole = chord([first], body)
    assert kinds(whole | a.s(3)) == ["chord", [1], ["chain", 2, 3]]
    assert kinds(whole) == ["chord", [1], 2]
    assert (first | body).tasks[0] is not first


def test_given_what_is_no_signature_when_a_workflow_is_made_of_it_then_that_is_said_at_once(a: Any) -> None:
    with pytest.raises(TypeError, match="5 is none"):
        group([a.s(1), 5])
    with pytest.raises(TypeError):
        a.s(1) | 5
    with pytest.raises(ValueError, match="n must be at least 1"):
        a.chunks([(1,)], 0).group()
    with pytest.raises(ValueError, match="'cord' is none of"):
        Signature.from_dict({"task": "celery.chord", "subtask_type": "cord"})


@pytest.mark.parametrize("options", [{}, {"task_id": "known"}])
@pytest.mark.parametrize("kind", [group, chain])
def test_given_a_workflow_in_itself_when_sent_then_that_is_said_at_once(a: Any, kind: Any, options: dict[str, Any]) -> None:
    looped = kind(a.s(1), a.s(2))
    looped.options.update(options)
    looped.tasks.append(looped)
    with pytest.raises(RecursionError, match="is a member of itself"):
        list(shapes.flat([looped])) if kind is group else shapes.steps_of(looped)
    with pytest.raises(RecursionError):
        looped.apply_async()


def test_given_one_workflow_in_several_places_when_taken_apart_then_its_members_are_there_as_often(a: Any) -> None:
    inner = group(a.s(3), a.s(4))
    twice = group(inner, group(inner, a.s(5)), inner)
    assert [member["args"] for member in shapes.flat(twice.tasks)] == [(3,), (4,), (3,), (4,), (5,), (3,), (4,)]
    pair = chain.made_of([a.s(1), a.s(2)], None)
    thrice = chain.made_of([pair, chain.made_of([pair, a.s(3)], None), pair], None)
    assert [step["args"] for step in shapes.steps_of(thrice)] == [(1,), (2,), (1,), (2,), (3,), (1,), (2,)]
    deep: Any = a.s(1)
    for _ in range(200):
        deep = chain.made_of([deep], None).set(link_error=a.s(9))
    assert [member["args"] for member in shapes.flat([deep])] == [(1,)]


def test_given_workflows_when_written_as_json_and_read_then_they_are_the_same(a: Any) -> None:
    for whole in (a.s(1) | a.s(2), group(a.s(1), a.s(2)), chord([a.s(1), a.s(2) | a.s(3)], a.s(4))):
        read = signature(json.loads(json.dumps(whole)))
        assert type(read) is type(whole)
        assert json.dumps(read) == json.dumps(whole)
        assert repr(read) == repr(whole)


def test_given_callbacks_when_linked_then_they_stand_where_celery_puts_them(a: Any) -> None:
    callback, errback = a.si(8), a.si(9)
    steps = (a.s(1) | a.s(2)).on_error(errback)
    steps.link(callback)
    assert [step.options for step in steps.unchain_tasks()] == [
        {"link_error": [errback]},
        {"link": [callback], "link_error": [errback]},
    ]
    members = group(a.s(1), a.s(2))
    members.link(a.s(8))
    members.link_error(errback)
    assert members.tasks[0].options["link"][0].immutable
    assert [member.options["link_error"] for member in members.tasks] == [[errback], [errback]]
    with pytest.raises(TypeError, match="use a chord"):
        members.apply_async(link=callback)
    whole = chord([a.s(1)], a.s(2))
    assert whole.link(callback) is callback
    assert whole.body.options["link"] == [callback]


@pytest.mark.setting("task_allow_error_cb_on_chord_header")
@pytest.mark.parametrize("is_allowed", [False, True])
def test_given_an_errback_of_a_chord_then_the_setting_says_whether_its_header_has_it(
    make_app: MakeApp, is_allowed: bool
) -> None:
    app = make_app(task_allow_error_cb_on_chord_header=is_allowed)
    task = app.task(name="proj.a")(lambda *args: args)
    whole = chord([task.s(1), task.s(2)], task.s(3), app=app)
    whole.link_error(task.s(9))
    assert ["link_error" in member.options for member in whole.tasks] == [is_allowed, is_allowed]
    assert "link_error" in whole.body.options


@pytest.mark.setting("result_chord_expires")
def test_given_a_time_for_chords_then_their_bookkeeping_is_kept_for_it(make_app: MakeApp, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    app = make_app(broker_url=url, result_backend=url, result_chord_expires=60)
    before = time.time()
    app.backend.start_chords({"group": 2})
    ((ends_at,),) = sqlite3.connect(tmp_path / "store.db").execute("SELECT ends_at FROM chords").fetchall()
    assert before + 60 <= ends_at <= time.time() + 60


def test_given_a_group_then_it_counts_its_members_and_spreads_them_in_time(a: Any) -> None:
    members = group(a.s(number) for number in range(4))
    assert (len(members), bool(members), bool(group())) == (4, True, False)
    members.skew(start=1, stop=3, step=1)
    assert [member.options["countdown"] for member in members.tasks] == [1.0, 2.0, 2.0, 2.0]


def test_given_workflows_when_shown_then_the_module_stands_there_once(a: Any) -> None:
    assert repr(a.s(1) | a.s(2)) == "proj.a(1) | a(2)"
    assert repr(group(a.s(1), a.s(2))) == "group((proj.a(1), a(2)))"
    assert repr(chord([a.s(1)], a.s())) == "%proj.a([a(1)])"
    assert repr(a.map([1, 2])) == "[proj.a(x) for x in [1, 2]]"


class Visitor(StampingVisitor):
    def on_signature(self, sig: Any, **headers: Any) -> dict[str, Any]:
        del headers
        return {"who": sig.args[0], "stamped_headers": ["who"]}

    def on_chord_body(self, sig: Any, **header: Any) -> dict[str, Any]:
        del sig, header
        return {"is_body": True}


def test_given_stamps_then_every_part_has_them_and_names_them(a: Any) -> None:
    whole = chord([a.s(1), a.s(2).set(link=a.s(7))], a.s(3))
    whole.stamp(Visitor(), colour="red")
    parts = [*whole.tasks, *whole.tasks[1].options["link"]]
    assert [(part.options["who"], part.options["colour"]) for part in parts] == [(1, "red"), (2, "red"), (7, "red")]
    assert whole.body.options["is_body"] is True
    assert set(whole.body.options["stamped_headers"]) >= {"who", "is_body", "colour"}
