"""Private servers for a run: redis-server on a free port, and a proxy that delays every byte both ways."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int) -> None:
    for _ in range(500):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            return
        time.sleep(0.01)
    raise SystemExit(f"nothing answers on port {port}")


@dataclass(frozen=True)
class Store:
    """`url` is what the worker is told, `direct` the same without delay for whoever only fills it; `pid` is the server's."""

    url: str
    direct: str
    pid: int | None = None

    @property
    def port(self) -> int:
        return int(self.direct.rsplit(":", 1)[1].partition("/")[0])


@contextlib.contextmanager
def store(kind: str, folder: Path) -> Iterator[Store]:
    """A fresh store: redis, redis-aof (append-only file, fsync every second), redis-1ms (through the proxy), sqlite, rabbitmq,
    rabbitmq-quorum (what the tasks' queue is, is the app's business)."""
    if kind == "sqlite":
        url = f"sqlite:///{folder}/bench-{time.monotonic_ns()}.db"
        yield Store(url, url)
        return
    if kind.startswith("rabbitmq"):
        with rabbit_server() as rabbit:
            yield rabbit
        return
    with redis_server(append_only=kind == "redis-aof") as direct:
        if kind != "redis-1ms":
            yield direct
            return
        with delayed(direct.url, 0.001) as url:
            yield Store(url, direct.url, direct.pid)


@contextlib.contextmanager
def redis_server(*, append_only: bool = False) -> Iterator[Store]:
    """A redis-server of our own."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="sedano-bench-") as folder:
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        command += ["--appendonly", "yes", "--appendfsync", "everysec"] if append_only else ["--appendonly", "no"]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            _wait_for(port)
            url = f"redis://127.0.0.1:{port}/0"
            yield Store(url, url, server.pid)
        finally:
            server.terminate()
            server.wait()


@contextlib.contextmanager
def rabbit_server() -> Iterator[Store]:
    """A RabbitMQ node of our own, as the tests have it."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from tests.rabbit import RabbitServer  # noqa: PLC0415 - needs pytest, which other stores do not

    with RabbitServer() as server:
        yield Store(server.url, server.url, server.pid)


@contextlib.contextmanager
def delayed(url: str, delay_s: float) -> Iterator[str]:
    """`url` through a proxy process that holds every byte for `delay_s` in each direction."""
    target = int(url.rsplit(":", 1)[1].partition("/")[0])
    port = free_port()
    proxy = subprocess.Popen([sys.executable, __file__, str(port), str(target), str(delay_s)])
    try:
        _wait_for(port)
        yield url.replace(f":{target}/", f":{port}/")
    finally:
        proxy.terminate()
        proxy.wait()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_s: float) -> None:
    loop = asyncio.get_running_loop()
    held: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def send() -> None:
        while True:
            due, data = await held.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            if not data:
                writer.close()
                return
            writer.write(data)
            await writer.drain()

    sending = asyncio.ensure_future(send())
    while True:
        data = await reader.read(1 << 16)
        held.put_nowait((loop.time() + delay_s, data))
        if not data:
            break
    await sending


async def _proxy(port: int, target: int, delay_s: float) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", target)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await asyncio.gather(_pump(reader, there_writer, delay_s), _pump(there_reader, writer, delay_s))

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_proxy(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
