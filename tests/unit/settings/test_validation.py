from __future__ import annotations

from collections import OrderedDict
from datetime import UTC, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from sedano.exceptions import ImproperlyConfigured
from sedano.protocol.queues import Queue
from sedano.settings import Settings
from sedano.settings.validation import check, require_valid


def findings(**given: Any) -> list[str]:
    return [finding.text for finding in check(Settings(given, environ={}))]


class Annotation:
    def annotate(self, task: Any) -> None: ...


WORKING = {
    "numbers as text": {"worker_max_tasks_per_child": "100", "task_time_limit": "30.5", "broker_port": "5672"},
    "durations": {"result_expires": timedelta(days=1), "task_time_limit": timedelta(minutes=1), "worker_lease_time": 5},
    "whole floats": {"worker_prefetch_multiplier": 1.0},
    "decimals": {"task_time_limit": Decimal("1.5")},
    "sets and tuples": {"accept_content": {"json", "pickle"}, "imports": ["a"], "include": "one.module"},
    "None everywhere": dict.fromkeys(
        ("result_expires", "accept_content", "task_serializer", "worker_prefetch_multiplier", "broker_transport_options")
    ),
    "zero for no limit": {
        "broker_connection_max_retries": 0,
        "broker_pool_limit": 0,
        "result_expires": 0,
        "task_time_limit": 0,
    },
    "words for booleans": {"task_acks_late": "true", "enable_utc": 1},
    "several brokers": {"broker_url": ["redis://a", "redis://b"], "broker_read_url": "redis://a;redis://b"},
    "ssl": {"broker_use_ssl": {"ca_certs": "x"}, "redis_backend_use_ssl": True},
    "zones": {"timezone": ZoneInfo("Europe/Rome")},
    "fixed zones": {"timezone": UTC},
    "classes for names": {"worker_pool": dict, "result_backend": object, "beat_scheduler": dict, "worker_autoscaler": dict},
    "paths": {"worker_logfile": Path("x.log"), "beat_schedule_filename": Path("y"), "worker_state_db": "z"},
    "concurrency": {"worker_concurrency": "auto"},
    "delivery modes": {"task_default_delivery_mode": "persistent"},
    "log levels": {"worker_redirect_stdouts_level": 10},
    "rates": {"task_default_rate_limit": "10.5/m"},
    "rate of a number": {"task_default_rate_limit": 3},
    "queues": {"task_queues": [Queue("a")]},
    "queues as a dict": {"task_queues": {"a": {}, "b": {"exchange": "x"}, "c": Queue("c")}},
    "foreign queues": {"task_queues": (SimpleNamespace(name="a"),)},
    "routes": {"task_routes": ["proj.route", {"a": "b"}, [("a", "b")], print]},
    "one route": {"task_routes": print},
    "annotations": {"task_annotations": [{"*": {}}, Annotation()]},
    "one annotation": {"task_annotations": "proj.annotations"},
    "ordered dicts": {"beat_schedule": OrderedDict(a=1), "broker_transport_options": [("a", 1)]},
    "infinite": {"result_backend_max_retries": float("inf")},
    "serializers of one's own": {"task_serializer": "mine", "accept_content": ["mine", "json"]},
    "soft before hard": {"task_soft_time_limit": 5, "task_time_limit": 10},
    "soft as hard": {"task_soft_time_limit": 5, "task_time_limit": 5},
    "soft without hard": {"task_soft_time_limit": 500},
    "exclusive or durable": {"control_queue_durable": True, "control_queue_exclusive": False},
    "names of one's own": {"my_setting": object()},
}

WRONG = [
    ("worker_max_tasks_per_child", "many", "a whole number, 0 or more"),
    ("worker_max_tasks_per_child", -1, "a whole number, 0 or more"),
    ("worker_prefetch_multiplier", 1.5, "a whole number"),
    ("result_expires", "tomorrow", "seconds as a number, or a timedelta"),
    ("result_expires", float("nan"), "seconds"),
    ("worker_lease_time", 0, "0.5 or more"),
    ("task_acks_late", "maybe", "true or false"),
    ("task_acks_late", [1], "true or false"),
    ("accept_content", "json", "a list of names"),
    ("accept_content", [b"json"], "a list of names"),
    ("imports", [5], "the name of a module"),
    ("timezone", "Mars/Olympus", "the zone database does not know 'Mars/Olympus'"),
    ("timezone", 5, "time zone"),
    ("broker_url", 5, "a URL"),
    ("task_default_queue", 5, "text"),
    ("broker_transport_options", "visibility_timeout=5", "a dict"),
    ("broker_use_ssl", "certificate.pem", "true, false or a dict"),
    ("task_queues", ["name"], "'name' is no Queue"),
    ("task_queues", {"a": "exchange"}, "the options of 'a' are neither a dict nor a Queue"),
    ("task_routes", [5], "5 is no router"),
    ("task_annotations", 5, "5 annotates nothing"),
    ("task_default_delivery_mode", 3, "1, 2, 'transient' or 'persistent'"),
    ("task_default_rate_limit", "10/d", "'10/s'"),
    ("task_protocol", 3, "1 or 2"),
    ("task_create_missing_queue_type", "stream", "'classic' or 'quorum'"),
    ("worker_pool_start_method", "thread", "'fork' or 'spawn'"),
    ("worker_concurrency", "all", "a whole number, or 'auto'"),
    ("worker_concurrency", -2, "a whole number, or 'auto'"),
    ("worker_redirect_stdouts_level", "LOUD", "a log level"),
    ("worker_logfile", 5, "the path of a file"),
    ("task_default_priority", "high", "a whole number"),
    ("result_backend_max_sleep_between_retries_ms", float("inf"), "a whole number"),
]


@pytest.mark.parametrize("name", sorted(WORKING))
def test_given_values_that_work_when_checked_then_nothing_is_said(name: str) -> None:
    assert findings(**WORKING[name]) == []


@pytest.mark.parametrize(("name", "value", "expected"), WRONG, ids=[f"{name}-{value}" for name, value, _ in WRONG])
def test_given_a_wrong_value_when_checked_then_setting_value_and_expectation_are_named(
    name: str, value: Any, expected: str
) -> None:
    (text,) = findings(**{name: value})

    assert text.startswith(f"{name}={value!r}: expected ")
    assert expected in text


def test_given_many_mistakes_when_required_to_be_valid_then_all_are_raised_together() -> None:
    conf = Settings(
        {"task_time_limit": "x", "worker_concurrency": "y", "control_queue_durable": True, "task_serializer": "json"},
        environ={},
    )

    with pytest.raises(ImproperlyConfigured) as caught:
        require_valid(conf)

    lines = str(caught.value).splitlines()
    assert lines[0] == "3 settings are wrong:"
    assert [line.split("=")[0].strip() for line in lines[1:3]] == ["task_time_limit", "worker_concurrency"]
    assert "control_queue_durable and control_queue_exclusive" in lines[3]


def test_given_a_secret_that_is_wrong_when_reported_then_it_is_not_shown() -> None:
    (text,) = findings(redis_password=12345)
    assert "12345" not in text
    (text,) = findings(broker_url=[5, "redis://u:hidden@h"])
    assert "hidden" not in text


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"task_soft_time_limit": 20, "task_time_limit": 10}, "task_soft_time_limit=20 never comes"),
        ({"task_soft_time_limit": timedelta(minutes=1), "task_time_limit": "10"}, "task_soft_time_limit=60 never comes"),
        ({"event_queue_durable": True}, "event_queue_exclusive=False"),
        ({"control_queue_durable": True, "control_queue_exclusive": True}, "control_queue_exclusive=False"),
        ({"worker_window_time": 30}, "worker_lease_time=20"),
    ],
)
def test_given_settings_that_contradict_each_other_when_checked_then_both_are_named(
    given: dict[str, Any], expected: str
) -> None:
    (text,) = findings(**given)

    assert expected in text


def test_given_a_mistake_when_a_rule_is_about_it_too_then_it_is_reported_once() -> None:
    assert len(findings(task_soft_time_limit="x", task_time_limit=10)) == 1


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"task_serializer": "pickle"}, "task_serializer='pickle' is not in accept_content=('json',)"),
        ({"result_serializer": "pickle", "result_accept_content": ["json"]}, "result_serializer='pickle'"),
        ({"task_acks_late": "false"}, "task_acks_late='false' is read as false"),
    ],
)
def test_given_something_that_only_looks_wrong_when_required_to_be_valid_then_it_is_advice(
    given: dict[str, Any], expected: str
) -> None:
    (advice,) = require_valid(Settings(given, environ={}))

    assert not advice.is_mistake
    assert expected in advice.text


def test_given_a_serializer_accepted_by_its_mime_type_when_checked_then_nothing_is_said() -> None:
    assert findings(task_serializer="pickle", accept_content=["application/x-python-serialize", "json"]) == []


def test_given_nothing_when_required_to_be_valid_then_there_is_nothing_to_say() -> None:
    assert require_valid(Settings(environ={})) == []
