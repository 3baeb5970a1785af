"""Run `async def` tasks where there is no event loop: one loop per thread, kept between calls."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any

_threads = threading.local()
_left_to_the_parent: list[Any] = []
Run = Callable[[Coroutine[Any, Any, Any]], Any]
run_elsewhere: Callable[[Run, Coroutine[Any, Any, Any]], Any] | None = None
"""Set in a process of greenlets, which share a thread and with it asyncio's idea of the running loop: calls `run(coroutine)` in
another thread."""


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run `coroutine` to its end and return its result.

    In a thread whose loop is running (eager mode inside a server), it runs in a thread of its own, and this one waits. An
    exception that hits the loop itself, such as a soft time limit, cancels the coroutine, lets it clean up, and is raised.
    """
    if run_elsewhere is not None:
        context = contextvars.copy_context()
        return run_elsewhere(lambda started: context.run(_run_here, started), coroutine)
    # Not inside an `except`: what the coroutine raises would carry that exception as its context.
    return _run_beside(coroutine) if _is_loop_running() else _run_here(coroutine)


def run_receiver(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """As `run`, for the receiver of a signal: one that is cancelled has failed, as one that raised, and ends nothing else."""
    try:
        return run(coroutine)
    except asyncio.CancelledError as exc:
        raise RuntimeError("the receiver was cancelled") from exc


def _is_loop_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _run_here(coroutine: Coroutine[Any, Any, Any]) -> Any:
    task: asyncio.Task[Any] | None = None

    async def main() -> Any:
        nonlocal task
        task = asyncio.current_task()
        return await coroutine

    runner = _runner()
    try:
        return runner.run(main(), context=contextvars.copy_context())
    except BaseException:
        if task is not None and not task.done():
            task.cancel()
            runner.run(_finish(task))
        raise


async def _finish(task: asyncio.Task[Any]) -> None:
    await asyncio.wait([task])
    if not task.cancelled():
        task.exception()


class _Kept:
    """The loop of one thread; it is closed when the thread ends."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.runner = asyncio.Runner()

    def __del__(self) -> None:
        # In a forked child the loop's descriptors are the parent's.
        if self.pid == os.getpid():
            with contextlib.suppress(Exception):
                self.runner.close()


def _runner() -> asyncio.Runner:
    kept: _Kept | None = getattr(_threads, "kept", None)
    if kept is None or kept.pid != os.getpid():
        if kept is not None:
            _left_to_the_parent.append(kept)
        kept = _threads.kept = _Kept()
    return kept.runner


def _run_beside(coroutine: Coroutine[Any, Any, Any]) -> Any:
    outcome: list[tuple[bool, Any]] = []
    context = contextvars.copy_context()

    def work() -> None:
        try:
            outcome.append((True, context.run(_run_here, coroutine)))
        except BaseException as exc:  # handed to the waiting thread, which raises it
            outcome.append((False, exc))

    thread = threading.Thread(target=work, name="sedano-coroutine")
    thread.start()
    thread.join()
    succeeded, value = outcome[0]
    if succeeded:
        return value
    raise value
