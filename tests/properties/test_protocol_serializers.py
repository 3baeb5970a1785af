"""Every serializer and compression gives back what it was given, whatever that is; and bad bytes are a DecodeError."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sedano.exceptions import UnreadableMessage
from sedano.protocol import compression, serializers

# Surrogates are no text on any wire; msgpack's integers have 64 bits.
ATOMS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(
    ATOMS | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=10), inner, max_size=5),
    max_leaves=20,
)
NAMES = ["json", "msgpack", "yaml", "pickle"]
METHODS = ["gzip", "bzip2", "lzma", "zstd", "brotli"]


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None)
@given(value=VALUES)
def test_given_a_value_when_written_and_read_then_it_is_the_same_value_of_the_same_type(name: str, value: Any) -> None:
    content_type, encoding, data = serializers.dumps(value, name)
    again = serializers.loads(data, content_type, encoding, [name])
    assert again == value
    assert name == "yaml" or repr(again) == repr(value)  # yaml sorts the keys of maps


@pytest.mark.parametrize("name", ["json", "msgpack", "yaml"])
@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=60))
def test_given_any_bytes_when_read_then_it_is_a_value_or_a_decode_error(name: str, data: bytes) -> None:
    content_type = serializers.known_type(name)
    assert content_type
    with contextlib.suppress(UnreadableMessage):
        serializers.loads(data, content_type, "utf-8", [name])


@pytest.mark.parametrize("name", METHODS)
@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=2000))
def test_given_any_bytes_when_compressed_then_they_come_back(name: str, data: bytes) -> None:
    assert compression.decompress(compression.compress(data, name)[0], name) == data


@pytest.mark.parametrize("name", METHODS)
@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=100), place=st.integers(0, 200), bit=st.integers(0, 7))
def test_given_a_stream_with_a_flipped_bit_when_decompressed_then_it_is_bytes_or_a_decode_error(
    name: str, data: bytes, place: int, bit: int
) -> None:
    stream = bytearray(compression.compress(data, name)[0])
    stream[place % len(stream)] ^= 1 << bit
    with contextlib.suppress(UnreadableMessage):
        compression.decompress(bytes(stream), name)
