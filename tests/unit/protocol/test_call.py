from __future__ import annotations

import json
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import pytest

from sedano.exceptions import DecodeError, EncodeError, UnreadableMessage
from sedano.protocol import call, envelope
from sedano.protocol.message import Message
from sedano.protocol.serializers import accept_types, dumps


def message(body: Any = ((), {}, None), headers: dict[str, Any] | None = None, **properties: Any) -> Message:
    content_type, content_encoding, data = dumps(body)
    return Message(data, content_type, content_encoding, {"task": "t", "id": "i"} if headers is None else headers, properties)


def with_header(**headers: Any) -> Message:
    return message(headers={"task": "t", "id": "i", **headers})


# -- reading headers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"task": "t"}, "'id' of the call is missing"),
        ({"task": "t", "id": None}, "'id' of the call is missing"),
        ({"task": "t", "id": 5}, "'id' of the call is a int, not text"),
        ({"task": "t", "id": ""}, "header 'id' is empty"),
        ({"task": "", "id": "i"}, "header 'task' is empty"),
        ({"task": 5, "id": "i"}, "'task' of the call is a int, not text"),
        ({"task": "t", "id": "i", "retries": "many"}, "headers of call i are wrong.*retries"),
        ({"task": "t", "id": "i", "timelimit": [1]}, "timelimit"),
        ({"task": "t", "id": "i", "timelimit": 5}, "timelimit"),
        ({"task": "t", "id": "i", "group_index": "x"}, "group_index"),
        ({"task": "t", "id": "i", "stamps": [1]}, "stamps"),
        ({"task": "t", "id": "i", "retries": 10**30}, "headers of call i are wrong.*retries"),
        ({"task": "t", "id": "i", "timelimit": [None, -(10**30)]}, "headers of call i are wrong.*timelimit"),
        ({"task": "t", "id": "i\ud800"}, r"'id' of the call is no text: 'i\\ud800' holds half a character"),
        ({"task": "t", "id": "i", "group": "\udfff"}, "'group' of the call is no text"),
        ({"task": "t", "id": "i", "eta": 5}, "'eta' is 5, not an ISO 8601 time"),
        ({"task": "t", "id": "i", "expires": "soon"}, "'expires' is 'soon', not an ISO 8601 time"),
    ],
)
def test_given_a_header_that_decides_when_it_is_wrong_then_the_error_names_it(headers: Any, reason: str) -> None:
    with pytest.raises(UnreadableMessage, match=reason):
        call.read(message(headers=headers))


def test_given_headers_that_only_tell_people_when_they_are_wrong_then_the_call_is_read() -> None:
    asked = call.read(with_header(shadow=5, argsrepr=[1], kwargsrepr=None, origin={"a": 1}, lang=None))
    assert (asked.shadow, asked.argsrepr, asked.kwargsrepr, asked.origin, asked.lang) == ("5", "[1]", None, "{'a': 1}", None)


def test_given_nulls_when_read_then_they_are_the_defaults() -> None:
    names = ["retries", "timelimit", "stamps", "replaced_task_nesting", "group_index", "eta", "expires", "ignore_result"]
    asked = call.read(with_header(**dict.fromkeys(names)))
    assert (asked.retries, asked.timelimit, asked.stamps, asked.replaced_task_nesting) == (0, (None, None), {}, 0)
    assert (asked.group_index, asked.eta, asked.expires, asked.ignore_result) == (None, None, None, None)


def test_given_what_brokers_add_when_read_then_it_is_dropped_and_the_unknown_is_kept() -> None:
    headers = {"task": "t", "id": "i", "x-death": [{"count": 1}], "x-delivery-count": 2, "mine": {"a": [1]}}
    asked = call.read(envelope.redelivered(message(headers=headers), 2))
    assert asked.headers == {"task": "t", "id": "i", "mine": {"a": [1]}}
    assert call.custom_headers(asked) == {"mine": {"a": [1]}}


def test_given_an_eta_that_is_a_datetime_already_when_read_then_it_is_taken() -> None:
    assert call.read(with_header(eta=datetime(2030, 1, 1, tzinfo=UTC))).eta == datetime(2030, 1, 1, tzinfo=UTC).timestamp()


def test_given_properties_when_read_then_address_and_priority_are_in_the_call() -> None:
    info = {"exchange": "", "routing_key": "q"}
    asked = call.read(message(priority=5, reply_to="r", correlation_id="c", delivery_info=info))
    assert (asked.priority, asked.reply_to, asked.correlation_id, asked.delivery_info) == (5, "r", "c", info)
    asked = call.read(message(priority="high", reply_to=1, correlation_id=None, delivery_info="q"))
    assert (asked.priority, asked.reply_to, asked.correlation_id, asked.delivery_info) == (0, None, None, {})


def test_given_protocol_2_when_read_then_the_body_is_not_looked_at() -> None:
    asked = call.read(Message(b"\xff garbage", "x/y", "", {"task": "t", "id": "i"}, {}))
    assert (asked.task, asked.id, asked.protocol) == ("t", "i", 2)


# -- reading bodies ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ([[], {}], "2 elements; it must have three"),
        ([[], {}, {}, 1], "4 elements"),
        ("text", "the body is a str"),
        (None, "the body is a NoneType"),
        ([5, {}, {}], "args of the body are a int"),
        (["text", {}, {}], "args of the body are a str"),
        ([[], [1], {}], "kwargs of the body are a list"),
        ([[], {}, [1]], "embed of the body is a list"),
        ([[], {}, []], "embed of the body is a list"),
        ([[], {}, {"callbacks": "x"}], "'callbacks' of the body are a str"),
        ([[], {}, {"callbacks": [5]}], "'callbacks' of the body hold 5, which is no signature map"),
        ([[], {}, {"errbacks": [{}]}], "'errbacks' of the body hold {}, which is no signature map with a 'task'"),
        ([[], {}, {"chain": [{"task": 5}]}], "'chain' of the body hold .*no signature map with a 'task'"),
        ([[], {}, {"chord": [1]}], "'chord' of the body is a list"),
    ],
)
def test_given_a_body_of_another_shape_when_read_then_the_error_says_which(body: Any, reason: str) -> None:
    with pytest.raises(UnreadableMessage, match=reason):
        call.read_body(message(body))


def test_given_keyword_names_that_are_no_text_when_read_then_it_is_refused() -> None:
    content_type, content_encoding, data = dumps([(), {1: 2}, None], "pickle")
    with pytest.raises(UnreadableMessage, match="a name that is no text"):
        call.read_body(Message(data, content_type, content_encoding, {"task": "t", "id": "i"}, {}), accept_types(["pickle"]))


def test_given_an_unknown_compression_when_read_then_the_error_says_what_to_do() -> None:
    with pytest.raises(DecodeError, match=r"use one of .* or add it with sedano"):
        call.read_body(with_header(compression="application/x-snappy"))
    with pytest.raises(DecodeError, match="cannot decompress '5'"):
        call.read_body(with_header(compression=5))


# -- protocol 1 -------------------------------------------------------------------------------------------------------


def test_given_protocol_1_when_read_then_taskset_wins_over_group() -> None:
    body = {"task": "t", "id": "i", "args": [1], "kwargs": {"a": 2}, "group": "g", "taskset": "s", "utc": False, "retries": 2}
    asked = call.read(message(body, headers={"mine": 1}))
    assert (asked.protocol, asked.group, asked.utc, asked.retries) == (1, "s", False, 2)
    assert (asked.argsrepr, asked.kwargsrepr) == ("[1]", "{'a': 2}")
    assert call.custom_headers(asked) == {"mine": 1}


@pytest.mark.parametrize("body", [{"id": "i"}, [1], "x", None, 5])
def test_given_neither_a_task_header_nor_a_protocol_1_body_when_read_then_it_is_refused(body: Any) -> None:
    with pytest.raises(UnreadableMessage, match="no header 'task', and the body is no protocol 1 map"):
        call.read(message(body, headers={}))


@pytest.mark.parametrize(("body", "reason"), [({"task": "t"}, "'id'"), ({"task": "t", "id": ""}, "body field 'id' is empty")])
def test_given_protocol_1_without_an_id_when_read_then_it_is_refused(body: Any, reason: str) -> None:
    with pytest.raises(UnreadableMessage, match=reason):
        call.read(message(body, headers={}))


def test_given_the_map_of_protocol_1_under_headers_of_protocol_2_when_read_then_both_are_used() -> None:
    body = {"args": [1], "kwargs": {"a": 2}, "callbacks": [{"task": "c"}]}
    both = message(body)
    assert call.read(both).protocol == 2
    assert call.read_body(both) == call.Body([1], {"a": 2}, call.Embed(callbacks=[{"task": "c"}]))


# -- building ---------------------------------------------------------------------------------------------------------


def test_given_only_a_name_and_an_id_when_built_then_every_part_of_protocol_2_is_there() -> None:
    built = call.build("t", "i")
    assert json.loads(built.body) == [[], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]
    assert built.headers == {
        "lang": "py", "task": "t", "id": "i", "shadow": None, "eta": None, "expires": None, "group": None,
        "group_index": None, "retries": 0, "timelimit": [None, None], "root_id": "i", "parent_id": None, "argsrepr": "()",
        "kwargsrepr": "{}", "origin": "", "ignore_result": False, "replaced_task_nesting": 0, "stamped_headers": None,
        "stamps": {},
    }  # fmt: skip
    tag = built.properties.pop("delivery_tag")
    assert len(tag) == 36
    assert built.properties == {
        "correlation_id": "i", "reply_to": "", "delivery_mode": 2, "delivery_info": {"exchange": "", "routing_key": ""},
        "priority": 0, "body_encoding": "base64",
    }  # fmt: skip
    assert call.build("t", "i").properties["delivery_tag"] != tag


def test_given_extras_when_built_then_custom_headers_lie_flat_and_properties_win() -> None:
    built = call.build("t", "i", headers={"mine": 1, "lang": "x"}, properties={"priority": 7, "app_id": "a"}, expiration_ms=5)
    assert (built.headers["mine"], built.headers["lang"]) == (1, "x")
    assert (built.properties["priority"], built.properties["app_id"], built.properties["expiration"]) == (7, "a", "5")


@pytest.mark.parametrize(
    ("args", "kwargs", "reason"),
    [("text", None, "args of task t must be a list or tuple, not str"), ((), [1], "kwargs of task t must be a mapping")],
)
def test_given_arguments_of_another_kind_when_built_then_it_is_a_type_error(args: Any, kwargs: Any, reason: str) -> None:
    with pytest.raises(TypeError, match=reason):
        call.build("t", "i", args, kwargs)


def test_given_what_cannot_be_built_when_built_then_the_error_says_why() -> None:
    with pytest.raises(EncodeError, match=r"cannot write builtins\.object as JSON"):
        call.build("t", "i", (object(),))
    with pytest.raises(EncodeError, match="no serializer 'nope'"):
        call.build("t", "i", serializer="nope")
    with pytest.raises(EncodeError, match="cannot compress with 'nope'"):
        call.build("t", "i", compression="nope")
    with pytest.raises(ValueError, match="task_protocol is 3; use 2 or 1"):
        call.build("t", "i", protocol=3)


def test_given_a_mapping_that_is_no_dict_when_built_then_it_is_sent_as_one() -> None:
    built = call.build("t", "i", kwargs=MappingProxyType({"a": 1}))
    assert call.read_body(built).kwargs == {"a": 1}
    assert built.headers["kwargsrepr"] == "{'a': 1}"


# -- the short road ---------------------------------------------------------------------------------------------------

HEADERS = {
    "lang": "py", "task": "t", "id": "i", "shadow": None, "eta": None, "expires": None, "group": "g", "group_index": 3,
    "retries": 2, "timelimit": [5, None], "root_id": "r", "parent_id": "p", "argsrepr": "()", "kwargsrepr": "{}",
    "origin": "gen1@h", "ignore_result": True, "replaced_task_nesting": 1, "stamped_headers": ["x"], "stamps": {"x": [1]},
}  # fmt: skip


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"tenant": "blue", "priority": 3, "protocol": 1, "utc": False, "reply_to": "me", "headers": {}, "properties": {}},
        {"correlation_id": "c", "delivery_info": {"exchange": "e"}},
        {"priority": "high", "headers": 5},
        {"retries": None, "timelimit": None, "stamps": None, "group_index": None},
        {"eta": "2030-01-01T00:00:00+00:00"},
        {"expires": "2030-01-01T00:00:00+00:00"},
        {"redelivered": True, "x-death": []},
        {"task": "t\u00e9", "group": "\u00fc"},
        {"shadow": 5, "origin": None},
    ],
)
def test_given_any_headers_when_read_by_either_road_then_the_call_is_the_same(changed: dict[str, Any]) -> None:
    given = message(
        headers=HEADERS | changed, reply_to="to", correlation_id="i", priority=4, delivery_info={"routing_key": "q"}
    )
    assert call.read(given) == call.plain_read(given)


@pytest.mark.parametrize("name", ["eta", "expires"])
def test_given_a_time_that_is_a_number_when_read_then_it_is_refused(name: str) -> None:
    with pytest.raises(UnreadableMessage, match="not an ISO 8601 time"):
        call.read(with_header(**{name: 5}))
