"""Where calls go. The table of cases is routed by a real Celery too: see `record_routes.py` beside this file."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sedano.exceptions import ImproperlyConfigured, QueueNotFound
from sedano.protocol.queues import Exchange, Queue
from sedano.rules.routing import Destination, QueueDefaults, QueueTable, Router, destination, lookup, prepare

HERE = Path(__file__).parent
RECORDED = json.loads((HERE / "recorded_routes.json").read_text())["cases"]


def load_cases() -> ModuleType:
    spec = importlib.util.spec_from_file_location("routing_cases", HERE / "routing_cases.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["routing_cases"] = module
    spec.loader.exec_module(module)
    return module


CASES_MODULE = load_cases()
# Celery publishes these to the exchange without a name and without a key, where they are lost; ours keep the exchange.
BETTER = {"route with exchange only": {"exchange": "ex", "routing_key": "celery", "delivery_mode": 2, "declare": []}}


def resolve(path: str) -> Any:
    return getattr(CASES_MODULE, re.split(r"[.:]", path)[-1])


def defaults_of(conf: dict[str, Any]) -> QueueDefaults:
    return QueueDefaults(
        queue=conf.get("task_default_queue", "celery"),
        exchange=conf.get("task_default_exchange"),
        exchange_type=conf.get("task_default_exchange_type", "direct"),
        routing_key=conf.get("task_default_routing_key"),
        queue_type=conf.get("task_default_queue_type", "classic"),
        max_priority=conf.get("task_queue_max_priority"),
        create_missing=conf.get("task_create_missing_queues", True),
        missing_queue_type=conf.get("task_create_missing_queue_type", "classic"),
        missing_exchange_type=conf.get("task_create_missing_queue_exchange_type"),
    )


def route(case: dict[str, Any]) -> tuple[dict[str, Any], Destination]:
    conf = case["conf"]
    table = QueueTable(conf.get("task_queues"), defaults_of(conf))
    router = Router(prepare(conf.get("task_routes"), resolve), table, default_queue=table.defaults.queue)
    options = router.route(case["options"], case["task"], case["args"], case["kwargs"])
    return options, destination(options, table, default_delivery_mode=conf.get("task_default_delivery_mode", 2))


def facts(case: dict[str, Any]) -> dict[str, Any]:
    """The same facts that were recorded of Celery."""
    try:
        options, target = route(case)
    except QueueNotFound as exc:
        return {"error": type(exc).__name__}
    queue = options.get("queue")
    named = {key: value.name if isinstance(value, Exchange) else value for key, value in options.items() if key != "queue"}
    return {
        "queue": queue
        and {
            "name": queue.name,
            "exchange": queue.exchange.name,
            "exchange_type": queue.exchange.type,
            "routing_key": queue.routing_key,
            "queue_arguments": queue.queue_arguments or None,
        },
        "options": dict(sorted(named.items())),
        "published": {
            "exchange": target.exchange,
            "routing_key": target.routing_key,
            "delivery_mode": target.delivery_mode,
            "declare": [declared.name for declared in target.declare],
        },
    }


def test_given_the_cases_when_they_were_recorded_then_none_is_missing() -> None:
    assert set(CASES_MODULE.cases(Queue, Exchange)) == set(RECORDED)


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_given_a_call_when_it_is_routed_then_it_goes_where_celery_sends_it(name: str) -> None:
    expected = dict(RECORDED[name])
    if name in BETTER:
        expected["published"] = BETTER[name]

    assert facts(CASES_MODULE.cases(Queue, Exchange)[name]) == expected


def test_given_an_unlisted_queue_when_none_may_be_made_then_the_error_says_which_call_and_what_to_do() -> None:
    table = QueueTable([Queue("emails")], QueueDefaults(create_missing=False))
    router = Router([], table, default_queue="emails")

    with pytest.raises(QueueNotFound) as caught:
        router.route({"queue": "email"}, "proj.add")

    text = str(caught.value)
    assert "proj.add" in text
    assert "'emails'" in text
    assert "task_create_missing_queues=True" in text


def test_given_options_of_a_call_when_it_is_routed_then_they_are_left_as_they_were() -> None:
    options = {"queue": "mine", "priority": 3}
    router = Router(prepare({"a": {"queue": "q"}}), QueueTable(None, QueueDefaults()))

    router.route(options, "a")

    assert options == {"queue": "mine", "priority": 3}


def test_given_a_route_dict_when_a_call_was_routed_then_the_dict_still_routes_the_next_one() -> None:
    shared = {"queue": "q", "priority": 3}
    router = Router(prepare({"a": shared}), QueueTable(None, QueueDefaults()))

    first, second = router.route({}, "a"), router.route({}, "a")

    assert first == second
    assert shared == {"queue": "q", "priority": 3}


def test_given_pairs_that_stand_in_the_list_itself_when_routing_then_they_are_one_router() -> None:
    routers = prepare([("a.*", "first"), ("a.b", "exact"), {"c": "third"}])

    assert len(routers) == 2
    assert lookup(routers, "a.b", (), {}, {}, None) == {"queue": "exact"}
    assert lookup(routers, "a.c", (), {}, {}, None) == {"queue": "first"}
    assert lookup(routers, "c", (), {}, {}, None) == {"queue": "third"}
    assert lookup(routers, "d", (), {}, {}, None) is None


def test_given_queue_objects_as_route_values_when_routing_then_they_are_taken_as_they_are() -> None:
    queue = Queue("named", Exchange("e", "topic"), "k")
    router = Router(prepare({"a": queue}), QueueTable(None, QueueDefaults(create_missing=False)))

    assert router.route({}, "a") == {"queue": queue}


def test_given_a_path_to_a_router_when_it_is_asked_twice_then_it_is_looked_up_once_and_late() -> None:
    looked_up: list[str] = []

    def find(path: str) -> Any:
        looked_up.append(path)
        return {"a": "from-a-path"}

    routers = prepare("proj.routes", find)
    assert looked_up == []

    assert lookup(routers, "a", (), {}, {}, None) == {"queue": "from-a-path"}
    assert lookup(routers, "a", (), {}, {}, None) == {"queue": "from-a-path"}
    assert looked_up == ["proj.routes"]


@pytest.mark.parametrize("routes", [5, [5], [{1: "a"}], [[("a", "b", "c")]], {None: "q"}])
def test_given_something_that_routes_nothing_when_it_is_prepared_then_it_is_refused_by_name(routes: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match="task_routes"):
        prepare(routes)


def test_given_a_path_and_nobody_to_resolve_it_when_asked_then_the_error_names_it() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"proj\.routes"):
        lookup(prepare("proj.routes"), "a", (), {}, {}, None)


def test_given_a_wrong_type_of_queue_when_one_is_made_up_then_it_is_refused() -> None:
    table = QueueTable(None, QueueDefaults(missing_queue_type="sharded"))

    with pytest.raises(ImproperlyConfigured, match="sharded"):
        table["x"]


def test_given_a_made_up_queue_when_it_is_asked_for_again_then_it_is_the_same() -> None:
    table = QueueTable(None, QueueDefaults())

    assert table["x"] is table["x"]
    assert set(table) == {"celery", "x"}
