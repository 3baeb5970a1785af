"""The template process: forks slots on demand and reaps them. Single-threaded, without connections.

The supervisor forks it before it starts a thread. It hears orders on a socket and answers there; both are records of
`RECORD`:

    to the template      FORK index ordinal        make the slot of row `index`; `ordinal` counts all slots of the node
    to the supervisor    BORN index pid            the slot runs
                         DEAD index pid status memory
                                                   it ended with the wait status `status`, and had held up to `memory` KiB

End of file on the socket means that the supervisor is gone: the template leaves, and its slots die with it.

`respawn.py` starts one by exec instead.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any, NoReturn

from sedano import crashpoints
from sedano.worker.lifeline import die_with_parent
from sedano.worker.memory import peak_kib

RECORD = struct.Struct("<B3xIqqq")  # kind, row index, process id (in an order: the ordinal), wait status, memory
FORK, BORN, DEAD = 1, 2, 3


@dataclass(frozen=True, slots=True)
class TemplateEnds:
    """File numbers that a template holds: its socket, for each row the slot's end of the wake-up pipe, the slots' end of
    the notify pipe. `foreign` are the supervisor's own, to be closed after a fork."""

    socket: int
    wake: tuple[int, ...]
    notify: int
    foreign: tuple[int, ...] = ()


# (row index, ordinal, file numbers that are the slot's own) -> exit status; runs in the new slot
SlotMain = Callable[[int, int, TemplateEnds], int]
# (row index, ordinal) -> process id of a slot that was started in another way than by fork
Spawn = Callable[[int, int], int]


def run_template(
    ends: TemplateEnds, slot_main: SlotMain, parent: int, before_fork: Callable[[], None], spawn: Spawn | None = None
) -> NoReturn:
    """Be the template until the supervisor is gone. Never returns; must be called in the only thread of the process.

    `slot_main` runs in a fork; with `spawn` there is no fork, and that starts a slot.
    """
    status = 1
    template = _Template(ends, slot_main, before_fork, spawn)
    try:
        die_with_parent(parent)
        for fd in ends.foreign:
            os.close(fd)
        crashpoints.reach("template.started")
        template.serve()
        status = 0
    finally:
        template.kill_slots()
        os._exit(status)


class _Template:
    def __init__(self, ends: TemplateEnds, slot_main: SlotMain, before_fork: Callable[[], None], spawn: Spawn | None) -> None:
        self._ends, self._slot_main, self._before_fork, self._spawn = ends, slot_main, before_fork, spawn
        self._socket = socket.socket(fileno=ends.socket)
        self._slots: dict[int, int] = {}  # process id -> row index
        self._wakeup = os.pipe()
        self._orders = b""

    def serve(self) -> None:
        """Obey until end of file."""
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(signum, signal.SIG_IGN)
        for fd in self._wakeup:
            os.set_blocking(fd, False)
        signal.signal(signal.SIGCHLD, _ignore)
        signal.set_wakeup_fd(self._wakeup[1], warn_on_full_buffer=False)
        self._socket.setblocking(True)
        gc.collect()
        gc.freeze()  # slots share these pages for as long as nobody writes to them
        poll = select.poll()
        poll.register(self._ends.socket, select.POLLIN)
        poll.register(self._wakeup[0], select.POLLIN)
        while True:
            ready = [fd for fd, _ in poll.poll()]
            if self._wakeup[0] in ready:
                os.read(self._wakeup[0], 4096)
                self._reap()
            if self._ends.socket in ready and not self._obey():
                return

    def _obey(self) -> bool:
        data = self._socket.recv(4096)
        if not data:
            return False
        self._orders += data
        while len(self._orders) >= RECORD.size:
            kind, index, ordinal, *_ = RECORD.unpack(self._orders[: RECORD.size])
            self._orders = self._orders[RECORD.size :]
            if kind == FORK:
                self._fork(index, ordinal)
        return True

    def _fork(self, index: int, ordinal: int) -> None:
        crashpoints.reach("template.fork.before")
        self._before_fork()
        me = os.getpid()
        try:
            pid = os.fork() if self._spawn is None else self._spawn(index, ordinal)
        except OSError:  # no process to be had now: the supervisor orders again, later each time
            self._report(DEAD, index, 0, 1 << 8)
            return
        if pid == 0:
            self._become_slot(index, ordinal, me)
        self._slots[pid] = index
        crashpoints.reach("template.fork.after")
        self._report(BORN, index, pid, 0)

    def _become_slot(self, index: int, ordinal: int, parent: int) -> NoReturn:
        status = 70
        try:
            signal.set_wakeup_fd(-1)
            for signum in (signal.SIGCHLD, signal.SIGUSR2):
                signal.signal(signum, signal.SIG_DFL)
            self._socket.close()
            for fd in self._wakeup:
                os.close(fd)
            for other, fd in enumerate(self._ends.wake):
                if other != index:
                    os.close(fd)
            die_with_parent(parent)
            status = self._slot_main(index, ordinal, self._ends)
        finally:
            os._exit(status)

    def _reap(self) -> None:
        while True:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            crashpoints.reach("template.reaped")
            index = self._slots.pop(pid, None)
            if index is not None:
                self._report(DEAD, index, pid, status, peak_kib(used.ru_maxrss))

    def _report(self, kind: int, index: int, pid: int, status: int, memory: int = 0) -> None:
        self._socket.sendall(RECORD.pack(kind, index, pid, status, memory))

    def kill_slots(self) -> None:
        """For systems without the parent-death signal."""
        for pid in self._slots:
            os.kill(pid, signal.SIGKILL)


def _ignore(_signum: int, _frame: FrameType | None) -> Any:
    """A handler that does nothing: the wake-up pipe has heard the signal."""
