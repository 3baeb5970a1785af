"""What of a message AMQP carries, and what it cannot."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from sedano.contracts.settlement import Outgoing
from sedano.drivers.rabbitmq.messages import encode_message, from_amqp, to_amqp
from sedano.drivers.rabbitmq.properties import decode_properties
from sedano.exceptions import EncodeError, UnreadableMessage
from sedano.protocol import envelope
from sedano.protocol.build import build
from sedano.protocol.message import Message


def sent(headers: dict[str, Any] | None = None, *, priority: int = 0, **properties: Any) -> Outgoing:
    message = build("proj.add", "id-1", (1,), headers=headers, properties=properties, reply_to="me")
    return Outgoing(message, "celery", priority=priority)


def delivered(outgoing: Outgoing, *, redelivered: bool = False) -> Message:
    return from_amqp(*to_amqp(outgoing), "", "celery", redelivered)


def test_given_a_message_then_the_server_gets_no_more_than_celery_would_send() -> None:
    header, body = to_amqp(sent(expiration="120000", message_id="m-1", origin="gen1@host"))
    properties = decode_properties(header)
    headers = properties.pop("headers")
    assert headers["task"] == "proj.add"
    assert properties == {
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "delivery_mode": 2,
        "priority": 0,
        "correlation_id": "id-1",
        "reply_to": "me",
        "expiration": "120000",
        "message_id": "m-1",
    }
    assert body.startswith(b"[[1],{},")


@pytest.mark.parametrize("mode", [1, 2])
def test_given_a_delivery_mode_then_it_is_kept(mode: int) -> None:
    assert delivered(sent(delivery_mode=mode)).properties["delivery_mode"] == mode


def test_given_a_message_without_a_delivery_mode_then_it_is_persistent() -> None:
    header, _ = encode_message(Message(b"", "", "", {}, {}))
    assert decode_properties(header)["delivery_mode"] == 2


def test_given_the_priority_of_the_sending_then_it_goes_before_that_of_the_message() -> None:
    assert delivered(sent(priority=7)).properties["priority"] == 7
    assert decode_properties(encode_message(sent(properties_priority=1).message, 9)[0])["priority"] == 9


@pytest.mark.parametrize("priority", [-1, 256])
def test_given_a_priority_that_is_no_byte_then_the_sender_hears_it(priority: int) -> None:
    with pytest.raises(EncodeError, match=rf"proj\.add.*priority {priority} is not between 0 and 255"):
        to_amqp(sent(priority=priority))


def test_given_headers_of_each_type_then_they_arrive_as_py_amqp_gives_them() -> None:
    own = {
        "none": None,
        "yes": True,
        "small": -3,
        "edge": 2**31 - 1,
        "large": 2**31,
        "largest": 2**63 - 1,
        "smallest": -(2**63),
        "float": 0.1,
        "text": "häß 世界",
        "list": [1, [2, {"a": None}], "x"],
        "map": {"a": {"b": [True]}},
        "decimal": Decimal("-1.25"),
        "when": datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC),
        "bytes": b"\x00\xff",
    }
    got = delivered(sent(own)).headers
    expected = {**own, "when": datetime(2030, 1, 2, 3, 4, 5)}
    assert {name: got[name] for name in own} == expected
    assert type(got["yes"]) is bool
    assert type(got["decimal"]) is Decimal


def test_given_a_tuple_in_a_header_then_it_is_a_list() -> None:
    assert delivered(sent({"pair": (1, 2)})).headers["pair"] == [1, 2]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("whole", 2**63),
        ("whole", -(2**63) - 1),
        ("set", {1}),
        ("object", object()),
        ("date", date(2030, 1, 1)),
        ("number-as-key", {1: 2}),
        ("decimal", Decimal("1e300")),
        ("k" * 256, 1),
        ("deep-key", {"k" * 256: 1}),
    ],
)
def test_given_a_header_that_amqp_cannot_hold_then_the_sender_hears_which(name: str, value: object) -> None:
    with pytest.raises(EncodeError, match=rf"task 'proj\.add' cannot be sent: header '{name}' has no form in AMQP"):
        to_amqp(sent({name: value}))


def test_given_a_property_that_is_too_long_then_the_sender_hears_which() -> None:
    with pytest.raises(EncodeError, match=r"proj\.add.*correlation_id"):
        to_amqp(sent(correlation_id="x" * 256))


def test_given_a_first_delivery_then_nothing_says_that_it_is_another() -> None:
    message = delivered(sent())
    assert message.properties["delivery_info"] == {"exchange": "", "routing_key": "celery"}
    assert not envelope.is_redelivered(message)


def test_given_a_redelivery_then_the_message_says_so() -> None:
    message = delivered(sent(), redelivered=True)
    assert message.properties["delivery_info"]["redelivered"] is True
    assert envelope.is_redelivered(message)


def test_given_a_message_of_another_program_without_headers_then_it_is_one_without() -> None:
    message = from_amqp(b"\x00\x00", b"{}", "ex", "key", False)
    assert (message.headers, message.content_type, message.content_encoding) == ({}, "", "")


@pytest.mark.parametrize("header", [b"", b"\x80", b"\x80\x00\x09short", b"\x20\x00\x00\x00\x00\xff"])
def test_given_a_broken_header_then_the_message_is_unreadable(header: bytes) -> None:
    with pytest.raises(UnreadableMessage, match="AMQP header"):
        from_amqp(header, b"", "", "celery", False)
