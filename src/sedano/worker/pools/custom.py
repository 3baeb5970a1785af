"""Pools of the user's own: `-P module:Class`, or `-P custom` with the environment variable CELERY_CUSTOM_WORKER_POOL.

The class is one as Celery has it: a `BasePool` (`celery.concurrency.base`) with `on_start`, `on_stop` and `on_apply`.
`on_apply` is given a target and its arguments and runs it somewhere in this process; how many run at once is `limit`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sedano.app.finding import symbol_by_name
from sedano.exceptions import ImproperlyConfigured
from sedano.worker.lanecall import LaneCall, Owner, run_call

_logger = logging.getLogger("celery.worker.pool")


def apply_target(
    target: Callable[..., Any],
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    callback: Callable[[Any], Any] | None = None,
    accept_callback: Callable[..., Any] | None = None,
    **_options: Any,
) -> None:
    """Run `target` here and tell the callbacks: what `on_apply` does wherever it wants the call to run."""
    if accept_callback is not None:
        accept_callback(threading.get_native_id(), 0.0)
    value = target(*args, **(kwargs or {}))
    if callback is not None:
        callback(value)


class BasePool:
    """What a custom pool overrides. `limit` is the concurrency; `options` are what the worker says besides, `app` for one."""

    is_green = False
    signal_safe = True
    body_can_be_buffer = False
    task_join_will_block = True

    def __init__(self, limit: int | None = None, putlocks: bool = True, forking_enable: bool = True, **options: Any) -> None:
        self.limit, self.putlocks, self.forking_enable = limit, putlocks, forking_enable
        self.options = options
        self.app: Any = options.get("app")

    def on_start(self) -> None: ...

    def on_stop(self) -> None: ...

    def on_close(self) -> None: ...

    def on_terminate(self) -> None: ...

    def on_apply(self, target: Callable[..., Any], args: Any = (), kwargs: Any = None, **options: Any) -> Any:
        """Run `target(*args, **kwargs)` soon, beside the caller."""
        raise NotImplementedError(f"{type(self).__name__} has no on_apply")

    def start(self) -> None:
        self.on_start()

    def stop(self) -> None:
        self.on_stop()

    def close(self) -> None:
        self.on_close()

    def terminate(self) -> None:
        self.on_terminate()

    def apply_async(self, target: Callable[..., Any], args: Any = (), kwargs: Any = None, **options: Any) -> Any:
        return self.on_apply(target, args, kwargs or {}, **options)

    @property
    def num_processes(self) -> int:
        return self.limit or 1

    @property
    def info(self) -> dict[str, Any]:
        return {"implementation": f"{type(self).__module__}:{type(self).__name__}", "max-concurrency": self.limit}


class CustomCrew:
    """Runs calls through a `BasePool`. It cannot interrupt them: what does not end is settled and left to itself."""

    grace_s = 0.0

    def __init__(self, lanes: int, path: str, app: Any) -> None:
        self._owner: Owner
        self._lock = threading.Lock()
        self.stuck = 0
        kind = find_pool(path)
        self._pool: Any = kind(limit=lanes, app=app)

    def start(self, owner: Owner) -> None:
        self._owner = owner
        self._pool.start()

    def serve(self, run: Callable[[], int]) -> int:
        return run()

    def take(self, calls: list[LaneCall]) -> None:
        for call in calls:
            self._pool.apply_async(self._run, args=(call,), kwargs={}, callback=_ignore, accept_callback=_ignore)

    def _run(self, call: LaneCall) -> None:
        run_call(call, self._owner)
        with self._lock:
            if call.lost:
                self.stuck -= 1
            call.where = True

    def abandon(self, call: LaneCall) -> bool:
        with self._lock:
            if call.where is None:
                call.lost = True
                self.stuck += 1
        return True

    def close(self) -> None:
        self._pool.stop()


def find_pool(path: str) -> Any:
    """The class that `module:Class` names. Raises ImproperlyConfigured."""
    try:
        return symbol_by_name(path)
    except (ImportError, AttributeError) as exc:
        raise ImproperlyConfigured(f"there is no pool class {path!r}: {exc}") from exc


def _ignore(*_: Any) -> None: ...
