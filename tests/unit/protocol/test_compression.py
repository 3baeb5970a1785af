from __future__ import annotations

import zlib

import pytest

from sedano.exceptions import DecodeError, EncodeError
from sedano.protocol import compression


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("gzip", "application/x-gzip"),
        ("zlib", "application/x-gzip"),
        ("application/x-gzip", "application/x-gzip"),
        ("bzip2", "application/x-bz2"),
        ("bzip", "application/x-bz2"),
        ("lzma", "application/x-lzma"),
        ("xz", "application/x-lzma"),
    ],
)
def test_given_a_name_when_compressed_then_the_type_is_kombus_and_the_data_comes_back(name: str, content_type: str) -> None:
    data, written = compression.compress(b"x" * 100, name)
    assert written == content_type
    assert len(data) < 100
    assert compression.decompress(data, written) == compression.decompress(data, name) == b"x" * 100


def test_given_gzip_when_compressed_then_it_is_a_zlib_stream_as_in_kombu() -> None:
    assert zlib.decompress(compression.compress(b"abc", "gzip")[0]) == b"abc"


@pytest.mark.parametrize(("name", "reason"), [("brotli", "install brotli"), ("zstd", "backports.zstd"), ("nope", "use one of")])
def test_given_a_method_that_is_not_here_when_used_then_the_error_says_what_to_do(name: str, reason: str) -> None:
    with pytest.raises(EncodeError, match=reason):
        compression.compress(b"", name)
    with pytest.raises(DecodeError, match=reason):
        compression.decompress(b"", name)


def test_given_a_method_of_ones_own_when_registered_then_it_is_found_by_alias_and_type() -> None:
    compression.register(lambda data: data[::-1], lambda data: data[::-1], "x/backwards", ["backwards"])
    assert compression.compress(b"ab", "backwards") == (b"ba", "x/backwards")
    assert compression.decompress(b"ba", "x/backwards") == b"ab"
