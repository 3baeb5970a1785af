"""`await result`: an asyncio task waits for records that the reader's own thread hands over."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any

from sedano import exceptions
from sedano.result import ahead


async def final_meta(
    result: Any, timeout_s: float | None, on_message: Callable[[Any], Any] | None, parents: Mapping[str, Any]
) -> dict[str, Any]:
    """The final record of `result`. Raises our TimeoutError after `timeout_s`, and what one of `parents` raised."""
    reader = result.backend.reader
    if not parents:
        ahead.foresee(result, reader)
    async with contextlib.aclosing(records(reader, [*parents, result.id], timeout_s)) as heard:
        async for task_id, payload in heard:
            meta: dict[str, Any] | None = result._heard(task_id, payload, on_message, parents)
            if meta is not None:
                return meta
    raise AssertionError("records() ends only by raising")


async def in_thread(ask: Callable[[], None]) -> None:
    """Ask the store something short, without blocking the event loop."""
    await asyncio.to_thread(ask)


async def records(
    reader: Any,
    task_ids: Sequence[str],
    timeout_s: float | None,
    enough: set[str] | None = None,
) -> AsyncGenerator[tuple[str, bytes], None]:
    """As `ResultReader.records`, in an event loop."""
    loop = asyncio.get_running_loop()
    news = asyncio.Event()

    def notify() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(news.set)

    ends_at = None if timeout_s is None else loop.time() + timeout_s
    waiter = reader.listen(task_ids, notify)
    try:
        while True:
            try:
                async with asyncio.timeout_at(ends_at):
                    await news.wait()
            except TimeoutError as exc:
                raise exceptions.TimeoutError("The operation timed out.") from exc
            news.clear()
            while waiter.records:
                yield waiter.records.popleft()
            if enough:
                reader.table.remove(waiter, enough)
                enough.clear()
            if waiter.error is not None:
                raise waiter.error
    finally:
        reader.unlisten(waiter)
