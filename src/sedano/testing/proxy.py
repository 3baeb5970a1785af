"""A proxy between a client and its server that misbehaves on command.

    with Proxy(("127.0.0.1", 6379)) as proxy:
        app = Sedano("app", broker=f"redis://{proxy.host}:{proxy.port}/0")
        proxy.delay_s = 0.001          # one millisecond, each way
        proxy.half_open()              # what is connected now hears nothing any more, and is not told
        proxy.cut()                    # what is connected now is reset
        proxy.cut_after(100)           # ... as soon as the server has said 100 more bytes
        proxy.refuse()                 # nobody connects any more; `accept` ends it

It forwards bytes and understands none of them, so it serves every protocol. One thread does the work; the methods may be
called from any other. A forked child has no proxy.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

Target = tuple[str, int] | str | os.PathLike[str]
Direction = Literal["up", "down"]
"""`up` is what the client says, `down` what the server says."""

_CHUNK_BYTES = 1 << 16
_FULL_BYTES = 1 << 20  # no more is read from a side while so much waits for the other
_CONNECT_S = 10.0
_NOT_RUNNING = "the proxy does not run: use it as a context manager"
_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Traffic:
    """What went through, since the start or the last `Proxy.reset_counts`.

    `round_trips` counts, over all connections, how often a client spoke after it had been answered: a pipeline is one.
    """

    connections: int
    round_trips: int
    bytes_up: int
    bytes_down: int


@dataclass(eq=False)
class _Side:
    """One socket of a pair. `out` waits to be written to it."""

    stream: socket.socket
    pair: _Pair
    direction: Direction  # of what is read from it
    out: bytearray = field(default_factory=bytearray)
    at_end: bool = False  # it has said all it will say
    to_end: bool = False  # it is to be told so once `out` is written
    events: int = 0

    @property
    def other(self) -> _Side:
        return self.pair.server if self is self.pair.client else self.pair.client


@dataclass(eq=False)
class _Pair:
    client: _Side = field(init=False)
    server: _Side = field(init=False)
    swallows: frozenset[Direction] = frozenset()
    answered: bool = True  # the server has spoken since the client did
    on_the_way: int = 0  # bytes that are being delayed
    open: bool = True


class Proxy:
    """A context manager: listens while it is entered, on a TCP port of 127.0.0.1, or on a Unix socket when `listen` is a path.

    `target` is a (host, port), or the path of a Unix socket. `delay_s` may be set at any time: what arrives from then on
    is held back so long in each direction, so that a round trip takes two of it.
    """

    def __init__(self, target: Target, *, listen: str | os.PathLike[str] | None = None, delay_s: float = 0.0) -> None:
        self.delay_s = delay_s
        self._target = target
        self._path = None if listen is None else os.fspath(listen)
        self._port = 0
        self._listener: socket.socket | None = None
        self._selector: selectors.BaseSelector
        self._pairs: set[_Pair] = set()
        self._delayed: list[tuple[float, int, _Side, bytes | None]] = []  # a heap; None: the end of what a side says
        self._number = itertools.count()
        self._budget: int | None = None
        self._budget_of: Direction = "down"
        self._connections = self._round_trips = 0
        self._bytes: dict[Direction, int] = {"up": 0, "down": 0}
        self._orders: list[tuple[Callable[[], None], threading.Event]] = []
        self._lock = threading.Lock()
        self._wake_read: socket.socket
        self._wake_write: socket.socket
        self._over = False
        self._thread = threading.Thread(target=self._run, name="sedano-proxy", daemon=True)

    # -- where ----------------------------------------------------------------------------------------------------------

    @property
    def host(self) -> str:
        return "127.0.0.1"

    @property
    def port(self) -> int:
        """The same for the proxy's whole life, also while it refuses. 0 on a Unix socket."""
        return self._port

    @property
    def path(self) -> str:
        """The Unix socket; "" on TCP."""
        return self._path or ""

    # -- what happens to those who connect -----------------------------------------------------------------------------

    def refuse(self) -> None:
        """Refuse new connections (ECONNREFUSED). What is connected stays."""
        self._order(self._stop_listening)

    def accept(self) -> None:
        """Take new connections again."""
        self._order(self._listen)

    # -- what happens to those who are connected -----------------------------------------------------------------------

    def cut(self) -> int:
        """Reset every connection, as when the server's machine is started anew; how many there were."""
        count = 0

        def act() -> None:
            nonlocal count
            count = len(self._pairs)
            for pair in list(self._pairs):
                self._close(pair, reset=True)

        self._order(act)
        return count

    def cut_after(self, count: int, direction: Direction = "down") -> None:
        """Let `count` more bytes through in this direction, of all connections together, then reset the one that spoke last.

        It happens once. With "down" the server has done what it was asked, and its answer comes in part or not at all.
        """

        def act() -> None:
            self._budget, self._budget_of = count, direction

        self._order(act)

    def half_open(self, *directions: Direction) -> int:
        """Swallow what these connections say from now on, in both directions unless one is named, without telling either
        side: as when a router forgets them. Later connections work. Returns how many connections it hit."""
        count = 0

        def act() -> None:
            nonlocal count
            count = len(self._pairs)
            for pair in self._pairs:
                pair.swallows |= frozenset(directions or ("up", "down"))

        self._order(act)
        return count

    # -- counting -------------------------------------------------------------------------------------------------------

    @property
    def open_connections(self) -> int:
        return len(self._pairs)

    @property
    def traffic(self) -> Traffic:
        return Traffic(self._connections, self._round_trips, self._bytes["up"], self._bytes["down"])

    def reset_counts(self) -> None:
        def act() -> None:
            self._connections = self._round_trips = 0
            self._bytes = {"up": 0, "down": 0}

        self._order(act)

    # -- life -----------------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = socket.socketpair()
        for stream in (self._wake_read, self._wake_write):
            stream.setblocking(False)
        self._listen()
        self._selector.register(self._wake_read, selectors.EVENT_READ, self._obey)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        del kind, error, trace

        def act() -> None:
            self._over = True

        self._order(act)
        self._thread.join(_CONNECT_S)

    def _order(self, action: Callable[[], None]) -> None:
        """Have the proxy's thread do it; returns when it is done."""
        if not self._thread.is_alive():
            raise RuntimeError(_NOT_RUNNING)
        done = threading.Event()
        with self._lock:
            self._orders.append((action, done))
            with contextlib.suppress(BlockingIOError):
                self._wake_write.send(b"!")
        while not done.wait(0.5):
            if not self._thread.is_alive():
                raise RuntimeError(_NOT_RUNNING)

    def _obey(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wake_read.recv(4096)
        with self._lock:
            orders, self._orders = self._orders, []
        for action, done in orders:
            try:
                action()
            finally:
                done.set()

    # -- the thread -----------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._over:
                wait_s = max(0.0, self._delayed[0][0] - time.monotonic()) if self._delayed else None
                for key, events in self._selector.select(wait_s):
                    if isinstance(key.data, _Side):
                        self._serve(key.data, events)
                    else:
                        key.data()
                self._deliver_delayed()
        finally:
            for pair in list(self._pairs):
                self._close(pair, reset=True)
            self._stop_listening()
            self._selector.close()
            self._wake_read.close()
            self._wake_write.close()

    def _listen(self) -> None:
        if self._listener is not None:
            return
        if self._path is not None:
            Path(self._path).unlink(missing_ok=True)
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(self._path)
        else:
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((self.host, self._port))
            self._port = listener.getsockname()[1]
        listener.listen(128)
        listener.setblocking(False)
        self._listener = listener
        self._selector.register(listener, selectors.EVENT_READ, self._take)

    def _stop_listening(self) -> None:
        if self._listener is not None:
            self._selector.unregister(self._listener)
            self._listener.close()
            self._listener = None

    def _take(self) -> None:
        """A client connects. When the server is away the client is cut at once."""
        assert self._listener is not None
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        try:
            server = self._connect()
        except OSError:
            _reset(client)
            return
        for stream in (client, server):
            stream.setblocking(False)
            if stream.family != socket.AF_UNIX:
                stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pair = _Pair()
        pair.client, pair.server = _Side(client, pair, "up"), _Side(server, pair, "down")
        self._pairs.add(pair)
        self._connections += 1
        self._watch(pair.client)
        self._watch(pair.server)

    def _connect(self) -> socket.socket:
        if isinstance(self._target, tuple):
            return socket.create_connection(self._target, _CONNECT_S)
        stream = socket.socket(socket.AF_UNIX)
        try:
            stream.settimeout(_CONNECT_S)
            stream.connect(os.fspath(self._target))
        except OSError:
            stream.close()
            raise
        return stream

    def _watch(self, side: _Side) -> None:
        """Have the selector wait for what can be done with this side now."""
        pair = side.pair
        wanted = selectors.EVENT_WRITE if side.out else 0
        if not side.at_end and len(side.other.out) + pair.on_the_way < _FULL_BYTES:
            wanted |= selectors.EVENT_READ
        if not pair.open or wanted == side.events:
            return
        if not side.events:
            self._selector.register(side.stream, wanted, side)
        elif not wanted:
            self._selector.unregister(side.stream)
        else:
            self._selector.modify(side.stream, wanted, side)
        side.events = wanted

    def _serve(self, side: _Side, events: int) -> None:
        if not side.pair.open:
            return
        if events & selectors.EVENT_WRITE:
            self._write(side)
        if events & selectors.EVENT_READ and side.pair.open:
            self._read(side)

    def _read(self, side: _Side) -> None:
        pair = side.pair
        try:
            data = side.stream.recv(_CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if side.direction in pair.swallows:
            side.at_end = side.at_end or not data
            self._watch(side)
            return
        if not data:
            side.at_end = True
            self._forward(side.other, None)
            self._watch(side)
            return
        is_last = self._spend(side, len(data))
        if is_last is not None:
            data = data[:is_last]
        self._count(side, data)
        if data:
            self._forward(side.other, data)
        if is_last is not None and pair.open:
            self._write(side.other)  # what was let through arrives before the reset, as far as it can
            self._close(pair, reset=True)
        else:
            self._watch(side)

    def _spend(self, side: _Side, size: int) -> int | None:
        """How many of these bytes are the last that pass, None when all do."""
        if self._budget is None or side.direction != self._budget_of:
            return None
        if size < self._budget:
            self._budget -= size
            return None
        last, self._budget = self._budget, None
        return last

    def _count(self, side: _Side, data: bytes) -> None:
        pair = side.pair
        self._bytes[side.direction] += len(data)
        if side.direction == "down":
            pair.answered = True
        elif pair.answered:
            pair.answered = False
            self._round_trips += 1

    def _forward(self, side: _Side, data: bytes | None) -> None:
        """Write to `side`, now or when the delay is over; None ends it."""
        if self.delay_s > 0 or side.pair.on_the_way:
            heapq.heappush(self._delayed, (time.monotonic() + self.delay_s, next(self._number), side, data))
            side.pair.on_the_way += max(1, len(data or b""))
        else:
            self._hand_over(side, data)

    def _deliver_delayed(self) -> None:
        now = time.monotonic()
        while self._delayed and self._delayed[0][0] <= now:
            _, _, side, data = heapq.heappop(self._delayed)
            side.pair.on_the_way -= max(1, len(data or b""))
            if side.pair.open:
                self._hand_over(side, data)
                self._watch(side.other)

    def _hand_over(self, side: _Side, data: bytes | None) -> None:
        if data is None:
            side.to_end = True
        elif side.other.direction not in side.pair.swallows:
            side.out += data
        self._write(side)

    def _write(self, side: _Side) -> None:
        try:
            while side.out:
                del side.out[: side.stream.send(side.out)]
        except BlockingIOError:
            pass
        except OSError:
            self._close(side.pair, reset=True)
            return
        if side.to_end and not side.out:
            if side.at_end:
                self._close(side.pair, reset=False)
                return
            with contextlib.suppress(OSError):
                side.stream.shutdown(socket.SHUT_WR)
        self._watch(side)
        self._watch(side.other)

    def _close(self, pair: _Pair, *, reset: bool) -> None:
        if not pair.open:
            return
        for side in (pair.client, pair.server):
            if side.events:
                self._selector.unregister(side.stream)
            if reset:
                _reset(side.stream)
            else:
                side.stream.close()
        pair.open = False
        self._pairs.discard(pair)


def _reset(stream: socket.socket) -> None:
    """Close it so that the other side gets a reset, not an end."""
    with contextlib.suppress(OSError):
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    stream.close()
