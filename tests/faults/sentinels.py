"""A Redis master, its replica and a sentinel, private to a test: for failovers."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from tests.servers import RedisServer

MASTER = "mymaster"
DOWN_AFTER_MS = 1000


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Cluster:
    """A context manager: entered when the replica has all that the master has, and the sentinel knows both.

    `appendfsync` "everysec" is what most people run; replication is asynchronous whatever it is.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.ports = [free_port(), free_port()]
        self.sentinel_port = free_port()
        self.servers = [
            RedisServer("--port", str(port), "--appendonly", "yes", "--repl-diskless-sync-delay", "0") for port in self.ports
        ]
        self._sentinel: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Needs the transport option `master_name`."""
        return f"sentinel://127.0.0.1:{self.sentinel_port}/0?master_name={MASTER}"

    @property
    def master(self) -> RedisServer:
        """Who the servers themselves say it is."""
        for server in self.servers:
            if server.running and server.command("ROLE")[0] == b"master":
                return server
        raise LookupError("nobody is the master now")

    def wait_for_replication(self, timeout_s: float = 60.0) -> None:
        """Until the replica has confirmed all that the master was told before. (WAIT would look at its own connection only.)"""
        told = int(self._replication()["master_repl_offset"])
        deadline = time.monotonic() + timeout_s
        while True:
            replica = dict(part.split("=") for part in self._replication().get("slave0", "state=none").split(","))
            if replica["state"] == "online" and int(replica["offset"]) >= told:
                return
            if time.monotonic() > deadline:
                pytest.fail(f"the replica does not follow: {replica}, the master is at {told}", pytrace=False)
            time.sleep(0.05)  # foreign processes: the replica confirms once a second

    def _replication(self) -> dict[str, str]:
        lines = self.servers[0].command("INFO", "replication").decode().split()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def wait_for_failover(self, timeout_s: float = 60.0) -> None:
        """Until the replica is the master."""
        deadline = time.monotonic() + timeout_s
        while self.servers[1].command("ROLE")[0] != b"master":
            if time.monotonic() > deadline:
                pytest.fail(f"no failover: {(self._folder / 'sentinel.log').read_text()[-3000:]}", pytrace=False)
            time.sleep(0.05)  # foreign processes agree

    def __enter__(self) -> Self:
        program = shutil.which("redis-server")
        try:
            for server in self.servers:
                server.start()
            self.servers[1].command("REPLICAOF", "127.0.0.1", self.ports[0])
            config = self._folder / "sentinel.conf"
            config.write_text(
                f"port {self.sentinel_port}\ndir {self._folder}\nsentinel monitor {MASTER} 127.0.0.1 {self.ports[0]} 1\n"
                f"sentinel down-after-milliseconds {MASTER} {DOWN_AFTER_MS}\nsentinel failover-timeout {MASTER} 5000\n"
            )
            assert program is not None
            with (self._folder / "sentinel.log").open("ab") as log:
                self._sentinel = subprocess.Popen([program, config, "--sentinel"], stdout=log, stderr=log)
            self._wait_until_known()
        except BaseException:
            self.close()
            raise
        return self

    def _wait_until_known(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            told = (self._folder / "sentinel.log").read_text()
            role = self.servers[1].command("ROLE")
            if "+slave" in told and role[3] == b"connected":
                self.wait_for_replication()
                return
            time.sleep(0.05)  # foreign processes find each other
        pytest.fail("replica and sentinel do not find their master", pytrace=False)

    def close(self) -> None:
        if self._sentinel is not None:
            self._sentinel.kill()
            self._sentinel.wait()
        for server in self.servers:
            server.close()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
