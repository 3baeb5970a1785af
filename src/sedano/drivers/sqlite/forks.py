"""A SQLite connection must not be carried over a fork, not even unused: the library's books about locks are copied, the locks
themselves are not, and a child that opens the same file anew would trust the books. The last process with real locks could then
delete the log that the child writes to. So every connection of this process is closed before a fork, and opened again by
whoever uses it next, in the parent and in the child.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol


class Forkable(Protocol):
    def before_fork(self) -> None:
        """Close the handle, and let no other thread open it until the fork is over."""
        ...

    def after_fork(self) -> None:
        """In the parent and in the child."""
        ...


_known: weakref.WeakSet[Forkable] = weakref.WeakSet()
_known_lock = threading.Lock()
_stopped: list[Forkable] = []


def remember(connection: Forkable) -> None:
    with _known_lock:
        _known.add(connection)


def _before() -> None:
    _known_lock.acquire()
    for connection in list(_known):
        connection.before_fork()
        _stopped.append(connection)


def _after() -> None:
    while _stopped:
        _stopped.pop().after_fork()
    _known_lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after)
