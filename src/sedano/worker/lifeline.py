"""Dying with one's parent: an orphan whose lease nobody renews is a double run.

Template and slots also see end of file on their pipe from the parent; the kernel's parent-death signal (Linux) reaches them
while they run the user's code. Elsewhere the end of file has to do, and the template kills its slots before it leaves.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends; leaves at once if it has ended already.

    `parent` is the process id of the parent as known before the fork. The parent must have forked from its main thread:
    the kernel means the thread. To be called again after the process changes its user.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "the kernel refuses the parent-death signal")
    if os.getppid() != parent:
        os._exit(1)
