"""Servers that tests start for themselves: private, in a folder of their own, ended with the tests."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

START_S = 60.0


def is_left_out(technology: str) -> bool:
    """Whether the environment says that this machine has no such server: SEDANO_WITHOUT="redis,rabbitmq"."""
    return technology in os.environ.get("SEDANO_WITHOUT", "").replace(",", " ").split()


class RedisServer:
    """A redis-server on a Unix socket; it keeps nothing on disk unless `arguments` say so."""

    def __init__(self, *arguments: str, program: str = "redis-server") -> None:
        found = shutil.which(program)
        if found is None:
            pytest.fail(
                f"these tests need {program}, which is not installed: install it, or set SEDANO_WITHOUT=redis",
                pytrace=False,
            )
        self._program = found
        self._arguments = arguments
        self.folder = Path(tempfile.mkdtemp(prefix="sedano-redis-"))
        self.socket = self.folder / "redis.sock"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return self.url_of(0)

    def url_of(self, db: int) -> str:
        return f"redis+socket://{self.socket}?virtual_host={db}"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Returns when the server answers."""
        options = [
            "--port",
            "0",
            "--unixsocket",
            str(self.socket),
            "--dir",
            str(self.folder),
            "--save",
            "",
            "--appendonly",
            "no",
        ]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen([self._program, *options, *self._arguments], stdout=log, stderr=log)
        deadline = time.monotonic() + START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"redis-server does not start: {(self.folder / 'log').read_text()}", pytrace=False)
            time.sleep(0.01)  # a foreign process: it can only be asked again

    def kill(self) -> None:
        """End it as a power cut does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        self.kill()
        self.start()

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def command(self, *words: str | bytes | int) -> Any:
        """Send one command on a connection of its own; the answer as bytes, int, list or None."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(START_S)
            connection.connect(str(self.socket))
            encoded = [word if isinstance(word, bytes) else str(word).encode() for word in words]
            connection.sendall(b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in encoded))
            with connection.makefile("rb") as stream:
                return _read(stream)

    def _answers(self) -> bool:
        try:
            return bool(self.command("PING") == b"PONG")
        except (OSError, RedisError):
            return False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class RedisError(Exception):
    """The server's answer was an error."""


def _read(stream: Any) -> Any:
    line = stream.readline()
    kind, rest = line[:1], line[1:-2]
    if kind == b"-":
        raise RedisError(rest.decode())
    if kind == b"+":
        return rest
    if kind == b":":
        return int(rest)
    if kind == b"$":
        return None if rest == b"-1" else stream.read(int(rest) + 2)[:-2]
    if kind == b"*":
        return None if rest == b"-1" else [_read(stream) for _ in range(int(rest))]
    raise RedisError(f"no answer: {line!r}")


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One server for the tests of this process; whoever uses it empties it (FLUSHALL) first."""
    if is_left_out("redis"):
        pytest.skip("SEDANO_WITHOUT names redis")
    server = RedisServer()
    try:
        server.start()
        yield server
    finally:
        server.close()
