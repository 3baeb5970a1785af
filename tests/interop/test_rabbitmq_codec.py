"""Our AMQP and py-amqp's: the same bytes for the same tables and properties, and each reads what the other wrote."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.interop import environments
from tests.interop.rabbitmq_codec import Codec

from sedano.drivers.rabbitmq import methods
from sedano.drivers.rabbitmq.frames import Frames, content
from sedano.drivers.rabbitmq.properties import decode_properties, encode_properties
from sedano.drivers.rabbitmq.tables import decode_table, encode_table

RECORDING = Path(__file__).parent / "recordings" / "amqp-topology.json"

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=80)
    | st.binary(max_size=40)
    | st.datetimes(datetime(1970, 1, 1), datetime(9000, 1, 1)).map(lambda when: when.replace(microsecond=0))
    | st.builds(lambda whole, places: Decimal(whole).scaleb(-places), st.integers(-(2**31), 2**31 - 1), st.integers(0, 20)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
TABLES = st.dictionaries(NAMES, VALUES, max_size=8)
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
PROPERTIES = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("content_type", "content_encoding", "correlation_id", "reply_to", "expiration"), WORDS),
        **dict.fromkeys(("message_id", "type", "user_id", "app_id", "cluster_id"), WORDS),
        "headers": TABLES,
        "delivery_mode": st.integers(1, 2),
        "priority": st.integers(0, 255),
        "timestamp": st.integers(0, 2**64 - 1),
    },
)


@pytest.fixture(scope="module", params=environments.VERSIONS)
def codec(request: pytest.FixtureRequest) -> Iterator[Codec]:
    made = Codec(environments.celery_environment(request.param).python)
    yield made
    made.close()


def same(one: Any, other: Any) -> bool:
    """Equal, and of the same types: True is not 1, 1.0 is not 1."""
    return repr(one) == repr(other)


@pytest.mark.celery
@settings(max_examples=300)
@given(table=TABLES)
def test_given_any_table_then_both_write_the_same_bytes_and_read_the_same(codec: Codec, table: dict[str, Any]) -> None:
    written = encode_table(table)
    assert codec.ask("table", table) == written
    theirs = codec.ask("read_table", written)
    assert same(plain(decode_table(written)), plain(theirs))


@pytest.mark.celery
@settings(max_examples=300)
@given(properties=PROPERTIES)
def test_given_any_properties_then_both_write_the_same_bytes_and_read_the_same(
    codec: Codec, properties: dict[str, Any]
) -> None:
    written = encode_properties(properties)
    assert codec.ask("properties", properties) == written
    assert same(plain(decode_properties(written)), plain(codec.ask("read_properties", written)))


def plain(value: Any) -> Any:
    """Decimals by their value: py-amqp divides where we move the point, and its results may have another exponent."""
    if isinstance(value, Decimal):
        return value.normalize()
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    return value


# -- every byte of one publish (recordings/amqp-topology.json) --------------------------------------------------------


def stream(sender: str) -> list[bytes]:
    vectors = json.loads(RECORDING.read_text(encoding="utf-8"))["vectors"]
    (found,) = [vector["stream"] for vector in vectors if vector["id"] == "raw_frames_publish"]
    return [base64.b64decode(part["base64"]) for part in found if part["from"] == sender]


def test_given_the_bytes_of_a_real_server_when_they_come_one_by_one_then_every_method_is_read() -> None:
    frames = Frames(131072)
    for byte in b"".join(stream("s")):
        frames.feed(bytes((byte,)))
    events = list(frames.events)
    assert [method for _, method, _ in events] == [
        methods.CONNECTION_START,
        methods.CONNECTION_TUNE,
        methods.CONNECTION_OPEN_OK,
        methods.CHANNEL_OPEN_OK,
        methods.EXCHANGE_DECLARE_OK,
        methods.QUEUE_DECLARE_OK,
        methods.QUEUE_BIND_OK,
    ]
    start, tune, declared = events[0][2], events[1][2], events[5][2]
    assert isinstance(start, methods.Start)
    assert (start.version, start.mechanisms, start.locales) == ((0, 9), ("AMQPLAIN", "PLAIN"), ("en_US",))
    assert start.properties["version"] == "3.10.8"
    assert start.properties["capabilities"]["per_consumer_qos"] is True
    assert tune == methods.Tune(2047, 131072, 60)
    assert declared == methods.Declared("celery", 0, 0)


def test_given_the_bytes_of_a_real_client_when_we_say_the_same_then_ours_are_equal() -> None:
    theirs = stream("c")
    last = theirs[-1]
    size = int.from_bytes(last[3:7], "big")
    header_begin = size + methods.FRAME_OVERHEAD_BYTES
    header_size = int.from_bytes(last[header_begin + 3 : header_begin + 7], "big")
    header = last[header_begin + 19 : header_begin + 7 + header_size]
    body_begin = header_begin + header_size + 15
    body = last[body_begin:-1]
    login = encode_table({"product": "py-amqp", "product_version": "5.4.2", "capabilities": CAPABILITIES})
    ours = [
        methods.PROTOCOL_HEADER,
        methods.start_ok(decode_table(login), "PLAIN", b"\0guest\0guest"),
        methods.tune_ok(2047, 131072, 0) + methods.open_connection("/"),
        methods.open_channel(1),
        methods.declare_exchange(1, "celery", "direct"),
        methods.declare_queue(1, "celery"),
        methods.bind_queue(1, "celery", "celery", "celery"),
        methods.publish(1, "", "celery") + content(1, encode_properties(decode_properties(header)), body, 131072),
    ]
    assert ours == theirs
    assert json.loads(body)[0] == [2, 3]


CAPABILITIES = {"consumer_cancel_notify": True, "connection.blocked": True, "authentication_failure_close": True}
