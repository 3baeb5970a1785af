"""The way out for events: one connection to the bus, opened at the first event, for any thread and through forks."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sedano.contracts import Bus
from sedano.exceptions import BrokerUnavailable, CeleryError
from sedano.protocol.message import Message
from sedano.rules.retry import publish_intervals


class Emitter:
    """`open_bus` is called at the first event, in each process."""

    def __init__(self, open_bus: Callable[[], Bus]) -> None:
        self._open_bus = open_bus
        self._lock = threading.Lock()
        self._bus: Bus | None = None
        self._pid = os.getpid()

    def emit(self, messages: Sequence[Message], *, retry: bool = False, policy: Mapping[str, Any] | None = None) -> int | None:
        """Publish; how many heard it, where the store can tell. With `retry` as `policy` (task_publish_retry_policy) says.

        Raises BrokerUnavailable when the broker stays away. A connection that was lost since the last event costs nothing: it
        is opened anew, once.
        """
        for wait_s in publish_intervals(policy or {}) if retry else ():
            try:
                return self._emit(messages)
            except BrokerUnavailable:
                time.sleep(wait_s)
        return self._emit(messages)

    def close(self) -> None:
        """The next event opens it again."""
        with self._own_lock():
            bus, self._bus = self._bus, None
            if bus is not None:
                with contextlib.suppress(CeleryError):
                    bus.close()

    def _emit(self, messages: Sequence[Message]) -> int | None:
        with self._own_lock():
            if self._bus is not None:
                try:
                    return self._bus.emit(messages)
                except BrokerUnavailable:
                    self._bus.reconnect()
            else:
                self._bus = self._open_bus()
            return self._bus.emit(messages)

    def _own_lock(self) -> threading.Lock:
        if self._pid != os.getpid():  # connection and lock are the parent's: closing here could end it there
            _parents.append((self._bus, self._lock))
            self._bus, self._lock, self._pid = None, threading.Lock(), os.getpid()
        return self._lock


_parents: list[Any] = []
