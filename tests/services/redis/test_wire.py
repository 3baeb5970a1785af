"""The pure reader and packer are the twins of hiredis."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sedano.drivers.redis.wire import (
    NOTHING,
    BadProtocol,
    ErrorReply,
    HiredisReader,
    PureReader,
    Push,
    Reader,
    pack,
    pack_purely,
)

pytest.importorskip("hiredis")

scalars = st.one_of(
    st.binary(max_size=40).map(lambda data: b"$%d\r\n%b\r\n" % (len(data), data)),
    st.integers(-(2**62), 2**62).map(lambda number: b":%d\r\n" % number),
    st.sampled_from([b"$-1\r\n", b"_\r\n", b"+OK\r\n", b"*-1\r\n", b"#t\r\n", b"#f\r\n", b",1.5\r\n", b"-ERR no\r\n"]),
)
replies = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda items: b"*%d\r\n%b" % (len(items), b"".join(items))),
        st.lists(inner, max_size=3).map(
            lambda items: b"%%%d\r\n%b" % (len(items), b"".join(b"+k%d\r\n%b" % pair for pair in enumerate(items)))
        ),
    ),
    max_leaves=12,
)
pushes = st.lists(scalars, min_size=1, max_size=3).map(lambda items: b">%d\r\n%b" % (len(items), b"".join(items)))


def plain(reply: object) -> object:
    """With errors comparable."""
    if isinstance(reply, ErrorReply):
        return ("error", str(reply))
    if isinstance(reply, Push):
        return ("push", [plain(item) for item in reply])
    if isinstance(reply, list):
        return [plain(item) for item in reply]
    if isinstance(reply, dict):
        return {key: plain(value) for key, value in reply.items()}
    return reply


def read_all(reader: Reader, data: bytes, cuts: list[int]) -> list[object]:
    found: list[object] = []
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for start, end in itertools.pairwise(edges):
        reader.feed(data[start:end])
        while (reply := reader.gets()) is not NOTHING:
            found.append(plain(reply))
    return found


@given(st.lists(st.one_of(replies, pushes), max_size=4), st.lists(st.integers(0, 10_000), max_size=5))
def test_given_any_replies_in_any_pieces_when_read_then_both_readers_agree(data: list[bytes], cuts: list[int]) -> None:
    whole = b"".join(data)
    assert read_all(PureReader(), whole, cuts) == read_all(HiredisReader(), whole, [])


@given(st.lists(st.one_of(st.binary(max_size=50), st.text(max_size=50), st.integers(), st.just(0.25)), min_size=1).map(tuple))
def test_given_any_arguments_when_packed_then_both_packers_agree(arguments: tuple[bytes | str | int | float, ...]) -> None:
    assert pack_purely(arguments) == pack(arguments)


@pytest.mark.parametrize("reader", [PureReader(), HiredisReader()])
def test_given_no_resp_when_read_then_it_is_refused(reader: Reader) -> None:
    reader.feed(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(BadProtocol):
        reader.gets()


def test_given_an_error_reply_when_read_then_its_first_word_is_its_code() -> None:
    reader = PureReader()
    reader.feed(b"-NOSCRIPT No matching script.\r\n")
    reply = reader.gets()
    assert isinstance(reply, ErrorReply)
    assert reply.code == "NOSCRIPT"
