"""Real nodes in processes of their own on a private store, an app to send to them, and what their tasks wrote down."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.servers import RedisServer

from sedano.app.base import Celery
from sedano.contracts import Broker
from sedano.testing.ledger import Ledger
from sedano.testing.node import Node

PATIENCE_S = 60.0

TASKS = '''
import os, signal, sys, time
from sedano import Celery, signals
from sedano.exceptions import SoftTimeLimitExceeded
from sedano.testing.ledger import Ledger

HERE = {here!r}
app = Celery("tasks", broker={url!r}, backend={results!r})
app.conf.update({settings!r})
ledger = Ledger(HERE + "/ledger")

@app.task
def add(x, y):
    return x + y

@app.task
def pid():
    return os.getpid()

@app.task
def say(text):
    print(text)

def wait_for(gate):
    while not os.path.exists(HERE + "/" + gate):
        time.sleep(0.01)

@app.task(bind=True)
def hold(self, gate):
    """Run until the file `gate` exists."""
    ledger.start(self.request.id)
    wait_for(gate)
    ledger.end(self.request.id)
    return gate

@app.task(bind=True, acks_late=True)
def hold_late(self, gate):
    ledger.start(self.request.id)
    wait_for(gate)
    ledger.end(self.request.id)
    return self.request.delivery_info["redelivered"]

@app.task
def maybe_hold(gate=None):
    """Steady and quick, unless there is a gate."""
    if gate is not None:
        wait_for(gate)
    return os.getpid()

@app.task
def kill_self(number):
    os.kill(os.getpid(), number)
    time.sleep(30)

@app.task(bind=True)
def stubborn(self, gate):
    """Hears neither the soft limit nor SIGTERM's handler: it sits in one system call after another."""
    ledger.start(self.request.id)
    while True:
        try:
            wait_for(gate)
            return "gate"
        except SoftTimeLimitExceeded:
            pass

@app.task
def polite():
    try:
        time.sleep(30)
    except SoftTimeLimitExceeded:
        return "cleaned up"
{more}
'''


class NodeWorld:
    """A folder with `tasks.py`, an app on the same store, and the nodes that were started."""

    def __init__(self, url: str, folder: Path, server: RedisServer | None, **settings: Any) -> None:
        self.url, self.folder, self._server = url, folder, server
        self.results_url = settings.pop("result_backend", url)
        self.settings: dict[str, Any] = {"worker_lease_time": 2.0, "broker_connection_max_retries": None, **settings}
        self.app: Any = Celery("asker", broker=self.url, backend=self.results_url, set_as_current=False)
        self.ledger = Ledger(folder / "ledger")
        self.nodes: list[Node] = []
        self._broker: Broker | None = None
        self.write_tasks()

    @property
    def server(self) -> RedisServer:
        assert self._server is not None
        return self._server

    def write_tasks(self, more: str = "") -> None:
        text = TASKS.format(here=str(self.folder), url=self.url, results=self.results_url, settings=self.settings, more=more)
        (self.folder / "tasks.py").write_text(text)

    def node(self, name: str = "w1@test", **options: Any) -> Node:
        """Started, not ready yet."""
        environment = {"PYTHONUNBUFFERED": "1", "C_FORCE_ROOT": "1", **options.pop("environment", {})}
        node = Node("tasks", cwd=self.folder, name=name, environment=environment, **options).start()
        self.nodes.append(node)
        return node

    def ready(self, name: str = "w1@test", **options: Any) -> Node:
        return self.node(name, **options).wait_ready()

    def send(self, name: str, *args: Any, **options: Any) -> Any:
        return self.app.send_task(f"tasks.{name}", args, **options)

    def get(self, name: str, *args: Any, **options: Any) -> Any:
        return self.send(name, *args, **options).get(timeout=PATIENCE_S)

    def open_gate(self, name: str) -> None:
        (self.folder / name).touch()

    @property
    def broker(self) -> Broker:
        if self._broker is None:
            self._broker = self.app.stores.open_broker()
        return self._broker

    def until(self, claim: Callable[[], Any], seconds: float = PATIENCE_S) -> Any:
        """The first true answer of `claim`; other processes can only be asked again."""
        deadline = time.monotonic() + seconds
        while not (answer := claim()):
            logs = "\n".join(node.log() for node in self.nodes) if time.monotonic() > deadline else ""
            assert time.monotonic() < deadline, logs
            time.sleep(0.01)
        return answer

    def until_started(self, result: Any, times: int = 1) -> None:
        self.until(lambda: self.ledger.starts()[result.id] >= times)

    def leases(self) -> list[str]:
        return [record.owner for record in self.broker.leases()]

    def close(self) -> None:
        for node in self.nodes:
            node.__exit__(None, None, None)
            if node.process.stdout is not None:
                node.process.stdout.close()
        if self._broker is not None:
            self._broker.close()
        self.app.close()
