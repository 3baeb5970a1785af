"""A worker that says it is alive and does not consume: the node says so, and does something about it (promise P7)."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.arena import Arena, arena, check
from tests.servers import RedisServer, is_left_out

from sedano.testing.proxy import Proxy

PATIENCE_S = 60.0


@pytest.fixture
def server() -> Iterator[RedisServer]:
    if is_left_out("redis"):
        pytest.skip("SEDANO_WITHOUT names redis")
    with RedisServer() as made:
        yield made


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[Proxy]:
    with Proxy(server.socket) as made:
        yield made


@pytest.fixture
def run(server: RedisServer, tmp_path: Path) -> Iterator[Arena]:
    """The test sends straight to the server; nodes take the proxy where the test says so."""
    with arena(tmp_path, server.url, server.url, "early") as made:
        yield made


def url_of(proxy: Proxy) -> str:
    return f"redis://{proxy.host}:{proxy.port}/0"


def test_given_an_idle_node_whose_connections_are_half_open_then_it_reconnects_by_itself_and_consumes(
    run: Arena, proxy: Proxy
) -> None:
    node = run.node("worker", concurrency=2, FAULT_BROKER=url_of(proxy), FAULT_RESULTS=url_of(proxy)).wait_ready(PATIENCE_S)
    for _ in range(20):
        run.send("work")
    check(run)
    processes = node.processes()
    before = proxy.traffic.connections
    assert proxy.half_open() >= 3
    for _ in range(20):
        run.send("work")
    assert check(run).recorded == []
    assert proxy.traffic.connections > before
    assert node.processes() == processes, "the same processes, new connections"


@pytest.mark.parametrize("acks", ["early", "late"])
def test_given_connections_that_become_half_open_under_load_then_nothing_is_lost_and_no_lease_is(
    server: RedisServer, proxy: Proxy, tmp_path: Path, acks: str
) -> None:
    """The lease is long enough for a node to notice within it, as the default one (20 s) is."""
    with arena(tmp_path, server.url, server.url, acks, lease_s=18.0) as run:
        for name in ("one", "two"):
            run.node(name, concurrency=2, FAULT_BROKER=url_of(proxy), FAULT_RESULTS=url_of(proxy)).wait_ready(PATIENCE_S)
        for number in range(300):
            run.send("work", 0.002 * (number % 4), countdown=0.2 if number % 10 == 0 else None)
        assert proxy.half_open() >= 6
        for _ in range(100):
            run.send("work")
        assert check(run).recorded == [], "no process died"
        assert "taken over" not in run.logs()


@pytest.mark.long
@pytest.mark.timeout(240)
@pytest.mark.parametrize("store", ["sqlite", "redis"])
def test_given_a_slot_that_stands_still_while_it_is_idle_then_the_node_says_that_it_is_not_ready_and_replaces_it(
    store: str, server: RedisServer, tmp_path: Path
) -> None:
    url = server.url if store == "redis" else f"sqlite:///{tmp_path}/store.db"
    with arena(tmp_path, url, url, "early") as run:
        node = run.node("worker", concurrency=1).wait_ready(PATIENCE_S)
        run.send("work")
        check(run)
        (slot,) = node.slots()
        time.sleep(1)  # it is to wait for work, not to settle the call above
        os.kill(slot, signal.SIGSTOP)
        node.wait_for_line("worker@arena is not ready: the broker has not answered slot 0 for 10 seconds", PATIENCE_S)
        node.wait_for_line("Slot 0 is alive and has not asked for work for 30 s: it is replaced", PATIENCE_S)
        run.send("work")
        check(run)
        node.wait_for_line("worker@arena is ready again", PATIENCE_S)
        assert node.slots() != [slot]


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_given_a_message_that_takes_longer_to_arrive_than_a_slot_may_be_silent_then_it_is_run_by_that_slot(
    server: RedisServer, tmp_path: Path, pool: str
) -> None:
    """12 MB at 300 kB/s: 40 s."""
    size = 9_000_000  # as base64 a third more
    with slow_line(server.socket, 300_000) as url, arena(tmp_path, server.url, server.url, "early", lease_s=20.0) as run:
        node = run.node("slow", concurrency=1, options=["-P", pool], FAULT_BROKER=url, FAULT_RESULTS=url)
        node.wait_ready(PATIENCE_S)
        slots = node.slots()
        began = time.monotonic()
        sent = run.send("size", "x" * size)
        assert run.app.AsyncResult(sent).get(timeout=PATIENCE_S * 2) == size
        assert time.monotonic() - began > 35, "the line is not slow enough to show anything"
        assert node.slots() == slots, node.log()
        assert "it is replaced" not in node.log()


@contextlib.contextmanager
def slow_line(path: Path, bytes_per_s: int) -> Iterator[str]:
    """A way to the server's Unix socket on which what it says comes at this rate; the URL of its other end."""
    chunk = 16_384

    def forward(source: socket.socket, target: socket.socket, pause_s: float) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(chunk):
                target.sendall(data)
                time.sleep(pause_s * len(data) / chunk)  # the line's rate
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def serve(near: socket.socket) -> None:
        with near, socket.socket(socket.AF_UNIX) as far:
            far.connect(str(path))
            up = threading.Thread(target=forward, args=(near, far, 0.0), daemon=True)
            up.start()
            forward(far, near, chunk / bytes_per_s)
            up.join()

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                threading.Thread(target=serve, args=(near,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
