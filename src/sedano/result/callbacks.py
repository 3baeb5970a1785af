"""`result.then(...)`: call back when calls have ended, from a thread of its own, so that a callback may wait for others."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from sedano import states
from sedano.log import get_logger
from sedano.result import gathering

logger = get_logger(__name__)


class OnReady:
    """Celery's `result.on_ready`: something that can be given callbacks."""

    def __init__(self, result: Any) -> None:
        self._result = result

    @property
    def ready(self) -> bool:
        return bool(self._result.ready())

    def then(self, callback: Callable[[Any], Any], on_error: Callable[[Any], Any] | None = None, weak: bool = False) -> Any:
        return self._result.then(callback, on_error, weak)


def call_when_final(result: Any, call_back: Callable[[], object]) -> None:
    """Call `call_back()` once `result` has ended; what it raises is logged."""
    news = threading.Event()
    backend = result.backend
    waiter = backend.reader.listen((result.id,), news.set)

    def wait() -> None:
        try:
            while waiter.error is None:
                news.wait()
                news.clear()
                while waiter.records:
                    meta = backend.decode(waiter.records.popleft()[1])
                    if meta["status"] in states.READY_STATES:
                        result._keep(meta)
                        call_back()
                        return
        except Exception as exc:  # nobody stands above a callback
            logger.exception("Callback of result %s raised: %r", result.id, exc)
        finally:
            backend.reader.unlisten(waiter)

    threading.Thread(target=wait, name="sedano-then", daemon=True).start()


def call_when_all(results: Any, call_back: Callable[[], object]) -> None:
    """Call `call_back()` once all of a set have ended; what it raises is logged."""

    def wait() -> None:
        try:
            for _ in gathering.finals(results, None):
                pass
            call_back()
        except Exception as exc:  # nobody stands above a callback
            logger.exception("Callback of results %r raised: %r", results, exc)

    threading.Thread(target=wait, name="sedano-then", daemon=True).start()
