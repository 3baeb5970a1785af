"""What a call costs, in counts: round trips, system calls, memory that stays. Never in seconds: those wobble, counts do not.

Each bound stands beside what was counted when it was written; it leaves room for a window that a busy machine cuts short,
and none for a step that is made once for each call.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.roundtrips import CountingRelay
from tests.servers import RedisServer, is_left_out

from sedano import Sedano
from sedano.testing.node import Node

PROJECT = """
import gc, os, sys
from sedano import Sedano

app = Sedano("budget", broker=os.environ["URL"], backend=os.environ["URL"])
app.conf.worker_window_time = 10  # so that a busy machine does not cut the windows short, and the counts stay

@app.task
def noop():
    pass

@app.task
def blocks():
    gc.collect()
    return sys.getallocatedblocks()
"""
COUNT = 3_000
PATIENCE_S = 90.0  # without any progress


@dataclass
class World:
    """`app` talks to the store directly; the node does so through `relay` when that is Redis."""

    app: Sedano
    node: Node
    relay: CountingRelay | None

    def fill(self, count: int) -> None:
        self.app.send_many(("budget.noop",) for _ in range(count))

    def drain(self) -> None:
        """Wait until nothing is left."""
        last, until = -1, 0.0
        broker = self.app.stores.open_broker()
        try:
            while True:
                (depth,) = broker.depth(["celery"])
                left = depth.ready + depth.reserved + depth.begun
                if not left:
                    return
                if left != last:
                    last, until = left, time.monotonic() + PATIENCE_S
                assert time.monotonic() < until, self.node.log()
                time.sleep(0.02)  # asked from outside, so that nothing is added to what is counted
        finally:
            broker.close()

    def blocks(self) -> int:
        found: int = self.app.send_task("budget.blocks").get(timeout=PATIENCE_S)
        return found


@pytest.fixture(scope="module", params=["redis", "sqlite"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A node with one slot that knows its task: what is sent now is taken in windows."""
    folder = tmp_path_factory.mktemp("budget")
    (folder / "budget.py").write_text(PROJECT)
    if request.param == "sqlite":
        url = f"sqlite:///{folder}/store.db"
        yield from _world(folder, url, url, None)
        return
    if is_left_out("redis"):
        pytest.skip("SEDANO_WITHOUT names redis")
    server = RedisServer()
    server.start()
    try:
        with CountingRelay(server.socket) as relay:
            yield from _world(folder, server.url, relay.url, relay)
    finally:
        server.close()


def _world(folder: Path, direct: str, url: str, relay: CountingRelay | None) -> Iterator[World]:
    with Node("budget", cwd=folder, name="budget@test", concurrency=1, loglevel="WARNING", environment={"URL": url}) as node:
        app = Sedano("asker", broker=direct, backend=direct, set_as_current=False)
        world = World(app, node, relay)
        world.fill(1_000)
        world.drain()
        yield world
        app.close()


def system_calls(pid: int, act: Callable[[], None], folder: Path) -> Counter[str]:
    """The system calls that this process and its threads make while `act` runs, by name."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.fail("this test needs strace, which is not installed: install it, or set SEDANO_WITHOUT=strace", pytrace=False)
    file = folder / f"calls-{pid}"
    command = [strace, "-f", "-qq", "-e", "signal=none", "-o", str(file), "-p", str(pid)]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while "TracerPid:\t0" in Path(f"/proc/{pid}/status").read_text() and tracer.poll() is None:
        assert time.monotonic() < until
        time.sleep(0.01)  # a foreign process: its state can only be looked at
    try:
        act()
    finally:
        tracer.send_signal(signal.SIGINT)
        errors = tracer.communicate(timeout=60)[1]
    if "Operation not permitted" in errors:
        pytest.skip("this user may not trace processes")
    lines = [line.split(None, 1)[1] for line in file.read_text().splitlines()]
    return Counter(line.partition("(")[0] for line in lines if not line.startswith(("<...", "+++", "---")))


def test_given_a_full_queue_when_it_is_drained_then_many_calls_share_a_round_trip(world: World) -> None:
    """Counted: 80 for 4,000 calls, the beats of the node and its supervisor included."""
    if world.relay is None:
        pytest.skip("SQLite has no round trips")
    world.fill(COUNT)
    world.relay.reset()
    world.drain()
    assert world.relay.round_trips < COUNT / 20


@pytest.mark.skipif(is_left_out("strace"), reason="SEDANO_WITHOUT names strace")
def test_given_a_full_queue_when_it_is_drained_then_a_slot_makes_few_system_calls_for_each(
    world: World, tmp_path: Path
) -> None:
    """Counted for a call: 2.5 with Redis (nearly all are the lock of the slot's row), where a line of log would be
    two more; 6.5 to 8.7 with SQLite (mostly pages of its log), where a transaction for each call would be fifty more."""
    (slot,) = world.node.slots()

    def act() -> None:
        world.fill(COUNT)
        world.drain()

    made = system_calls(slot, act, tmp_path)
    assert made.total() < COUNT * (3.4 if world.relay is not None else 12), made.most_common(12)
    assert made.total() > COUNT / 100  # it was this process that worked


def test_given_twenty_thousand_calls_then_a_slot_keeps_nothing_of_them(world: World) -> None:
    """Counted in blocks of Python's allocator, after a collection: less than a hundred more, often fewer. One object kept of
    each call would be twenty thousand."""
    for _ in range(2):  # what the first calls fill (caches, tables of sizes) is there after the first round
        world.fill(COUNT)
        world.drain()
        before = world.blocks()
    world.fill(20_000)
    world.drain()
    assert world.blocks() - before < 2_000


@pytest.mark.parametrize("world", ["redis"], indirect=True)
def test_given_calls_and_results_then_sending_is_a_round_trip_each_and_reading_what_is_there_shares_them(world: World) -> None:
    """Counted: 100 for sending, 4 for reading. The caller has a relay of its own: the slot's turns are not among them."""
    assert world.relay is not None
    with CountingRelay(world.relay.server) as relay:
        app = Sedano("caller", broker=relay.url, backend=relay.url, set_as_current=False)
        app.send_task("budget.noop").get(timeout=PATIENCE_S)
        relay.reset()
        handles = [app.send_task("budget.noop") for _ in range(100)]
        sent = relay.round_trips
        world.drain()
        relay.reset()
        for handle in handles:
            handle.get(timeout=PATIENCE_S)
        read = relay.round_trips
        app.close()
    assert 100 <= sent <= 105
    assert read <= 20
