"""What is sent, and where to: settings of whoever calls tasks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from tests.services.settings.apps import (
    PATIENCE_S,
    Apps,
    deliveries,
    headers,
    next_delivery,
    properties,
    record,
    task,
)
from tests.services.settings.doorman import Doorman

from sedano.exceptions import OperationalError, QueueNotFound
from sedano.protocol.queues import Exchange, Queue
from sedano.result import EagerResult

# -- the message -----------------------------------------------------------------------------------------------------------


@pytest.mark.setting("task_serializer")
def test_given_a_serializer_when_a_call_is_sent_then_its_body_is_written_by_it(apps: Apps) -> None:
    app = apps.make(task_serializer="pickle", accept_content=["pickle"])

    app.send_task("t", [{1, 2}])

    message = next_delivery(app).message
    assert message is not None
    assert message.content_type == "application/x-python-serialize"


@pytest.mark.setting("task_compression")
def test_given_a_compression_when_a_call_is_sent_then_its_body_is_compressed(apps: Apps) -> None:
    app = apps.make(task_compression="zlib")

    app.send_task("t", ["x" * 5000])

    delivery = next_delivery(app)
    assert delivery.message is not None
    assert headers(delivery)["compression"] == "application/x-gzip"
    assert len(delivery.message.body) < 1000


@pytest.mark.setting("task_protocol")
def test_given_protocol_1_when_a_call_is_sent_then_the_body_holds_what_headers_do_today(apps: Apps) -> None:
    app = apps.make(task_protocol="1")  # as words of a command line and variables of a container come

    app.send_task("t", [1])

    delivery = next_delivery(app)
    assert delivery.message is not None
    assert "task" not in headers(delivery)
    assert b'"task":"t"' in delivery.message.body


@pytest.mark.setting("task_repr_maxlevels")
def test_given_a_depth_when_a_call_is_sent_then_the_shown_arguments_are_cut_there(apps: Apps) -> None:
    app = apps.make(task_repr_maxlevels=1)

    app.send_task("t", [[["deep"]]])

    assert "deep" not in headers(next_delivery(app))["argsrepr"]


@pytest.mark.setting("task_default_delivery_mode")
@pytest.mark.parametrize(("given", "mode"), [("transient", 1), (1, 1), ("persistent", 2)])
def test_given_a_delivery_mode_when_a_call_is_sent_then_the_message_carries_it(apps: Apps, given: Any, mode: int) -> None:
    app = apps.make(task_default_delivery_mode=given)

    app.send_task("t")

    assert properties(next_delivery(app))["delivery_mode"] == mode


@pytest.mark.setting("task_default_priority")
@pytest.mark.parametrize("given", [6, "6"])
def test_given_a_default_priority_when_a_task_is_called_then_its_message_has_it(apps: Apps, given: Any) -> None:
    app = apps.make(task_default_priority=given)

    @task(app, name="t")
    def t() -> None: ...

    t.delay()
    t.apply_async(priority=3)

    assert [properties(delivery)["priority"] for delivery in deliveries(app)] == [3, 6]


@pytest.mark.setting("task_inherit_parent_priority")
@pytest.mark.parametrize(("inherits", "priority"), [(True, 9), (False, 0)])
def test_given_a_running_call_when_it_sends_another_then_its_priority_goes_along_if_asked_for(
    apps: Apps, inherits: bool, priority: int
) -> None:
    app = apps.make(task_inherit_parent_priority=inherits)

    @task(app, name="parent")
    def parent() -> None:
        app.send_task("child", queue="children")

    apps.working(app)
    parent.apply_async(priority=9).get(timeout=PATIENCE_S)

    assert properties(next_delivery(app, ["children"])).get("priority", 0) == priority


@pytest.mark.setting("task_annotations")
def test_given_annotations_when_a_task_is_called_then_it_has_the_attributes_given_from_outside(apps: Apps) -> None:
    def twice(run: Any) -> Any:
        return lambda *args: run(*args) * 2

    app = apps.make(task_annotations=[{"*": {"priority": 3}}, {"special": {"priority": 6, "@run": twice}}])

    @task(app, name="t")
    def t() -> None: ...

    @task(app, name="special")
    def special(x: int) -> int:
        return x

    t.delay()
    special.delay(1)

    assert [properties(delivery)["priority"] for delivery in deliveries(app)] == [3, 6]
    assert special.apply((21,)).get() == 42


# -- times -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This machine stands in Japan."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.setting("timezone")
def test_given_a_time_zone_when_a_call_has_a_naive_eta_then_it_is_meant_there(apps: Apps) -> None:
    app = apps.make(timezone="Europe/Rome")

    app.send_task("t", eta=datetime(2036, 7, 1, 12, 0))

    assert headers(next_delivery(app))["eta"] == "2036-07-01T12:00:00+02:00"


@pytest.mark.setting("TIME_ZONE")
def test_given_djangos_time_zone_when_there_is_no_other_then_it_counts(apps: Apps) -> None:
    app = apps.make(TIME_ZONE="Europe/Rome")

    app.send_task("t", eta=datetime(2036, 7, 1, 12, 0))

    assert headers(next_delivery(app))["eta"] == "2036-07-01T12:00:00+02:00"


@pytest.mark.setting("enable_utc")
@pytest.mark.usefixtures("tokyo")
@pytest.mark.parametrize(("enabled", "offset"), [(True, "+00:00"), (False, "+09:00"), ("no", "+09:00")])
def test_given_utc_on_or_off_when_a_call_is_sent_then_its_times_are_in_utc_or_the_machines(
    apps: Apps, enabled: Any, offset: str
) -> None:
    app = apps.make(enable_utc=enabled)

    app.send_task("t", countdown=60)

    assert headers(next_delivery(app))["eta"].endswith(offset)


# -- where to --------------------------------------------------------------------------------------------------------------


@pytest.mark.setting("task_default_queue")
def test_given_a_default_queue_when_a_call_names_none_then_it_goes_there_and_a_worker_takes_it_from_there(apps: Apps) -> None:
    app = apps.make(task_default_queue="house")

    @task(app, name="t")
    def t() -> str:
        return "done"

    waiting = t.delay()
    assert [depth.ready for depth in apps.broker(app).depth(["house", "celery"])] == [1, 0]

    apps.working(app)
    assert waiting.get(timeout=PATIENCE_S) == "done"


@pytest.mark.setting("task_queues")
def test_given_queues_when_a_worker_starts_then_it_takes_from_all_of_them(apps: Apps) -> None:
    app = apps.make(task_queues=[Queue("feeds", Exchange("feeds"), routing_key="feeds"), Queue("mail")])

    @task(app, name="t")
    def t() -> str:
        return "done"

    apps.working(app)
    for queue in ("feeds", "mail"):
        assert t.apply_async(queue=queue).get(timeout=PATIENCE_S) == "done"


@pytest.mark.setting("task_queues")
def test_given_queues_as_a_dict_when_a_call_names_an_exchange_then_its_bindings_lead_to_the_queue(apps: Apps) -> None:
    app = apps.make(task_queues={"orders": {"exchange": "shop", "exchange_type": "topic", "routing_key": "order.#"}})

    app.send_task("t", exchange="shop", routing_key="order.new", exchange_type="topic")

    assert headers(next_delivery(app, ["orders"]))["task"] == "t"


@pytest.mark.parametrize("routes", [None, {"other": "elsewhere"}])
def test_given_queues_and_routes_when_a_call_names_an_exchange_then_it_goes_there_only_with_a_key(
    apps: Apps, routes: dict[str, str] | None
) -> None:
    topic = {"exchange": "shop", "exchange_type": "topic", "routing_key": "order.#"}
    app = apps.make(task_queues={"orders": topic, "celery": {}}, task_routes=routes)

    app.send_task("keyed", exchange="shop", routing_key="order.new")
    app.send_task("keyless", exchange="shop")

    assert [headers(delivery)["task"] for delivery in deliveries(app, ["orders"])] == ["keyed"]
    assert [headers(delivery)["task"] for delivery in deliveries(app, ["celery"])] == ["keyless"]  # as with Celery


@pytest.mark.setting("task_routes")
def test_given_routes_when_calls_are_sent_then_each_goes_where_its_route_says(apps: Apps) -> None:
    def by_arguments(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **_: Any) -> Any:
        return {"queue": "big"} if args and args[0] == "big" else None

    app = apps.make(task_routes=[by_arguments, {"mail.*": {"queue": "mail", "priority": 9}, "report": "reports"}])

    for name, args in (("mail.send", []), ("report", []), ("report", ["big"]), ("other", [])):
        app.send_task(name, args)

    assert [headers(delivery)["task"] for delivery in deliveries(app, ["mail"])] == ["mail.send"]
    assert [headers(delivery)["task"] for delivery in deliveries(app, ["reports"])] == ["report"]
    assert [headers(delivery)["task"] for delivery in deliveries(app, ["big"])] == ["report"]
    assert [headers(delivery)["task"] for delivery in deliveries(app, ["celery"])] == ["other"]


@pytest.mark.setting("task_create_missing_queues")
@pytest.mark.parametrize("given", [False, "false"])
def test_given_that_no_queue_is_made_up_when_a_call_names_an_unknown_one_then_it_is_refused(apps: Apps, given: Any) -> None:
    app = apps.make(task_create_missing_queues=given, task_queues=[Queue("known")])

    app.send_task("t", queue="known")
    with pytest.raises(QueueNotFound, match="unknown"):
        app.send_task("t", queue="unknown")


@pytest.mark.setting("task_create_missing_queue_exchange_type")
def test_given_a_kind_of_exchange_when_a_queue_is_made_up_then_its_exchange_is_of_that_kind(apps: Apps) -> None:
    app = apps.make(task_create_missing_queue_exchange_type="topic")

    app.send_task("t", queue="new")

    # Only a message to a direct exchange goes straight to the queue.
    assert properties(next_delivery(app, ["new"]))["delivery_info"] == {"exchange": "new", "routing_key": "new"}


@pytest.mark.setting("task_default_exchange", "task_default_exchange_type", "task_default_routing_key")
def test_given_a_default_exchange_and_key_when_a_queue_names_none_then_calls_to_it_go_through_them(apps: Apps) -> None:
    app = apps.make(
        task_queues=[Queue("house")],
        task_default_queue="house",
        task_default_exchange="hall",
        task_default_exchange_type="topic",
        task_default_routing_key="door.left",
    )

    app.send_task("t")

    assert properties(next_delivery(app, ["house"]))["delivery_info"] == {"exchange": "hall", "routing_key": "door.left"}


# -- publishing again ------------------------------------------------------------------------------------------------------


@pytest.mark.setting("task_publish_retry", "task_publish_retry_policy")
@pytest.mark.parametrize(("retry", "most", "tries"), [(False, 2, 1), (True, 2, 3), (True, 0, 1)])
def test_given_a_policy_when_the_broker_hangs_up_then_publishing_is_tried_that_often(
    apps: Apps, doorman: Doorman, retry: bool, most: int, tries: int
) -> None:
    policy = {"max_retries": most, "interval_start": 0, "interval_step": 0, "interval_max": 0}
    app = apps.make(broker_url=doorman.url, task_publish_retry=retry, task_publish_retry_policy=policy)

    with pytest.raises(OperationalError):
        app.send_task("t")

    assert doorman.visitors == tries


# -- not sending at all ----------------------------------------------------------------------------------------------------


@pytest.mark.setting("task_always_eager")
@pytest.mark.parametrize("given", [True, "yes"])
def test_given_eager_mode_when_a_task_is_called_then_it_runs_at_once_and_nothing_is_sent(apps: Apps, given: Any) -> None:
    app = apps.make(task_always_eager=given)
    ran: list[int] = []

    @task(app, name="t")
    def t(x: int) -> None:
        ran.append(x)

    result = t.delay(1)

    assert isinstance(result, EagerResult)
    assert ran == [1]
    assert deliveries(app) == []


@pytest.mark.setting("task_eager_propagates")
@pytest.mark.parametrize("given", [True, "on"])
def test_given_that_eager_errors_propagate_when_a_task_raises_then_its_caller_gets_it(apps: Apps, given: Any) -> None:
    @task(app := apps.make(task_always_eager=True, task_eager_propagates=given), name="t")
    def t() -> None:
        raise KeyError("gone")

    assert app.conf.task_always_eager
    with pytest.raises(KeyError, match="gone"):
        t.delay()


@pytest.mark.setting("task_eager_propagates")
def test_given_a_word_for_false_when_an_eager_task_raises_then_only_its_result_tells(apps: Apps) -> None:
    @task(apps.make(task_always_eager=True, task_eager_propagates="no"), name="t")
    def t() -> None:
        raise KeyError("gone")

    assert t.delay().state == "FAILURE"


@pytest.mark.setting("task_store_eager_result")
@pytest.mark.parametrize(("stores", "state"), [(True, "SUCCESS"), (False, "PENDING")])
def test_given_eager_mode_when_a_task_ran_then_its_result_is_stored_if_asked_for(apps: Apps, stores: bool, state: str) -> None:
    app = apps.make(task_always_eager=True, task_store_eager_result=stores)

    @task(app, name="t")
    def t() -> int:
        return 5

    result = t.delay()

    assert record(app, result.id)["status"] == state
