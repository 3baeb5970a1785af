"""`celery.utils.threads`: a thread that repeats its body until it is stopped, and values of each thread."""

from __future__ import annotations

import threading
from threading import get_ident
from typing import Any

from sedano.log import get_logger

Local = threading.local
logger = get_logger("celery.utils.threads")


class bgThread(threading.Thread):  # noqa: N801 - Celery's name
    """Calls `body` again and again, from `start` to `stop`. An error in it ends the thread, after a line in the log."""

    def __init__(self, name: str | None = None, **kwargs: Any) -> None:
        super().__init__(name=name or type(self).__name__, daemon=True, **kwargs)
        self._ends = threading.Event()

    def body(self) -> None:
        """Raises NotImplementedError: yours."""
        raise NotImplementedError

    def on_crash(self, msg: str, *fmt: Any, **_: Any) -> None:
        logger.critical(msg, *fmt, exc_info=True)

    def run(self) -> None:
        while not self._ends.is_set():
            try:
                self.body()
            except Exception as exc:
                self.on_crash("%r crashed: %r", self.name, exc)
                return

    def stop(self) -> None:
        """Wait for the end of the body that runs."""
        self._ends.set()
        if self.is_alive() and threading.current_thread() is not self:
            self.join()


class LocalStack:
    """A stack for each thread."""

    def __init__(self) -> None:
        self._local = threading.local()

    @property
    def stack(self) -> list[Any]:
        found: list[Any] = vars(self._local).setdefault("stack", [])
        return found

    def push(self, obj: Any) -> list[Any]:
        self.stack.append(obj)
        return self.stack

    def pop(self) -> Any:
        """The newest, or None."""
        return self.stack.pop() if self.stack else None

    @property
    def top(self) -> Any:
        """The newest, which stays; or None."""
        return self.stack[-1] if self.stack else None

    def __len__(self) -> int:
        return len(self.stack)


__all__ = ["Local", "LocalStack", "bgThread", "get_ident"]
