"""The process's I/O thread: publishes for asyncio callers, everything that waits in one round trip."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from sedano.app.sending import Sender, Waiting, is_worth_another_try, raise_publish_error, waits
from sedano.contracts.queues import QueueSpec
from sedano.contracts.settlement import Outgoing
from sedano.result.forking import on_fork

_IDLE_S = 10.0


class _Item:
    """One caller's call: what is to be published, and where to report."""

    __slots__ = ("future", "loop", "waiting")

    def __init__(self, waiting: Waiting, loop: asyncio.AbstractEventLoop, future: asyncio.Future[Exception | None]) -> None:
        self.waiting = waiting
        self.loop, self.future = loop, future

    def report(self) -> None:
        error = self.waiting.error
        try:
            self.loop.call_soon_threadsafe(_deliver, self.future, error)
        except RuntimeError:  # the loop was closed meanwhile: nobody is waiting any more
            return


def _deliver(future: asyncio.Future[Exception | None], error: Exception | None) -> None:
    if not future.done():
        future.set_result(error)


class IoThread:
    """Publishes for one sender. The thread starts with the first call and ends when nothing came for a while."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._items: deque[_Item] = deque()
        self._wake = threading.Condition()
        self._is_running = False
        on_fork(self, IoThread._forget)

    def submit(self, item: _Item) -> None:
        with self._wake:
            self._items.append(item)
            if not self._is_running:
                self._is_running = True
                threading.Thread(target=self._run, name="sedano-io", daemon=True).start()
            else:
                self._wake.notify()

    def _run(self) -> None:
        while True:
            with self._wake:
                if not self._items and not self._wake.wait_for(lambda: bool(self._items), _IDLE_S):
                    self._is_running = False
                    return
                batch = list(self._items)
                self._items.clear()
            try:
                self._sender.submit([item.waiting for item in batch])
            except Exception as exc:  # each caller is told; the thread goes on for the others
                for item in batch:
                    item.waiting.error = exc
            for item in batch:
                item.report()

    def _forget(self) -> Any:
        left = (self._items, self._wake)
        self._items, self._wake, self._is_running = deque(), threading.Condition(), False
        return left


_threads: weakref.WeakKeyDictionary[Sender, IoThread] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


async def publish(
    sender: Sender, messages: Sequence[Outgoing], declare: Sequence[QueueSpec], *, retry: bool, policy: Mapping[str, Any]
) -> None:
    """As `Sender.publish`, without blocking the event loop."""
    with _lock:
        thread = _threads.get(sender)
        if thread is None:
            thread = _threads[sender] = IoThread(sender)
    error = await _attempt(thread, Waiting(messages, declare))
    if error is not None and retry:
        for wait_s in waits(policy):
            if not is_worth_another_try(error, policy):
                break
            await asyncio.sleep(wait_s)
            error = await _attempt(thread, Waiting(messages, declare))
            if error is None:
                break
    raise_publish_error(error)


async def _attempt(thread: IoThread, waiting: Waiting) -> Exception | None:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Exception | None] = loop.create_future()
    thread.submit(_Item(waiting, loop, future))
    return await future
