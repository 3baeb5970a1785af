"""`celery.contrib.rdb`: Python's debugger in a process that has no terminal, reached over a socket.

    from celery.contrib import rdb
    rdb.set_trace()                     in a task; the worker's log says where to connect:  telnet 127.0.0.1 6899

Whoever connects can run any code in the process: it listens on loopback, unless CELERY_RDB_HOST names another address.
CELERY_RDB_PORT is the first port that is tried (6899); the next free one is taken. No time limit stops for it.
"""

from __future__ import annotations

import contextlib
import errno
import inspect
import os
import socket
import sys
from pdb import Pdb
from types import FrameType
from typing import Any

DEFAULT_PORT = 6899
_HOST, _PORT, _PORTS_TRIED = "CELERY_RDB_HOST", "CELERY_RDB_PORT", 100


class Rdb(Pdb):
    """Waits for one client when it is made. Raises OSError when none of the ports can be taken."""

    def __init__(
        self,
        host: str | None = None,
        port: int | None = None,
        port_search_limit: int = _PORTS_TRIED,
        port_skew: int = 0,
        out: Any = None,
    ) -> None:
        self.out = sys.stdout if out is None else out
        self.host = host or os.environ.get(_HOST) or "127.0.0.1"
        first = (port or int(os.environ.get(_PORT) or DEFAULT_PORT)) + port_skew
        with _listening(self.host, first, port_search_limit) as listener:
            self.port = listener.getsockname()[1]
            self.ident = f"{self.__class__.__name__}:{self.port}"
            self.say(f"{self.ident}: Ready to connect: telnet {self.host} {self.port}\n\n{self.ident}: Waiting for client...")
            self._client, address = listener.accept()
        self.remote_addr = ":".join(map(str, address))
        self.active = True
        self._stream = self._client.makefile("rw")
        super().__init__(stdin=self._stream, stdout=self._stream)
        self.prompt = f"({self.ident}) "
        self.say(f"{self.ident}: Now in session with {self.remote_addr}.")

    def say(self, m: str) -> None:
        """Print where the process prints: in a worker, its log."""
        print(m, file=self.out, flush=True)

    def set_trace(self, frame: FrameType | None = None) -> None:
        """Stop at the next line of `frame`, by default the caller's."""
        super().set_trace(frame or _caller())

    def cmdloop(self, intro: Any = None) -> None:
        """A client that has gone away ends the session, and the process goes on."""
        try:
            super().cmdloop(intro)
        except OSError:
            self.do_quit("")

    def do_continue(self, arg: str) -> Any:
        """End the session, and go on."""
        self._end()
        return super().do_continue(arg)

    do_c = do_cont = do_continue

    def do_quit(self, arg: str) -> Any:
        """End the session; the process goes on, as a worker must."""
        self._end()
        return super().do_continue(arg)

    do_q = do_exit = do_quit

    def do_EOF(self, arg: str) -> Any:  # noqa: N802 - pdb's name
        """As `do_quit`: the client has gone."""
        return self.do_quit(arg)

    def _end(self) -> None:
        if not self.active:
            return
        self.active = False
        _current.pop("rdb", None)
        for close in (self._stream.close, self._client.close):
            with contextlib.suppress(OSError):
                close()
        self.stdout: Any = _Nowhere()
        self.say(f"{self.ident}: Session with {self.remote_addr} ended.")


class _Nowhere:
    """What pdb says after the end of a session."""

    def write(self, text: str) -> None:
        del text

    def flush(self) -> None:
        pass


_current: dict[str, Rdb] = {}


def debugger() -> Rdb:
    """The session that is open, or a new one."""
    found = _current.get("rdb")
    if found is None:
        found = _current["rdb"] = Rdb()
    return found


def set_trace(frame: FrameType | None = None) -> None:
    """Stop at the next line of `frame`, by default the caller's, once somebody has connected."""
    debugger().set_trace(frame or _caller())


def _caller() -> FrameType | None:
    """The frame that has called our caller."""
    ours = inspect.currentframe()
    return ours.f_back.f_back if ours and ours.f_back else None


def _listening(host: str, first: int, ports: int) -> socket.socket:
    for port in range(first, first + ports):
        try:
            return socket.create_server((host, port), backlog=1)
        except OSError as exc:
            if exc.errno not in (errno.EADDRINUSE, errno.EINVAL):
                raise
    raise OSError(
        errno.EADDRINUSE, f"no port from {first} to {first + ports - 1} is free on {host}: name another first one with {_PORT}"
    )


__all__ = ["DEFAULT_PORT", "Rdb", "debugger", "set_trace"]
