"""Bytes into frames into events, whatever the pieces they come in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sedano.drivers.rabbitmq import methods
from sedano.drivers.rabbitmq.errors import Malformed
from sedano.drivers.rabbitmq.frames import Event, Frames, Incoming, Returned, content
from sedano.drivers.rabbitmq.properties import encode_properties
from sedano.exceptions import EncodeError

HEADER = encode_properties({"delivery_mode": 2})
FRAME_MAX = 4096


def short(text: str) -> bytes:
    return bytes((len(text),)) + text.encode()


def frame(channel: int, method: int, arguments: bytes = b"") -> bytes:
    body = method.to_bytes(4, "big") + arguments
    return b"\x01" + channel.to_bytes(2, "big") + len(body).to_bytes(4, "big") + body + b"\xce"


def deliver(channel: int, tag: int, *, redelivered: bool = False, routing_key: str = "celery") -> bytes:
    arguments = short("consumer") + tag.to_bytes(8, "big") + bytes([redelivered]) + short("exchange") + short(routing_key)
    return frame(channel, methods.BASIC_DELIVER, arguments)


def read(pieces: list[bytes], frame_max: int = FRAME_MAX) -> list[Event]:
    frames = Frames(frame_max)
    for piece in pieces:
        frames.feed(piece)
    return list(frames.events)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places} | {len(data)})
    return [data[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]


@given(
    bodies=st.lists(st.tuples(st.integers(1, 3), st.binary(max_size=40), st.integers(1, 400)), min_size=1, max_size=5),
    places=st.lists(st.integers(0, 10**6), max_size=30),
)
def test_given_any_bodies_in_any_pieces_then_they_come_out_in_order(
    bodies: list[tuple[int, bytes, int]], places: list[int]
) -> None:
    sent = [(channel, seed * times) for channel, seed, times in bodies]
    stream = b"".join(
        deliver(channel, number) + content(channel, HEADER, body, FRAME_MAX) + methods.HEARTBEAT
        for number, (channel, body) in enumerate(sent)
    )
    found = read(cut(stream, places))
    assert [(channel, method) for channel, method, _ in found] == [(channel, methods.BASIC_DELIVER) for channel, _ in sent]
    messages = [message for _, _, message in found]
    assert messages == [
        Incoming("consumer", number, redelivered=False, exchange="exchange", routing_key="celery", header=HEADER, body=body)
        for number, (_, body) in enumerate(sent)
    ]


def test_given_two_channels_whose_frames_alternate_then_each_gets_its_own() -> None:
    body = bytes(range(256)) * 40
    one, two = content(1, HEADER, body, FRAME_MAX), content(2, HEADER, body[::-1], FRAME_MAX)
    pieces = [[stream[begin : begin + 50] for begin in range(0, len(stream), 50)] for stream in (one, two)]
    assert len(pieces[0]) > 100
    whole = [list(split(stream)) for stream in (one, two)]
    mixed = deliver(1, 1) + deliver(2, 2) + b"".join(a + b for a, b in zip(*whole, strict=True))
    found = {channel: message for channel, _, message in read([mixed])}
    assert isinstance(found[1], Incoming)
    assert isinstance(found[2], Incoming)
    assert (found[1].body, found[2].body) == (body, body[::-1])


def split(stream: bytes) -> list[bytes]:
    frames = []
    while stream:
        size = int.from_bytes(stream[3:7], "big") + methods.FRAME_OVERHEAD_BYTES
        frames.append(stream[:size])
        stream = stream[size:]
    return frames


@pytest.mark.parametrize("size", [0, 1, 4087, 4088, 4089, 8176, 8177])
def test_when_a_body_is_cut_into_frames_then_none_is_longer_than_agreed(size: int) -> None:
    frames = split(content(7, HEADER, bytes(size), FRAME_MAX))
    assert all(len(one) <= FRAME_MAX for one in frames)
    assert sum(len(one) - methods.FRAME_OVERHEAD_BYTES for one in frames[1:]) == size
    assert len(frames) - 1 == -(-size // (FRAME_MAX - methods.FRAME_OVERHEAD_BYTES))


def test_given_a_frame_longer_than_agreed_then_it_is_malformed_before_it_is_there() -> None:
    frames = Frames(FRAME_MAX)
    frames.feed(b"\x03\x00\x01\x00\x00\x0f")
    with pytest.raises(Malformed):
        frames.feed(b"\xf9x")


def test_given_get_and_return_then_they_come_with_their_content() -> None:
    got = frame(3, methods.BASIC_GET_OK, (9).to_bytes(8, "big") + b"\x01" + short("e") + short("r") + (5).to_bytes(4, "big"))
    returned = frame(3, methods.BASIC_RETURN, (312).to_bytes(2, "big") + short("NO_ROUTE") + short("e") + short("r"))
    tail = content(3, HEADER, b"body", FRAME_MAX)
    assert read([got + tail + returned + tail]) == [
        (3, methods.BASIC_GET_OK, Incoming("", 9, True, "e", "r", HEADER, b"body", 5)),
        (3, methods.BASIC_RETURN, Returned(312, "NO_ROUTE", "e", "r", HEADER, b"body")),
    ]


def test_given_more_routes_and_consumers_than_are_kept_then_all_are_right() -> None:
    keys = [f"key{number}" for number in range(1200)]
    found = read([deliver(1, 1, routing_key=key) + content(1, HEADER, b"", FRAME_MAX) for key in keys])
    assert [message.routing_key for _, _, message in found if isinstance(message, Incoming)] == keys


def test_when_a_channel_is_closed_in_the_middle_of_a_message_then_the_next_one_begins_anew() -> None:
    close = frame(1, methods.CHANNEL_CLOSE, (404).to_bytes(2, "big") + short("gone") + bytes(4))
    stream = deliver(1, 1) + close + deliver(1, 1) + content(1, HEADER, b"x", FRAME_MAX)
    assert [method for _, method, _ in read([stream])] == [methods.CHANNEL_CLOSE, methods.BASIC_DELIVER]


@pytest.mark.parametrize(
    ("method", "arguments", "expected"),
    [
        (methods.CONNECTION_BLOCKED, short("low on memory"), methods.Text("low on memory")),
        (methods.CONNECTION_UPDATE_SECRET_OK, b"", methods.OK),
        (methods.CHANNEL_FLOW, b"\x00", methods.Flow(active=False)),
        (methods.CHANNEL_CLOSE, b"\x01\x94" + short("no") + b"\x00\x32\x00\x0a", methods.Close(404, "no", (50, 10))),
        (methods.QUEUE_DECLARE_OK, short("q") + b"\x00\x00\x00\x02\x00\x00\x00\x01", methods.Declared("q", 2, 1)),
        (methods.QUEUE_PURGE_OK, b"\x00\x00\x00\x07", methods.Count(7)),
        (methods.BASIC_CANCEL, short("tag") + b"\x01", methods.Consumer("tag")),
        (methods.BASIC_CANCEL_OK, short("tag"), methods.Consumer("tag")),
        (methods.BASIC_ACK, (3).to_bytes(8, "big") + b"\x01", methods.Confirm(3, multiple=True)),
        (methods.BASIC_NACK, (3).to_bytes(8, "big") + b"\x02", methods.Confirm(3, multiple=False)),
    ],
)
def test_given_a_method_then_its_arguments_are_read_and_a_cut_is_noticed(
    method: int, arguments: bytes, expected: methods.Method
) -> None:
    assert read([frame(1, method, arguments)]) == [(1, method, expected)]
    for length in range(len(arguments) - (method == methods.BASIC_CANCEL)):
        with pytest.raises(Malformed):
            read([frame(1, method, arguments[:length])])


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5))
def test_given_any_bytes_then_nothing_but_malformed_is_raised(data: bytes, places: list[int]) -> None:
    try:
        read(cut(data, places))
    except Malformed:
        return


@given(st.sampled_from(sorted(methods._PARSERS)), st.binary(max_size=60))
def test_given_any_arguments_then_nothing_but_malformed_is_raised(method: int, arguments: bytes) -> None:
    try:
        read([frame(1, method, arguments)])
    except Malformed:
        return


def test_given_a_name_that_is_too_long_then_it_is_refused() -> None:
    with pytest.raises(EncodeError, match="255 bytes"):
        methods.declare_queue(1, "ä" * 128)
