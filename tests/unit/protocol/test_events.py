"""Events as messages, against what Celery 5.7 wrote."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sedano.exceptions import ContentDisallowed, UnreadableMessage
from sedano.protocol import envelope
from sedano.protocol.events import (
    EventWriter,
    batch,
    encode_event,
    event_message,
    group_from,
    hears,
    multi_key_of,
    read_events,
    routing_key_of,
    single,
)
from sedano.protocol.message import Message

RECORDINGS = Path(__file__).resolve().parents[2] / "interop" / "recordings"
COMMON = ("hostname", "utcoffset", "pid", "clock", "timestamp", "type")


def vectors(name: str) -> list[dict[str, Any]]:
    return json.loads((RECORDINGS / name).read_text())["vectors"]


RECORDED = [vector for vector in vectors("events-redis.json") if "message" in vector]
RECORDED_AMQP = [vector for vector in vectors("events-amqp.json") if "message" in vector]


def own_fields(event: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name not in COMMON}


def piece_of(event: dict[str, Any]) -> bytes:
    return EventWriter(event["hostname"], event["pid"], event["utcoffset"]).piece(
        event["type"], event["timestamp"], own_fields(event)
    )


@pytest.mark.parametrize("vector", RECORDED, ids=[vector["id"] for vector in RECORDED])
def test_given_an_event_of_celery_when_we_write_it_then_it_is_the_same_message(vector: dict[str, Any]) -> None:
    theirs = vector["message"]["envelope"]
    body = vector["message"]["body"]
    if isinstance(body, list):
        ours = batch([piece_of(event) for event in body], [event["clock"] for event in body], hostname=body[0]["hostname"])
    else:
        ours = single(piece_of(body), body["clock"], body["type"], hostname=body["hostname"])
    written = json.loads(envelope.encode(ours))
    for part in (written, theirs):
        assert part["properties"].pop("delivery_tag")
    assert json.loads(ours.body) == body
    assert {**written, "body": None} == {**theirs, "body": None}
    assert written["headers"] == {"hostname": "gen30104@node1" if "sent" in vector["id"] else "w1@node1"}


@pytest.mark.parametrize("vector", RECORDED, ids=[vector["id"] for vector in RECORDED])
def test_given_bytes_of_celery_when_read_then_all_events_are_there(vector: dict[str, Any]) -> None:
    body = vector["message"]["body"]
    events = read_events(envelope.decode(vector["message"]["raw"].encode()), ["json"])
    assert events == (body if isinstance(body, list) else [body])
    assert vector.get("event", events[-1]) in events


@pytest.mark.parametrize("vector", RECORDED_AMQP, ids=[vector["id"] for vector in RECORDED_AMQP])
def test_given_an_event_of_celery_on_rabbitmq_when_we_write_it_then_properties_and_key_are_the_same(
    vector: dict[str, Any],
) -> None:
    theirs = vector["message"]
    body = theirs["body"]
    events = body if isinstance(body, list) else [body]
    key = multi_key_of(group_from(events[0]["type"])) if isinstance(body, list) else routing_key_of(body["type"])
    ours = event_message(body, hostname=events[0]["hostname"], routing_key=key)
    assert ours.properties["delivery_info"] == {"exchange": theirs["exchange"], "routing_key": theirs["routing_keys"][0]}
    assert {
        "priority": ours.properties["priority"],
        "delivery_mode": ours.properties["delivery_mode"],
        "headers": ours.headers,
        "content_encoding": ours.content_encoding,
        "content_type": ours.content_type,
    } == theirs["properties"]
    assert json.loads(ours.body) == body


def test_given_an_on_demand_heartbeat_of_celery_when_read_then_it_is_there() -> None:
    (vector,) = [each for each in vectors("events-extra.json") if each["id"] == "worker-heartbeat-on-demand"]
    (event,) = read_events(envelope.decode(vector["raw"].encode()))
    assert (event["type"], event["freq"], event["pid"]) == ("worker-heartbeat", 5, 22374)


def test_given_pieces_of_several_writers_when_joined_then_each_event_is_whole() -> None:
    pieces = [
        encode_event("task-started", {"uuid": "ü"}, hostname="a@b", pid=1, timestamp=1.25),
        encode_event("task-x", {}, hostname="c@d", pid=2, timestamp=2.5, utcoffset_h=-5.5),
    ]
    (one, two) = read_events(batch(pieces, [7, 8], hostname="a@b"))
    assert one == {
        "hostname": "a@b",
        "utcoffset": 0.0,
        "pid": 1,
        "uuid": "ü",
        "timestamp": 1.25,
        "type": "task-started",
        "clock": 7,
    }
    assert two == {"hostname": "c@d", "utcoffset": -5.5, "pid": 2, "timestamp": 2.5, "type": "task-x", "clock": 8}


def test_given_too_few_clocks_when_joined_then_it_is_an_error() -> None:
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        batch([b"{", b"{"], [1], hostname="a@b")


def test_given_a_typed_field_when_written_then_it_is_as_kombu_writes_it() -> None:
    piece = encode_event("task-x", {"at": datetime(2026, 1, 2)}, hostname="a@b", pid=1, timestamp=1.0)
    (event,) = read_events(single(piece, 1, "task-x", hostname="a@b"))
    assert event["at"] == datetime(2026, 1, 2)


@given(
    st.dictionaries(
        st.text(max_size=5).filter(lambda name: name not in COMMON),
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.lists(st.text(), max_size=2),
        max_size=4,
    ),
    st.text(),
    st.floats(0, 1e11),
)
def test_given_any_fields_when_written_in_pieces_then_they_come_back(
    fields: dict[str, Any], type_: str, timestamp: float
) -> None:
    piece = encode_event(type_, fields, hostname="a@b", pid=1, timestamp=timestamp)
    (event,) = read_events(batch([piece], [3], hostname="a@b"))
    assert event == {**fields, "hostname": "a@b", "utcoffset": 0.0, "pid": 1, "timestamp": timestamp, "type": type_, "clock": 3}


def message(body: bytes, content_type: str = "application/json") -> Message:
    return Message(body, content_type, "utf-8", {}, {})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"null",
        b"5",
        b'"task-sent"',
        b"{}",
        b'{"type": 5}',
        b'{"type": "x", "timestamp": "yesterday"}',
        b'{"type": "x", "timestamp": true}',
        b'{"type": "x", "timestamp": 1e300}',
        b'{"type": "x", "timestamp": NaN}',
        b'{"type": "x", "clock": 1.5}',
        b'{"type": "x", "clock": 99999999999999999999999}',
        b'{"type": "x", "utcoffset": []}',
        b'{"type": "x", "hostname": {}}',
        b'{"type": "x", "uuid": [1]}',
        b'{"type": "x", "freq": "often"}',
        b'{"type": "x", "parent_id": []}',
        b'{"type": "x", "root_id": {}}',
    ],
)
def test_given_no_event_when_read_then_it_is_unreadable(body: bytes) -> None:
    with pytest.raises(UnreadableMessage):
        read_events(message(body))


def test_given_a_list_with_garbage_when_read_then_the_events_are_kept() -> None:
    found = read_events(message(b'[5, {"type": "task-a"}, null, {"no": "type"}, [], {"type": "task-b"}]'))
    assert [event["type"] for event in found] == ["task-a", "task-b"]
    assert read_events(message(b"[]")) == []


def test_given_a_serializer_that_is_not_accepted_when_read_then_it_is_refused() -> None:
    with pytest.raises(ContentDisallowed):
        read_events(message(b"\x80\x04N.", "application/x-python-serialize"), ["json"])


@given(st.binary())
def test_given_any_bytes_when_read_then_there_are_events_or_a_clear_error(body: bytes) -> None:
    try:
        events = read_events(message(body))
    except UnreadableMessage:
        return
    assert all(isinstance(event["type"], str) for event in events)


@pytest.mark.parametrize(
    ("pattern", "key", "fits"),
    [
        ("#", "", True),
        ("#", "a.b", True),
        ("worker.#", "worker", True),
        ("worker.#", "worker.elect.ack", True),
        ("worker.#", "workers", False),
        ("worker.*", "worker.online", True),
        ("worker.*", "worker.elect.ack", False),
        ("worker.*", "worker", False),
        ("*", "a", True),
        ("*", "a.b", False),
        ("#.ack", "worker.elect.ack", True),
        ("#.ack", "ack", True),
        ("a.#.z", "a.z", True),
        ("a.#.z", "a.b.c.z", True),
        ("a.#.z", "a.b.c", False),
        ("task.multi", "task.multi", True),
        ("task.multi", "taskXmulti", False),
        ("task[x]", "taskx", False),
    ],
)
def test_given_a_pattern_when_asked_then_it_decides_as_a_topic_exchange(pattern: str, key: str, fits: bool) -> None:
    assert hears(pattern, key) is fits


def test_group_and_key_come_from_the_type() -> None:
    assert group_from("custom-my-event") == "custom"
    assert group_from("plain") == "plain"
    assert routing_key_of("worker-elect-ack") == "worker.elect.ack"
