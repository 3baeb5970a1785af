from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest

from sedano.exceptions import EncodeError, UnreadableMessage
from sedano.protocol import envelope
from sedano.protocol.message import Message


def stored(**changed: Any) -> bytes:
    whole = {
        "body": "W10=",
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"id": "i"},
        "properties": {"body_encoding": "base64"},
    }
    whole.update({name.replace("_", "-"): value for name, value in changed.items()})
    return json.dumps({name: value for name, value in whole.items() if value is not ...}).encode()


def message(**changed: Any) -> Message:
    parts: dict[str, Any] = {
        "body": b"[]",
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "headers": {},
        "properties": {"body_encoding": "base64"},
    }
    return Message(**{**parts, **changed})


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "the envelope cannot be read"),
        (b"\xff\xfe", "the envelope cannot be read"),
        (b"[1]", "the envelope is a list, not a map"),
        (b"3", "the envelope is a number, not a map"),
        (b"[" * 100_000, "the envelope cannot be read"),
        (stored(body=...), "'body' of the envelope is missing"),
        (stored(body=None), "'body' of the envelope is null, not text"),
        (stored(body=[1]), "'body' of the envelope is a list, not text"),
        (stored(headers=[]), "'headers' of the envelope is a list, not a map"),
        (stored(properties="x"), "'properties' of the envelope is text, not a map"),
        (stored(content_type=5), "'content-type' of the envelope is a number, not text"),
        (stored(body="A"), "the body of the envelope is no base64 text"),
        (stored(body="é"), "the body of the envelope is no base64 text"),
        (stored(properties={"body_encoding": "rot13"}), "'body_encoding' of the envelope is 'rot13'"),
        (stored(headers={"a": {"__type__": "moon", "__value__": 1}}), "unknown typed value 'moon'"),
    ],
)
def test_given_a_wrong_part_when_decoded_then_the_error_names_it(raw: bytes, reason: str) -> None:
    with pytest.raises(UnreadableMessage, match=reason):
        envelope.decode(raw)


@pytest.mark.parametrize("absent", [..., None])
def test_given_missing_or_null_parts_when_decoded_then_they_are_empty(absent: Any) -> None:
    raw = stored(content_encoding=absent, content_type=absent, headers=absent, properties=absent)
    assert envelope.decode(raw) == Message(b"W10=", "", "", {}, {})


def test_given_a_typed_header_when_stored_and_read_then_it_is_the_same_object() -> None:
    before = message(headers={"day": date(2020, 1, 2), "data": [b"\xff"], "none": float("nan")})
    after = envelope.decode(envelope.encode(before))
    assert (after.headers["day"], after.headers["data"]) == (date(2020, 1, 2), [b"\xff"])
    assert after.headers["none"] != after.headers["none"]


def test_given_no_body_encoding_when_stored_then_text_stays_text_and_other_bytes_become_base64() -> None:
    assert json.loads(envelope.encode(message(properties={})))["body"] == "[]"
    written = json.loads(envelope.encode(message(body=b"\xff", properties={})))
    assert (written["body"], written["properties"]) == ("/w==", {"body_encoding": "base64"})


@pytest.mark.parametrize("wrong", [{"headers": {"x": object()}}, {"properties": {"body_encoding": "rot13"}}])
def test_given_what_json_cannot_carry_when_encoded_then_it_is_an_encode_error(wrong: Any) -> None:
    with pytest.raises(EncodeError):
        envelope.encode(message(**wrong))


def test_given_a_fresh_message_when_asked_then_it_was_never_delivered() -> None:
    assert not envelope.is_redelivered(message())
    assert envelope.deliveries_of(message()) == 0


def test_given_a_message_when_marked_redelivered_then_both_of_kombus_flags_are_set_and_the_original_is_untouched() -> None:
    before = message(headers={"id": "i"}, properties={"delivery_info": {"exchange": "", "routing_key": "q"}})
    after = envelope.redelivered(before, 3)
    assert after.headers == {"id": "i", "redelivered": True, "x-sedano-deliveries": 3}
    assert after.properties["delivery_info"] == {"exchange": "", "routing_key": "q", "redelivered": True}
    assert envelope.is_redelivered(after)
    assert envelope.deliveries_of(after) == 3
    assert before.headers == {"id": "i"}
    assert "redelivered" not in before.properties["delivery_info"]


@pytest.mark.parametrize("count", ["3", None, True, -1, 2.0])
def test_given_a_count_that_is_none_when_asked_then_it_is_zero(count: Any) -> None:
    assert envelope.deliveries_of(message(headers={envelope.DELIVERIES_HEADER: count})) == 0


def test_given_either_of_kombus_flags_when_asked_then_the_message_is_redelivered() -> None:
    assert envelope.is_redelivered(message(headers={"redelivered": True}))
    assert envelope.is_redelivered(message(properties={"delivery_info": {"redelivered": True}}))
    assert not envelope.is_redelivered(message(properties={"delivery_info": [1]}))
