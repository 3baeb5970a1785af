from __future__ import annotations

from typing import Any

import pytest

from sedano.exceptions import ContentDisallowed, UnreadableMessage
from sedano.protocol import control
from sedano.protocol.message import Message
from sedano.protocol.serializers import dumps


def carrying(body: Any, **headers: Any) -> Message:
    content_type, content_encoding, data = dumps(body)
    return Message(data, content_type, content_encoding, headers, {})


@pytest.mark.parametrize(
    ("wanted", "concerned"),
    [
        ({}, True),
        ({"destination": []}, True),
        ({"destination": ["w1@a", "w2@a"]}, True),
        ({"destination": ["w2@a"]}, False),
        ({"destination": ["w2@a"], "pattern": "*", "matcher": "glob"}, False),
        ({"pattern": "w?@*", "matcher": "glob"}, True),
        ({"pattern": "x*", "matcher": "glob"}, False),
        ({"pattern": "w1", "matcher": "pcre"}, True),
        ({"pattern": "1@", "matcher": "pcre"}, False),
        ({"pattern": "(", "matcher": "pcre"}, False),
        ({"pattern": "*", "matcher": "nope"}, False),
        ({"pattern": "x*"}, True),
    ],
)
def test_given_an_address_when_a_node_asks_then_it_knows_whether_it_is_meant(wanted: Any, concerned: bool) -> None:
    asked = control.read_request(control.request("ping", **wanted))
    assert asked.concerns("w1@a") is concerned


def test_given_only_half_of_a_return_address_when_asked_then_no_answer_is_wanted() -> None:
    assert control.read_request(control.request("ping", ticket="t")).reply_to is None
    asked = control.read_request(control.request("ping", ticket="t", reply_to=control.ReplyTo("e", "k")))
    assert (asked.ticket, asked.reply_to) == ("t", control.ReplyTo("e", "k"))


@pytest.mark.parametrize(
    "body",
    [
        [],
        5,
        {},
        {"method": 5},
        {"method": "x", "arguments": [1]},
        {"method": "x", "destination": "w"},
        {"method": "x", "reply_to": {}},
    ],
)
def test_given_what_is_no_request_when_read_then_it_is_refused(body: Any) -> None:
    with pytest.raises(UnreadableMessage, match="the control request cannot be read"):
        control.read_request(carrying(body))


def test_given_a_request_with_unknown_fields_when_read_then_they_are_ignored() -> None:
    asked = control.read_request(carrying({"method": "m", "arguments": None, "extra": 1}, clock="x", expires="y"))
    assert (asked.method, asked.arguments, asked.clock, asked.expires) == ("m", {}, 0, 0.0)


def test_given_a_pickled_request_when_only_json_is_accepted_then_it_is_refused() -> None:
    with pytest.raises(ContentDisallowed):
        control.read_request(control.request("ping", serializer="pickle"), ["json"])


def test_given_nobody_wants_an_answer_when_replying_then_it_is_wrong_use() -> None:
    with pytest.raises(ValueError, match="wants no answer"):
        control.reply("w@a", 1, control.read_request(control.request("ping")))


def test_given_what_is_no_reply_when_read_then_it_is_refused() -> None:
    with pytest.raises(UnreadableMessage, match="not a map of node names"):
        control.read_reply(carrying([1]))
    assert control.read_reply(carrying({"w@a": None}, ticket=5, clock=None)) == control.ControlReply({"w@a": None}, None, 0)
