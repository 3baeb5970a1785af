"""One node that serves many bad cases, and the ways in which other programs put bytes into its queue."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.faults.arena import PROJECT
from tests.servers import RedisServer, is_left_out

from sedano import Sedano
from sedano.clock import SYSTEM_CLOCK
from sedano.contracts import Broker, DeadLetter
from sedano.drivers.sqlite import backlog
from sedano.drivers.sqlite.location import locate
from sedano.drivers.sqlite.store import Store
from sedano.exceptions import BrokerUnavailable
from sedano.testing.node import Node

QUEUE = "celery"
PATIENCE_S = 60.0

Put = Callable[[bytes], None]


@dataclass
class Served:
    """A running node of `strange.py`, the app that sends to it, and `put`, which stores bytes at the tail of its queue as
    another program would that knows nothing of our checks."""

    url: str
    node: Node
    put: Put
    app: Sedano = field(init=False)
    processes: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.app = Sedano("asker", broker=self.url, backend=self.url, set_as_current=False)
        self.note_processes()

    def note_processes(self) -> None:
        """From now on the node is to keep the processes that it has."""
        self.processes = self.node.processes()

    def send(self, name: str, *args: Any, **options: Any) -> Any:
        return self.app.send_task(f"strange.{name}", args, **options)

    def get(self, name: str, *args: Any, **options: Any) -> Any:
        return self.send(name, *args, **options).get(timeout=PATIENCE_S)

    @property
    def broker(self) -> Broker:
        return self.app.stores.open_broker()

    def letter(self, raw: bytes = b"", task_id: str = "") -> DeadLetter:
        """The dead letter of these bytes, or of this call, waiting for it."""
        broker = self.broker
        try:
            deadline = time.monotonic() + PATIENCE_S
            while time.monotonic() < deadline:
                for letter in broker.dead_letters(limit=50):
                    if (letter.note.task_id == task_id) if task_id else (letter.raw == raw):
                        return letter
                time.sleep(0.005)  # another process writes it: it can only be asked again
        finally:
            broker.close()
        pytest.fail(f"no dead letter of {raw[:200]!r}{task_id}\n{self.node.log()}", pytrace=False)

    def goes_on(self) -> None:
        """The node runs the next call, in the processes that it had."""
        assert self.get("add", 2, 3) == 5
        assert self.node.processes() == self.processes, self.node.log()

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "sedano", "-A", "strange", *words],
            cwd=PROJECT,
            env={**os.environ, "STRANGE_STORE": self.url},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def listed(self) -> list[dict[str, str]]:
        """What `sedano dead list --json` says."""
        done = self.command("dead", "list", "--json", "--limit", "1000")
        assert done.returncode == 0, done.stderr
        listed: list[dict[str, str]] = json.loads(done.stdout)
        return listed


@contextlib.contextmanager
def serving(url: str, put: Put, **options: Any) -> Generator[Served]:
    with Node("strange", cwd=PROJECT, name="served@bad", environment={"STRANGE_STORE": url}, **options) as node:
        node.wait_ready()
        served = Served(url, node, put)
        try:
            yield served
        finally:
            served.app.close()


@contextlib.contextmanager
def writing_into_sqlite(url: str) -> Generator[Put]:
    """Past the driver's own publish, which would write nothing unreadable; the ring that wakes the node is the driver's."""
    store = Store(locate(url), SYSTEM_CLOCK, BrokerUnavailable)

    def put(raw: bytes) -> None:
        with store.step() as step:
            backlog.put(step, [backlog.Entry(raw, 0, QUEUE, "", None)], SYSTEM_CLOCK.wall())

    try:
        yield put
    finally:
        store.close()


LONG = pytest.mark.long
OTHER_POOLS = ("solo", "threads", "asyncio", "gevent", "eventlet")
CASES = [
    pytest.param(("redis", "prefork"), id="redis"),
    pytest.param(("sqlite", "prefork"), id="sqlite"),
    *(pytest.param(("redis", pool), id=f"redis-{pool}", marks=LONG) for pool in OTHER_POOLS),
]


@contextlib.contextmanager
def serving_pool(store: str, pool: str, folder: Path) -> Generator[Served]:
    """A node with this pool on a store of its own."""
    options = {"options": ["-P", pool]}
    if store == "sqlite":
        url = f"sqlite:///{folder}/store.db"
        with writing_into_sqlite(url) as put, serving(url, put, **options) as made:
            yield made
    elif is_left_out("redis"):
        pytest.skip("SEDANO_WITHOUT names redis")
    else:
        with RedisServer() as server, serving(server.url, lambda raw: server.command("LPUSH", QUEUE, raw), **options) as made:
            yield made


@pytest.fixture(scope="module", params=CASES)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One node for all cases of a module on one store: that it survives each of them is what is to be shown."""
    store, pool = request.param
    with serving_pool(store, pool, tmp_path_factory.mktemp("served")) as made:
        yield made
