"""Locks of the kernel on single bytes of the shared table's file: they end with their process."""

from __future__ import annotations

import sys
import time

if sys.platform == "win32":  # one process only: the thread lock is enough

    def lock_byte(fd: int, at: int) -> None: ...
    def unlock_byte(fd: int, at: int) -> None: ...
    def lock_byte_within(fd: int, at: int, patience_s: float) -> bool:  # noqa: ARG001
        return True

else:
    from fcntl import LOCK_EX, LOCK_NB, LOCK_UN, lockf

    def lock_byte(fd: int, at: int) -> None:
        lockf(fd, LOCK_EX, 1, at)

    def unlock_byte(fd: int, at: int) -> None:
        lockf(fd, LOCK_UN, 1, at)

    def lock_byte_within(fd: int, at: int, patience_s: float) -> bool:
        """False when it was not to be had in that time."""
        deadline = time.monotonic() + patience_s
        while True:
            try:
                lockf(fd, LOCK_EX | LOCK_NB, 1, at)
            except OSError:
                if time.monotonic() > deadline:
                    return False
                time.sleep(0.001)
            else:
                return True
