"""Whether the system's out-of-memory killer ended a process of this node, where the system counts that.

Linux counts such kills per control group: in `memory.events` (version 2) or `memory.oom_control` (version 1), as `oom_kill N`.
The count rises before the process dies. It does not say which process it was: a process that died of SIGKILL while the count
has risen is taken for the one. Where there is no count, nothing is said.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


class OomKills:
    """Of the control group that this process and its children are in."""

    def __init__(self, own: Path = _OWN, root: Path = _ROOT) -> None:
        self._fd = next((fd for file in _candidates(own, root) if (fd := _opened(file)) is not None), None)
        self._known = self._seen = self._count()

    @property
    def is_counted(self) -> bool:
        """Whether this system says anything about it."""
        return self._fd is not None

    def forget(self) -> None:
        """To be called every few seconds: kills from before the last call belong to no death that is still to come."""
        self._known = max(self._known, self._seen)
        self._seen = self._count()

    def took_one(self) -> bool:
        """Whether a process that has just died of SIGKILL was taken by the out-of-memory killer; each kill counts once."""
        if self._count() <= self._known:
            return False
        self._known += 1
        return True

    def close(self) -> None:
        """From then on nothing is counted."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _count(self) -> int:
        return (_read(self._fd) or 0) if self._fd is not None else 0


def describe_loss(peak_kib: int | None, *, oom: bool) -> str:
    """What to say behind `signal 9 (SIGKILL)`: who sent it if that was the system, and the memory that the process had."""
    words = ", sent by the system's out-of-memory killer" if oom else ""
    if peak_kib:
        words += f"; the process had held up to {peak_kib / 1024:.0f} MiB of memory"
    return words


def _candidates(own: Path, root: Path) -> Iterator[Path]:
    """Where the count of this process's group may be; inside a container its path may only mean something outside."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if "memory" in controllers.split(","):
            groups, name = root / "memory", "memory.oom_control"
        elif hierarchy == "0" and not controllers:
            groups, name = root, "memory.events"
        else:
            continue
        yield groups / path.lstrip("/") / name
        yield groups / name


def _opened(file: Path) -> int | None:
    """A descriptor of `file`, which stays open (an idle node looks with one system call); None when it has no count."""
    try:
        fd = os.open(file, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except OSError:
        return None
    if _read(fd) is not None:
        return fd
    os.close(fd)
    return None


def _read(fd: int) -> int | None:
    """The count in the file, None when it has none (any more)."""
    try:
        words = [line.split() for line in os.pread(fd, 4096, 0).splitlines()]
        return next((int(word[1]) for word in words if word[0] == b"oom_kill"), None)
    except (OSError, ValueError, IndexError):
        return None
