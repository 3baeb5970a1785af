"""The relay's clients: their connections, whole requests in, frames out. Nothing here blocks but `ready`."""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

from sedano.worker.relay.protocol import BY_CODE, HEAD, LONGEST, WAIT, pack

_logger = logging.getLogger("celery.worker")

_CHUNK = 256 * 1024
_SMALL = 1024 * 1024
_UCRED = struct.Struct("3i")

Events = list[tuple[selectors.SelectorKey, int]]


class Client:
    """One connection. `out` is what the socket did not take yet."""

    __slots__ = ("inbox", "out", "socket")

    def __init__(self, connection: socket.socket) -> None:
        self.socket, self.inbox, self.out = connection, bytearray(), bytearray()


class Clients:
    """Those at `path`; `gone` is told of each that has left. One thread uses it, but for `listen`, before that begins.

    What is sent to a client that does not read is kept for it; what is sent to one that has left is lost.
    """

    def __init__(self, path: str, gone: Callable[[Client], None]) -> None:
        self._path, self._gone = path, gone
        self._clients: set[Client] = set()
        self._frame = bytearray()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.setblocking(False)
        self._selector = selectors.DefaultSelector()

    def __len__(self) -> int:
        return len(self._clients)

    def listen(self) -> None:
        """Raises OSError."""
        self._listener.bind(self._path)
        self._listener.listen(socket.SOMAXCONN)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def watch(self, fd: int, is_readable: Callable[[], None]) -> None:
        """Another descriptor, that `hear` calls `is_readable` for."""
        self._selector.register(fd, selectors.EVENT_READ, is_readable)

    def fileno(self) -> int:
        """Readable when something is ready."""
        return self._selector.fileno()

    def ready(self, timeout_s: float) -> Events:
        """What `hear` is to look at."""
        return self._selector.select(timeout_s)

    def hear(self, events: Events) -> Iterator[tuple[Client, int, bytes]]:
        """Each whole request: from whom, its code, and what it says."""
        for key, mask in events:
            if not isinstance(key.data, Client):
                key.data()
                continue
            if mask & selectors.EVENT_WRITE:
                self._flush(key.data)
            if mask & selectors.EVENT_READ and key.data in self._clients:
                yield from self._read(key.data)

    def say(self, client: Client, kind: int, value: Any) -> None:
        """Raises EncodeError for what has no form; nothing was sent then."""
        frame = self._frame
        pack(kind, value, frame)
        self.send(client, frame)
        if len(frame) > _SMALL:
            self._frame = bytearray()

    def send(self, client: Client, frame: bytes | bytearray) -> None:
        """A whole frame."""
        if client not in self._clients:
            return
        if client.out:
            client.out += frame
            return
        try:
            sent = client.socket.send(frame)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._drop(client)
            return
        if sent < len(frame):
            client.out += memoryview(frame)[sent:]
            self._selector.modify(client.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, client)

    def close(self) -> None:
        """Safe twice."""
        for client in list(self._clients):
            client.socket.close()
        self._clients.clear()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
        self._listener.close()
        self._selector.close()

    def leave_behind(self) -> None:
        """In a child: whoever waits here for the end of the parent must not wait for the child's."""
        for client in self._clients:
            client.socket.close()
        self._listener.close()

    # -- inside -------------------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # nobody else wants in, or there is no file number left
            while True:
                self._admit(self._listener.accept()[0])

    def _admit(self, connection: socket.socket) -> None:
        if not _is_ours(connection):
            _logger.warning("another user has tried to use this node's connection to the broker: refused")
            connection.close()
            return
        connection.setblocking(False)
        client = Client(connection)
        self._clients.add(client)
        self._selector.register(connection, selectors.EVENT_READ, client)

    def _drop(self, client: Client) -> None:
        if client in self._clients:
            self._clients.discard(client)
            self._gone(client)
            self._selector.unregister(client.socket)
            client.socket.close()

    def _read(self, client: Client) -> Iterator[tuple[Client, int, bytes]]:
        try:
            part = client.socket.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            part = b""
        if not part:
            self._drop(client)
            return
        inbox = client.inbox
        inbox += part
        while len(inbox) >= HEAD.size:
            length, code = HEAD.unpack_from(inbox)
            if not 0 < length <= LONGEST or not (code == WAIT or code in BY_CODE):
                _logger.error("what came to the relay is no request: that connection is closed")
                self._drop(client)
                return
            if len(inbox) < length + 4:
                return
            said = bytes(memoryview(inbox)[HEAD.size : length + 4])
            del inbox[: length + 4]
            yield client, code, said

    def _flush(self, client: Client) -> None:
        try:
            sent = client.socket.send(client.out)
        except BlockingIOError:
            return
        except OSError:
            self._drop(client)
            return
        del client.out[:sent]
        if not client.out:
            self._selector.modify(client.socket, selectors.EVENT_READ, client)


def _is_ours(connection: socket.socket) -> bool:
    """Whether this user is at the other end. Where the system does not say so, the folder's mode keeps others out."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return True
    _, uid, _ = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, option, _UCRED.size))
    return bool(uid == os.geteuid())
