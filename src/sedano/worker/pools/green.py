"""The pools of greenlets, `gevent` and `eventlet`: each call in a greenlet of its own, all in one thread of a patched process.

The owner of the lanes is a greenlet too: while a task keeps the thread to itself (it computes, or waits in code that is not
patched) nothing else happens in this process, and no turn is made. What has ended stands on the board meanwhile. The
supervisor is not patched: it renews the lease, and ends the process when a call outlives its hard limit like that.

The process is made by exec (`respawn.py`): it is patched before anything else is imported.
"""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import os
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from sedano import signals
from sedano.app import coroutines, late
from sedano.app.attempt import OUR_FILES
from sedano.polling import POLLIN, new_poll
from sedano.worker.lanecall import LaneCall, Owner, run_call
from sedano.worker.pools.asyncio import Drive

OUR_FILES.update({__file__, late.__file__, coroutines.__file__})


class _Library(Protocol):
    """What is different between the two."""

    def spawn(self, function: Callable[[], None]) -> Any:
        """Have `function` run in a new greenlet, soon."""
        ...

    def soon(self, function: Callable[[], None]) -> None:
        """Have `function` called by the hub, soon."""
        ...

    def in_thread(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call `function` in a native thread; only this greenlet waits for it."""
        ...


class _Eventlet:
    def __init__(self) -> None:
        self._green: Any = importlib.import_module("eventlet")
        self._hubs: Any = importlib.import_module("eventlet.hubs")
        self._threads: Any = importlib.import_module("eventlet.tpool")

    def spawn(self, function: Callable[[], None]) -> Any:
        return self._green.spawn(function)

    def soon(self, function: Callable[[], None]) -> None:
        self._hubs.get_hub().schedule_call_global(0, function)

    def in_thread(self, function: Callable[..., Any], *args: Any) -> Any:
        return self._threads.execute(function, *args)


class _Gevent:
    def __init__(self) -> None:
        self._gevent: Any = importlib.import_module("gevent")

    def spawn(self, function: Callable[[], None]) -> Any:
        return self._gevent.spawn(function)

    def soon(self, function: Callable[[], None]) -> None:
        self._gevent.get_hub().loop.run_callback(function)

    def in_thread(self, function: Callable[..., Any], *args: Any) -> Any:
        return self._gevent.get_hub().threadpool.apply(function, args)


class GreenCrew:
    """`library` is "gevent" or "eventlet"."""

    grace_s = 1.0

    def __init__(self, lanes: int, library: str) -> None:
        self._lanes = lanes
        self._owner: Owner
        self._is_eventlet = library == "eventlet"
        self._library: _Library = _Eventlet() if self._is_eventlet else _Gevent()
        self._loop: _LoopBeside | None = None
        self._lock = threading.Lock()
        self.stuck = 0

    def start(self, owner: Owner) -> None:
        self._owner = owner
        coroutines.run_elsewhere = self._run_coroutine
        if self._is_eventlet:
            signals.eventlet_pool_started.send(self)

    def serve(self, run: Callable[[], int]) -> int:
        return run()

    def take(self, calls: list[LaneCall]) -> None:
        for call in calls:
            self._begin(call)

    def _begin(self, call: LaneCall) -> None:
        def work() -> None:
            _running.set(call)
            run_call(call, self._owner)
            if call.lost:
                self.stuck -= 1

        if self._is_eventlet and signals.eventlet_pool_apply.receivers:
            signals.eventlet_pool_apply.send(self, target=run_call, args=(call, self._owner), kwargs={})
        call.where = greenlet = self._library.spawn(work)

        def throw(kind: type[BaseException]) -> None:
            def deliver() -> None:  # by the hub, when the greenlet waits for something
                if call.code.runs and not greenlet.dead:
                    greenlet.throw(kind)

            self._library.soon(deliver)

        call.code.throw = throw

    def abandon(self, call: LaneCall) -> bool:
        if not call.where.dead:
            call.lost = True
            self.stuck += 1
        return True

    def close(self) -> None:
        if self._is_eventlet:
            signals.eventlet_pool_preshutdown.send(self)
            signals.eventlet_pool_postshutdown.send(self)

    def _run_coroutine(self, _run: Callable[..., Any], coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Two loops cannot run in one thread, whatever greenlets they are in."""
        with self._lock:  # making one takes a moment, in which others come for it
            if self._loop is None:
                self._loop = _LoopBeside(self._library)
        return self._loop.run(coroutine)


_running: contextvars.ContextVar[LaneCall | None] = contextvars.ContextVar("sedano_lane_call", default=None)


class _Answer:
    """What became of a coroutine; `come` wakes the greenlet that waits for it."""

    def __init__(self) -> None:
        self.come = threading.Event()  # of a patched process: greenlets wait for it
        self.value: Any = None
        self.error: BaseException | None = None
        self.drive: Drive | None = None


class _LoopBeside:
    """One event loop in a native thread for all `async def` tasks; its answers come back through a pipe, because no lock of a
    patched process may be used by two threads."""

    def __init__(self, library: _Library) -> None:
        self._answers: deque[_Answer] = deque()
        self._read, self._write = os.pipe()
        loops: deque[asyncio.AbstractEventLoop] = deque()

        def be_loop() -> None:
            loop = asyncio.new_event_loop()
            loops.append(loop)
            loop.call_soon(os.write, self._write, b"s")
            loop.run_forever()

        library.spawn(lambda: library.in_thread(be_loop))
        self._wait()
        self._loop = loops[0]
        library.spawn(self._deliver)

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Its result, for which this greenlet waits. While it waits, interruptions of the call go to the coroutine."""
        answer, call = _Answer(), _running.get()
        context = contextvars.copy_context()
        before = call.code.throw if call is not None else None
        if call is not None:
            call.code.throw = lambda kind: self._throw(answer, kind)
        self._loop.call_soon_threadsafe(lambda: context.run(self._begin, coroutine, answer))
        try:
            answer.come.wait()
        finally:
            if call is not None:
                call.code.throw = before
        if answer.error is not None:
            raise answer.error
        return answer.value

    def _throw(self, answer: _Answer, kind: type[BaseException]) -> None:
        if answer.drive is not None:
            answer.drive.throw(kind)

    def _begin(self, coroutine: Coroutine[Any, Any, Any], answer: _Answer) -> None:
        _tasks.add(task := self._loop.create_task(self._run(coroutine, answer)))
        task.add_done_callback(_tasks.discard)

    async def _run(self, coroutine: Coroutine[Any, Any, Any], answer: _Answer) -> None:
        answer.drive = Drive(self._loop, asyncio.current_task())
        try:
            answer.value = await answer.drive(coroutine)
        except BaseException as exc:  # raised where it is waited for
            answer.error = exc
        self._answers.append(answer)
        os.write(self._write, b"a")

    def _wait(self) -> None:
        poll = new_poll()
        poll.register(self._read, POLLIN)
        poll.poll()
        os.read(self._read, 4096)

    def _deliver(self) -> None:
        while True:
            self._wait()
            while self._answers:
                self._answers.popleft().come.set()


_tasks: set[asyncio.Task[None]] = set()  # a loop keeps only weak references
