"""The engines of a test: a caller that runs snippets (`Peer`), and a `Pair` of a caller and a worker on one store."""

from __future__ import annotations

import base64
import contextlib
import os
import pickle
import selectors
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Self

import pytest
import redis
from tests.interop import environments
from tests.servers import RedisServer, is_left_out

from sedano import Celery
from sedano.testing.ledger import Ledger
from sedano.testing.node import Node, NodeError

PROJECT = Path(__file__).resolve().parent / "project"
PATIENCE_S = 60.0
START_S = 120.0
ANSWER_S = 200.0
"""Longer than a snippet waits for anything, shorter than a test may take."""
QUICK_START = ("--without-mingle", "--without-gossip", "--without-heartbeat")
"""Celery spends a second at its start on asking neighbours; tests that are not about that leave it out."""


class PeerError(AssertionError):
    """The snippet raised in the peer; the text is its traceback."""


@dataclass(frozen=True)
class Engine:
    """`python` runs it; `command` is what stands before `-A`; `script` is what runs a script under it."""

    name: str
    python: Path
    command: tuple[str, ...]
    script: tuple[str, ...] = ()

    @property
    def is_sedano(self) -> bool:
        return self.name == "sedano"


def engine(name: str) -> Engine:
    """ "sedano", or "celery5.4". Makes its environment when there is none yet."""
    if name == "sedano":
        return Engine(name, Path(sys.executable), ("-m", "sedano"), ("-m", "sedano.as_celery"))
    return Engine(name, environments.python_of(environments.celery(name.removeprefix("celery"))), ("-m", "celery"))


class Peer:
    """A process that runs snippets with the tasks of `project/calc.py` at hand. A context manager."""

    def __init__(self, of: Engine, environment: Mapping[str, str]) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the peer
        self._of, self._environment = of, environment
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        self._is_ready = False
        return subprocess.Popen(
            [self._of.python, *self._of.script, "peer.py"],
            cwd=PROJECT,
            env=environments.clean_environment(self._environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )

    def ask(self, source: str, **variables: Any) -> Any:
        """Run `source` with `variables`; the value of its last expression. Blocks until it is there.

        Raises PeerError for what it raises. A peer that does not answer in time is replaced by a new one: its next answer
        would be taken for that of another question.
        """
        try:
            if not self._is_ready:
                self._read()
                self._is_ready = True
            assert self._process.stdin is not None
            self._process.stdin.write(base64.b64encode(pickle.dumps((textwrap.dedent(source), variables))) + b"\n")
            self._process.stdin.flush()
            worked, answer = pickle.loads(base64.b64decode(self._read()))
        except BaseException:
            self._end(0)
            self._process = self._start()
            raise
        if not worked:
            raise PeerError(f"{answer}\nits log:\n{self.log()}")
        return answer

    def _read(self) -> bytes:
        assert self._process.stdout is not None
        line = b""
        deadline = time.monotonic() + ANSWER_S
        while not line.endswith(b"\n"):
            if not _is_readable(self._process.stdout, max(0.0, deadline - time.monotonic())):
                raise PeerError(f"no answer for {ANSWER_S:g} s; its log:\n{self.log()}")
            part = os.read(self._process.stdout.fileno(), 1 << 20)
            if not part:
                raise PeerError(f"the peer ended; its log:\n{self.log()}")
            line += part
        return line

    def log(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def _end(self, patience_s: float) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def close(self) -> None:
        self._end(5)
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass
class Place:
    """One database of a Redis and one folder: where engines meet. Closing it ends what was started in it.

    `broker` is the URL of another broker than this Redis, `results` that of another result store.
    """

    server: RedisServer
    db: int
    folder: Path
    settings: dict[str, str] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    broker: str = ""
    results: str = ""

    def __post_init__(self) -> None:
        self._open = ExitStack()
        self.redis: Any = self._open.enter_context(redis.Redis(unix_socket_path=str(self.server.socket), db=self.db))
        self.ledger = Ledger(self.folder / "ledger")

    @property
    def url(self) -> str:
        """The broker's."""
        return self.broker or self.server.url_of(self.db)

    def environment(self, **more: str) -> dict[str, str]:
        """What `project/calc.py` reads."""
        return {
            "INTEROP_URL": self.url,
            "INTEROP_RESULTS": self.results or self.server.url_of(self.db),
            "INTEROP_FOLDER": str(self.folder),
            # RabbitMQ keeps messages only: what Sedano tells its nodes lies here, and not beside the project.
            **({"INTEROP_ORDERS": f"sqlite:///{self.folder}/orders.db"} if self.broker else {}),
            "C_FORCE_ROOT": "1",
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            **self.settings,
            **more,
        }

    def peer(self, of: Engine) -> Peer:
        return self._open.enter_context(Peer(of, self.environment()))

    def worker(
        self,
        of: Engine,
        name: str,
        *options: str,
        app: str = "calc",
        cwd: Path = PROJECT,
        before_app: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        concurrency: int = 2,
    ) -> Node:
        """A started worker node, not ready yet. `before_app` are options that stand before `-A`."""
        if not of.is_sedano and "--with-mingle" not in options:
            options = (*QUICK_START, *options)
        node = Node(
            app,
            cwd=cwd,
            name=name,
            concurrency=concurrency,
            options=[option for option in options if option != "--with-mingle"],
            environment=self.environment(**(environment or {})),
            command=[str(of.python), *of.command, *before_app],
        )
        self.nodes.append(node)
        self._open.callback(close_node, node)
        if self.broker and not of.is_sedano:
            self._open.callback(_kill, node)  # Celery needs six seconds to end in peace on RabbitMQ
        return node.start()

    def ready(self, of: Engine, name: str, *options: str, **more: Any) -> Node:
        return self.worker(of, name, *options, **more).wait_ready(START_S)

    def until_heard(self, *names: str) -> None:
        """Wait until these nodes answer. A Celery worker on Redis says "ready" before it listens to commands and to requests of
        event receivers: what is broadcast in between is lost. On RabbitMQ a node's queue is there by then, and keeps it."""
        if self.broker.startswith("amqp"):
            return
        with closing(Celery("asker", broker=self.url, set_as_current=False)) as app:
            self.until(lambda: len(app.control.ping(destination=names, timeout=1.0, limit=len(names))) == len(names), START_S)

    def run(self, of: Engine, *words: str, app: str = "calc") -> subprocess.CompletedProcess[str]:
        """One command of the engine's command line, ended."""
        return subprocess.run(
            [of.python, *of.command, "-A", app, *words],
            cwd=PROJECT,
            env=environments.clean_environment(self.environment()),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def open_gate(self, name: str) -> None:
        (self.folder / name).touch()

    def until(self, claim: Callable[[], Any], seconds: float = PATIENCE_S, about: Callable[[], Any] = str) -> Any:
        """The first true answer of `claim`; other processes can only be asked again. A failure says what `about` says then."""
        deadline = time.monotonic() + seconds
        while not (answer := claim()):
            if time.monotonic() > deadline:
                ended = {node.name: code for node in self.nodes if (code := node.process.poll()) is not None}
                logs = "\n".join(f"the log of {node.name}:\n{node.log()}" for node in self.nodes)
                raise AssertionError(f"{about()}\nended have {ended}\n{logs}")
            time.sleep(0.01)
        return answer

    def until_equal(self, ask: Callable[[], Any], wanted: Any, seconds: float = PATIENCE_S) -> None:
        """Until `ask` answers `wanted`. A failure says what it has answered last."""
        answers: list[Any] = []

        def is_so() -> bool:
            answers[:] = [ask()]
            return bool(answers == [wanted])

        self.until(is_so, seconds, lambda: f"{answers[0]!r} is not {wanted!r}")

    def until_started(self, ids: Sequence[str], times: int = 1) -> None:
        self.until(lambda: all(self.ledger.starts()[task_id] >= times for task_id in ids))

    def begin_to_close(self) -> None:
        """Tell its workers to stop; `close` waits for them. For whoever closes several places."""
        for node in self.nodes:
            if node.process.poll() is None:
                node.signal(signal.SIGTERM)

    def close(self) -> None:
        self.begin_to_close()
        self._open.close()


def close_node(node: Node) -> None:
    node.__exit__(None, None, None)
    if node.process.stdout is not None:
        node.process.stdout.close()


def _kill(node: Node) -> None:
    if node.process.poll() is None:
        node.kill()


def see_off(node: Node) -> None:
    """Wait for a Celery worker that was told to stop. Now and then it says "Warm shutdown", has nothing left and stays: that is
    not ours to judge."""
    try:
        node.wait(20)
    except NodeError:
        node.kill()


class Pair:
    """A caller of one engine and a worker of the other, in a place of their own."""

    def __init__(self, caller: Engine, worker: Engine, place: Place) -> None:
        self.caller, self.engine, self.place = caller, worker, place
        self.name = f"w1@{worker.name}"
        self.peer = place.peer(caller)
        self.worker = place.ready(worker, self.name)
        place.until_heard(self.name)

    def ask(self, source: str, **variables: Any) -> Any:
        """Run a snippet in the caller; see `Peer.ask`. The error has the end of the worker's log too."""
        try:
            return self.peer.ask(source, **variables)
        except PeerError as error:
            raise PeerError(f"{error}\nthe worker's log:\n{self.worker.log()[-5000:]}") from None

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command of the caller's engine."""
        return self.place.run(self.caller, *words)


def folder_for(name: str, base: Path) -> Path:
    folder = base / name
    os.makedirs(folder)
    return folder


def _is_readable(file: IO[Any], timeout_s: float) -> bool:
    """`select.select` knows descriptors below 1,024 only, and a long run of tests has more."""
    with selectors.DefaultSelector() as selector:
        selector.register(file, selectors.EVENT_READ)
        return bool(selector.select(timeout_s))


@contextlib.contextmanager
def place_of_its_own(name: str, folder: Path) -> Iterator[Place]:
    """A place on a Redis that nobody else uses, closed at the end. The test is skipped where there is to be no Redis."""
    if is_left_out("redis"):
        pytest.skip("SEDANO_WITHOUT names redis")
    with RedisServer() as server:
        place = Place(server, 0, folder_for(name, folder))
        try:
            yield place
        finally:
            place.close()
