"""Hand-made messages and what a real worker did with them (recordings/acceptance-redis.json).

We take what a Celery worker takes, and some that it loops or dies on; the rest is refused with a reason, for the dead letters.
"""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest

from sedano.exceptions import ContentDisallowed, DecodeError, UnreadableMessage
from sedano.protocol import call, envelope
from sedano.protocol.serializers import accept_types

RECORDING = pathlib.Path(__file__).parent / "recordings" / "acceptance-redis.json"
VECTORS = {vector["id"]: vector for vector in json.loads(RECORDING.read_text(encoding="utf-8"))["vectors"]}
ACCEPT = accept_types(["json"])

REFUSED: dict[str, tuple[type[Exception], str]] = {
    "without_header_task": (UnreadableMessage, "no header 'task'"),
    "without_header_id": (UnreadableMessage, "'id' of the call is missing"),
    "without_property_body_encoding": (DecodeError, "no JSON"),
    "body_pair": (UnreadableMessage, "2 elements; it must have three"),
    "eta_garbage": (UnreadableMessage, "'eta' is 'not a date', not an ISO 8601 time"),
    "pickle_not_accepted": (ContentDisallowed, "untrusted content of type pickle"),
    "garbage_body": (DecodeError, "no JSON"),
    "garbage_envelope": (UnreadableMessage, "the envelope cannot be read"),
}
# A Celery worker never gets over these two: it needs what they lack to find its own records again. We do not.
TAKEN_BY_US_ALONE = {"without_property_delivery_info", "without_property_delivery_tag"}


def read(vector: Any) -> tuple[call.Call, call.Body]:
    message = envelope.decode(vector["raw"].encode())
    return call.read(message, accept=ACCEPT), call.read_body(message, ACCEPT)


@pytest.mark.parametrize("name", sorted(VECTORS))
def test_given_a_foreign_message_when_read_then_it_is_taken_or_refused_with_the_reason(name: str) -> None:
    vector = VECTORS[name]
    if name in REFUSED:
        kind, reason = REFUSED[name]
        with pytest.raises(kind, match=reason) as caught:
            read(vector)
        assert isinstance(caught.value, UnreadableMessage)
        return
    asked, body = read(vector)
    assert (asked.task, list(body.args), body.kwargs, body.embed) == ("proj.add", [2, 3], {}, call.Embed())
    assert asked.id
    assert asked.timelimit == (None, None)


def test_given_the_recording_when_compared_then_we_refuse_nothing_that_a_celery_worker_runs() -> None:
    ran = {name for name, vector in VECTORS.items() if "SUCCESS" in (vector.get("result_meta") or "")}
    assert ran.isdisjoint(REFUSED)
    assert ran | set(REFUSED) | TAKEN_BY_US_ALONE == set(VECTORS)


@pytest.mark.parametrize("name", sorted(set(VECTORS) - {"garbage_envelope"}))
def test_given_a_foreign_envelope_when_encoded_again_then_nothing_changed(name: str) -> None:
    raw = VECTORS[name]["raw"]
    again = envelope.encode(envelope.decode(raw.encode()))
    assert repr(json.loads(again, object_pairs_hook=list)) == repr(json.loads(raw, object_pairs_hook=list))


def test_given_an_unknown_language_and_header_when_read_then_both_are_kept() -> None:
    asked, _ = read(VECTORS["unknown_header_lang_go_timelimit_null"])
    assert asked.lang == "go"
    assert call.custom_headers(asked) == {"extra_unknown": {"a": [1]}}


def test_given_a_minimal_protocol_1_message_when_read_then_the_missing_is_made_up() -> None:
    asked, _ = read(VECTORS["proto1_minimal"])
    assert (asked.protocol, asked.utc, asked.retries, asked.argsrepr, asked.kwargsrepr) == (1, True, 0, "[2, 3]", "{}")
