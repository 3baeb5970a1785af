"""The pool of processes (`prefork`): the supervisor's end of the template."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence

import msgspec

from sedano import signals
from sedano.worker.pools.events import PoolBroken, PoolEvent, SlotBorn, SlotDead
from sedano.worker.respawn import RespawnOrder, start_template, try_to_load
from sedano.worker.slotprocess import SlotMaker
from sedano.worker.template import BORN, DEAD, FORK, RECORD, TemplateEnds, run_template

_logger = logging.getLogger("celery.worker")
_MOST_BARREN = 3
_LAST_BREATH_S = 10.0  # how long slots may take to vanish after a SIGKILL


class ProcessPool:
    """Slots forked by a template. `respawn` says how a template is started by exec, None when that cannot be done. With
    `spawns` each process is started by exec, and the app is loaded there."""

    ends_calls = True

    def __init__(
        self,
        maker: SlotMaker,
        notify_fd: int,
        respawn: Callable[[], RespawnOrder | None],
        *,
        name: str = "prefork",
        spawns: bool = False,
    ) -> None:
        self.name = name
        self._maker, self._notify_fd, self._respawn = maker, notify_fd, respawn
        self._wake = [os.pipe() for _ in range(len(maker.table))]  # (slot's end, ours)
        for ours in self._wake:
            for fd in ours:
                os.set_blocking(fd, False)
        self._template = 0
        self._socket: socket.socket | None = None
        self._answers = b""
        self._slots: dict[int, tuple[int, int | None]] = {}  # row index -> (process id, pidfd)
        self._ordinal = 0
        self._names: dict[int, str] = {}  # of the slot that was ordered last for each row
        self._spawns = spawns
        self._modules: tuple[str, ...] = ()  # to be imported besides the app, by order of an operator
        self._barren = 0  # templates in a row that died without having borne a slot

    # -- the template -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        left = [thread.name for thread in threading.enumerate() if thread is not threading.current_thread()]
        if left and not self._spawns:
            _logger.warning(
                "importing the app started threads (%s), which a fork would leave behind: each pool process imports the app "
                "anew instead, which takes more time and memory. Start threads in a receiver of worker_process_init.",
                ", ".join(left),
            )
        patched = is_patched_by_gevent()
        if patched and not self._spawns:
            _logger.warning(
                "importing the app patched this process for gevent, and forked processes cannot be waited for then: each pool "
                "process imports the app anew, which takes more time and memory; -P gevent patches only what runs tasks."
            )
        self._spawns = self._spawns or patched or bool(left) or not hasattr(os, "fork") or sys.platform == "darwin"
        if self._spawns:
            self._start_by_exec()
        else:
            self._start_by_fork()

    def _start_by_fork(self) -> None:
        ours, theirs = socket.socketpair()
        me = os.getpid()
        foreign = (ours.fileno(), *(own for _, own in self._wake))
        ends = TemplateEnds(theirs.fileno(), tuple(slot for slot, _ in self._wake), self._notify_fd, foreign)
        gc.collect()
        gc.freeze()
        pid = os.fork()
        if pid == 0:
            # The child owns its copies as file numbers; the objects of the parent must not close them.
            ours.detach()
            theirs.detach()
            signal.set_wakeup_fd(-1)
            run_template(ends, self._maker.run, me, self._before_fork)
        theirs.close()
        self._template, self._socket, self._answers = pid, ours, b""

    def _start_by_exec(self) -> None:
        order = self._respawn()
        if order is not None and self._modules:
            order = msgspec.structs.replace(order, modules=self._modules)
        if order is None:
            raise PoolBroken(
                "the pool processes cannot be started: their template has to load the app again, and nobody said where it "
                "is. Start the worker with `sedano -A module:app worker`"
            )
        ours, theirs = socket.socketpair()
        ends = TemplateEnds(theirs.fileno(), tuple(slot for slot, _ in self._wake), self._notify_fd)
        self._template = start_template(order, ends, self._maker, spawning=self._spawns)
        theirs.close()
        self._socket, self._answers = ours, b""

    def try_to_load(self, modules: Sequence[str]) -> tuple[frozenset[str], str]:
        """Whether the app and `modules` can be loaded anew: (the tasks there are then, "" or what is wrong). Blocks, and
        changes nothing."""
        order = self._respawn()
        if order is None:
            return frozenset(), "nobody said where the app is: start the worker with `sedano -A module:app worker`"
        return try_to_load(msgspec.structs.replace(order, modules=tuple(modules)), self._maker)

    def renew(self, modules: Sequence[str]) -> None:
        """Start another template, which loads the app and `modules` anew; no slot may be there. Raises PoolBroken."""
        assert self._socket is not None
        old, template = self._socket, self._template
        self._modules = tuple(modules)
        self._start_by_exec()
        old.close()  # the old one leaves at end of file
        _wait_status(template)

    def _before_fork(self) -> None:
        """Tell the app: in a forked template, or here when processes are spawned."""
        signals.worker_before_create_process.send(self)

    def _template_gone(self) -> list[PoolEvent]:
        """What follows from the template's death: no slot outlives it. Starts another."""
        assert self._socket is not None
        old = self._socket
        status = _wait_status(self._template)
        _logger.error(
            "The template process (pid %d) died (%s): all its pool processes end, and another one is started.",
            self._template,
            "its status is unknown" if status is None else describe_exit(status),
        )
        for pid, pidfd in self._slots.values():
            _end_for_sure(pid, pidfd)
        # Those that were ordered and not born yet are dead as well.
        dead: list[PoolEvent] = [
            SlotDead(index, self._slots.get(index, (0, None))[0], None, name) for index, name in sorted(self._names.items())
        ]
        self._slots.clear()
        self._names.clear()
        self._barren += 1
        if self._barren > _MOST_BARREN:
            raise PoolBroken(f"the template process died {self._barren} times in a row without having made a pool process")
        self._start_by_exec()
        old.close()  # only now, so that the new one has another file number: the supervisor's selector tells them by it
        return dead

    # -- slots --------------------------------------------------------------------------------------------------------

    def order(self, index: int) -> None:
        assert self._socket is not None
        self._ordinal += 1
        if self._spawns:
            self._before_fork()  # a spawning template has not loaded the app
        self._names[index] = self._maker.name_of(self._ordinal)
        with contextlib.suppress(OSError):  # the template is dead: `events` will find out
            self._socket.sendall(RECORD.pack(FORK, index, self._ordinal, 0, 0))

    def wake(self, index: int) -> None:
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(self._wake[index][1], b"w")

    def signal(self, index: int, signum: int) -> bool:
        if index not in self._slots:
            return False
        pid, pidfd = self._slots[index]
        try:
            if pidfd is None:
                os.kill(pid, signum)
            else:
                signal.pidfd_send_signal(pidfd, signum)
        except ProcessLookupError:
            return False
        return True

    def fileno(self) -> int:
        assert self._socket is not None
        return self._socket.fileno()

    def events(self) -> list[PoolEvent]:
        assert self._socket is not None
        try:
            data = self._socket.recv(65536, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return []
        except ConnectionResetError:
            data = b""
        if not data:
            return self._template_gone()
        self._answers += data
        found: list[PoolEvent] = []
        while len(self._answers) >= RECORD.size:
            kind, index, pid, status, peak_kib = RECORD.unpack(self._answers[: RECORD.size])
            self._answers = self._answers[RECORD.size :]
            if kind == BORN:
                self._barren = 0
                self._slots[index] = (pid, _open_pidfd(pid))
                found.append(SlotBorn(index, pid))
            elif kind == DEAD:
                self._forget(index, pid)
                name, exitcode = self._names.pop(index, "?"), os.waitstatus_to_exitcode(status)
                found.append(SlotDead(index, pid, exitcode, name, peak_kib or None))
        return found

    def _forget(self, index: int, pid: int) -> None:
        if index in self._slots and self._slots[index][0] == pid:
            _, pidfd = self._slots.pop(index)
            if pidfd is not None:
                os.close(pidfd)

    def reap_orphans(self) -> None:
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None or found.si_pid == self._template:
                return
            os.waitpid(found.si_pid, os.WNOHANG)

    def close(self) -> None:
        for pid, pidfd in self._slots.values():
            _end_for_sure(pid, pidfd)
        self._slots.clear()
        if self._socket is not None:
            self._socket.close()  # the template leaves at end of file
            _wait_status(self._template)
            self._socket = None
        for pair in self._wake:
            for fd in pair:
                os.close(fd)
        self._wake = []


def is_patched_by_gevent() -> bool:
    """Its fork watches children and reaps them before anybody else can."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("os"))


def describe_exit(exitcode: int) -> str:
    """`signal 9 (SIGKILL)` or `exitcode 1`, as Celery's lines say it."""
    if exitcode >= 0:
        return f"exitcode {exitcode}"
    try:
        name = signal.Signals(-exitcode).name
    except ValueError:
        name = "unknown"
    return f"signal {-exitcode} ({name})"


def _open_pidfd(pid: int) -> int | None:
    """A handle that keeps meaning this very process, None where the system has none or the process is gone."""
    if sys.platform != "linux":
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def _end_for_sure(pid: int, pidfd: int | None) -> None:
    """Kill a slot whose template is gone, and return when it is dead: it is not our child."""
    if pidfd is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.poll(_LAST_BREATH_S * 1000)
    os.close(pidfd)


def _wait_status(pid: int) -> int | None:
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:
        return None
