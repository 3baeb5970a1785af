"""A pool process from its fork to its exit: signals, names, the user's process hooks; the work is `slot.py`'s."""

from __future__ import annotations

import contextlib
import importlib
import logging
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any

from sedano import signals
from sedano.exceptions import SedanoError
from sedano.worker.context import SlotContext, SlotOptions
from sedano.worker.lines import MAIN
from sedano.worker.slot import run_slot
from sedano.worker.table import Phase, Row, SharedTable
from sedano.worker.template import TemplateEnds

if TYPE_CHECKING:
    from sedano.app.base import Celery

_logger = logging.getLogger("celery.worker")

EX_SOFTWARE = 70


def _present(*names: str) -> tuple[signal.Signals, ...]:
    """Those of these signals that this system has: Windows lacks most."""
    return tuple(signal.Signals[name] for name in names if hasattr(signal, name))


# What a terminal or a service manager sends to the whole process group, and what an operator may choose for `terminate`.
DEADLY = _present("SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP")
_RESET_AT_FORK = _present("SIGTERM", "SIGQUIT", "SIGHUP", "SIGUSR1")


@dataclass(frozen=True, slots=True)
class SlotMaker:
    """Everything that is the same for all slots of a node.

    `prepare_logs(ordinal)` gives a slot its own log file where the name of the file asks for that. `alive_s` is
    `worker_proc_alive_timeout`: hooks that take longer are named in the log. `pool` None makes processes with one slot each;
    else its name, or `module:Class`, says what runs many calls in one process.
    `tell_fd` is where slots tell of their calls. `relays` are the sockets of `SlotContext.relays`.
    """

    app: Celery
    node: str
    options: SlotOptions
    table: SharedTable
    prepare_logs: Callable[[int], None]
    alive_s: float = 4.0
    pool: str | None = None
    tell_fd: int | None = None
    relays: tuple[str, ...] = ()

    def name_of(self, ordinal: int) -> str:
        """What log lines call the process made as number `ordinal`, as in Celery."""
        return slot_name(ordinal) if self.pool is None else MAIN

    def run(self, index: int, ordinal: int, ends: TemplateEnds) -> int:
        """Be the slot of row `index`; returns the status to exit with."""
        name = self.name_of(ordinal)
        multiprocessing.current_process().name = name  # where log records take their processName from
        row = self.table.row(index)
        row.pid = os.getpid()
        row.phase = Phase.STARTING
        _set_signals(row)
        sys.stdin = open(os.devnull)  # noqa: SIM115 - a task must not eat what is typed for the supervisor
        if self.pool is None:
            self.prepare_logs(ordinal)
        context = SlotContext(
            app=self.app,
            index=index,
            name=name,
            node=self.node,
            table=self.table,
            options=self.options,
            wake_fd=ends.wake[index],
            notify_fd=ends.notify,
            tell_fd=self.tell_fd,
            relays=self.relays,
        )
        status = EX_SOFTWARE
        try:
            self._tell_started(name)
            status = run_slot(context) if self.pool is None else _run_lanes(context, self.pool)
        except SystemExit as leave:  # a task or a hook asked the process to end
            status = leave.code if isinstance(leave.code, int) else 0 if leave.code is None else 1
        except SedanoError as exc:  # a sentence that says what is wrong outside
            _logger.critical("%s ends: %s", name, exc)
        except BaseException:
            _logger.critical("%s ends because of an error in it", name, exc_info=True)
        finally:
            signals.worker_process_shutdown.send(self.node, pid=os.getpid(), exitcode=status)
            flush_streams()
        return status

    def _tell_started(self, name: str) -> None:
        if not signals.worker_process_init.receivers:
            return
        began = time.monotonic()
        signals.worker_process_init.send(self.node)
        seconds = time.monotonic() - began
        if seconds > self.alive_s:
            _logger.warning(
                "%s: the receivers of worker_process_init took %.1f s; Celery kills a process that takes longer than "
                "worker_proc_alive_timeout=%g s to start",
                name,
                seconds,
                self.alive_s,
            )


def _run_lanes(context: SlotContext, pool: str) -> int:
    status: int = importlib.import_module("sedano.worker.laneprocess").run_lanes(context, pool)  # others do without it
    return status


def slot_name(ordinal: int) -> str:
    """What log lines call the slot that was made as number `ordinal` of its node: the name that it has in Celery."""
    return f"ForkPoolWorker-{ordinal}"


def _set_signals(row: Row) -> None:
    """Only the supervisor ends a slot. A signal that meets the whole group (Ctrl+C, a service manager) does nothing here,
    unless the supervisor has said that the next one is meant for the running call.

    Handlers that do nothing instead of SIG_IGN: what the user's code executes would inherit the latter. What it forks can be
    ended as any process can, from its first moment on; only Ctrl+C leaves it alone too, as in Celery.
    """

    def die_if_told(signum: int, _frame: FrameType | None) -> Any:
        if row.terminate:
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)

    for signum in DEADLY:
        signal.signal(signum, die_if_told)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # until the slot loop takes it for soft time limits
    os.register_at_fork(before=_hold_signals, after_in_parent=_let_signals, after_in_child=_be_no_slot)


def _hold_signals() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, _RESET_AT_FORK)


def _let_signals() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _RESET_AT_FORK)


def _be_no_slot() -> None:
    for signum in _RESET_AT_FORK:
        signal.signal(signum, signal.SIG_DFL)
    _let_signals()


def flush_streams() -> None:
    """What is buffered for people must not be lost with the process."""
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        with contextlib.suppress(Exception):
            if stream is not None:
                stream.flush()
    for reference in list(logging._handlerList):  # type: ignore[attr-defined]
        handler = reference()
        with contextlib.suppress(Exception):
            if handler is not None:
                handler.flush()
