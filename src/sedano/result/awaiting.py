"""`await result`: an asyncio task waits for a record that the reader's own thread hands over."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from sedano import exceptions, states


async def final_meta(result: Any, timeout_s: float | None, on_message: Callable[[Any], Any] | None) -> dict[str, Any]:
    """The final record of `result`. Raises our TimeoutError after `timeout_s`."""
    loop = asyncio.get_running_loop()
    news = asyncio.Event()

    def notify() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(news.set)

    backend = result.backend
    waiter = backend.reader.listen(result.id, notify)
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                await news.wait()
                news.clear()
                while waiter.records:
                    meta: dict[str, Any] = backend.decode(waiter.records.popleft())
                    if on_message is not None:
                        on_message(meta)
                    if meta["status"] in states.READY_STATES:
                        result._keep(meta)
                        return meta
                if waiter.error is not None:
                    raise waiter.error
    except TimeoutError as exc:
        raise exceptions.TimeoutError("The operation timed out.") from exc
    finally:
        backend.reader.unlisten(waiter)
