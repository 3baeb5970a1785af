"""Prometheus' text, read back by a strict reader."""

from __future__ import annotations

import math

import pytest
from tests.services.worker.prometheus import read

from sedano.worker.exposition import Family, Metric, page
from sedano.worker.metrics import METRICS


def test_given_labels_with_quotes_and_lines_then_they_are_escaped():
    family = Family(Metric("a_total", "counter", 'a "b"\nc\\d', ("task",)))
    family.say(3, {"task": 'x"\n\\y'})
    assert page([family]).decode() == '# HELP a_total a "b"\\nc\\\\d\n# TYPE a_total counter\na_total{task="x\\"\\n\\\\y"} 3\n'
    assert len(read(page([family]).decode()).samples) == 1


def test_given_counts_of_buckets_then_they_are_added_up():
    family = Family(Metric("t_seconds", "histogram", "t"))
    family.spread((0.5, 1.0), (2, 0, 3), 7.25, {})
    found = read(page([family]).decode())
    assert found.value("t_seconds_bucket", le="1") == 2
    assert found.value("t_seconds_bucket", le="+Inf") == 5
    assert found.value("t_seconds_sum") == 7.25


def test_given_a_family_that_says_nothing_then_nothing_is_written():
    assert page([Family(Metric("t", "gauge", "t"))]) == b""


@pytest.mark.parametrize("value", [0, 1.5, 1e-9, 1e300, math.inf, -3, 2**53])
def test_given_any_number_then_it_comes_back(value: float):
    family = Family(Metric("g", "gauge", "g"))
    family.say(value)
    assert read(page([family]).decode()).value("g") == value


def test_names_are_unique_and_kept_in_one_style():
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    for metric in METRICS:
        assert metric.name.startswith("sedano_")
        assert metric.name.endswith("_total") is (metric.kind == "counter")


@pytest.mark.parametrize(
    "text",
    ["a 1", "# TYPE a gauge\na 1\n", "# HELP a x\n# TYPE a gauge\na{b=c} 1\n", "# HELP a x\n# TYPE a gauge\na 1\na 2\n",
     "# HELP a x\n# TYPE a gauge\nb 1\n", "# HELP a x\n# TYPE a histogram\na_bucket{le=\"1\"} 1\na_sum 1\na_count 1\n"],
)  # fmt: skip
def test_the_reader_of_these_tests_is_strict(text: str):
    with pytest.raises(AssertionError):
        read(text)
