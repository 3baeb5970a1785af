"""The worker's HTTP port: a few answers to GET, out of memory, for probes and scrapers.

One thread serves all: connections are few and short, each is closed after one answer, and one that is slow, long or not HTTP
costs a place among `MOST_CONNECTIONS` for `PATIENCE_S` at most. It never meets the threads that work.
"""

from __future__ import annotations

import contextlib
import http
import logging
import os
import selectors
import socket
import stat
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sedano.exceptions import ImproperlyConfigured

_logger = logging.getLogger("celery.worker")
MOST_CONNECTIONS = 64
PATIENCE_S = 5.0
MOST_BYTES = 8192  # of a request
LOOPBACK = "127.0.0.1"

Answer = tuple[int, str, bytes]
"""Status, content type, body."""


@dataclass(slots=True)
class _Connection:
    socket: socket.socket
    until: float
    received: bytearray = field(default_factory=bytearray)
    answer: memoryview | None = None
    lingers: bool = False  # the answer is out: what still comes is thrown away, so that the other end gets to read it


def listen(address: str) -> socket.socket:
    """A socket that listens at `[HOST:]PORT` (loopback, where no host is named) or `unix:PATH`.

    Raises ImproperlyConfigured, saying what is wrong with the address or who may be there already. Children that this process
    forks do not have it.
    """
    path = _path_of(address)
    try:
        ours = _listen_in_file(path) if path is not None else _listen_on_port(*_read_port(address))
    except OSError as exc:
        raise ImproperlyConfigured(
            f"worker_http: cannot listen at {address}: {exc.strerror or exc}. Is another worker, or another program, there? "
            "Give each worker of a machine an address of its own (--http)."
        ) from exc
    ours.setblocking(False)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: _forget(ours))
    return ours


def shown(address: str) -> str:
    """The address as a URL that a browser, or curl with --unix-socket, takes; of one that can be."""
    path = _path_of(address)
    if path is not None:
        return f"unix:{path}"
    host, port = _read_port(address)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def bound_to(ours: socket.socket) -> str:
    """As `shown`, of a socket that listens: port 0 has become a number."""
    name = ours.getsockname()
    return shown(f"unix:{name}" if isinstance(name, str) else f"[{name[0]}]:{name[1]}")


Where = str | tuple[str, int]
"""The path of a socket, or host and port."""


def resolve(address: str) -> Where:
    """What `listen` takes, taken apart. Raises ImproperlyConfigured."""
    path = _path_of(address)
    return _read_port(address) if path is None else path


def connect(where: Where, timeout_s: float) -> socket.socket:
    """A connection to a port like this. Raises OSError."""
    if not isinstance(where, str):
        return socket.create_connection(where, timeout_s)
    theirs = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        theirs.settimeout(timeout_s)
        theirs.connect(where)
    except BaseException:
        theirs.close()
        raise
    return theirs


def _path_of(address: str) -> str | None:
    for scheme in ("unix://", "unix:"):
        if address.startswith(scheme):
            return address.removeprefix(scheme)
    return address if address.startswith("/") else None


def _read_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or LOOPBACK
    if not port.isdecimal() or int(port) > 65535:
        raise ImproperlyConfigured(
            f"worker_http={address!r} is no address: give HOST:PORT, PORT (on {LOOPBACK}), or unix:PATH, such as 0.0.0.0:9808"
        )
    return host, int(port)


def _listen_on_port(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    ours = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        ours.bind((host, port))
        ours.listen(MOST_CONNECTIONS)
    except BaseException:
        ours.close()
        raise
    return ours


def _listen_in_file(path: str) -> socket.socket:
    ours = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISSOCK(os.stat(path).st_mode) and _nobody_listens(path):
                os.unlink(path)  # a worker that was killed has left it behind
        ours.bind(path)
        ours.listen(MOST_CONNECTIONS)
    except BaseException:
        ours.close()
        raise
    return ours


def _nobody_listens(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.settimeout(1.0)
        try:
            other.connect(path)
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
        return False


def _forget(ours: socket.socket) -> None:
    with contextlib.suppress(OSError):
        ours.close()


class HttpPort:
    """Serves `answers`, by path, on the socket `ours` until `stop`. An answer is made in this thread, and must not wait."""

    def __init__(self, ours: socket.socket, answers: Mapping[str, Callable[[], Answer]]) -> None:
        self._ours, self._answers = ours, answers
        self._selector = selectors.DefaultSelector()
        self._connections: dict[int, _Connection] = {}
        self._stops = threading.Event()
        self._wake_read, self._wake_write = socket.socketpair()
        self._listens = False
        self._thread = threading.Thread(target=self._run, name="sedano-http", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Close the port and end the thread. Safe twice."""
        if not self._stops.is_set():
            self._stops.set()
            with contextlib.suppress(OSError):
                self._wake_write.send(b"s")
        self._thread.join(timeout_s)

    def _run(self) -> None:
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)
        self._accept_more()
        try:
            while not self._stops.is_set():
                try:
                    self._turn()
                except Exception:
                    _logger.exception("the worker's HTTP port: an error that nobody expected; going on")
                    self._stops.wait(1.0)
        finally:
            self._close()

    def _turn(self) -> None:
        now = time.monotonic()
        first = min((each.until for each in self._connections.values()), default=None)
        for key, _ in self._selector.select(None if first is None else max(0.0, first - now)):
            if key.fileobj is self._ours:
                self._accept()
            elif isinstance(key.data, _Connection):
                self._serve(key.data)
        now = time.monotonic()
        for connection in [each for each in self._connections.values() if each.until <= now]:
            self._drop(connection)

    def _accept_more(self) -> None:
        """Listen for as long as there is a free place: the others wait in the system's queue."""
        wants = len(self._connections) < MOST_CONNECTIONS
        if wants and not self._listens:
            self._selector.register(self._ours, selectors.EVENT_READ, None)
        elif self._listens and not wants:
            self._selector.unregister(self._ours)
        self._listens = wants

    def _accept(self) -> None:
        try:
            theirs, _ = self._ours.accept()
        except OSError:
            return
        theirs.setblocking(False)
        connection = _Connection(theirs, time.monotonic() + PATIENCE_S)
        self._connections[theirs.fileno()] = connection
        self._selector.register(theirs, selectors.EVENT_READ, connection)
        self._accept_more()

    def _drop(self, connection: _Connection) -> None:
        self._connections.pop(connection.socket.fileno(), None)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(connection.socket)
        connection.socket.close()
        self._accept_more()

    def _serve(self, connection: _Connection) -> None:
        try:
            if connection.answer is None:
                self._read(connection)
            if connection.answer is not None and not connection.lingers:
                self._write(connection)
            elif connection.lingers and not connection.socket.recv(65536):
                self._drop(connection)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._drop(connection)

    def _read(self, connection: _Connection) -> None:
        data = connection.socket.recv(MOST_BYTES)
        connection.received += data
        head, end, _ = bytes(connection.received).partition(b"\r\n\r\n")
        if end:
            connection.answer = memoryview(self._answer(head))
        elif len(connection.received) >= MOST_BYTES:
            connection.answer = memoryview(_response(431))
        elif not data:
            self._drop(connection)

    def _write(self, connection: _Connection) -> None:
        assert connection.answer is not None
        self._selector.modify(connection.socket, selectors.EVENT_WRITE, connection)
        connection.answer = connection.answer[connection.socket.send(connection.answer) :]
        if not connection.answer:
            connection.lingers = True
            connection.socket.shutdown(socket.SHUT_WR)
            self._selector.modify(connection.socket, selectors.EVENT_READ, connection)

    def _answer(self, head: bytes) -> bytes:
        words = head.partition(b"\r\n")[0].split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            return _response(400)
        method, path = words[0], words[1].partition(b"?")[0].decode("latin-1")
        if method not in (b"GET", b"HEAD"):
            return _response(405)
        if path not in self._answers:
            return _response(404, f"there are {', '.join(self._answers)}")
        try:
            status, kind, body = self._answers[path]()
        except Exception:
            _logger.exception("the worker's HTTP port cannot answer %s", path)
            return _response(500)
        return _framed(status, kind, body, with_body=method == b"GET")

    def _close(self) -> None:
        for connection in list(self._connections.values()):
            self._drop(connection)
        self._selector.close()
        path = self._ours.getsockname() if self._ours.family == getattr(socket, "AF_UNIX", None) else None
        for each in (self._ours, self._wake_read, self._wake_write):
            each.close()
        if isinstance(path, str):
            with contextlib.suppress(OSError):
                os.unlink(path)


def _response(status: int, more: str = "") -> bytes:
    text = http.HTTPStatus(status).phrase + (f": {more}" if more else "")
    return _framed(status, "text/plain; charset=utf-8", f"{text}\n".encode(), with_body=True)


def _framed(status: int, kind: str, body: bytes, *, with_body: bool) -> bytes:
    head = (
        f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        f"Cache-Control: no-store\r\nConnection: close\r\n{'Allow: GET, HEAD' + chr(13) + chr(10) if status == 405 else ''}\r\n"
    )
    return head.encode() + (body if with_body else b"")
