"""`select.poll`, also where it is missing: eventlet takes it away when it patches a process, and Windows has none.

What is found is looked for at each call, because a process may be patched after this module was imported.
"""

from __future__ import annotations

import select
from typing import Protocol

POLLIN, POLLOUT = 1, 4  # as in select, where they go with select.poll


class Poll(Protocol):
    """The two methods that we use of it; the timeout is in milliseconds, None for ever."""

    def register(self, fd: int, eventmask: int = ..., /) -> None: ...
    def poll(self, timeout: float | None = ..., /) -> list[tuple[int, int]]: ...


class _SelectPoll:
    """The same by `select.select`, which gevent and eventlet replace by one that lets other greenlets run."""

    def __init__(self) -> None:
        self._fds: list[int] = []
        self._writers: list[int] = []

    def register(self, fd: int, eventmask: int = POLLIN, /) -> None:
        if eventmask & POLLIN:
            self._fds.append(fd)
        if eventmask & POLLOUT:
            self._writers.append(fd)

    def poll(self, timeout: float | None = None, /) -> list[tuple[int, int]]:
        seconds = None if timeout is None or timeout < 0 else timeout / 1000
        readable, writable, _ = select.select(self._fds, self._writers, [], seconds)
        return [(fd, POLLIN * (fd in readable) | POLLOUT * (fd in writable)) for fd in dict.fromkeys((*readable, *writable))]


def new_poll() -> Poll:
    """A poll object without file numbers."""
    make = getattr(select, "poll", None)
    return _SelectPoll() if make is None else make()
