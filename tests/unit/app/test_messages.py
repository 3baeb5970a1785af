"""From options to messages: headers, properties, times, routing."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from tests.apps import MakeApp, sent, sent_one

from sedano import Celery, Context, signals
from sedano.app.attempt import run_attempt
from sedano.contracts import Delivery
from sedano.exceptions import EncodeError, QueueNotFound
from sedano.protocol.call import read, read_body
from sedano.protocol.queues import Exchange, Queue


def headers_of(delivery: Delivery) -> dict[str, Any]:
    assert delivery.message is not None
    return delivery.message.headers


def properties_of(delivery: Delivery) -> dict[str, Any]:
    assert delivery.message is not None
    return delivery.message.properties


@pytest.fixture
def add(app: Celery) -> Any:
    @app.task(name="tasks.add")
    def add(x: int, y: int = 0) -> int:
        return x + y

    return add


def test_given_a_plain_call_when_sent_then_every_header_and_property_is_celerys(app: Celery, add: Any) -> None:
    result = add.delay(2, y=3)
    delivery = sent_one(app)
    headers, properties = headers_of(delivery), properties_of(delivery)
    assert headers == {
        "lang": "py",
        "task": "tasks.add",
        "id": result.id,
        "shadow": None,
        "eta": None,
        "expires": None,
        "group": None,
        "group_index": None,
        "retries": 0,
        "timelimit": [None, None],
        "root_id": result.id,
        "parent_id": None,
        "argsrepr": "(2,)",
        "kwargsrepr": "{'y': 3}",
        "origin": f"gen{os.getpid()}@{os.uname().nodename}",
        "ignore_result": False,
        "replaced_task_nesting": 0,
        "stamped_headers": None,
        "stamps": {},
    }
    assert properties["correlation_id"] == result.id
    assert properties["reply_to"] == app.thread_oid
    assert properties["delivery_mode"] == 2
    assert properties["delivery_info"] == {"exchange": "", "routing_key": "celery"}
    assert properties["priority"] == 0
    assert delivery.message is not None
    assert json.loads(delivery.message.body) == [
        [2],
        {"y": 3},
        {"callbacks": None, "errbacks": None, "chain": None, "chord": None},
    ]


def test_given_every_option_when_sent_then_each_is_in_the_message(app: Celery, add: Any) -> None:
    callback, errback = add.s(1), add.si(9)
    add.apply_async(
        (1,),
        task_id="id-1",
        link=callback,
        link_error=[errback],
        shadow="shown",
        headers={"own": 1},
        priority=5,
        time_limit=20,
        soft_time_limit=10,
        ignore_result=True,
        reply_to="there",
        group_id="g",
        group_index=2,
        chord={"task": "body"},
        chain=[{"task": "next"}],
        retries=1,
        root_id="r",
        parent_id="p",
        delivery_mode="transient",
        argsrepr="(secret)",
        correlation_id="c",
        replaced_task_nesting=1,
        stamped_headers=["stamp"],
        stamp="value",
        queue="feeds",
    )
    delivery = sent_one(app, "feeds")
    headers, properties = headers_of(delivery), properties_of(delivery)
    expected = {
        "id": "id-1",
        "shadow": "shown",
        "own": 1,
        "timelimit": [20, 10],
        "ignore_result": True,
        "group": "g",
        "group_index": 2,
        "retries": 1,
        "root_id": "r",
        "parent_id": "p",
        "argsrepr": "(secret)",
        "replaced_task_nesting": 1,
        "stamped_headers": ["stamp"],
        "stamps": {"stamp": "value"},
    }
    assert {name: headers[name] for name in expected} == expected
    assert (properties["priority"], properties["reply_to"], properties["correlation_id"]) == (5, "there", "c")
    assert properties["delivery_mode"] == 1
    assert delivery.message is not None
    body = read_body(delivery.message)
    assert body.embed.chord == {"task": "body"}
    assert body.embed.chain == [{"task": "next"}]
    assert body.embed.callbacks is not None
    assert body.embed.errbacks is not None
    assert body.embed.callbacks[0] == {
        "task": "tasks.add",
        "args": [1],
        "kwargs": {},
        "options": {},
        "subtask_type": None,
        "immutable": False,
    }
    assert body.embed.errbacks[0]["immutable"] is True


def test_given_a_countdown_then_the_eta_is_that_far_in_the_apps_zone(make_app: MakeApp) -> None:
    app = make_app(timezone="Asia/Shanghai")
    app.task(name="t")(lambda: None).apply_async(countdown=60)
    eta = headers_of(sent_one(app))["eta"]
    assert eta.endswith("+08:00")
    assert abs((datetime.fromisoformat(eta) - datetime.now(UTC)).total_seconds() - 60) < 5


@pytest.mark.parametrize(
    ("given", "written"),
    [
        (datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC), "2030-01-02T03:04:05+00:00"),
        (datetime(2030, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=8))), "2030-01-02T03:04:05+08:00"),
        (datetime(2030, 1, 2, 3, 4, 5), "2030-01-02T03:04:05+01:00"),
        ("2030-01-02T03:04:05+00:00", "2030-01-02T03:04:05+00:00"),
        ("2030-01-02T03:04:05Z", "2030-01-02T03:04:05Z"),
        ("2030-01-02T03:04:05", "2030-01-02T03:04:05+01:00"),
    ],
)
@pytest.mark.parametrize("option", ["eta", "expires"])
def test_given_a_time_then_it_is_written_aware_and_a_naive_one_is_in_the_apps_zone(
    make_app: MakeApp, given: Any, written: str, option: str
) -> None:
    app = make_app(timezone="Europe/Rome")
    app.task(name="t")(lambda: None).apply_async(**{option: given})
    assert headers_of(sent_one(app))[option] == written


def test_given_enable_utc_off_and_no_zone_then_naive_times_are_local(make_app: MakeApp) -> None:
    app = make_app(enable_utc=False)
    naive = datetime.now() + timedelta(hours=1)
    app.task(name="t")(lambda: None).apply_async(eta=naive)
    delivery = sent_one(app)
    assert delivery.message is not None
    eta = read(delivery.message).eta
    assert eta is not None
    assert abs(eta - naive.timestamp()) < 1


def test_given_expires_in_seconds_then_header_and_property_say_when(app: Celery, add: Any) -> None:
    add.apply_async((1,), expires=120)
    delivery = sent_one(app)
    left = datetime.fromisoformat(headers_of(delivery)["expires"]) - datetime.now(UTC)
    assert abs(left.total_seconds() - 120) < 5
    assert 115_000 < int(properties_of(delivery)["expiration"]) <= 120_000


def test_given_expires_in_the_past_then_it_is_sent_with_a_warning(
    app: Celery, add: Any, caplog: pytest.LogCaptureFixture
) -> None:
    add.apply_async((1,), expires=datetime(2020, 1, 1, tzinfo=UTC), task_id="id-1")
    delivery = sent_one(app)
    assert properties_of(delivery)["expiration"] == "0"
    assert headers_of(delivery)["expires"] == "2020-01-01T00:00:00+00:00"
    assert "id-1 expires in the past" in caplog.text


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"eta": "tomorrow"}, ValueError, "eta='tomorrow'"),
        ({"eta": 5}, TypeError, "eta must be"),
        ({"expires": "soon"}, ValueError, "expires"),
        ({"countdown": 1e30}, ValueError, "out of range"),
        ({"countdown": True}, TypeError, "countdown"),
    ],
)
def test_given_a_wrong_time_then_the_error_names_it(
    app: Celery, add: Any, options: dict[str, Any], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        add.apply_async((1,), **options)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"task_id": 5}, TypeError, "task_id must be text, not 5"),
        ({"task_id": "half\ud800"}, ValueError, "half a character"),
        ({"queue": 5}, TypeError, "queue must be a name or a Queue, not 5"),
        ({"retries": "many"}, TypeError, "retries must be a whole number, not 'many'"),
        ({"time_limit": "soon"}, TypeError, "time_limit must be a number of seconds, not 'soon'"),
        ({"soft_time_limit": timedelta(1)}, TypeError, "soft_time_limit must be a number of seconds"),
        ({"priority": "high"}, TypeError, "priority must be a whole number, not 'high'"),
        ({"headers": [1]}, TypeError, "headers of task .* must be a mapping, not list"),
        ({"link": 5}, TypeError, "link must be a signature or a list of them, not 5"),
        ({"link_error": ["t"]}, TypeError, "link_error must be a signature or a list of them, not 't'"),
    ],
)
def test_given_a_value_that_every_worker_would_refuse_then_the_error_names_it_and_nothing_is_sent(
    app: Celery, add: Any, options: dict[str, Any], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        add.apply_async((1,), **options)
    assert sent(app) == []


def test_given_arguments_that_do_not_serialize_then_encode_error_and_nothing_is_sent(app: Celery, add: Any) -> None:
    with pytest.raises(EncodeError):
        add.delay(object())
    assert sent(app) == []


def test_given_pickle_and_compression_then_the_message_says_so(make_app: MakeApp) -> None:
    app = make_app()
    task = app.task(name="t", serializer="pickle")(lambda x: None)
    task.apply_async(((1, 2),), compression="zlib")
    delivery = sent_one(app)
    assert delivery.message is not None
    assert delivery.message.content_type == "application/x-python-serialize"
    assert delivery.message.headers["compression"] == "application/x-gzip"
    assert read_body(delivery.message, accept={"pickle"}).args[0] == (1, 2)
    task.apply_async((1,), serializer="json")
    assert sent_one(app).message.content_type == "application/json"  # type: ignore[union-attr]


def test_given_task_protocol_1_then_the_body_is_one_map(make_app: MakeApp) -> None:
    app = make_app(task_protocol=1)
    app.task(name="t")(lambda x: None).apply_async((1,), countdown=5)
    delivery = sent_one(app)
    assert delivery.message is not None
    assert delivery.message.headers == {}
    call = read(delivery.message, accept={"json"})
    assert (call.task, call.protocol) == ("t", 1)
    assert call.eta is not None


def test_given_a_running_call_then_what_it_sends_has_it_as_parent_and_root(make_app: MakeApp) -> None:
    app = make_app(task_inherit_parent_priority=True)
    child = app.task(name="child")(lambda: None)

    @app.task(name="parent", bind=True)
    def parent(self: Any) -> int:
        child.delay()
        child.apply_async(priority=1, add_to_parent=False)
        return len(self.request.children)

    request = Context(id="p", root_id="r", called_directly=False, delivery_info={"priority": 4}, args=(), kwargs={})
    assert run_attempt(parent, request, (), {}).value == 1
    second, first = sent(app)
    assert (headers_of(first)["parent_id"], headers_of(first)["root_id"]) == ("p", "r")
    assert [properties_of(delivery)["priority"] for delivery in (first, second)] == [4, 1]


def test_given_routes_in_every_form_then_the_first_that_answers_wins_and_the_call_wins_over_it(make_app: MakeApp) -> None:
    def router(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **_: Any) -> Any:
        return {"queue": "by-function", "priority": 7} if name == "f" else None

    app = make_app(
        task_routes=[
            router,
            {"exact": "exact-queue", "glob.*": {"queue": "glob-queue", "routing_key": "k"}},
            [("pair", {"queue": "pair-queue"})],
        ]
    )
    for name, queue in (
        ("f", "by-function"),
        ("exact", "exact-queue"),
        ("glob.x", "glob-queue"),
        ("pair", "pair-queue"),
        ("none", "celery"),
    ):
        app.send_task(name)
        delivery = sent_one(app, queue)
        assert headers_of(delivery)["task"] == name
    app.send_task("f", queue="mine", priority=1)
    assert properties_of(sent_one(app, "mine"))["priority"] == 1
    app.send_task("f")
    assert properties_of(sent_one(app, "by-function"))["priority"] == 7


def test_given_queues_as_objects_and_dicts_then_calls_reach_them_through_their_exchange(make_app: MakeApp) -> None:
    app = make_app(
        task_queues=(
            Queue("default", Exchange("default"), routing_key="default"),
            Queue("topics", Exchange("news", type="topic"), routing_key="sport.#"),
        ),
        task_default_queue="default",
    )
    app.send_task("t", exchange="news", routing_key="sport.football")
    assert headers_of(sent_one(app, "topics"))["task"] == "t"
    app.send_task("t")
    sent_one(app, "default")
    app.send_task("t", queue=Queue("own", Exchange("own"), routing_key="own"))
    sent_one(app, "own")

    other = make_app(task_queues={"default": {}, "email": {"routing_key": "mail.#"}}, task_default_queue="default")
    other.send_task("t", queue="email")
    sent_one(other, "email")
    assert sorted(other.amqp.queues) == ["default", "email"]


def test_given_create_missing_off_then_an_unlisted_queue_is_refused(make_app: MakeApp) -> None:
    app = make_app(task_create_missing_queues=False)
    with pytest.raises(QueueNotFound, match="nope"):
        app.send_task("t", queue="nope")


def test_given_a_task_with_a_queue_of_its_own_then_its_calls_go_there(app: Celery) -> None:
    app.task(name="t", queue="high", priority=3)(lambda: None).delay()
    assert properties_of(sent_one(app, "high"))["priority"] == 3


def test_given_send_task_of_a_known_name_then_the_tasks_options_count(app: Celery) -> None:
    task = app.task(name="t", serializer="pickle", time_limit=7)(lambda: None)
    assert task.name == "t"
    app.send_task("t")
    delivery = sent_one(app)
    assert delivery.message is not None
    assert delivery.message.content_type == "application/x-python-serialize"
    assert headers_of(delivery)["timelimit"] == [7, None]


def test_given_receivers_of_before_task_publish_then_what_they_change_is_sent(app: Celery, add: Any) -> None:
    seen: list[dict[str, Any]] = []

    def before(sender: Any, body: Any, headers: Any, properties: Any, **named: Any) -> None:
        seen.append({"sender": sender, **named})
        headers["trace"] = "t-1"
        body[1]["y"] = 40
        properties["priority"] = 9

    def after(sender: Any, headers: Any, body: Any, **named: Any) -> None:
        seen.append({"after": sender, "trace": headers["trace"], **named})

    def old(sender: Any, task_id: Any, task: Any, args: Any, **named: Any) -> None:
        seen.append({"sent": task, "args": args})

    signals.before_task_publish.connect(before)
    signals.after_task_publish.connect(after)
    signals.task_sent.connect(old)
    try:
        add.apply_async((2,), {})
    finally:
        signals.before_task_publish.disconnect(before)
        signals.after_task_publish.disconnect(after)
        signals.task_sent.disconnect(old)
    delivery = sent_one(app)
    assert headers_of(delivery)["trace"] == "t-1"
    assert delivery.message is not None
    assert read_body(delivery.message).kwargs == {"y": 40}
    assert delivery.priority == 9
    assert seen[0]["sender"] == "tasks.add"
    assert (seen[0]["exchange"], seen[0]["routing_key"]) == ("", "celery")
    assert seen[0]["retry_policy"]["max_retries"] == 3
    assert seen[1]["after"] == "tasks.add"
    assert seen[2] == {"sent": "tasks.add", "args": (2,)}


def test_given_a_time_zone_object_then_it_is_taken(make_app: MakeApp) -> None:
    app = make_app(timezone=ZoneInfo("Asia/Tokyo"))
    assert app.now().utcoffset() == timedelta(hours=9)
    assert make_app().uses_utc_timezone()
