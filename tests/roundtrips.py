"""Counting what goes over a wire: a relay between clients and a server on a Unix socket."""

from __future__ import annotations

import contextlib
import selectors
import shutil
import socket
import tempfile
import threading
from pathlib import Path
from typing import Self


class CountingRelay:
    """Passes bytes on and counts round trips: how often some client spoke after its server had had the word.

    `largest` is the most bytes that a client sent without waiting for an answer.
    """

    def __init__(self, server: Path) -> None:
        self.server = server
        self._folder = Path(tempfile.mkdtemp(prefix="sedano-relay-"))
        self._path = self._folder / "relay.sock"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._path))
        self._listener.listen(64)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        self._stop, self._stopped = socket.socketpair()
        self._selector.register(self._stop, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._spoke: dict[socket.socket, bool] = {}
        self._sent: dict[socket.socket, int] = {}
        self.go_on = threading.Event()  # cleared: nothing gets through
        self.go_on.set()
        self.connections = 0
        self.round_trips = 0
        self.largest = 0

    @property
    def url(self) -> str:
        return f"redis+socket://{self._path}?virtual_host=0"

    def reset(self) -> None:
        self.round_trips = self.largest = self.connections = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.send(b".")
        for client in list(self._spoke):  # one that does not read may hold up the thread
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        self._thread.join(60)
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._stopped.close()
        self._selector.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._stop:
                    return
                if key.fileobj is self._listener:
                    self._accept()
                else:
                    self._pass_on(key.fileobj, *key.data)  # type: ignore[arg-type]

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        server = socket.socket(socket.AF_UNIX)
        server.connect(str(self.server))
        self.connections += 1
        self._spoke[client], self._sent[client] = False, 0
        self._selector.register(client, selectors.EVENT_READ, (client, server, True))
        self._selector.register(server, selectors.EVENT_READ, (client, server, False))

    def _pass_on(self, source: socket.socket, client: socket.socket, server: socket.socket, is_client: bool) -> None:
        target = server if is_client else client
        try:
            data = source.recv(1 << 20)
            self.go_on.wait(10)
            if data:
                target.sendall(data)
        except OSError:
            data = b""
        if not data:
            for end in (client, server):
                with contextlib.suppress(KeyError, ValueError):  # closed already
                    self._selector.unregister(end)
                end.close()
            return
        if is_client:
            if not self._spoke[client]:
                self.round_trips += 1
                self._spoke[client], self._sent[client] = True, 0
            self._sent[client] += len(data)
            self.largest = max(self.largest, self._sent[client])
        else:
            self._spoke[client] = False
