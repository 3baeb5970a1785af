"""The process's default app and the running task, for users' `AsyncResult(id)`, `shared_task`, `current_task`.

The core never reads it: apps, senders and readers are passed as arguments. The default app is one per process, not one per
thread as in Celery, so that `AsyncResult(id)` finds it in any thread; `set_current` in one thread changes it for all.
The running task is kept per thread and asyncio task (a context variable).
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
import weakref
from collections.abc import Callable, Generator
from typing import Any

_lock = threading.Lock()
_current: Any = None
_default: Any = None
_apps: weakref.WeakSet[Any] = weakref.WeakSet()
_shared: list[Callable[[Any], Any]] = []
_running: contextvars.ContextVar[tuple[Any, ...]] = contextvars.ContextVar("sedano_running_tasks", default=())


def set_app(app: Any) -> None:
    """Make `app` the one that `get_app` returns."""
    global _current
    _current = app


def set_default(app: Any) -> None:
    """Make `app` the one that stands in when no app is current."""
    global _default
    _default = app


def get_app() -> Any | None:
    """The current app, else the default one, else None."""
    return _current if _current is not None else _default


def remember_app(app: Any) -> None:
    """Called by every new app: it takes part in `shared_task`."""
    with _lock:
        _apps.add(app)


def forget_app(app: Any) -> None:
    """Called by an app that was closed."""
    global _current, _default
    with _lock:
        _apps.discard(app)
        if _current is app:
            _current = None
        if _default is app:
            _default = None


def live_apps() -> list[Any]:
    with _lock:
        return list(_apps)


def connect_on_app_finalize(callback: Callable[[Any], Any]) -> None:
    """Call `callback(app)` when an app is finalized (and once more for each later app)."""
    with _lock:
        _shared.append(callback)


def announce_app_finalized(app: Any) -> None:
    with _lock:
        callbacks = list(_shared)
    for callback in callbacks:
        callback(app)


def push_task(task: Any) -> contextvars.Token[tuple[Any, ...]]:
    """Note that `task` runs from here on; give the token to `pop_task`."""
    return _running.set((*_running.get(), task))


def pop_task(token: contextvars.Token[tuple[Any, ...]]) -> None:
    _running.reset(token)


def get_current_task() -> Any | None:
    """The innermost running task of this thread or asyncio task, or None."""
    running = _running.get()
    return running[-1] if running else None


def running_tasks() -> tuple[Any, ...]:
    """Outermost first."""
    return _running.get()


@contextlib.contextmanager
def kept() -> Generator[None]:
    """Which app is current, and which the default one, is as before when the block ends."""
    before = _current, _default
    try:
        yield
    finally:
        set_app(before[0])
        set_default(before[1])
