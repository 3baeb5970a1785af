"""The standing orders in shared memory: whole, whenever they are read and wherever their writer stops."""

from __future__ import annotations

import sys
import threading
from types import FrameType
from typing import Any

import pytest

from sedano.worker.orders import OrderBook, StandingOrders, TooManyOrders

BYTES = 2 * 4096


def orders(size: int) -> StandingOrders:
    """As long as one likes."""
    return StandingOrders(queues=tuple(f"queue-{size}-{n}" for n in range(size)))


class Died(BaseException):
    pass


def write_and_die(book: OrderBook, new: StandingOrders, line: int) -> bool:
    """Write `new`, and die before the `line`th line of it. False when it has fewer."""
    lines = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal lines
        if frame.f_code is not OrderBook.write.__code__:
            return None
        if event == "line":
            lines += 1
            if lines > line:
                raise Died
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        book.write(new)
    except Died:
        return True
    finally:
        sys.settrace(before)
    return False


def test_given_a_writer_that_dies_anywhere_when_others_read_then_they_get_the_old_or_the_new_whole_and_at_once() -> None:
    seen = set()
    for line in range(100):
        region = memoryview(bytearray(BYTES))
        book = OrderBook(region)
        for size in (50, 7):
            book.write(orders(size))
        revision = book.revision
        died = write_and_die(OrderBook(region), orders(90), line)
        found_at, found = book.read()
        assert found == (orders(7) if found_at == revision else orders(90))
        assert found_at == book.revision
        seen.add(len(found.queues or ()))
        book.write(orders(3))  # whoever comes after it
        assert book.read() == (book.revision, orders(3))
        if not died:
            break
    assert seen == {7, 90}


def test_given_a_writer_that_goes_on_writing_when_others_read_then_all_that_they_get_is_whole() -> None:
    region = memoryview(bytearray(BYTES))
    writer, reader = OrderBook(region), OrderBook(region)
    assert reader.read() == (0, StandingOrders())
    over = threading.Event()

    def write() -> None:
        n = 0
        while not over.is_set():
            n = n % 90 + 1
            writer.write(orders(n))

    thread = threading.Thread(target=write)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread.start()
    try:
        revisions = set()
        while len(revisions) < 50:
            revision, found = reader.read()
            revisions.add(revision)
            assert found.queues is None or found == orders(len(found.queues))
    finally:
        over.set()
        thread.join()
        sys.setswitchinterval(before)


def test_given_more_orders_than_there_is_room_for_when_written_then_the_old_ones_hold() -> None:
    book = OrderBook(memoryview(bytearray(BYTES)))
    book.write(orders(7))
    with pytest.raises(TooManyOrders, match="restart the node"):
        book.write(orders(1000))
    assert book.read() == (1, orders(7))
