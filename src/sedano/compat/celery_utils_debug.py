"""`celery.utils.debug`: memory of this process, the stacks of its threads, and what hangs."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import traceback
from collections.abc import Generator, Iterator, Sequence
from typing import Any

from sedano.worker.control.diagnosis import memdump as _memdump
from sedano.worker.control.diagnosis import memsample, resident_kib


@contextlib.contextmanager
def blockdetection(timeout: float) -> Generator[None]:
    """Raise RuntimeError in what takes longer than `timeout` s. In the main thread only."""
    if not timeout:
        yield
        return

    def ring(_number: int, frame: Any) -> None:
        raise RuntimeError(f"Blocking detection timed-out (current frame: {frame})")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, timeout)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def sample_mem() -> str | None:
    """Take a sample; None where the system does not say."""
    return memsample()


def memdump(samples: int = 10, file: Any = None) -> None:
    """Print the samples."""
    print(_memdump(samples), file=file or sys.stdout)


def sample(x: Sequence[Any], n: int, k: int = 0) -> Iterator[Any]:
    """`n` items of a list, at equal distances, from the one at `k` on."""
    step = max(1, len(x) // n)
    for _ in range(n):
        if k >= len(x):
            return
        yield x[k]
        k += step


def humanbytes(s: float) -> str:
    """ "3MB" for 3 * 1024 ** 2."""
    for power, unit in ((2**30, "GB"), (2**20, "MB"), (2**10, "KB")):
        if s >= power:
            return f"{s / power:.4g}{unit}"
    return f"{s:g}b"


def mem_rss() -> str | None:
    """Memory of this process for people, None where the system does not say."""
    kib = resident_kib()
    return None if kib is None else humanbytes(kib * 1024)


def cry(out: Any = None, sepchr: str = "=", seplen: int = 49) -> str:
    """The stacks of all threads, as text."""
    del out
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    parts = []
    for ident, frame in sys._current_frames().items():  # pyright: ignore[reportPrivateUsage]
        line = sepchr * seplen
        parts.append(f"{names.get(ident, ident)}\n{line}\n{''.join(traceback.format_stack(frame))}{line}\n")
    return "\n".join(parts)


__all__ = ["blockdetection", "cry", "humanbytes", "mem_rss", "memdump", "sample", "sample_mem"]
