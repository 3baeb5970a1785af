"""What is the memory driver's own: which URLs name one store, and how a test gets an empty one."""

from __future__ import annotations

import pytest

from sedano.contracts import OpenOptions
from sedano.drivers import memory
from sedano.exceptions import ImproperlyConfigured
from sedano.testing.contracts.messages import outgoing


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("memory://", "memory://", True),
        ("memory://", "memory:///", True),
        ("memory://", "cache+memory://", True),
        ("memory://orders", "cache+memory://orders", True),
        ("memory://orders", "memory://orders/", True),
        ("memory://", "memory://orders", False),
        ("memory://orders", "memory://Orders", False),
        ("memory://", "redis://", False),
    ],
)
def test_given_two_urls_when_compared_then_they_share_a_store_if_they_name_the_same(
    first: str, second: str, same: bool
) -> None:
    assert memory.shares_store(first, second) is same


@pytest.mark.parametrize("url", ["", "memory", "memory:", "memory:/x", "sqlite:///x", "MEMORY://"])
def test_given_a_url_of_another_kind_when_opened_then_the_error_shows_the_right_form(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="memory://"):
        memory.open_broker(url, OpenOptions())


def test_given_results_at_another_store_when_opened_then_settling_does_not_write_them() -> None:
    options = OpenOptions(results_url="memory://results-elsewhere")
    assert not memory.open_broker("memory://broker-here", options).capabilities.shared_results
    assert not memory.open_broker("memory://broker-here", OpenOptions(results_url="redis://")).capabilities.shared_results
    assert memory.open_broker("memory://results-elsewhere", options).capabilities.shared_results


def test_given_a_store_when_it_is_forgotten_then_the_next_to_open_it_finds_it_empty() -> None:
    before = memory.open_broker("memory://to-forget", OpenOptions())
    before.publish([outgoing("q", "a")])
    memory.forget_store("memory://to-forget")
    memory.forget_store("memory://never-opened")
    assert memory.open_broker("memory://to-forget", OpenOptions()).queues() == []
    assert before.queues() == ["q"]


def test_given_an_owner_that_is_registered_when_its_name_is_taken_again_then_it_is_an_error() -> None:
    broker = memory.open_broker("memory://names", OpenOptions())
    broker.register("celery@a:1", "celery@a")
    with pytest.raises(ValueError, match="celery@a:1"):
        broker.register("celery@a:1", "celery@a")
