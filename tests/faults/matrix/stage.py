"""One cell while it runs: a store, two nodes, a client that keeps sending, and what the fault may do with them."""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.arena import Arena, arena
from tests.faults.matrix.load import Load, Progress
from tests.faults.matrix.shapes import Fault, Pool, Size
from tests.faults.sentinels import Cluster
from tests.rabbit import RabbitServer
from tests.servers import RedisServer

from sedano.testing.faults import CrashAt
from sedano.testing.node import Node
from sedano.testing.proxy import Proxy

PATIENCE_S = 60.0
RABBIT = "SEDANO_FAULTS_RABBIT"  # names the folder of a RabbitMQ server that cells share


class NotHit(Exception):
    """The fault could not be brought about; the cell shows nothing."""


@dataclass
class Place:
    """Where the calls are: `url` for the client, `node_url` for the nodes (another one with a proxy between)."""

    url: str
    node_url: str
    server: RedisServer | None = None
    rabbit: RabbitServer | None = None
    proxy: Proxy | None = None
    cluster: Cluster | None = None
    file: Path | None = None
    results: str = ""  # where they are not beside the calls


@contextlib.contextmanager
def place_of(store: str, fault: Fault, folder: Path) -> Iterator[Place]:
    with contextlib.ExitStack() as stack:
        if store == "sqlite":
            file = folder / ("disk/store.db" if fault.setting == "small disk" else "store.db")
            url = f"sqlite:///{file}" + ("?busy_timeout=0.5" if fault.setting == "impatient" else "")
            yield Place(url, url, file=file)
        elif fault.setting == "sentinel":
            cluster = stack.enter_context(Cluster(folder))
            yield Place(cluster.url, cluster.url, cluster=cluster)
        elif store == "rabbitmq":
            yield stack.enter_context(rabbit_place(fault, folder))
        else:
            lasting = ["--appendonly", "yes", "--appendfsync", "always"] if fault.setting == "lasting" else []
            server = stack.enter_context(RedisServer(*lasting))
            proxy = stack.enter_context(Proxy(server.socket)) if fault.setting == "proxy" else None
            node_url = server.url if proxy is None else f"redis://{proxy.host}:{proxy.port}/0"
            yield Place(server.url, node_url, server, proxy=proxy)


@contextlib.contextmanager
def rabbit_place(fault: Fault, folder: Path) -> Iterator[Place]:
    """A virtual host of its own; results stand in a file."""
    with contextlib.ExitStack() as stack:
        is_shared = fault.setting != "lasting" and RABBIT in os.environ
        server = RabbitServer(folder=Path(os.environ[RABBIT])) if is_shared else stack.enter_context(RabbitServer())
        url = server.new_vhost()
        if is_shared:
            stack.callback(server.delete_vhost, url)
        node_url = url
        if fault.setting == "proxy":
            proxy = stack.enter_context(Proxy(("127.0.0.1", server.port)))
            node_url = url.replace(f":{server.port}/", f":{proxy.port}/")
        else:
            proxy = None
        if fault.heartbeat_s:
            node_url += f"?heartbeat={fault.heartbeat_s}"
        yield Place(url, node_url, rabbit=server, proxy=proxy, results=f"sqlite:///{folder}/results.db")


@dataclass
class Stage:
    """What a fault works with. It calls `hit` whenever it really did what it is about."""

    run: Arena
    place: Place
    pool: Pool
    size: Size
    load: Load
    progress: Progress
    random: random.Random
    hits: int = 0
    last_fault: float = 0.0
    forgiven: set[str] = field(default_factory=set)
    may_repeat: set[str] = field(default_factory=set)  # the server itself may give them out again
    notes: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)  # of every node that starts from now on
    _count: int = 0

    @property
    def server(self) -> RedisServer:
        assert self.place.server is not None
        return self.place.server

    @property
    def rabbit(self) -> RabbitServer:
        assert self.place.rabbit is not None
        return self.place.rabbit

    @property
    def proxy(self) -> Proxy:
        assert self.place.proxy is not None
        return self.place.proxy

    @property
    def file(self) -> Path:
        assert self.place.file is not None
        return self.place.file

    def hit(self, count: int = 1) -> None:
        """The fault happened, and is over now."""
        self.hits += count
        self.last_fault = time.monotonic()

    def node(self, *, small: bool = False, crash: CrashAt | None = None, options: tuple[str, ...] = ()) -> Node:
        """Start one more node, with all the pool's slots or with few; does not wait for it."""
        self._count += 1
        url = self.place.node_url
        return self.run.node(
            f"n{self._count}",
            crash,
            concurrency=self.pool.few if small else self.pool.slots,
            options=[*self.pool.options, *options],
            **{"FAULT_BROKER": url, "FAULT_RESULTS": self.place.results or url, **self.pool.environment, **self.environment},
        )

    def two_nodes(self) -> tuple[Node, Node]:
        """The one that suffers, and another; both ready, under load."""
        nodes = self.node(), self.node(small=True)
        for node in nodes:
            node.wait_ready(PATIENCE_S)
        if self.hits:
            self.last_fault = time.monotonic()  # there was nobody until now
        self.ends(5)
        return nodes

    def ends(self, count: int) -> None:
        """Until so many more runs have ended."""
        wanted = self.progress.ended + count
        self.wait_for(lambda: self.progress.ended >= wanted, f"{count} more calls to end")

    def ends_some(self) -> None:
        """Until a random number of runs has ended, at a random moment behind the last one."""
        self.ends(self.random.randint(5, 50))
        time.sleep(self.random.random() * 0.02)  # the moment of the fault: anywhere in a call

    def wait_for(self, condition: Callable[[], bool], what: str, timeout_s: float = PATIENCE_S) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline or self.load.broken is not None:
                raise TimeoutError(
                    f"waited {timeout_s:g} s for {what}; the client: {self.load.broken or self.load.errors[-1:]!r}"
                )
            time.sleep(0.01)  # other processes: they can only be asked again


@contextlib.contextmanager
def stage_of(store: str, fault: Fault, pool: Pool, acks: str, size: Size, folder: Path, seed: int) -> Iterator[Stage]:
    with place_of(store, fault, folder) as place:
        options = {"lease_s": fault.lease_s, "deliveries": fault.deliveries}
        with arena(folder, place.url, place.results or place.url, acks, **options) as run:
            progress = Progress(run.ledger.path)
            load = Load(run, progress, size.calls, pool.step_s)
            yield Stage(run, place, pool, size, load, progress, random.Random(seed))
