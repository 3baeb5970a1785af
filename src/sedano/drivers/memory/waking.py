"""How a sleeping connection is woken: by a byte in a pipe, so that it can watch other file descriptors too."""

from __future__ import annotations

import contextlib
import os
import selectors
from collections.abc import Sequence


class Waker:
    """Made and closed by the connection that sleeps; `wake` may be called by any thread until `close`."""

    def __init__(self) -> None:
        self._readable, self._writable = os.pipe()
        os.set_blocking(self._readable, False)
        os.set_blocking(self._writable, False)

    def wake(self) -> None:
        """Make the present or the next `sleep` return. Waking twice is waking once."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._writable, b"\0")

    def sleep(self, timeout_s: float, fds: Sequence[int]) -> None:
        """Return when woken, when one of `fds` is readable, or after `timeout_s`."""
        with selectors.DefaultSelector() as selector:
            for fd in {self._readable, *fds}:
                selector.register(fd, selectors.EVENT_READ)
            selector.select(max(0.0, timeout_s))
        with contextlib.suppress(BlockingIOError):
            os.read(self._readable, 65536)

    def close(self) -> None:
        os.close(self._readable)
        os.close(self._writable)
