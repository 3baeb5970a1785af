"""`select.poll`, also where it is missing: eventlet takes it away when it patches a process, and Windows has none.

What is found is looked for at each call, because a process may be patched after this module was imported.
"""

from __future__ import annotations

import select
from typing import Protocol

POLLIN = 1  # select.POLLIN, which goes with select.poll


class Poll(Protocol):
    """The two methods that we use of it; the timeout is in milliseconds, None for ever."""

    def register(self, fd: int, eventmask: int = ..., /) -> None: ...
    def poll(self, timeout: float | None = ..., /) -> list[tuple[int, int]]: ...


class _SelectPoll:
    """The same by `select.select`, which gevent and eventlet replace by one that lets other greenlets run."""

    def __init__(self) -> None:
        self._fds: list[int] = []

    def register(self, fd: int, _eventmask: int = POLLIN, /) -> None:
        self._fds.append(fd)

    def poll(self, timeout: float | None = None, /) -> list[tuple[int, int]]:
        seconds = None if timeout is None or timeout < 0 else timeout / 1000
        return [(fd, POLLIN) for fd in select.select(self._fds, [], [], seconds)[0]]


def new_poll() -> Poll:
    """A poll object without file numbers."""
    make = getattr(select, "poll", None)
    return _SelectPoll() if make is None else make()
