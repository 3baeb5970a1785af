"""Round trips of envelopes, calls, records and control messages; and what arbitrary bytes may raise."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sedano.exceptions import EncodeError, SecurityError, UnreadableMessage
from sedano.protocol import call, control, envelope, errors, results
from sedano.protocol.message import Message
from sedano.protocol.serializers import accept_types, dumps, loads

text = st.text(max_size=12)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=10,
)
maps = st.dictionaries(st.text(min_size=1, max_size=12), json_values, max_size=5)
ids = st.uuids().map(str)
signatures = st.fixed_dictionaries({"task": text, "args": st.lists(json_values, max_size=2), "kwargs": maps, "options": maps})
maybe_signatures = st.none() | st.lists(signatures, max_size=2)
messages = st.builds(
    Message,
    body=st.binary(max_size=60),
    content_type=text,
    content_encoding=text,
    headers=maps,
    properties=maps.map(lambda found: {**found, "body_encoding": "base64"}),
)


@given(messages)
def test_given_any_message_when_stored_and_read_then_it_is_the_same_on_both_roads(message: Message) -> None:
    for encode in (envelope.encode, envelope.plain_encode):
        raw = encode(message)
        assert envelope.decode(raw) == message
        assert envelope.plain_decode(raw) == message


@given(st.binary(max_size=60), maps)
def test_given_a_message_from_another_broker_when_stored_and_read_then_the_body_is_the_same(body: bytes, headers: Any) -> None:
    message = Message(body, "application/json", "utf-8", headers, {})
    again = envelope.decode(envelope.encode(message))
    assert (again.body, again.headers) == (body, headers)


@given(messages, st.integers(0, 9))
def test_given_a_message_when_marked_redelivered_then_flags_and_count_survive_the_store(
    message: Message, deliveries: int
) -> None:
    before = envelope.encode(message)
    again = envelope.decode(envelope.encode(envelope.redelivered(message, deliveries)))
    assert envelope.is_redelivered(again)
    assert envelope.deliveries_of(again) == deliveries
    assert again.body == message.body
    assert envelope.encode(message) == before


@given(
    task=st.text(min_size=1, max_size=12),
    call_id=ids,
    args=st.lists(json_values, max_size=3),
    kwargs=maps,
    retries=st.integers(0, 2**40),
    group_id=st.none() | ids,
    group_index=st.none() | st.integers(0, 9),
    limits=st.tuples(st.none() | st.integers(1, 99), st.none() | st.floats(1, 99)),
    embed=st.tuples(maybe_signatures, maybe_signatures, maybe_signatures, st.none() | signatures),
    headers=maps.map(lambda found: {f"x-{name}": value for name, value in found.items()}),
    serializer=st.sampled_from(["json", "pickle"]),
    compression=st.sampled_from([None, "zlib", "bzip2", "lzma"]),
    protocol=st.sampled_from([1, 2]),
)
def test_given_any_call_when_built_stored_and_read_then_it_asks_for_the_same(
    task: str, call_id: str, args: Any, kwargs: Any, retries: int, group_id: Any, group_index: Any, limits: Any, embed: Any,
    headers: Any, serializer: str, compression: str | None, protocol: int,
) -> None:  # fmt: skip
    built = call.build(
        task, call_id, args, kwargs, retries=retries, group_id=group_id, group_index=group_index, time_limit=limits[0],
        soft_time_limit=limits[1], callbacks=embed[0], errbacks=embed[1], chain=embed[2], chord=embed[3], headers=headers,
        serializer=serializer, compression=compression, protocol=protocol, eta="2030-01-02T03:04:05+08:00",
    )  # fmt: skip
    accept = accept_types([serializer])
    message = envelope.decode(envelope.encode(built))
    asked, body = call.read(message, accept=accept), call.read_body(message, accept)
    assert (asked.task, asked.id, asked.retries, asked.group, asked.group_index) == (
        task,
        call_id,
        retries,
        group_id,
        group_index,
    )
    assert (asked.timelimit, asked.protocol, asked.eta) == (limits, protocol, 1893524645.0)
    assert call.custom_headers(asked) == headers
    assert (list(body.args), body.kwargs) == (args, kwargs)
    chain = embed[2] if protocol == 2 else None
    assert body.embed == call.Embed(embed[0], embed[1], chain, embed[3])


@given(json_values, st.sampled_from(["json", "pickle"]), st.sampled_from([None, "zlib"]), ids)
def test_given_any_result_when_stored_and_read_then_it_is_the_same(
    value: Any, serializer: str, compression: Any, task_id: str
) -> None:
    meta = results.success(
        task_id, value, date_done="2030-01-01T00:00:00+00:00", children=[[[task_id, None], None]], parent_id="p"
    )
    again = results.decode_meta(results.encode_meta(meta, serializer, compression), serializer)
    assert again == meta
    part = results.chord_part_payload(task_id, "SUCCESS", value, serializer, compression)
    assert results.read_chord_part(part, serializer) == (task_id, "SUCCESS", value)


exception_types = st.sampled_from([ValueError, KeyError, RuntimeError, errors.UnpickleableExceptionWrapper.__base__])


@given(exception_types, st.lists(json_values, max_size=3), st.sampled_from(["json", "pickle"]))
def test_given_any_exception_when_stored_and_read_then_class_and_arguments_are_the_same(
    kind: Any, args: Any, serializer: str
) -> None:
    meta = results.failure("id", kind(*args), date_done="2030", traceback="Traceback …")
    exc = results.decode_meta(results.encode_meta(meta, serializer), serializer)["result"]
    assert (type(exc), list(exc.args)) == (kind, args)


# -- hostile input ----------------------------------------------------------------------------------------------------

mangled = st.builds(
    lambda message, at, junk: envelope.encode(message)[:at] + junk + envelope.encode(message)[at:],
    messages,
    st.integers(0, 200),
    st.binary(max_size=6),
)


def refused_clearly(read: Callable[[], Any]) -> Any:
    """What `read` returns, or None when it refuses with a text; any other error passes."""
    try:
        return read()
    except (UnreadableMessage, SecurityError) as exc:
        said = str(exc)
    assert said
    return None


def read_whole(message: Message) -> None:
    accept = accept_types(["json", "yaml"])
    refused_clearly(lambda: call.read(message, accept=accept))
    refused_clearly(lambda: call.read_body(message, accept))
    refused_clearly(lambda: control.read_request(message, accept).concerns("a@b"))
    refused_clearly(lambda: control.read_reply(message, accept))


@given(st.binary(max_size=120) | mangled | json_values.map(lambda value: json.dumps(value).encode()))
def test_given_arbitrary_bytes_when_read_as_an_envelope_then_only_unreadable_is_raised(raw: bytes) -> None:
    message = refused_clearly(lambda: envelope.decode(raw))
    if message is not None:
        read_whole(message)


header_values = json_values | st.sampled_from(["2030-01-01", "not a date", "application/x-gzip", {"a": 1}, [1, 2], 10**400])
known_headers = st.sampled_from(sorted(call.PROTOCOL_HEADERS | call.BROKER_HEADERS))
bodies = (
    st.binary(max_size=40) | json_values.map(lambda value: dumps(value)[2]) | json_values.map(lambda v: dumps(v, "pickle")[2])
)


@given(
    st.builds(
        Message,
        body=bodies,
        content_type=st.sampled_from(["application/json", "application/x-python-serialize", "application/x-yaml", "x/y", ""]),
        content_encoding=st.sampled_from(["utf-8", "binary", "no such", ""]),
        headers=st.dictionaries(known_headers, header_values, max_size=8),
        properties=st.dictionaries(st.sampled_from(["priority", "reply_to", "delivery_info"]), json_values, max_size=3),
    )
)
def test_given_arbitrary_headers_and_bodies_when_read_as_a_call_then_only_unreadable_is_raised(message: Message) -> None:
    message.headers.setdefault("task", "t")
    message.headers.setdefault("id", "i")
    read_whole(message)


@given(st.binary(max_size=80) | json_values.map(lambda value: dumps(value)[2]), st.sampled_from(["json", "pickle"]))
def test_given_arbitrary_bytes_when_read_as_a_record_then_only_unreadable_is_raised(payload: bytes, serializer: str) -> None:
    refused_clearly(lambda: results.decode_meta(payload, serializer))
    refused_clearly(lambda: results.read_chord_part(payload, serializer))


exception_maps = st.fixed_dictionaries(
    {
        "exc_type": text | json_values | st.sampled_from(["ValueError", "system", "modules", "Retry", "a.b", "a\0b"]),
        "exc_module": st.sampled_from(["builtins", "os", "sys", "celery.exceptions", "x", None, 1]),
        "exc_message": json_values,
    }
)


@given(st.sampled_from(["FAILURE", "RETRY", "REVOKED"]), maps | exception_maps)
def test_given_arbitrary_exception_maps_when_read_then_an_exception_comes_or_a_clear_refusal(status: str, found: Any) -> None:
    payload = json.dumps({"status": status, "result": found, "task_id": "i"}).encode()
    meta = refused_clearly(lambda: results.decode_meta(payload))
    assert meta is None or not found or isinstance(meta["result"], BaseException)


@given(st.binary(max_size=60))
def test_given_arbitrary_bytes_when_unpickled_then_only_unreadable_is_raised(data: bytes) -> None:
    refused_clearly(lambda: loads(data, "application/x-python-serialize", "binary", ["pickle"]))


def test_given_a_value_that_holds_itself_when_encoded_then_it_is_an_encode_error() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(EncodeError, match="contains itself"):
        dumps(loop)
    with pytest.raises(EncodeError):
        envelope.encode(Message(b"", "", "", {"loop": loop}, {"body_encoding": "base64"}))
