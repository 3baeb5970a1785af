"""How much memory a process holds, and when a pool process has grown beyond `worker_max_memory_per_child`."""

from __future__ import annotations

import contextlib
import logging
import os
import sys

_logger = logging.getLogger("celery.worker.pool")
_PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024 if hasattr(os, "sysconf") else 4
_STATM = "/proc/self/statm"


def resident_kib() -> int | None:
    """What this process has in memory now; where the system does not say that, the most that it ever had; None: unknown."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        fd = os.open(_STATM, os.O_RDONLY)
        try:
            return int(os.read(fd, 256).split()[1]) * _PAGE_KIB
        finally:
            os.close(fd)
    if sys.platform == "win32":
        return None
    import resource  # noqa: PLC0415 - not there on every system

    return peak_kib(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def peak_kib(ru_maxrss: int) -> int:
    """What `getrusage` and `wait4` say, in KiB."""
    return ru_maxrss // 1024 if sys.platform == "darwin" else ru_maxrss  # bytes there


class MemoryLimit:
    """Asked after each call. `most_kib` None: no limit, and nothing is measured."""

    __slots__ = ("_most_kib", "is_over")

    def __init__(self, most_kib: int | None) -> None:
        self._most_kib = most_kib
        self.is_over = False

    def look(self) -> None:
        """Measure; the first time that it is too much is logged, and stays."""
        if self._most_kib is None or self.is_over:
            return
        held = resident_kib()
        if held is None:
            _logger.error("worker unable to determine memory usage: worker_max_memory_per_child is not kept on this system")
            self._most_kib = None
        elif held > self._most_kib:
            self.is_over = True
            _logger.warning("child process exiting after exceeding memory limit (%dKiB / %dKiB)", held, self._most_kib)
