"""Since when a message waits, by what it carries."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sedano.protocol.waiting import waits_since

NOW = 1_800_000_000.0


def tail(headers: dict[str, Any], properties: dict[str, Any] | None = None) -> bytes:
    return json.dumps({"headers": headers, "properties": properties or {}}).encode()[1:]


@pytest.mark.parametrize(
    ("headers", "properties", "since"),
    [
        ({}, {}, None),
        ({"eta": None}, {}, None),
        ({}, {"timestamp": NOW - 5}, NOW - 5),
        ({}, {"timestamp": (NOW - 5) * 1000}, NOW - 5),
        ({}, {"timestamp": NOW + 50}, NOW),
        ({"timestamp": "2027-01-15T07:59:00+00:00"}, {}, NOW - 60),
        ({"sentry-task-enqueued-time": f"{NOW - 7:.6f}"}, {}, NOW - 7),
        ({"headers": {"sentry-task-enqueued-time": NOW - 7}}, {}, NOW - 7),
        ({"eta": "2027-01-15T07:59:00+00:00"}, {}, NOW - 60),
        ({"eta": "2027-01-15T07:59:00"}, {}, NOW - 60),
        ({"eta": "2027-01-15T08:59:00+00:00"}, {}, None),  # not due: it waits for nothing yet
        ({"eta": "2027-01-15T07:59:00+00:00"}, {"timestamp": NOW - 99}, NOW - 99),
        ({"timestamp": True, "headers": [1]}, {"timestamp": {}}, None),
        ({"timestamp": "soon", "eta": "tomorrow"}, {"timestamp": -1}, None),
    ],
)
def test_a_message_waits_since_the_time_that_it_carries(
    headers: dict[str, Any], properties: dict[str, Any], since: float | None
) -> None:
    found = waits_since(tail(headers, properties), NOW)
    assert found == (None if since is None else pytest.approx(since))


@given(st.one_of(st.binary(), st.binary().map(lambda raw: b'"headers": ' + raw), st.just(b'"headers": ' + b"[" * 100_000)))
def test_whatever_it_is_the_answer_is_a_time_or_none(raw: bytes) -> None:
    found = waits_since(raw, NOW)
    assert found is None or found <= NOW


@given(
    st.dictionaries(
        st.sampled_from(["timestamp", "eta", "headers", "sentry-task-enqueued-time"]),
        st.one_of(st.floats(), st.integers(), st.text(), st.none(), st.booleans(), st.lists(st.integers())),
    )
)
def test_whatever_the_headers_say_the_answer_is_a_time_or_none(headers: dict[str, Any]) -> None:
    found = waits_since(tail(headers, headers), NOW)
    assert found is None or found <= NOW
