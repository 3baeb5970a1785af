"""What a turn through the supervisor's relay costs, in microseconds. `python benchmarks/relay.py`

A turn settles a window, reserves the next one and begins it. The broker is the memory store, in a process of its own behind the
relay; its deliveries are passed on unread, as RabbitMQ's are. CPU time of both processes, and the time of a whole turn: of
several blocks the least, since both wobble upwards on a busy machine.
"""

from __future__ import annotations

import multiprocessing
import os
import platform
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from sedano.contracts import BeginRule, Broker, Delivery, OpenOptions, TurnReply
from sedano.drivers import memory
from sedano.testing.contracts.messages import batch, settlement
from sedano.worker.relay.client import RelayBroker
from sedano.worker.relay.server import Relay

URL = "memory://bench"
CALLS, BLOCKS = 4000, 7
WINDOWS = (1, 10, 100)


class Unread:
    """Leaves the reading to the slot. `spent` is the CPU time of its turns and waits: what is left is the relay's own."""

    spent = 0.0

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.close, self.publish = broker.close, broker.publish
        self.register, self.capabilities = broker.register, broker.capabilities

    def wait(self, *arguments: Any) -> None:
        began = time.thread_time()
        self._broker.wait(*arguments)
        Unread.spent += time.thread_time() - began

    def turn(self, *arguments: Any, **wanted: Any) -> TurnReply:
        began = time.thread_time()
        reply = self._broker.turn(*arguments, **wanted)
        for delivery in reply.reserved:
            delivery.message = None
        Unread.spent += time.thread_time() - began
        return reply


def opened() -> Any:
    return Unread(memory.open_broker(URL, OpenOptions(results_url=URL)))


def fill(delivery: Delivery) -> None:
    """Reading costs the same on both ways: it is left out."""


def serve(path: str, pipe: Connection) -> None:
    relay = Relay(path, opened)
    relay.start()
    pipe.send("ready")
    while pipe.recv() == "cpu":
        pipe.send(time.process_time() - Unread.spent)
    relay.stop(0)
    relay.join(5)


def drain(broker: Any, window: int) -> int:
    """How many turns it takes."""
    lease = broker.register(f"slot-{os.urandom(4).hex()}", "celery@bench")
    rule = BeginRule(early=True, costs={"tests.add": 1}, budget_us=1_000_000, most=window)
    settle: list[Any] = []
    turns = 0
    while True:
        reply = broker.turn(lease, settle=settle, reserve=window, queues=["q"], begin_new=rule)
        turns += 1
        settle = [settlement(delivery) for delivery in reply.reserved]
        if not settle:
            return turns


def measure(broker: Any, window: int, pipe: Connection | None) -> tuple[float, float, float]:
    """The least of wall, own CPU and the relay's CPU without its broker's, in microseconds a turn."""

    def theirs() -> float:
        if pipe is None:
            return 0.0
        pipe.send("cpu")
        return float(pipe.recv())

    found: list[tuple[float, float, float]] = []
    for _ in range(BLOCKS):
        for first in range(0, CALLS, 500):
            broker.publish(batch("q", [f"call-{first + number}" for number in range(500)]))
        before = time.perf_counter(), time.process_time(), theirs()
        turns = drain(broker, window)
        after = time.perf_counter(), time.process_time(), theirs()
        wall, own, relays = (1e6 * (late - early) / turns for early, late in zip(before, after, strict=True))
        found.append((wall, own, relays))
    return min(each[0] for each in found), min(each[1] for each in found), min(each[2] for each in found)


def main() -> None:
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; microseconds a turn")
    print(f"{'window':>6}  {'direct':>8}  {'relayed':>8}  {'slot CPU':>8}  {'relay CPU':>9}  {'a call':>6}")
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "relay")
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("fork").Process(target=serve, args=(path, theirs))
        process.start()
        ours.recv()
        broker = RelayBroker(path, fill=fill)
        for window in WINDOWS:
            direct = measure(opened(), window, None)
            relayed = measure(broker, window, ours)
            print(
                f"{window:>6}  {direct[0]:>8.1f}  {relayed[0]:>8.1f}  {relayed[1]:>8.1f}  {relayed[2]:>9.1f}  "
                f"{relayed[2] / window:>6.2f}"
            )
        broker.close()
        ours.send("end")
        process.join()


if __name__ == "__main__":
    main()
