"""What a worker tells its service manager, on a real socket."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.services.worker.conftest import Make
from tests.services.worker.nodes import NodeWorld

from sedano.worker.notify import Notifier

PATIENCE_S = 60.0


class Manager:
    """The socket that systemd would have, and what came."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.heard: list[str] = []

    def hear(self, timeout_s: float) -> list[str]:
        """The lines of the next datagram; [] when none comes."""
        self._socket.settimeout(timeout_s)
        try:
            lines = self._socket.recv(4096).decode().split("\n")
        except TimeoutError:
            return []
        self.heard += lines
        return lines

    def until(self, line: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not any(heard.startswith(line) for heard in self.hear(max(0.01, deadline - time.monotonic()))):
            assert time.monotonic() < deadline, self.heard

    def drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._socket.setblocking(False)
            while True:
                self.heard += self._socket.recv(4096).decode().split("\n")

    def environment(self, watchdog_s: float | None = None) -> dict[str, str]:
        watchdog = {} if watchdog_s is None else {"WATCHDOG_USEC": str(int(watchdog_s * 1e6))}
        return {"NOTIFY_SOCKET": self.address, **watchdog}

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(f"@sedano-test-{secrets.token_hex(8)}" if request.param == "abstract" else str(tmp_path / "notify"))
    yield manager
    manager.close()


def test_given_a_service_manager_then_it_hears_when_the_node_is_ready_and_when_it_stops(world: NodeWorld, manager: Manager):
    node = world.node("w1@test", concurrency=1, environment=manager.environment())
    manager.until("READY=1")
    node.wait_for_line("ready")
    manager.until("STATUS=ready")
    node.signal(signal.SIGTERM)
    manager.until("STOPPING=1")
    assert node.wait() == 0
    manager.drain()
    assert manager.heard.count("READY=1") == 1
    assert "WATCHDOG=1" not in manager.heard


def test_given_a_broker_that_is_away_then_the_node_is_not_ready_and_the_watchdog_is_content(make_world: Make, manager: Manager):
    world = make_world()
    world.server.kill()
    try:
        node = world.node("w1@test", concurrency=1, environment=manager.environment(1.0))
        manager.until("STATUS=not ready: it has no connection")
        for _ in range(4):
            manager.until("WATCHDOG=1")
        assert "READY=1" not in manager.heard
    finally:
        world.server.start()
    manager.until("READY=1")
    world.server.kill()
    try:
        manager.until("STATUS=not ready: the broker has not answered")
        for _ in range(4):
            manager.until("WATCHDOG=1")
    finally:
        world.server.start()
    manager.until("STATUS=ready")
    assert node.process.poll() is None


def test_given_a_supervisor_that_hangs_then_the_watchdog_hears_nothing_more(world: NodeWorld, manager: Manager):
    node = world.node("w1@test", concurrency=1, environment=manager.environment(1.0))
    manager.until("READY=1")
    manager.until("WATCHDOG=1")
    manager.until("WATCHDOG=1")
    node.signal(signal.SIGSTOP)
    try:
        while manager.hear(0.2):  # what was on its way
            pass
        assert manager.hear(2.0) == []  # four times as long as it may be silent
    finally:
        node.signal(signal.SIGCONT)
    manager.until("WATCHDOG=1")


def test_given_a_hangup_then_the_node_says_that_it_comes_back_and_when_it_is_there(world: NodeWorld, manager: Manager):
    node = world.node("w1@test", concurrency=1, environment=manager.environment(1.0))
    manager.until("READY=1")
    pid = node.pid
    node.signal(signal.SIGHUP)
    manager.until("RELOADING=1")
    assert any(line.startswith("MONOTONIC_USEC=") for line in manager.heard)
    manager.until("READY=1")
    manager.until("WATCHDOG=1")
    assert node.process.poll() is None
    assert node.pid == pid
    assert "STOPPING=1" not in manager.heard
    assert world.get("add", 1, 2) == 3


def test_given_a_manager_that_is_gone_then_the_node_works_all_the_same(world: NodeWorld, tmp_path: Path):
    world.ready("w1@test", concurrency=1, environment={"NOTIFY_SOCKET": str(tmp_path / "gone"), "WATCHDOG_USEC": "1000000"})
    assert world.get("add", 1, 2) == 3


def test_given_an_environment_that_means_somebody_else_or_nothing_then_nothing_is_told():
    assert Notifier.from_environment({}) is None
    assert Notifier.from_environment({"NOTIFY_SOCKET": "relative"}) is None
    assert Notifier.from_environment({"NOTIFY_SOCKET": "vsock:2:1"}) is None
    for more in (
        {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": str(os.getpid() + 1)},
        {"WATCHDOG_USEC": "x"},
        {"WATCHDOG_USEC": "0"},
    ):
        notifier = Notifier.from_environment({"NOTIFY_SOCKET": "/run/x", **more})
        assert notifier is not None
        assert not notifier._has_watchdog


def test_given_a_process_that_is_not_alive_then_the_watchdog_is_not_told(tmp_path: Path):
    manager = Manager(str(tmp_path / "n"))
    notifier = Notifier(manager.address, 10.0)
    notifier.look(100.0, "", is_alive=False)
    manager.drain()
    assert manager.heard == ["READY=1", "STATUS=ready"]
    assert notifier.due_at == 105.0
    notifier.look(105.0, "", is_alive=True)
    manager.drain()
    assert manager.heard[2:] == ["WATCHDOG=1"]
    manager.close()
