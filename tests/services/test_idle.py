"""What a node costs that has nothing to do, and how soon it begins the call that comes."""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.servers import RedisServer, is_left_out

from sedano import Sedano
from sedano.testing.node import Node

PROJECT = """
import os, time
from sedano import Sedano

app = Sedano("idle", broker=os.environ["URL"], backend=os.environ["URL"])

@app.task
def now():
    return time.time_ns()
"""
CALLS_PER_S = 5.0
WINDOW_S = 10.0  # longer than the beat of an idle node, which comes three times in a lease of 20 s
WINDOWS = 3  # what follows from earlier calls (pages to read again, memory to get) is over in the second
START_MS = 5.0
ROUND = 300
PATIENCE_S = 90.0  # a machine that is busy with other things gets further rounds


@dataclass
class World:
    app: Sedano
    node: Node

    def start_ms(self) -> float:
        """From before `delay` to the task's first line, in milliseconds; both processes read one clock."""
        before = time.time_ns()
        began: int = self.app.send_task("idle.now").get(timeout=60)
        return (began - before) / 1e6


@pytest.fixture(scope="module", params=["redis", "sqlite"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A node with two slots on default settings, and a client that has talked to it already."""
    folder = tmp_path_factory.mktemp("idle")
    (folder / "idle.py").write_text(PROJECT)
    server: RedisServer | None = None
    url = f"sqlite:///{folder}/store.db"
    if request.param == "redis":
        if is_left_out("redis"):
            pytest.skip("SEDANO_WITHOUT names redis")
        server = RedisServer()
        server.start()
        url = server.url
    try:
        with Node("idle", cwd=folder, name="idle@test", concurrency=2, environment={"URL": url}) as node:
            node.wait_ready()
            app = Sedano("asker", broker=url, backend=url, set_as_current=False)
            world = World(app, node)
            for _ in range(20):
                world.start_ms()
            yield world
            app.close()
    finally:
        if server is not None:
            server.close()


# -- doing nothing -----------------------------------------------------------------------------------------------------


def system_calls(pids: list[int], seconds: float, folder: Path) -> dict[int, list[str]]:
    """The system calls that these processes and their threads make in so many seconds: the lines of strace."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.fail("this test needs strace, which is not installed: install it, or set SEDANO_WITHOUT=strace", pytrace=False)
    files = {pid: folder / f"calls-{pid}" for pid in pids}
    tracers = [
        subprocess.Popen(
            [strace, "-f", "-qq", "-e", "signal=none", "-o", file, "-p", str(pid)], stderr=subprocess.PIPE, text=True
        )
        for pid, file in files.items()
    ]
    time.sleep(seconds)  # what is counted is what happens in this time
    for tracer in tracers:
        tracer.send_signal(signal.SIGINT)
    errors = [tracer.communicate(timeout=60)[1] for tracer in tracers]
    if any("Operation not permitted" in error for error in errors):
        pytest.skip("this user may not trace processes")
    # A call that waits is written twice, when it begins and when it ends ("resumed"); "resuming" are those from before.
    return {
        pid: [line for line in file.read_text().splitlines() if "resumed>" not in line and "resuming interrupted" not in line]
        for pid, file in files.items()
    }


@pytest.mark.skipif(is_left_out("strace"), reason="SEDANO_WITHOUT names strace")
def test_given_a_node_with_nothing_to_do_then_each_process_makes_fewer_than_five_system_calls_a_second(
    world: World, tmp_path: Path
) -> None:
    for _ in range(WINDOWS):
        made = system_calls(world.node.processes(), WINDOW_S, tmp_path)
        rates = {pid: len(lines) / WINDOW_S for pid, lines in made.items()}
        busiest = max(rates, key=lambda pid: rates[pid])
        if rates[busiest] < CALLS_PER_S:
            break
    assert len(made) == 4  # supervisor, template, two slots
    assert rates[busiest] < CALLS_PER_S, "\n".join(made[busiest])
    assert rates[world.node.template()] == 0.0
    assert "TracerPid:\t0" in Path(f"/proc/{world.node.pid}/status").read_text()


# -- beginning ---------------------------------------------------------------------------------------------------------


class Echo:
    """A process that answers each byte: how long this machine needs, just now, to wake another process and be woken by it."""

    def __enter__(self) -> Echo:
        program = "import os\nwhile data := os.read(0, 1): os.write(1, data)"
        self._process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.trip_ms()
        return self

    def trip_ms(self) -> float:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        before = time.time_ns()
        os.write(self._process.stdin.fileno(), b"x")
        os.read(self._process.stdout.fileno(), 1)
        return (time.time_ns() - before) / 1e6

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


def p(share: float, values: list[float]) -> float:
    return sorted(values)[math.ceil(share * len(values)) - 1]


def test_given_an_idle_node_when_a_call_is_sent_then_it_begins_within_five_milliseconds(
    world: World, record_property: pytest.RecordProperty
) -> None:
    """At the 99th percentile, beyond what this machine needs to wake a process at all: on a quiet one that is nothing."""
    rounds: list[str] = []
    until = time.monotonic() + PATIENCE_S
    with Echo() as echo:
        while True:
            starts, trips = [], []
            for _ in range(ROUND):
                trips.append(echo.trip_ms())
                starts.append(world.start_ms())
            best = p(0.99, starts)
            rounds.append(f"p50 {p(0.5, starts):.2f} ms, p99 {best:.2f} ms; waking a process: p99 {p(0.99, trips):.2f} ms")
            if best < START_MS + p(0.99, trips):
                break
            assert time.monotonic() < until, "\n".join(rounds)
    record_property("start", rounds[-1])
