"""Who consumes what, by what nodes answer; a queue's state."""

from __future__ import annotations

from typing import Any

from sedano.app.queuestates import Consumers, QueueState, consumers_of, describe, state_of
from sedano.contracts import Depth, LeaseRecord, Pause

LEASES = [LeaseRecord("ours/0", "ours@a", 1, 0), LeaseRecord("ours/1", "ours@a", 2, 0), LeaseRecord("mute/0", "mute@b", 3, 0)]


def test_nodes_are_named_by_queue_and_those_without_a_lease_are_celerys() -> None:
    answers = [{"ours@a": [{"name": "mail"}, {"name": "celery"}]}, {"old@c": [{"name": "mail"}]}]
    found = consumers_of(answers, LEASES)
    assert found == Consumers(
        {"mail": ["old@c", "ours@a"], "celery": ["ours@a"]}, ["mute@b"], frozenset({"old@c"}), frozenset({"ours@a"})
    )


def test_answers_of_another_form_say_nothing() -> None:
    odd: list[dict[str, Any]] = [
        {"ours@a": {"error": "KeyError('active_queues')"}}, {"mute@b": None}, {"x@y": [1, {"name": 2}, {}, "celery"]}
    ]  # fmt: skip
    assert consumers_of(odd, LEASES) == Consumers({}, [], frozenset({"x@y"}), frozenset({"ours@a", "mute@b"}))


def test_a_state_joins_counts_pause_consumers_and_age() -> None:
    pause = Pause("mail", 5.0)
    depth = Depth("mail", 1, 2, 3, 4, 5, 6, since=100.0, paused=True)
    state = state_of(depth, {"mail": pause}, Consumers({"mail": ["a@b"]}), 160.5)
    assert state == QueueState("mail", 1, 2, 3, 4, 5, 6, 60.5, ["a@b"], pause)
    assert state_of(Depth("x", 1, since=100.0), {}, None, 99.0) == QueueState("x", 1, 0, 0, 0, 0, 0, 0.0, None, None)
    assert state_of(Depth("x", 1), {}, Consumers(), 99.0).consumers == []


def test_a_pause_is_described_with_what_is_known() -> None:
    assert describe(Pause("q", 0.0)) == "1970-01-01T00:00:00+00:00"
    assert describe(Pause("q", 0.0, "why", "me@here")) == "1970-01-01T00:00:00+00:00 by me@here (why)"
