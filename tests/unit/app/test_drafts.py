"""Calls that are made by copying an earlier one: not one byte may differ from a call that was made from the beginning."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.apps import MakeApp, sent_one

from sedano import Celery, Context, signals
from sedano.app.context import running
from sedano.app.drafts import Draft
from sedano.app.messages import draft
from sedano.canvas import Signature
from sedano.protocol import envelope
from sedano.protocol.message import VettedMessage


def written(app: Celery, name: str, args: Any, kwargs: Any, options: dict[str, Any], *, anew: bool) -> tuple[Draft, bytes]:
    """The call as bytes; with `anew` made without a stencil."""
    if anew:
        app.amqp.stencils.clear()
    made = draft(app, name, args, kwargs, dict(options), task_id="00000000-0000-4000-8000-000000000001")
    made.message.properties["delivery_tag"] = "tag"
    return made, envelope.encode(made.message)


class Word(str):
    """No plain text."""


OPTIONS: list[dict[str, Any]] = [
    {},
    {"ignore_result": False, "serializer": "json"},
    {"ignore_result": True, "serializer": "pickle"},
    {"queue": "feeds", "priority": 3},
    {"queue": None, "priority": None},
    {"exchange": "feeds", "routing_key": "feeds.rss", "exchange_type": "topic"},
    {"time_limit": 20, "soft_time_limit": 1.5, "delivery_mode": 1},
    {"delivery_mode": "transient", "retry": False, "add_to_parent": False, "mandatory": True},
]
A_CALL = {"task": "t", "args": [1], "kwargs": {}, "options": {"task_id": "id"}, "subtask_type": None, "immutable": False}
PLACES: list[dict[str, Any]] = [
    {"group_id": "g", "group_index": 3, "root_id": "r", "parent_id": "p", "reply_to": "here"},
    {"chord": A_CALL, "group_id": "g", "group_index": 0},
    {"chain": [A_CALL, A_CALL], "root_id": "r"},
    {"parent_id": "p", "chain": None, "chord": None, "priority": 2},
]
ARGUMENTS: list[tuple[Any, Any]] = [
    ((), None),
    ((1, 2.5), {}),
    ([1, "it's"], {"y": "ünï", "z": [1, {"a": [2, (3, {"deep": {}})]}]}),
    (("half \ud800",), {"big": 2**80}),
    (("x" * 5000,), {str(number): number for number in range(200)}),
]


@pytest.mark.parametrize("options", OPTIONS + PLACES)
@pytest.mark.parametrize("arguments", ARGUMENTS)
def test_given_a_call_like_an_earlier_one_then_its_bytes_are_those_of_a_call_made_anew(
    app: Celery, options: dict[str, Any], arguments: tuple[Any, Any]
) -> None:
    _, expected = written(app, "t", *arguments, options, anew=True)
    copied, found = written(app, "t", *arguments, options, anew=False)
    assert type(copied.message) is VettedMessage  # else this test compares nothing
    assert found == expected


@pytest.mark.parametrize("place", PLACES)
def test_given_a_call_of_a_workflow_when_others_follow_then_they_have_nothing_of_it(app: Celery, place: dict[str, Any]) -> None:
    options = {name: value for name, value in place.items() if name == "priority"}
    _, expected = written(app, "t", (1,), {}, options, anew=True)
    written(app, "t", (1,), {}, place, anew=True)
    _, found = written(app, "t", (1,), {}, options, anew=False)
    assert found == expected


def test_given_a_chord_that_many_calls_take_along_then_what_was_written_of_it_is_used_for_no_other(app: Celery) -> None:
    def chord(value: Any) -> dict[str, Any]:
        return {**A_CALL, "args": [value]}

    for value in (1, float("nan"), "half \ud800", {1: 2}, datetime(2030, 1, 1, tzinfo=UTC), 2**80):
        shared = chord(value)
        options = [{"chord": shared, "group_id": "g", "group_index": index} for index in range(3)]
        expected = [written(app, "t", (1,), {}, each, anew=True)[1] for each in options]
        assert [written(app, "t", (1,), {}, each, anew=False)[1] for each in options] == expected
        assert [written(app, "t", (1,), {}, {**each, "chord": chord(value)}, anew=False)[1] for each in options] == expected


@pytest.mark.parametrize(
    "place", [{"chord": Signature("t")}, {"chain": [Signature("t")]}, {"group_index": True}, {"group_id": Word("g")}]
)
def test_given_a_place_that_cannot_be_written_as_it_is_then_the_call_is_made_anew(app: Celery, place: dict[str, Any]) -> None:
    options = {**place, "serializer": "pickle"}
    _, expected = written(app, "t", (1,), {}, options, anew=True)
    other, found = written(app, "t", (1,), {}, options, anew=False)
    assert found == expected
    assert type(other.message) is not VettedMessage


@pytest.mark.parametrize("options", OPTIONS + [{key: place[key] for key in place if key == "group_id"} for place in PLACES])
@pytest.mark.parametrize("inherits", [False, True])
def test_given_a_call_sent_inside_of_another_then_its_ancestry_is_its_own(
    make_app: MakeApp, options: dict[str, Any], inherits: bool
) -> None:
    app = make_app(task_inherit_parent_priority=inherits)
    task = app.task(name="outer")(lambda: None)
    request = Context(id="parent", root_id="root", called_directly=False, delivery_info={"priority": 7})
    _, outside = written(app, "t", (1,), {}, options, anew=True)
    with running(task, request):
        _, copied = written(app, "t", (1,), {}, options, anew=False)
        _, inside = written(app, "t", (1,), {}, options, anew=True)
        _, again = written(app, "t", (1,), {}, options, anew=False)
    _, outside_again = written(app, "t", (1,), {}, options, anew=False)
    assert copied == inside == again
    assert b'"parent_id":"parent"' in inside
    assert outside == outside_again
    assert b'"parent_id":null' in outside


def test_given_options_that_compare_equal_but_are_written_differently_then_each_is_written_as_it_is(app: Celery) -> None:
    for limit in (1, 1.0, True, 1, 1.0):
        options = {"time_limit": limit}
        assert written(app, "t", (), {}, options, anew=False)[1] == written(app, "t", (), {}, options, anew=True)[1]
        written(app, "t", (), {}, options, anew=False)
    app.amqp.stencils.clear()
    texts = [written(app, "t", (), {}, {"time_limit": limit}, anew=False)[1] for limit in (1, 1.0, 1, 1.0)]
    assert [b"[1,null]" in text for text in texts] == [True, False, True, False]


def test_given_what_varies_from_call_to_call_then_no_call_is_copied(make_app: MakeApp) -> None:
    app = make_app()
    varying: list[dict[str, Any]] = [
        {"countdown": 5},
        {"expires": 5},
        {"shadow": "s"},
        {"headers": {"a": 1}},
        {"link": {"task": "t"}},
        {"correlation_id": "c"},
        {"reply_to": 1},
        {"group_id": Word("g")},
        {"stamped_headers": ["s"], "s": 1},
        {"compression": "gzip"},
    ]
    for options in varying:
        for _ in range(2):
            made = draft(app, "t", (), {}, dict(options))
            assert type(made.message) is not VettedMessage, options
    for settings in ({"task_protocol": 1}, {"task_compression": "gzip"}):
        other = make_app(**settings)
        assert [type(draft(other, "t", (), {}, {}).message) is VettedMessage for _ in range(2)] == [False, False]


def test_given_routes_then_maps_are_asked_once_and_functions_for_every_call(make_app: MakeApp) -> None:
    app = make_app(task_routes={"a.*": {"queue": "one", "priority": 2}})
    for name in ("a.t", "b.t"):
        _, expected = written(app, name, (), {}, {}, anew=True)
        copied, found = written(app, name, (), {}, {}, anew=False)
        assert (type(copied.message), found) == (VettedMessage, expected)
    assert b'"one"' in written(app, "a.t", (), {}, {}, anew=False)[1]
    assert b'"routing_key":"two"' in written(app, "a.t", (), {}, {"queue": "two"}, anew=False)[1]

    late = make_app(task_routes={"a.*": {"expires": 5}})
    assert [type(draft(late, "a.t", (), {}, {}).message) is VettedMessage for _ in range(2)] == [False, False]

    def by_arguments(name: str, args: Any, kwargs: Any, options: Any, task: Any = None) -> Any:
        return {"queue": f"q{args[0]}"}

    asking = make_app(task_routes=(by_arguments,))
    assert [draft(asking, "t", (number,), {}, {}).address.queue for number in (1, 2, 1)] == ["q1", "q2", "q1"]


def test_given_a_setting_or_an_attribute_that_changes_then_the_next_call_has_it(make_app: MakeApp) -> None:
    app = make_app()
    add = app.task(name="add")(lambda x: x)
    add.delay(1)
    add.delay(2)
    app.stores.open_broker().purge("celery")
    app.conf.task_serializer = "pickle"
    add.serializer = None
    add.delay(3)
    message = sent_one(app).message
    assert message is not None
    assert message.content_type == "application/x-python-serialize"
    add.time_limit, add.ignore_result = 30, True
    add.delay(4)
    message = sent_one(app).message
    assert message is not None
    assert (message.headers["timelimit"], message.headers["ignore_result"]) == ([30, None], True)


def test_given_receivers_that_change_what_they_are_shown_then_later_calls_do_not_show_it(app: Celery) -> None:
    def scribble(headers: dict[str, Any], body: Any, **_: Any) -> None:
        headers["scribbled"] = True
        headers["stamps"]["scribbled"] = True
        headers["timelimit"][0] = 5
        body[2]["scribbled"] = True

    add = app.task(name="add")(lambda x: x)
    for signal in (signals.before_task_publish, signals.after_task_publish):
        signal.connect(scribble)
        try:
            add.delay(1)
            add.delay(2)
        finally:
            signal.disconnect(scribble)
        app.stores.open_broker().purge("celery")
        add.delay(3)
        message = sent_one(app).message
        assert message is not None
        assert b"scribbled" not in envelope.encode(message) + message.body
        assert message.headers["timelimit"] == [None, None]


def test_given_queue_names_without_end_then_what_is_remembered_is_bounded(app: Celery) -> None:
    for number in range(2000):
        draft(app, "t", (), {}, {"queue": f"customer-{number}"})
    assert len(app.amqp.stencils._known) <= 512


def test_given_a_fork_then_the_childs_calls_say_where_they_come_from(app: Celery) -> None:
    add = app.task(name="add")(lambda x: x)
    add.delay(1)
    oid = app.thread_oid
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            made = draft(app, "add", (1,), {}, {"ignore_result": False})
            os.write(write, f"{made.message.headers['origin']} {made.message.properties['reply_to']}".encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    said, reply_to = os.read(read, 1000).decode().split()
    os.close(read)
    assert said.startswith(f"gen{child}@")
    assert reply_to != oid
