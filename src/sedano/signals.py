"""The user's hooks, with Celery's names and arguments: `task_prerun`, `worker_ready`, `celeryd_init`, ...

A receiver takes `**kwargs`, because `signal` and `sender` are passed with the arguments. An error in a receiver is logged and
the other receivers run. An `async def` receiver is run to its end before the next one. `signal.receivers` is empty while nobody
listens: code on the hot path looks at it before it builds arguments.
"""

from __future__ import annotations

import importlib
import logging
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterable
from types import CoroutineType
from typing import Any, TypeVar, overload

_logger = logging.getLogger("celery.utils.dispatch.signal")

Receiver = Callable[..., Any]
R = TypeVar("R", bound=Receiver)
_ANY = None


def _asyncio_run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return importlib.import_module("asyncio").run(coroutine)


finish: Callable[[Coroutine[Any, Any, Any]], Any] = _asyncio_run
"""Runs what an `async def` receiver has begun to its end. An app puts in what runs `async def` tasks, so that in a pool process
both have the same loop."""


def _key_of(target: Any) -> Any:
    """Something equal for two accesses to the same bound method."""
    function = getattr(target, "__func__", None)
    return (id(target.__self__), id(function)) if function is not None else id(target)


class _Connection:
    __slots__ = ("key", "live", "retry", "sender", "sender_is_text")

    def __init__(self, key: Any, live: Callable[[], Receiver | None], sender: Any, retry: bool) -> None:
        self.key, self.live, self.retry = key, live, retry
        self.sender_is_text = isinstance(sender, str)
        self.sender = sender

    def hears(self, sender: Any) -> bool:
        if self.sender is _ANY:
            return True
        if self.sender_is_text:
            return bool(self.sender == sender or self.sender == getattr(sender, "name", None))
        return self.sender is sender


class Signal:
    """One hook. `connect` works as a plain call and as a decorator, with or without arguments.

    `sender` limits the receiver to one sender: an object is compared by identity, a text by equality with the sender or with
    its name (node names, task names). `weak` receivers vanish with their object; `dispatch_uid` makes a repeated connect
    replace the first. `retry=True` calls a failing receiver again, up to `RETRIES` times.
    """

    RETRIES = 3

    def __init__(self, name: str | None = None, providing_args: Iterable[str] = (), use_caching: bool = False) -> None:
        self.name = name
        self.providing_args = set(providing_args)
        self.use_caching = use_caching
        self.receivers: list[_Connection] = []
        self._lock = threading.Lock()

    @overload
    def connect(self, receiver: R, sender: Any = ..., weak: bool = ..., dispatch_uid: Any = ..., retry: bool = ...) -> R: ...
    @overload
    def connect(
        self, receiver: None = ..., sender: Any = ..., weak: bool = ..., dispatch_uid: Any = ..., retry: bool = ...
    ) -> Callable[[R], R]: ...
    def connect(
        self,
        receiver: Receiver | None = None,
        sender: Any = None,
        weak: bool = True,
        dispatch_uid: Any = None,
        retry: bool = False,
    ) -> Any:
        """Call `receiver(signal=, sender=, **named)` at every `send`. Returns the receiver, or a decorator without one."""
        if receiver is None:
            return lambda decorated: self.connect(decorated, sender, weak, dispatch_uid, retry)
        if not callable(receiver):
            raise TypeError(f"signal {self.name}: receiver {receiver!r} is not callable")
        identity = dispatch_uid if dispatch_uid is not None else _key_of(receiver)
        key = (identity, sender if isinstance(sender, str) else id(sender))
        connection = _Connection(key, self._reference(receiver, key, weak), sender, retry)
        with self._lock:
            kept = [other for other in self.receivers if other.key != key]
            self.receivers = [*kept, connection]
        return receiver

    def _reference(self, receiver: Receiver, key: Any, weak: bool) -> Callable[[], Receiver | None]:
        if not weak:
            return lambda: receiver

        def gone(_: Any) -> None:
            with self._lock:
                self.receivers = [other for other in self.receivers if other.key != key]

        if hasattr(receiver, "__self__") and hasattr(receiver, "__func__"):
            return weakref.WeakMethod(receiver, gone)
        try:
            return weakref.ref(receiver, gone)
        except TypeError:  # builtins and the like cannot be referred to weakly
            return lambda: receiver

    def disconnect(
        self, receiver: Receiver | None = None, sender: Any = None, weak: bool | None = None, dispatch_uid: Any = None
    ) -> bool:
        """Undo `connect` with the same receiver (or `dispatch_uid`) and sender; tells whether there was one."""
        del weak
        identity = dispatch_uid if dispatch_uid is not None else _key_of(receiver)
        key = (identity, sender if isinstance(sender, str) else id(sender))
        with self._lock:
            before = len(self.receivers)
            self.receivers = [other for other in self.receivers if other.key != key]
            return len(self.receivers) < before

    def has_listeners(self, sender: Any = None) -> bool:
        return any(connection.hears(sender) and connection.live() is not None for connection in self.receivers)

    def send(self, sender: Any, **named: Any) -> list[tuple[Receiver, Any]]:
        """Call the receivers that hear `sender`, in the order of connection; (receiver, response or exception) each."""
        responses: list[tuple[Receiver, Any]] = []
        for connection in self.receivers:
            receiver = connection.live() if connection.hears(sender) else None
            if receiver is not None:
                responses.append((receiver, self._call(connection, receiver, sender, named)))
        return responses

    send_robust = send

    def _call(self, connection: _Connection, receiver: Receiver, sender: Any, named: dict[str, Any]) -> Any:
        for attempts_left in range(self.RETRIES if connection.retry else 0, -1, -1):
            try:
                response = receiver(signal=self, sender=sender, **named)
                return finish(response) if type(response) is CoroutineType else response
            except Exception as exc:  # a user's hook must not stop the others, nor the work
                if attempts_left == 0:
                    _logger.exception("Signal handler %r raised: %r", receiver, exc)
                    return exc
        return None

    def __repr__(self) -> str:
        return f"<Signal: {self.name} providing_args={sorted(self.providing_args)!r}>"


def _signal(name: str, *providing: str) -> Signal:
    return Signal(name, providing)


before_task_publish = _signal(
    "before_task_publish", "body", "exchange", "routing_key", "headers", "properties", "declare", "retry_policy"
)
after_task_publish = _signal("after_task_publish", "body", "headers", "exchange", "routing_key")
task_received = _signal("task_received", "request")
task_prerun = _signal("task_prerun", "task_id", "task", "args", "kwargs")
task_postrun = _signal("task_postrun", "task_id", "task", "args", "kwargs", "retval", "state")
task_success = _signal("task_success", "result", "runtime")
task_retry = _signal("task_retry", "request", "reason", "einfo")
task_failure = _signal("task_failure", "task_id", "exception", "args", "kwargs", "traceback", "einfo")
task_internal_error = _signal("task_internal_error", "task_id", "args", "kwargs", "request", "exception", "traceback", "einfo")
task_revoked = _signal("task_revoked", "request", "terminated", "signum", "expired")
task_rejected = _signal("task_rejected", "message", "exc")
task_unknown = _signal("task_unknown", "message", "exc", "name", "id")
task_sent = _signal("task_sent", "task_id", "task", "args", "kwargs", "eta", "taskset")

celeryd_init = _signal("celeryd_init", "instance", "conf", "options")
celeryd_after_setup = _signal("celeryd_after_setup", "instance", "conf")
import_modules = _signal("import_modules")
worker_init = _signal("worker_init")
worker_before_create_process = _signal("worker_before_create_process")
worker_process_init = _signal("worker_process_init")
worker_process_shutdown = _signal("worker_process_shutdown", "pid", "exitcode")
worker_ready = _signal("worker_ready")
worker_shutdown = _signal("worker_shutdown")
worker_shutting_down = _signal("worker_shutting_down", "sig", "how", "exitcode")
heartbeat_sent = _signal("heartbeat_sent")

setup_logging = _signal("setup_logging", "loglevel", "logfile", "format", "colorize")
after_setup_logger = _signal("after_setup_logger", "logger", "loglevel", "logfile", "format", "colorize")
after_setup_task_logger = _signal("after_setup_task_logger", "logger", "loglevel", "logfile", "format", "colorize")

beat_init = _signal("beat_init")
beat_embedded_init = _signal("beat_embedded_init")

eventlet_pool_started = _signal("eventlet_pool_started")
eventlet_pool_preshutdown = _signal("eventlet_pool_preshutdown")
eventlet_pool_postshutdown = _signal("eventlet_pool_postshutdown")
eventlet_pool_apply = _signal("eventlet_pool_apply", "target", "args", "kwargs")

user_preload_options = _signal("user_preload_options", "app", "options")

__all__ = [
    "Signal",
    "after_setup_logger",
    "after_setup_task_logger",
    "after_task_publish",
    "beat_embedded_init",
    "beat_init",
    "before_task_publish",
    "celeryd_after_setup",
    "celeryd_init",
    "eventlet_pool_apply",
    "eventlet_pool_postshutdown",
    "eventlet_pool_preshutdown",
    "eventlet_pool_started",
    "heartbeat_sent",
    "import_modules",
    "setup_logging",
    "task_failure",
    "task_internal_error",
    "task_postrun",
    "task_prerun",
    "task_received",
    "task_rejected",
    "task_retry",
    "task_revoked",
    "task_sent",
    "task_success",
    "task_unknown",
    "user_preload_options",
    "worker_before_create_process",
    "worker_init",
    "worker_process_init",
    "worker_process_shutdown",
    "worker_ready",
    "worker_shutdown",
    "worker_shutting_down",
]
