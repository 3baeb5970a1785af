"""A virtual host for the suites, and how junk gets into it."""

from __future__ import annotations

import struct
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from tests.contracts import rabbitrelay

from sedano.clock import SYSTEM_CLOCK
from sedano.contracts import Broker, Delivery, OpenOptions, QueueSpec
from sedano.drivers.rabbitmq import broker as rabbitbroker
from sedano.drivers.rabbitmq.address import address_of
from sedano.drivers.rabbitmq.connection import Connection
from sedano.drivers.rabbitmq.errors import ChannelClosed
from sedano.drivers.rabbitmq.tables import MOST_NESTED
from sedano.protocol.message import Message
from sedano.testing.contracts.harness import PROMPT_S, Slot, StoreUnderTest


def nested(depth: int) -> bytes:
    """A table in a table in a table."""
    table = struct.pack(">I", 0)
    for _ in range(depth):
        inner = b"\x01nF" + table
        table = struct.pack(">I", len(inner)) + inner
    return table


NO_HEADER = bytes.fromhex("2000") + nested(MOST_NESTED + 5)
"""A content header of which we read nothing, because its table nests too deep. The server looks at it and passes it on."""

QUORUM: dict[str, object] = {"x-queue-type": "quorum"}


class QuorumStore(StoreUnderTest):
    """The queues that most tests use are quorum queues."""

    def broker(self, *, writes_results: bool = True) -> Broker:
        broker = super().broker(writes_results=writes_results)
        broker.declare([QueueSpec(name, arguments=QUORUM) for name in ("q", "out")])
        return broker


@contextmanager
def opened(url: str, kind: type[StoreUnderTest] = StoreUnderTest) -> Generator[StoreUnderTest]:
    """What a node holds that its slots do not take for a moment goes back to the server, marked as redelivered. A slot of the
    suites may be slow without being at work, so here it does not; tests of the driver show that it does.
    """

    def put_raw(queue: str, raw: bytes) -> None:
        connection = Connection(address_of(url, {}, OpenOptions()), name="another program")
        connection.open()
        channel = connection.channel()
        channel.confirm_select()
        try:
            channel.declare_queue(queue, passive=True)
        except ChannelClosed:
            channel = connection.channel()
            channel.confirm_select()
            channel.declare_queue(queue)
        channel.publish("", queue, NO_HEADER, raw)
        channel.await_confirms()
        connection.close()

    with (
        pytest.MonkeyPatch.context() as patch,
        tempfile.TemporaryDirectory(prefix="sedano-") as folder,
        rabbitrelay.relays(Path(folder), url, OpenOptions()) as relay_url,
        kind(cast(Any, rabbitrelay), relay_url, put_raw=put_raw, clock=SYSTEM_CLOCK) as store,
    ):
        patch.setattr(rabbitbroker, "LONG_S", 3600.0)
        yield store


def come(slot: Slot, queue: str, count: int = 1) -> list[Delivery]:
    """What the server brings by itself."""
    deadline = time.monotonic() + PROMPT_S
    found: list[Delivery] = []
    while len(found) < count:
        assert time.monotonic() < deadline, f"only {len(found)} of {count} came"
        slot.broker.wait([queue], 1.0)
        found += slot.turn(reserve=count - len(found), queues=[queue]).reserved
    return found


def same_call(one: Message | None, other: Message | None) -> bool:
    """But for what stands in a message that has expired somewhere: where, and when."""
    if one is None or other is None:
        return False
    return (one.body, _own(one)) == (other.body, _own(other))


def _own(message: Message) -> dict[str, Any]:
    return {name: value for name, value in message.headers.items() if not name.startswith(_SERVERS)}


_SERVERS = ("x-death", "x-first-death", "x-sedano-parked-")


def letters(slot: Slot, queue: str) -> Sequence[str]:
    """The calls of the queue's dead letters, the newest first."""
    return [letter.note.task_id for letter in slot.broker.dead_letters(queue)]
