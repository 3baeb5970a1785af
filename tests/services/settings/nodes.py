"""Real nodes on an embedded store, with settings that the test gives them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sedano.app.base import Celery
from sedano.testing.node import Node

PATIENCE_S = 60.0

TASKS = '''
import datetime, logging, os, signal, time
from sedano import Celery, signals
from sedano.exceptions import SoftTimeLimitExceeded
from sedano.log import get_task_logger

HERE = {here!r}
app = Celery("tasks")
app.conf.update({settings!r})

def first_time(name):
    """Write down that `name` ran; whether it is the first time."""
    with open(HERE + "/" + name, "a") as runs:
        runs.write("x")
        return runs.tell() == 1

@app.task
def pid():
    return os.getpid()

@app.task
def setting(name):
    return app.conf[name]

@app.task(bind=True, default_retry_delay=0)
def die(self, name, always=False):
    """Lose this process: the first time, or `always`."""
    if first_time(name) or always:
        os.kill(os.getpid(), signal.SIGKILL)
    return f"lived at retry {{self.request.retries}}"

@app.task
def hang(name):
    """Never end, the first time."""
    try:
        while first_time(name):
            time.sleep(60)
    except SoftTimeLimitExceeded:
        return "was told"
    return "lived"

@app.task
def say(text):
    print(text)
    get_task_logger(__name__).warning("task says %s", text)
    logging.getLogger("elsewhere").warning("root says %s", text)

{more}
'''


class NodeProject:
    """A folder with `tasks.py`, the nodes that were started in it, and an app that asks them."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.url = f"sqlite:///{folder}/store.db"
        self.app: Any = Celery("asker", broker=self.url, backend=self.url, set_as_current=False)
        self.nodes: list[Node] = []

    def start(
        self,
        settings: dict[str, Any],
        *,
        more: str = "",
        name: str = "w1@test",
        concurrency: int | None = 1,
        loglevel: str = "INFO",
        options: Sequence[str] = (),
        app: str = "tasks",
        environment: dict[str, str] | None = None,
    ) -> Node:
        """Write the project and start a node of it; not ready yet."""
        settings = {"broker_url": self.url, "result_backend": self.url, **settings}
        (self.folder / "tasks.py").write_text(TASKS.format(here=str(self.folder), settings=settings, more=more))
        node = Node(
            app, cwd=self.folder, name=name, concurrency=concurrency, loglevel=loglevel, options=options,
            environment={"PYTHONUNBUFFERED": "1", "C_FORCE_ROOT": "1", **(environment or {})},
        ).start()  # fmt: skip
        self.nodes.append(node)
        return node

    def ready(self, settings: dict[str, Any], **more: Any) -> Node:
        return self.start(settings, **more).wait_ready()

    def send(self, name: str, *args: Any, **options: Any) -> Any:
        return self.app.send_task(f"tasks.{name}", args, **options)

    def get(self, name: str, *args: Any, **options: Any) -> Any:
        try:
            return self.send(name, *args, **options).get(timeout=PATIENCE_S)
        except TimeoutError as exc:
            raise AssertionError("\n".join(node.log() for node in self.nodes)) from exc

    def runs(self, name: str) -> int:
        """How often a call with this name began."""
        path = self.folder / name
        return len(path.read_text()) if path.exists() else 0

    def until(self, claim: Callable[[], Any]) -> Any:
        """The first true answer of `claim`; other processes can only be asked again."""
        deadline = time.monotonic() + PATIENCE_S
        while not (answer := claim()):
            assert time.monotonic() < deadline, "\n".join(node.log() for node in self.nodes)
            time.sleep(0.01)
        return answer

    def close(self) -> None:
        for node in self.nodes:
            node.__exit__(None, None, None)
            if node.process.stdout is not None:
                node.process.stdout.close()
        self.app.close()
