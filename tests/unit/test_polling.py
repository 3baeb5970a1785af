"""Polling works where `select.poll` is missing."""

from __future__ import annotations

import os
import select

import pytest

from sedano.polling import POLLIN, POLLOUT, new_poll


@pytest.fixture(params=["poll", "select"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "select":
        monkeypatch.delattr(select, "poll")  # what eventlet does to a process


def test_given_two_pipes_when_one_can_be_read_then_it_is_the_one_found(way: None) -> None:
    pipes = [os.pipe(), os.pipe()]
    poll = new_poll()
    for read, _ in pipes:
        poll.register(read, POLLIN)
    assert poll.poll(0) == []
    os.write(pipes[1][1], b"x")
    assert poll.poll(1000) == [(pipes[1][0], POLLIN)]
    for pair in pipes:
        for fd in pair:
            os.close(fd)


def test_given_no_file_when_polled_then_the_time_is_waited_for(way: None) -> None:
    assert new_poll().poll(1) == []


def test_given_a_pipe_with_room_when_asked_for_that_then_it_can_be_written(way: None) -> None:
    reader, writer = os.pipe()
    poll = new_poll()
    poll.register(reader, POLLIN)
    poll.register(writer, POLLOUT)
    assert poll.poll(1000) == [(writer, POLLOUT)]
    os.write(writer, b"x")
    assert sorted(poll.poll(1000)) == sorted([(reader, POLLIN), (writer, POLLOUT)])
    os.close(reader)
    os.close(writer)
