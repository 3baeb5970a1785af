"""Remote control requests and replies between real Celery 5.7 programs (recordings/control-redis.json)."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest

from sedano.protocol import control, envelope

RECORDING = pathlib.Path(__file__).parent / "recordings" / "control-redis.json"


def exchanges(kind: str) -> list[Any]:
    found = json.loads(RECORDING.read_text(encoding="utf-8"))["vectors"]
    return [
        pytest.param(vector["messages"], message, id=f"{vector['id']}-{number}")
        for vector in found
        for number, message in enumerate(vector["messages"])
        if message["kind"] == kind
    ]


def assert_same_envelope(ours: bytes, recorded: str) -> None:
    """Same keys, types and values; the delivery tag is random and the body is compared as JSON."""
    one, other = envelope.decode(ours), envelope.decode(recorded.encode())
    assert list(one.headers.items()) == list(other.headers.items())
    one.properties["delivery_tag"] = other.properties["delivery_tag"]
    assert list(one.properties.items()) == list(other.properties.items())
    assert (one.content_type, one.content_encoding) == (other.content_type, other.content_encoding)
    assert repr(json.loads(one.body, object_pairs_hook=list)) == repr(json.loads(other.body, object_pairs_hook=list))


@pytest.mark.parametrize(("messages", "vector"), exchanges("request"))
def test_given_a_request_when_read_and_built_anew_then_it_is_the_same_request(messages: Any, vector: Any) -> None:
    asked = control.read_request(envelope.decode(vector["raw"].encode()))
    again = control.request(
        asked.method,
        asked.arguments,
        destination=asked.destination,
        pattern=asked.pattern,
        matcher=asked.matcher,
        ticket=asked.ticket,
        reply_to=asked.reply_to,
        clock=asked.clock,
        expires=asked.expires,
    )
    assert_same_envelope(envelope.encode(again), vector["raw"])


@pytest.mark.parametrize(("messages", "vector"), exchanges("reply"))
def test_given_a_reply_when_read_and_built_anew_then_it_answers_the_request_alike(messages: Any, vector: Any) -> None:
    request = next(message for message in messages if message["kind"] == "request")
    asked = control.read_request(envelope.decode(request["raw"].encode()))
    answer = control.read_reply(envelope.decode(vector["raw"].encode()))
    assert answer.ticket == asked.ticket
    ((node, value),) = answer.values.items()
    assert asked.concerns(node)
    assert_same_envelope(envelope.encode(control.reply(node, value, asked, clock=answer.clock)), vector["raw"])
