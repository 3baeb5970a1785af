"""The table against what a real Celery declares: see `record_defaults.py` beside this file."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sedano.settings import OPTIONS, WORKS, accepted_without_effect
from sedano.settings.forms import FORMS, read_value
from sedano.settings.table import DOCUMENTED_NAMES, GROUPS, OLD_NAMES, find

RECORDED: dict[str, Any] = json.loads((Path(__file__).parent / "recorded_defaults.json").read_text())["settings"]
# Declared with a type that Celery's own casts do not know.
TYPES = {"str": "string"}

# Names that Celery's documentation gives and its map does not know, and two that people write in start scripts.
DOCUMENTED = {
    "CELERY_ENABLE_UTC": "enable_utc",
    "CASSANDRA_COLUMN_FAMILY": "cassandra_table",
    "CELERY_REDIS_BACKEND_CREDENTIAL_PROVIDER": "redis_backend_credential_provider",
    "CELERY_RESULT_EXPIRES": "result_expires",
    "CELERY_RESULT_DB_TABLE_NAMES": "database_table_names",
    "CELERY_TASK_ALWAYS_EAGER": "task_always_eager",
    "CELERY_COMPRESSION": "task_compression",
    "CELERY_EAGER_PROPAGATES": "task_eager_propagates",
    "CELERY_PUBLISH_RETRY": "task_publish_retry",
    "CELERY_PUBLISH_RETRY_POLICY": "task_publish_retry_policy",
    "CELERY_SEND_SENT_EVENT": "task_send_sent_event",
    "CELERYD_SOFT_TIME_LIMIT": "task_soft_time_limit",
    "CELERYD_TIME_LIMIT": "task_time_limit",
    "CELERY_TASK_TRACK_STARTED": "task_track_started",
    "CELERY_TASK_REJECT_ON_WORKER_LOST": "task_reject_on_worker_lost",
    "CELERY_WORKER_LOG_FORMAT": "worker_log_format",
    "CELERY_WORKER_TASK_LOG_FORMAT": "worker_task_log_format",
    "CELERYD_REDIRECT_STDOUTS": "worker_redirect_stdouts",
    "CELERYD_REDIRECT_STDOUTS_LEVEL": "worker_redirect_stdouts_level",
    "CELERYD_LOG_FILE": "worker_logfile",
    "CELERYBEAT_LOG_FILE": "beat_logfile",
}


def plain(value: Any) -> Any:
    if isinstance(value, timedelta):
        return {"seconds": value.total_seconds()}
    if isinstance(value, tuple):
        return {"tuple": list(value)}
    return "inf" if value == float("inf") else value


def test_given_the_table_when_compared_with_celery_then_it_has_all_of_its_settings() -> None:
    assert {name for name, option in OPTIONS.items() if option.origin == "celery"} == set(RECORDED)
    assert len(RECORDED) == 207


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_given_a_setting_of_celery_when_compared_then_default_type_and_old_name_are_the_same(name: str) -> None:
    option, recorded = OPTIONS[name], RECORDED[name]

    assert plain(option.default) == recorded["default"]
    assert type(plain(option.default)) is type(recorded["default"])
    assert option.type == TYPES.get(recorded["type"], recorded["type"])
    assert list(option.old_names) == recorded["old"]


def test_given_names_that_are_only_documented_when_looked_up_then_they_lead_to_their_setting() -> None:
    assert dict(DOCUMENTED_NAMES) == DOCUMENTED
    assert OLD_NAMES["CELERY_MESSAGE_COMPRESSION"] == "task_compression"


def test_given_all_spellings_when_compared_then_each_leads_to_one_setting() -> None:
    spellings = [name for option in OPTIONS.values() for name in (option.name, *option.old_names, *option.documented_names)]

    assert len(spellings) == len(set(spellings))
    assert sum(len(rows) for rows in GROUPS.values()) == len(OPTIONS)


def test_given_every_row_when_read_then_it_says_what_it_is_and_its_default_is_a_value_of_its_form() -> None:
    for option in OPTIONS.values():
        assert option.sentence.endswith("."), option.name
        assert option.form in ("", *FORMS), option.name
        assert option.effect == WORKS or option.effect.startswith(("not yet: ", "not needed: ")), option.name
        read_value(option, option.default)


def test_given_the_rows_when_asked_for_those_without_effect_then_each_has_its_reason() -> None:
    ignored = accepted_without_effect()

    assert ignored
    assert {option.name for option in ignored} == {option.name for option in OPTIONS.values() if not option.works}
    assert all(option.effect != WORKS for option in ignored)


@pytest.mark.parametrize(
    ("name", "namespace", "expected"),
    [
        ("disable_rate_limits", "celery", ("worker", "disable_rate_limits")),
        ("prefetch_multiplier", "worker", ("worker", "prefetch_multiplier")),
        ("serializer", "celery", ("event", "serializer")),
        ("serializer", "result", ("result", "serializer")),
        ("task_serializer", "celery", (None, "task_serializer")),
        ("TIMEZONE", "celery", (None, "timezone")),
        ("default_queue", "task", ("task", "default_queue")),
        ("lease_time", "worker", ("worker", "lease_time")),
    ],
)
def test_given_a_name_without_its_namespace_when_looked_for_then_it_is_found_as_celery_finds_it(
    name: str, namespace: str, expected: tuple[str | None, str]
) -> None:
    found = find(name, namespace)

    assert (found.namespace, found.key) == expected
    assert found.type.name == "_".join(part for part in expected if part)


def test_given_an_unknown_name_when_looked_for_then_it_is_not_there() -> None:
    with pytest.raises(KeyError, match="nope"):
        find("nope")
