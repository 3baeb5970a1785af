"""`result.then(...)`: call back when a call has ended, from a thread of its own, so that a callback may wait for others."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from sedano import states
from sedano.log import get_logger

logger = get_logger(__name__)


def call_when_final(result: Any, call_back: Callable[[], object]) -> None:
    """Call `call_back()` once `result` has ended; what it raises is logged."""
    news = threading.Event()
    backend = result.backend
    waiter = backend.reader.listen(result.id, news.set)

    def wait() -> None:
        try:
            while waiter.error is None:
                news.wait()
                news.clear()
                while waiter.records:
                    meta = backend.decode(waiter.records.popleft())
                    if meta["status"] in states.READY_STATES:
                        result._keep(meta)
                        call_back()
                        return
        except Exception as exc:  # nobody stands above a callback
            logger.exception("Callback of result %s raised: %r", result.id, exc)
        finally:
            backend.reader.unlisten(waiter)

    threading.Thread(target=wait, name="sedano-then", daemon=True).start()
