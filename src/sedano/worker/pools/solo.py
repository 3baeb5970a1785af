"""The pool without processes (`solo`): one slot, in the thread that calls `serve`; the supervisor runs in another one.

A running call cannot be ended from outside: no hard limit, no terminate, as in Celery. Leases are renewed all the same,
because the keeper is a thread of its own.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import signal
import threading
from collections.abc import Callable

from sedano import signals
from sedano.exceptions import WorkerShutdown, WorkerTerminate
from sedano.rules.shutdown import Event
from sedano.worker.context import SlotContext
from sedano.worker.pools.events import PoolEvent, SlotBorn, SlotDead
from sedano.worker.slot import run_slot
from sedano.worker.slotprocess import SlotMaker

_logger = logging.getLogger("celery.worker")
_NAME = "MainProcess"


class SoloPool:
    """`stop` is told when a task asks the whole worker to end (WorkerShutdown, WorkerTerminate)."""

    name = "solo"
    ends_calls = False

    def __init__(self, maker: SlotMaker, notify_fd: int, stop: Callable[[Event], None]) -> None:
        self._maker, self._notify_fd, self._stop = maker, notify_fd, stop
        self._wake = os.pipe()
        self._told = os.pipe()
        for fd in (*self._wake, *self._told):
            os.set_blocking(fd, False)
        self._orders: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._events: list[PoolEvent] = []
        self._lock = threading.Lock()
        self._given_up = False

    # -- the slot's thread --------------------------------------------------------------------------------------------

    def serve(self) -> None:
        """Be the slot whenever one is ordered; returns when the pool is closed."""
        maker = self._maker
        pid = os.getpid()
        signals.worker_process_init.send(maker.node)  # as in Celery: what receivers open for a pool process is needed here too
        while (index := self._orders.get()) is not None:
            context = SlotContext(
                app=maker.app,
                index=index,
                name=_NAME,
                node=maker.node,
                table=maker.table,
                options=maker.options,
                wake_fd=self._wake[0],
                notify_fd=self._notify_fd,
                tell_fd=maker.tell_fd,
                relays=maker.relays,
            )
            self._tell(SlotBorn(index, pid))
            exitcode = self._run(context)
            if not self._given_up:
                self._tell(SlotDead(index, pid, exitcode, _NAME))

    def _run(self, context: SlotContext) -> int:
        try:
            return run_slot(context)
        except (WorkerShutdown, WorkerTerminate) as leave:
            self._stop(Event.SHUTDOWN if isinstance(leave, WorkerShutdown) else Event.QUIT)
            return 0
        except SystemExit as leave:
            return leave.code if isinstance(leave.code, int) else 1
        except BaseException:
            _logger.critical("the slot ends because of an error in it", exc_info=True)
            return 70

    def _tell(self, event: PoolEvent) -> None:
        with self._lock:
            self._events.append(event)
        with contextlib.suppress(OSError):
            os.write(self._told[1], b"t")

    # -- the supervisor's thread --------------------------------------------------------------------------------------

    def start(self) -> None:
        """Nothing is to be prepared."""

    def order(self, index: int) -> None:
        self._orders.put(index)

    def wake(self, index: int) -> None:
        del index
        with contextlib.suppress(OSError):
            os.write(self._wake[1], b"w")

    def signal(self, index: int, signum: int) -> bool:
        """Only a cold stop means something here: the slot is given up where it stands, and counts as dead."""
        if signum != signal.SIGKILL or self._given_up:
            return False
        self._given_up = True
        self._tell(SlotDead(index, os.getpid(), -signum, _NAME))
        return True

    @property
    def given_up(self) -> bool:
        """A call still runs in the slot's thread, and nobody waits for it."""
        return self._given_up

    def fileno(self) -> int:
        return self._told[0]

    def events(self) -> list[PoolEvent]:
        with contextlib.suppress(BlockingIOError):
            os.read(self._told[0], 4096)
        with self._lock:
            events, self._events = self._events, []
        return events

    def reap_orphans(self) -> None:
        """Left alone: a task of this very process may wait for its own children."""

    def close(self) -> None:
        self._orders.put(None)

    def close_pipes(self) -> None:
        """After `serve` has returned."""
        for fd in (*self._wake, *self._told):
            os.close(fd)
