"""Which parked calls Celery workers could run, by what they answer."""

from __future__ import annotations

from typing import Any

import pytest

from sedano.contracts import Parked
from sedano.worker.neighbours import wanted

PARKED = [Parked("a", "new", 1, 0.0), Parked("b", "new", 1, 0.0), Parked("a", "gone", 1, 0.0)]


@pytest.mark.parametrize(
    ("reads", "knows", "found"),
    [
        ({"c1": [{"name": "a"}]}, {"c1": ["new", "other"]}, {"a": {"new"}}),
        ({"c1": [{"name": "a"}]}, {"c1": ["new [rate_limit=10/m]", "gone"]}, {"a": {"new", "gone"}}),
        ({"c1": [{"name": "a"}], "c2": [{"name": "b"}]}, {"c1": ["other"], "c2": ["new"]}, {"b": {"new"}}),
        ({"c1": [{"name": "x"}]}, {"c1": ["new"]}, {}),
        ({"c1": [{"name": "a"}]}, {}, {}),
        ({"c1": {"error": "unknown"}, "c2": [None, 3]}, {"c1": {"error": "unknown"}, "c2": None}, {}),
        ({}, {}, {}),
    ],
)
def test_given_answers_then_a_call_is_wanted_where_its_queue_is_read_by_one_who_knows_it(
    reads: dict[str, Any], knows: dict[str, Any], found: dict[str, set[str]]
) -> None:
    assert wanted(PARKED, reads, knows) == found
