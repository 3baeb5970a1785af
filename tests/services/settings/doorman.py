"""Servers that are no brokers: one hangs up on whoever comes, one lets everybody wait."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self


class Doorman:
    """Listens on a port of its own. `visitors` counts who came; with `hangs_up` they are sent away, else left waiting."""

    def __init__(self, *, hangs_up: bool = True) -> None:
        self.visitors = 0
        self._hangs_up = hangs_up
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=16)
        self._kept: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def address(self) -> tuple[str, int]:
        host, port = self._listening.getsockname()
        return host, port

    @property
    def url(self) -> str:
        return "redis://{}:{}/0".format(*self.address)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                visitor, _ = self._listening.accept()
                self.visitors += 1
                if self._hangs_up:
                    visitor.close()
                else:
                    self._kept.append(visitor)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listening.close()
        for visitor in self._kept:
            visitor.close()


class FullHouse:
    """A port on which connecting never ends: its queue of connections is full, and nobody takes them."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=0)
        self._waiting: list[socket.socket] = []

    @property
    def url(self) -> str:
        host, port = self._listening.getsockname()
        return f"redis://{host}:{port}/0"

    def __enter__(self) -> Self:
        for _ in range(4):
            visitor = socket.socket()
            visitor.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                visitor.connect(self._listening.getsockname())
            self._waiting.append(visitor)
        return self

    def __exit__(self, *_: object) -> None:
        for visitor in self._waiting:
            visitor.close()
        self._listening.close()
