"""Signatures as data."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest
from tests.apps import sent_one

from sedano import Celery, Signature, current, maybe_signature, signature
from sedano.exceptions import ImproperlyConfigured
from sedano.protocol.call import read_body


@pytest.fixture
def add(app: Celery) -> Any:
    return app.task(name="tasks.add")(lambda x, y=0: x + y)


def test_given_a_task_then_its_signature_is_celerys_map(add: Any) -> None:
    made = add.s(2, y=3)
    assert made == {
        "task": "tasks.add",
        "args": (2,),
        "kwargs": {"y": 3},
        "options": {},
        "subtask_type": None,
        "immutable": False,
    }
    assert (made.task, made.args, made.kwargs, made.name, made.id) == ("tasks.add", (2,), {"y": 3}, "tasks.add", None)
    assert add.si(1).immutable
    assert add.signature((1,), {"y": 2}, countdown=3).options == {"countdown": 3}
    assert add.subtask((1,)) == add.s(1)
    assert repr(add.s(1, y=2)) == "tasks.add(1, y=2)"


def test_given_every_form_then_signature_makes_one(app: Celery, add: Any) -> None:
    by_name = signature("tasks.add", args=(2,), kwargs={"y": 1}, countdown=5, immutable=True, app=app)
    assert by_name == add.si(2, y=1).set(countdown=5)
    again = signature(dict(by_name), app=app)
    assert again == by_name
    assert again is not by_name
    assert signature(add, (1,)) == add.s(1)
    assert app.signature("tasks.add", (1,)) == add.s(1)
    assert maybe_signature(None) is None
    assert maybe_signature(json.loads(json.dumps(add.s(1))), app=app).delay is not None
    with pytest.raises(TypeError):
        signature(object())


def test_given_clone_then_arguments_go_before_and_an_immutable_one_takes_none(add: Any) -> None:
    one = add.s(1)
    cloned = one.clone((5,), {"y": 2}, countdown=1)
    assert (tuple(cloned.args), cloned.kwargs, cloned.options) == ((5, 1), {"y": 2}, {"countdown": 1})
    assert (one.args, one.options) == ((1,), {})
    assert tuple(add.si(1).clone((5,)).args) == (1,)
    assert one.partial((3,)).args == (3, 1)
    assert one.replace(args=(9,), options={"queue": "q"}).args == (9,)
    assert copy.deepcopy(one) == one
    assert copy.copy(one) == one


def test_given_links_then_an_equal_one_is_added_once(add: Any) -> None:
    callback = add.s(7)
    one = add.s(1)
    assert one.link(callback) is callback
    one.link(add.s(7))
    assert one.options["link"] == [callback]
    assert one.on_error(add.s(8)) is one
    assert one.link_error(add.s(8)) == add.s(8)
    assert len(one.options["link_error"]) == 1
    callback.link(add.s(9))
    assert [sig.args for sig in one.flatten_links()] == [(1,), (7,), (9,)]


def test_given_apply_async_then_it_is_sent_with_what_it_holds_and_more(app: Celery, add: Any) -> None:
    result = add.s(1).set(queue="feeds", priority=3).apply_async((5,), task_id="id-1", link=None)
    delivery = sent_one(app, "feeds")
    assert result.id == "id-1"
    assert delivery.message is not None
    assert list(read_body(delivery.message).args) == [5, 1]
    assert delivery.priority == 3


def test_given_an_unknown_name_then_it_is_sent_by_name(app: Celery) -> None:
    signature("elsewhere.task", (1,), app=app, queue="q").delay(0)
    delivery = sent_one(app, "q")
    assert delivery.message is not None
    assert delivery.message.headers["task"] == "elsewhere.task"
    assert list(read_body(delivery.message).args) == [0, 1]


def test_given_a_signature_then_calling_runs_it_and_apply_too(add: Any) -> None:
    assert add.s(1)(5) == 6
    assert add.s(1).apply((5,)).get() == 6
    assert add.si(1)(5) == 1


def test_given_freeze_then_it_has_its_id_before_it_is_sent(app: Celery, add: Any) -> None:
    one = add.s(1)
    result = one.freeze(group_id="g", root_id="r", parent_id="p", group_index=3, chord={"task": "b"})
    assert result.id == one.id
    assert one.freeze().id == result.id
    assert one.options == {
        "task_id": result.id,
        "reply_to": app.thread_oid,
        "group_id": "g",
        "root_id": "r",
        "parent_id": "p",
        "group_index": 3,
        "chord": {"task": "b"},
    }
    assert one.apply_async().id == result.id


def test_given_a_group_id_that_was_frozen_then_applying_does_not_change_it(add: Any) -> None:
    one = add.s(1).set(group_id="frozen")
    assert one.clone(group_id="other").options["group_id"] == "frozen"


def test_given_json_and_pickle_then_a_signature_survives(app: Celery, add: Any) -> None:
    one = add.s(1, y=2).set(link=[add.s(3)])
    assert Signature.from_dict(json.loads(json.dumps(one)), app=app) == json.loads(json.dumps(one))
    again = pickle.loads(pickle.dumps(one))
    assert isinstance(again, Signature)
    assert again == one


def test_given_a_map_that_lacks_parts_then_from_dict_fills_them(app: Celery) -> None:
    made = Signature.from_dict({"task": "t"}, app=app)
    assert (made.args, made.kwargs, made.options, made.immutable) == ((), {}, {}, False)


def test_given_no_app_then_applying_says_to_make_one() -> None:
    before = current.get_app()
    current.set_app(None)
    try:
        with pytest.raises(ImproperlyConfigured, match="no app"):
            signature("t").delay()
    finally:
        current.set_app(before)
