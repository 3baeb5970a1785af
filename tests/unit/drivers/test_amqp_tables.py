"""Field tables and properties: bytes and back, limits, what is broken."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from sedano.drivers.rabbitmq.errors import Malformed
from sedano.drivers.rabbitmq.properties import decode_properties, encode_properties
from sedano.drivers.rabbitmq.tables import MOST_NESTED, decode_table, encode_table
from sedano.exceptions import EncodeError

EVERYTHING: dict[str, Any] = {
    "text": "ä€😀",
    "none": None,
    "yes": True,
    "no": False,
    "small": -7,
    "int": 2**31 - 1,
    "long": -(2**63),
    "float": 1.25,
    "table": {"in": {"in": []}},
    "list": [1, "two", None, {"three": 3.0}, [True]],
    "decimal": Decimal("-12.34"),
    "when": datetime(2026, 5, 4, 3, 2, 1),
}


def test_given_every_type_then_it_comes_back() -> None:
    assert decode_table(encode_table(EVERYTHING)) == EVERYTHING


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"b\xff", -1),
        (b"B\xff", 255),
        (b"s\xff\xfe", -2),
        (b"u\xff\xfe", 65534),
        (b"i\xff\xff\xff\xff", 2**32 - 1),
        (b"l" + b"\xff" * 8, -1),
        (b"f\x3f\x80\x00\x00", 1.0),
        (b"x\x00\x00\x00\x02\x00\xff", b"\x00\xff"),
        (b"S\x00\x00\x00\x02\xc3\x28", b"\xc3\x28"),
        (b"T" + b"\xff" * 8, 2**64 - 1),
    ],
)
def test_given_a_type_that_others_write_then_it_is_read(data: bytes, value: object) -> None:
    body = b"\x01k" + data
    assert decode_table(len(body).to_bytes(4, "big") + body) == {"k": value}


@pytest.mark.parametrize(
    "value",
    [2**63, slice(1), {1: 2}, {"k" * 256: 1}, Decimal("1e300"), Decimal("NaN"), {"k": {3, 4}}, Decimal(10**12)],
    ids=repr,
)
def test_given_what_has_no_form_then_it_is_refused(value: object) -> None:
    with pytest.raises(EncodeError):
        encode_table({"k": value})


def test_given_deep_nesting_then_it_is_refused_both_ways() -> None:
    value: Any = {}
    for _ in range(MOST_NESTED - 1):
        value = {"k": value}
    assert decode_table(encode_table(value)) == value
    for _ in range(2000):
        value = {"k": value}
    with pytest.raises(EncodeError, match="nested"):
        encode_table(value)
    body = b""
    for _ in range(2000):
        body = b"\x01kF" + len(body).to_bytes(4, "big") + body
    with pytest.raises(Malformed, match="nested"):
        decode_table(len(body).to_bytes(4, "big") + body)


def test_when_a_table_is_cut_anywhere_then_it_is_malformed() -> None:
    data = encode_table(EVERYTHING)
    for length in range(len(data)):
        with pytest.raises(Malformed):
            decode_table(data[:length])


def test_given_an_inner_length_behind_the_end_then_it_is_malformed() -> None:
    data = bytearray(encode_table({"k": ["a"], "z": 1}))
    data[10] += 4  # of the list: it would reach into what follows
    with pytest.raises(Malformed):
        decode_table(bytes(data))


PROPERTIES: dict[str, Any] = {
    "content_type": "application/json",
    "content_encoding": "utf-8",
    "headers": EVERYTHING,
    "delivery_mode": 2,
    "priority": 9,
    "correlation_id": "c",
    "reply_to": "r",
    "expiration": "60000",
    "message_id": "m",
    "timestamp": 2**33,
    "type": "t",
    "user_id": "guest",
    "app_id": "a",
    "cluster_id": "z",
}


def test_given_all_properties_then_they_come_back() -> None:
    assert decode_properties(encode_properties(PROPERTIES)) == PROPERTIES
    for name, value in PROPERTIES.items():
        assert decode_properties(encode_properties({name: value})) == {name: value}
    assert decode_properties(encode_properties(dict.fromkeys(PROPERTIES))) == {}


@pytest.mark.parametrize(
    ("name", "value"), [("priority", 256), ("delivery_mode", "x"), ("reply_to", "r" * 256), ("timestamp", -1), ("nonsense", 1)]
)
def test_given_a_property_without_a_form_then_it_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(EncodeError, match=name):
        encode_properties({name: value})


def test_when_properties_are_cut_anywhere_then_they_are_malformed() -> None:
    data = encode_properties(PROPERTIES)
    for length in range(len(data)):
        with pytest.raises(Malformed):
            decode_properties(data[:length])
