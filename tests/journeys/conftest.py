"""Examples as a user has them: copied into a folder, with `sedano`, `python` and `uvicorn` of one environment in the PATH."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.interop.environments import ROOT, EnvironmentFailed, make
from tests.journeys.environment import JOURNEYS, commands_folder
from tests.journeys.reader import Reader
from tests.servers import RedisServer, is_left_out

PASSWORD = "open-sesame"
STORES = ("redis", "no server")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Make the environment before the first test, whose time is limited. What fails here is told by the tests."""
    wanted = any("commands" in getattr(item, "fixturenames", ()) for item in session.items)
    if wanted and not is_left_out("frameworks") and not session.config.option.collectonly:
        try:
            make(JOURNEYS)
        except EnvironmentFailed:
            return


@pytest.fixture(scope="session")
def commands() -> Path:
    return commands_folder()


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> str:
    if request.param == "redis" and is_left_out("redis"):
        pytest.skip("SEDANO_WITHOUT names redis")
    name: str = request.param
    return name


@pytest.fixture
def reader_of(store: str, commands: Path, tmp_path: Path) -> Iterator[Callable[[str], Reader]]:
    """example -> who reads it, with a Redis where the example looks for one; or with nothing there, and the variables that the
    README names for that case."""
    readers: list[Reader] = []
    servers: list[RedisServer] = []

    def reader(example: str) -> Reader:
        folder = tmp_path / example
        shutil.copytree(ROOT / "examples" / example, folder, ignore=shutil.ignore_patterns("__pycache__"))
        redis_port, web_port = free_ports(2)
        if store == "redis":
            servers.append(RedisServer("--port", str(redis_port)))
            servers[-1].start()
        protected = point_to(folder, redis_port)
        if servers and protected:
            servers[-1].command("CONFIG", "SET", "requirepass", PASSWORD)
        variables = {} if servers else dict.fromkeys(("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"), "sqlite:///calls.db")
        readers.append(Reader(folder, tmp_path, commands, web_port, variables))
        return readers[-1]

    yield reader
    for one in readers:
        one.close()
    for server in servers:
        server.close()


def point_to(folder: Path, port: int) -> bool:
    """Give the example's Redis another port; whether the example sends the password."""
    protected = False
    for path in folder.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        protected = protected or PASSWORD in text
        path.write_text(text.replace("localhost:6379", f"localhost:{port}"), encoding="utf-8")
    return protected


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports
