"""What no recording of Kombu's shows: copies, pickles and what needs a channel. See also interop/test_vectors_facts.py."""

from __future__ import annotations

import copy
import pickle

import pytest

from sedano.protocol.queues import Exchange, NotBoundError, Queue, binding

FULL = Queue(
    "a",
    Exchange("m", "topic", delivery_mode=1),
    routing_key="a.#",
    queue_arguments={"x": 1},
    max_priority=5,
    expires=3,
    no_ack=True,
)


@pytest.mark.parametrize("twin", [copy.copy(FULL), copy.deepcopy(FULL), pickle.loads(pickle.dumps(FULL))])
def test_given_a_queue_when_copied_then_it_is_equal_in_every_attribute(twin: Queue) -> None:
    assert twin == FULL
    assert twin.as_dict(recurse=True) == FULL.as_dict(recurse=True)
    assert twin in {FULL}


@pytest.mark.parametrize(
    "method",
    [
        "declare",
        "get",
        "purge",
        "consume",
        "cancel",
        "delete",
        "queue_declare",
        "queue_bind",
        "queue_unbind",
        "bind_to",
        "unbind_from",
    ],
)
def test_given_a_queue_when_it_is_asked_to_talk_to_a_broker_then_it_says_that_it_is_not_bound(method: str) -> None:
    with pytest.raises(NotBoundError, match="Queue not bound to a channel"):
        getattr(Queue("a", "e"), method)()


@pytest.mark.parametrize("method", ["declare", "bind_to", "unbind_from", "publish", "delete", "Message"])
def test_given_an_exchange_when_it_is_asked_to_talk_to_a_broker_then_it_says_that_it_is_not_bound(method: str) -> None:
    with pytest.raises(NotBoundError, match="Exchange not bound to a channel"):
        getattr(Exchange("a"), method)()


def test_given_nothing_to_declare_when_declared_then_nothing_happens() -> None:
    Exchange("").declare()
    Exchange("amq.direct").declare()
    Exchange("a", no_declare=True).declare()
    assert Queue("a", no_declare=True).declare() == "a"


def test_given_what_is_no_channel_when_bound_then_the_error_names_it() -> None:
    for bind in (lambda: Queue("a")("channel"), lambda: Exchange("a").bind("channel"), lambda: Queue("a", channel="channel")):
        with pytest.raises(NotBoundError, match="'channel', which is no channel and no connection"):
            bind()
    assert not Queue("a").is_bound


def test_given_bindings_when_listed_then_their_maps_are_in_the_map_of_the_queue() -> None:
    queue = Queue("a", [binding(Exchange("m"), "r")])
    assert queue.exchange is None
    assert queue.as_dict(recurse=True)["bindings"][0]["routing_key"] == "r"
    assert isinstance(queue.as_dict()["bindings"][0], binding)
