"""RabbitMQ servers that tests start for themselves: private nodes that share nothing with a server of this machine.

A node has its own folder, node name, cookie, ports and port mapper (epmd). It takes some seconds to start, so the processes of
one test run share one (`rabbit_server`), and each test works in a virtual host of its own (`rabbit_url`). Whoever breaks a
server takes `own_rabbit`.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import fcntl
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import pytest
from tests.servers import is_left_out

# A node of its own takes some 6 s to boot on two idle cores; a test run keeps them busy.
START_S = 180.0
ATTEMPTS = 3
USER = "guest"

# Debian's programs in /usr/sbin change to the user rabbitmq and to the server's folders; what they call does not.
DEBIAN = Path("/usr/lib/rabbitmq/bin")


def free_port() -> int:
    """A port of this host that nobody listens on. Out of the range of outgoing connections: it can be bound again later. The
    processes of a test run seed `random` alike, and must not choose alike."""
    while True:
        port = random.SystemRandom().randrange(20000, 32000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def program(name: str) -> str:
    """The path of one of RabbitMQ's programs."""
    found = str(DEBIAN / name) if (DEBIAN / name).exists() else shutil.which(name)
    if found is None:
        pytest.fail(
            f"these tests need {name}, which is not installed: install it, or set SEDANO_WITHOUT=rabbitmq", pytrace=False
        )
    return found


@dataclasses.dataclass(frozen=True)
class Ports:
    amqp: int
    management: int
    epmd: int
    distribution: int

    @classmethod
    def free(cls) -> Ports:
        return cls(free_port(), free_port(), free_port(), free_port())


class RabbitServer:
    """A RabbitMQ node on 127.0.0.1, with the management plugin.

    `configuration`: more lines of rabbitmq.conf. The user is guest, with the password guest.
    """

    def __init__(self, *configuration: str, folder: Path | None = None) -> None:
        """`folder`: that of a server which another process started, to speak to it."""
        self._configuration = configuration
        self._programs = {name: program(name) for name in ("rabbitmq-server", "rabbitmqctl", "epmd")}
        self._alarmed = False
        self._process: subprocess.Popen[bytes] | None = None
        self._epmd: subprocess.Popen[bytes] | None = None
        if folder is not None:
            self.folder = folder
            self._ports = Ports(**json.loads((folder / "ports.json").read_text()))
            self.node = node_of(folder)
            return
        self.folder = Path(tempfile.mkdtemp(prefix="sedano-rabbit-"))
        self.node = node_of(self.folder)
        self._ports = Ports.free()
        for name in ("home", "mnesia", "log"):
            (self.folder / name).mkdir()
        cookie = self.folder / "home" / ".erlang.cookie"
        cookie.write_text(uuid.uuid4().hex)
        cookie.chmod(0o400)
        (self.folder / "rabbitmq-env.conf").touch()
        (self.folder / "enabled_plugins").write_text("[rabbitmq_management].\n")

    # -- where it is --------------------------------------------------------------------------------------------------

    @property
    def port(self) -> int:
        return self._ports.amqp

    @property
    def url(self) -> str:
        return self.url_of("/")

    def url_of(self, vhost: str) -> str:
        return f"amqp://{USER}:{USER}@127.0.0.1:{self.port}/{quote(vhost, safe='')}"

    @property
    def management_url(self) -> str:
        """The management plugin's HTTP API, as Flower's --broker-api takes it."""
        return f"http://{USER}:{USER}@127.0.0.1:{self._ports.management}/api/"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process of the Erlang machine itself, to be stopped (SIGSTOP) or killed."""
        return int((self.folder / "pid").read_text())

    def log(self) -> str:
        log = self.folder / "log" / f"{self.node}.log"
        return log.read_text(errors="replace") if log.exists() else ""

    # -- its life -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Returns when the server answers. The ports stay the same from the first start on."""
        if self.running:
            return
        for _ in range(ATTEMPTS):
            if self._start():
                return
            self.kill()
            if not (self.folder / "started").exists():
                self._end_epmd()
                self._ports = Ports.free()  # perhaps somebody took one of the ports
        pytest.fail(f"rabbitmq-server does not start: {self._output()}\n{self.log()[-4000:]}", pytrace=False)

    def kill(self) -> None:
        """End it as a power cut does."""
        if self._process is not None:
            _end_session(self._process.pid)
            self._process.wait()
            self._process = None
            self._alarmed = False
            self._await_silence()

    def _await_silence(self) -> None:
        """The last threads of a killed process hold its sockets for a moment, when nothing else is seen of it any more."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1.0).close()
            except OSError:
                return
            time.sleep(0.01)

    def stop(self) -> None:
        """End it as an operator does: connections are closed, what is durable is written."""
        if self._process is not None:
            os.kill(self.pid, signal.SIGTERM)
            self._process.wait(START_S)
            self.kill()

    def freeze(self) -> None:
        """It keeps its connections and does nothing, like a host that swaps. Returns when no thread of it runs any more: the
        signal is taken by one of them, which then stops the others, and on a busy host they answer until it has its turn."""
        os.kill(self.pid, signal.SIGSTOP)
        deadline = time.monotonic() + START_S
        while set(_thread_states(self.pid)) != {"T"}:
            assert time.monotonic() < deadline, "it does not stop"
            time.sleep(0.001)  # the kernel can only be asked again

    def thaw(self) -> None:
        if self.running:
            os.kill(self.pid, signal.SIGCONT)

    def restart(self) -> None:
        self.kill()
        self.start()

    def close(self) -> None:
        self.kill()
        self._end_epmd()
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- what it is told ----------------------------------------------------------------------------------------------

    def ctl(self, *words: str) -> str:
        """What `rabbitmqctl WORDS` answers; takes half a second and more."""
        command = [self._programs["rabbitmqctl"], "--quiet", *words]
        done = subprocess.run(command, env=self._environment(), capture_output=True, text=True, check=False, timeout=START_S)
        if done.returncode:
            pytest.fail(f"rabbitmqctl {' '.join(words)}: {done.stdout}{done.stderr}")
        return done.stdout

    def api(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """A request to the management API (path without /api/): what it answers, None for nothing. Takes some 20 ms."""
        connection = http.client.HTTPConnection("127.0.0.1", self._ports.management, timeout=START_S)
        try:
            key = base64.b64encode(f"{USER}:{USER}".encode()).decode()
            headers = {"Authorization": f"Basic {key}", "Content-Type": "application/json"}
            connection.request(method, f"/api/{path}", json.dumps(body) if body is not None else None, headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if answer.status >= 300:
            raise RabbitError(f"{method} {path}: {answer.status} {content.decode(errors='replace')}")
        return json.loads(content) if content else None

    def new_vhost(self) -> str:
        """The URL of a new, empty virtual host."""
        vhost = f"v{uuid.uuid4().hex[:12]}"
        self.api("PUT", f"vhosts/{vhost}")
        self.api("PUT", f"permissions/{vhost}/{USER}", {"configure": ".*", "write": ".*", "read": ".*"})
        return self.url_of(vhost)

    def delete_vhost(self, url: str) -> None:
        self.api("DELETE", f"vhosts/{vhost_of(url)}")

    def delete_queue(self, url: str, queue: str) -> None:
        """Of the virtual host of `url`, with what stands in it."""
        self.api("DELETE", f"queues/{vhost_of(url)}/{quote(queue, safe='')}")

    def has_queue(self, url: str, queue: str) -> bool:
        return any(each["name"] == queue for each in self.api("GET", f"queues/{vhost_of(url)}"))

    def close_connections(self, url: str | None = None, reason: str = "closed by a test") -> None:
        """Close the connections to one virtual host, or all of them."""
        where = ["--vhost", vhost_of(url)] if url else ["--global"]
        self.ctl("close_all_connections", *where, reason)

    def set_memory_alarm(self, on: bool) -> None:
        """With the alarm on, the server reads nothing from connections that publish. It is about the whole server."""
        if on is not self._alarmed:
            self.ctl("set_vm_memory_high_watermark", "0" if on else "0.6")
            self._alarmed = on

    # -- inside -------------------------------------------------------------------------------------------------------

    def _start(self) -> bool:
        (self.folder / "ports.json").write_text(json.dumps(dataclasses.asdict(self._ports)))
        lines = [
            f"listeners.tcp.1 = 127.0.0.1:{self.port}",
            "management.tcp.ip = 127.0.0.1",
            f"management.tcp.port = {self._ports.management}",
            "vm_memory_high_watermark.relative = 0.6",
            "disk_free_limit.absolute = 1MB",
            *self._configuration,
        ]
        (self.folder / "rabbitmq.conf").write_text("\n".join(lines) + "\n")
        with (self.folder / "output").open("ab") as output:
            if self._epmd is None:
                mapper = [self._programs["epmd"], "-address", "127.0.0.1", "-port", str(self._ports.epmd)]
                self._epmd = subprocess.Popen(
                    mapper, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
                )
            self._process = subprocess.Popen(
                [self._programs["rabbitmq-server"]],
                env=self._environment(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_S
        while not self.answers():
            if not self.running or time.monotonic() > deadline:
                return False
            time.sleep(0.05)  # a foreign process: it can only be asked again
        (self.folder / "started").touch()
        return True

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_"))}
        folder = self.folder
        loopback = "-kernel inet_dist_use_interface {127,0,0,1}"
        return {
            **kept,
            "HOME": str(folder / "home"),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._ports.epmd),
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._ports.distribution),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "rabbitmq-env.conf"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            # Threads that find no work sleep at once: the processor is wanted by others.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"+sbwt none +sbwtdcpu none +sbwtdio none {loopback}",
            "RABBITMQ_CTL_ERL_ARGS": loopback,
        }

    def answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=START_S) as connection:
                connection.sendall(b"AMQP\x00\x00\x09\x01")
                if connection.recv(1) != b"\x01":  # a method frame: connection.start
                    return False
            return bool(self.api("GET", "overview")["node"] == self.node)
        except (OSError, http.client.HTTPException, RabbitError):
            return False

    @property
    def processes(self) -> list[int]:
        """The sessions to end when there is no object left that started them."""
        return [process.pid for process in (self._process, self._epmd) if process is not None]

    def disown(self) -> None:
        """Somebody else ends it, or has: no warning that its processes still run when this object is dropped."""
        for process in (self._process, self._epmd):
            if process is not None and process.poll() is None:
                process.returncode = 0

    def _output(self) -> str:
        return (self.folder / "output").read_text(errors="replace")[-4000:]

    def _end_epmd(self) -> None:
        if self._epmd is not None:
            _end_session(self._epmd.pid)
            self._epmd.wait()
            self._epmd = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _end_session(pid: int) -> None:
    """Kill a session's processes. The node is its shell's child: whether it is gone, the kernel can say and no `wait`."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    deadline = time.monotonic() + START_S
    while _members(pid) and time.monotonic() < deadline:
        time.sleep(0.01)


def _thread_states(pid: int) -> list[str]:
    """As in ps(1): R, S, T for stopped, ..."""
    stats = Path(f"/proc/{pid}/task").glob("[0-9]*/stat")
    return [stat.read_text().rpartition(")")[2].split()[0] for stat in stats]


def _members(session: int) -> list[int]:
    """The processes of a session, but for those that are dead and not yet waited for."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, its_session = stat.read_text().rpartition(")")[2].split()[:4]
            if int(its_session) == session and state not in "ZX":
                found.append(int(stat.parent.name))
    return found


class RabbitError(Exception):
    """The management API refused."""


def node_of(folder: Path) -> str:
    """A name that no other node has: who answers at the node's port can be told from a stranger."""
    return f"{folder.name}@localhost"


def vhost_of(url: str) -> str:
    """The virtual host of a URL, as it stands there (quoted)."""
    return url.rpartition("/")[2].partition("?")[0]


# -- one server for all processes of a test run -----------------------------------------------------------------------


class SharedRabbit:
    """The server of a whole test run, kept in a folder that the processes of the run share: started by the first of them that
    wants it, ended by the last that leaves."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._users = folder / "users"
        self._users.mkdir(parents=True, exist_ok=True)
        self._known = folder / "server.json"
        self._mine = self._users / str(os.getpid())
        self._started: RabbitServer | None = None

    def join(self) -> RabbitServer:
        with self._locked():
            self._mine.touch()
            if self._known.exists():
                server = RabbitServer(folder=Path(json.loads(self._known.read_text())["folder"]))
                if server.answers():
                    return server
            self._started = server = RabbitServer()
            server.start()
            self._known.write_text(json.dumps({"folder": str(server.folder), "processes": server.processes}))
            return server

    def leave(self) -> None:
        if self._started is not None:
            self._started.disown()
        with self._locked():
            self._mine.unlink(missing_ok=True)
            if any(Path(f"/proc/{user.name}").exists() for user in self._users.iterdir()) or not self._known.exists():
                return
            known = json.loads(self._known.read_text())
            for pid in known["processes"]:
                _end_session(pid)
            shutil.rmtree(known["folder"], ignore_errors=True)
            self._known.unlink()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with (self._folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


@pytest.fixture(scope="session")
def rabbit_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitServer]:
    """The one server of this test run, shared by all its processes. Nobody stops it, closes all its connections or raises an
    alarm: that is for `own_rabbit`."""
    if is_left_out("rabbitmq"):
        pytest.skip("SEDANO_WITHOUT names rabbitmq")
    base = tmp_path_factory.getbasetemp()
    shared = SharedRabbit((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "rabbit")
    try:
        yield shared.join()
    finally:
        shared.leave()


@pytest.fixture
def rabbit_url(rabbit_server: RabbitServer) -> Iterator[str]:
    """The URL of an empty virtual host for this test, on the server of the run."""
    url = rabbit_server.new_vhost()
    yield url
    rabbit_server.delete_vhost(url)


@pytest.fixture(scope="session")
def breakable_rabbit() -> Iterator[RabbitServer]:
    if is_left_out("rabbitmq"):
        pytest.skip("SEDANO_WITHOUT names rabbitmq")
    with RabbitServer() as server:
        yield server


@pytest.fixture
def own_rabbit(breakable_rabbit: RabbitServer) -> Iterator[RabbitServer]:
    """A server that only this test uses: it may be killed, stopped, frozen, alarmed. It runs when the test begins; work in
    `new_vhost()`, for the tests before it in this process used the same server."""
    breakable_rabbit.start()
    yield breakable_rabbit
    breakable_rabbit.thaw()
    if breakable_rabbit.running:
        breakable_rabbit.set_memory_alarm(False)
