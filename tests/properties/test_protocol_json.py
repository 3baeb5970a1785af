"""The tuned JSON roads against the standard library, which Kombu uses; what Kombu itself writes is in interop/recordings."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from sedano.exceptions import DecodeError, EncodeError
from sedano.protocol.serializers import json as our_json


class Text(str):
    __slots__ = ()


class Whole(int): ...


class Jsonable:
    def __json__(self) -> Any:
        return {"jsonable": [1, Text("a")]}

    def __repr__(self) -> str:
        return "Jsonable()"


any_text = st.text(st.characters(), max_size=8)  # lone surrogates too
atoms = st.none() | st.booleans() | st.integers() | st.floats() | any_text
typed = (
    st.datetimes(timezones=st.sampled_from([UTC, None])).map(lambda value: value.replace(fold=0))  # fold has no ISO text
    | st.dates()
    | st.times().map(lambda value: value.replace(fold=0))
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.binary(max_size=8)
)
odd = (
    st.builds(Text, any_text)
    | st.builds(Whole, st.integers())
    | st.builds(Jsonable)
    | st.builds(object)
    | st.sets(st.integers())
)
keys = any_text | st.sampled_from(["__type__", "__value__"]) | st.integers() | st.floats() | st.booleans() | st.none()


def values(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(any_text, inner, max_size=4)
            | st.dictionaries(keys, inner, max_size=3)
            | st.tuples(inner, inner)
        ),
        max_leaves=12,
    )


def outcome(function: Any, *args: Any) -> str:
    """A text that differs when the value, a type in it, or the kind of error differs."""
    try:
        return repr(function(*args))
    except (EncodeError, DecodeError) as exc:
        return type(exc).__name__


def as_pairs(data: bytes) -> Any:
    return json.loads(data, object_pairs_hook=list, parse_constant=str)


@given(values(atoms | typed | odd))
def test_given_any_value_when_encoded_then_the_tuned_road_says_what_the_plain_one_says(value: Any) -> None:
    assert outcome(lambda: as_pairs(our_json.encode(value))) == outcome(lambda: as_pairs(our_json.plain_encode(value)))


@given(values(atoms | typed | odd).map(lambda value: outcome(our_json.plain_encode, value)) | any_text)
def test_given_any_text_when_decoded_then_the_tuned_road_says_what_the_plain_one_says(text: str) -> None:
    data = text.encode("utf-8", "surrogatepass")
    assert outcome(our_json.decode, data) == outcome(our_json.plain_decode, data)


@given(values(atoms | typed))
def test_given_json_text_when_decoded_then_the_tuned_road_says_what_the_plain_one_says(value: Any) -> None:
    for data in (our_json.plain_encode(value), our_json.encode(value)):
        assert outcome(our_json.decode, data) == outcome(our_json.plain_decode, data)


@given(st.binary(max_size=40))
def test_given_any_bytes_when_decoded_then_both_roads_agree(data: bytes) -> None:
    assert outcome(our_json.decode, data) == outcome(our_json.plain_decode, data)


@given(st.text('{}[]",:\\u0_type_value/+-.eE123 \t\n"', max_size=40))
def test_given_nearly_json_when_decoded_then_both_roads_agree(text: str) -> None:
    assert outcome(our_json.decode, text.encode()) == outcome(our_json.plain_decode, text.encode())


@given(
    st.recursive(
        typed | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
    )
)
def test_given_typed_values_when_encoded_and_decoded_then_they_are_the_same(value: Any) -> None:
    if "__type__" in repr(value):
        return
    again = our_json.decode(our_json.encode(value))
    assert repr(again) == repr(value)


def test_given_the_types_of_this_module_when_listed_then_every_typed_value_of_kombu_is_among_them() -> None:
    kinds = (datetime, date, time, Decimal, UUID, bytes)
    samples: tuple[Any, ...] = (datetime(2020, 1, 1), date(2020, 1, 1), time(1), Decimal(1), UUID(int=1), b"x")
    for kind, sample in zip(kinds, samples, strict=True):
        assert type(our_json.decode(our_json.encode(sample))) is kind
