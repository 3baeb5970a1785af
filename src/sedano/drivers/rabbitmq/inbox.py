"""Results that came to this process, by task, until they are wanted. No I/O; any thread may use it."""

from __future__ import annotations

import threading
from collections import OrderedDict

from sedano.log import get_logger
from sedano.protocol.results import outlasts

logger = get_logger(__name__)

MOST_BYTES = 256 << 20
"""Of results that nobody has asked for; the oldest go first."""
MOST_READ = 1000
"""Results that were given out and are kept for whoever asks again."""
_OVERHEAD_BYTES = 300


class Inbox:
    """`ttl_s` is how long a result is kept that nobody asks for, None for ever."""

    def __init__(self, ttl_s: float | None, most_bytes: int = MOST_BYTES) -> None:
        self._ttl_s, self._most_bytes = ttl_s, most_bytes
        self._lock = threading.Lock()
        self._unread: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._read: OrderedDict[str, bytes] = OrderedDict()
        self._bytes = 0
        self._has_warned = False

    def put(self, task_id: str, payload: bytes, now: float) -> None:
        """Of several states of a call the last one counts, but for one that comes after SUCCESS."""
        with self._lock:
            before = self._read.get(task_id) or (self._unread.get(task_id) or (0.0, None))[1]
            if before is not None and outlasts(before, payload):
                return
            self._read.pop(task_id, None)
            self._drop(task_id)
            self._unread[task_id] = (now, payload)
            self._bytes += len(payload) + _OVERHEAD_BYTES
            while self._bytes > self._most_bytes and len(self._unread) > 1:
                self._drop(next(iter(self._unread)))
                self._warn()

    def take(self, task_id: str) -> bytes | None:
        """It counts as read from now on."""
        with self._lock:
            if task_id in self._unread:
                payload = self._unread[task_id][1]
                self._drop(task_id)
                self._read[task_id] = payload
                if len(self._read) > MOST_READ:
                    self._read.popitem(last=False)
                return payload
            return self._read.get(task_id)

    def has(self, task_id: str) -> bool:
        return task_id in self._unread or task_id in self._read

    def forget(self, task_id: str) -> bool:
        with self._lock:
            is_known = self.has(task_id)
            self._drop(task_id)
            self._read.pop(task_id, None)
        return is_known

    def expire(self, now: float) -> int:
        """Drop what came more than `ttl_s` ago and was not asked for; returns how many."""
        if self._ttl_s is None:
            return 0
        dropped = 0
        with self._lock:
            while self._unread:
                task_id, (came_at, _) = next(iter(self._unread.items()))
                if came_at + self._ttl_s > now:
                    break
                self._drop(task_id)
                dropped += 1
        return dropped

    def _drop(self, task_id: str) -> None:
        found = self._unread.pop(task_id, None)
        if found is not None:
            self._bytes -= len(found[1]) + _OVERHEAD_BYTES

    def _warn(self) -> None:
        if not self._has_warned:
            self._has_warned = True
            logger.warning(
                "More than %d MiB of results came that nobody has asked for: the oldest are dropped. Send calls whose results"
                " nobody reads with ignore_result=True.",
                self._most_bytes >> 20,
            )
