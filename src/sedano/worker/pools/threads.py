"""Calls in threads of their own, made when they are needed and kept: what is not `async def` in the pools threads and asyncio.

A thread cannot be killed. An exception can be raised in it, which arrives when it next runs Python code: at once in a loop,
late in one long system call. A call that does not end is settled without its thread, which is left to itself; another one takes
its place.
"""

from __future__ import annotations

import ctypes
import logging
import queue
import threading

from sedano.worker.lanecall import LaneCall, Owner, run_call

_logger = logging.getLogger("celery.worker.pool")
_set_exception = ctypes.pythonapi.PyThreadState_SetAsyncExc
_DONE = object()  # a thread has left this call
_set_exception.argtypes = (ctypes.c_ulong, ctypes.py_object)


class ThreadCrew:
    """At most `lanes` threads that work; those of abandoned calls are not counted."""

    grace_s = 1.0

    def __init__(self, lanes: int, name: str = "sedano-lane") -> None:
        self._most, self._name = lanes, name
        self._owner: Owner
        self._orders: queue.SimpleQueue[LaneCall | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._busy = 0
        self._made = 0
        self.stuck = 0

    def start(self, owner: Owner) -> None:
        self._owner = owner

    def take(self, calls: list[LaneCall]) -> None:
        for call in calls:
            with self._lock:
                self._busy += 1
                wanted = self._busy > self._threads and self._threads < self._most
                self._threads += wanted
            if wanted:
                self._new_thread()
            self._orders.put(call)

    def abandon(self, call: LaneCall) -> bool:
        with self._lock:
            if call.where is not _DONE:
                call.lost = True
                self._busy -= 1
                self._threads -= 1
                self.stuck += 1
        return True

    def close(self) -> None:
        for _ in range(self._threads):
            self._orders.put(None)

    def _new_thread(self) -> None:
        self._made += 1
        try:
            threading.Thread(target=self._work, name=f"{self._name}-{self._made}", daemon=True).start()
        except RuntimeError as exc:
            with self._lock:
                self._threads -= 1
                left = self._threads
            if not left:
                raise
            _logger.error("no further thread can be started (%s): calls wait for the %d that there are", exc, left)

    def _work(self) -> None:
        ident = threading.get_ident()

        def throw(kind: type[BaseException]) -> None:
            _set_exception(ident, kind)

        while (call := self._orders.get()) is not None:
            call.code.throw = throw
            run_call(call, self._owner)
            with self._lock:
                if call.lost:
                    self.stuck -= 1
                    return
                call.where = _DONE
                self._busy -= 1
            del call  # a thread that waits keeps nothing alive
