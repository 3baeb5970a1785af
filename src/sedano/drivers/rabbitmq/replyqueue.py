"""The queue in which this process hears the results of its calls (rpc://), and the one connection that consumes it.

Celery deletes the queue with its consumer (`auto_delete`), so the consumer stays once it is there: a thread answers the
server's heartbeats while nobody waits. What nobody asks for stays on the server but for `AHEAD` messages, which it hands over
unacknowledged; as it waits for an acknowledgement for half an hour only, they are acknowledged after `LONGEST_HELD_S` at the
latest.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence

from sedano.drivers.rabbitmq import methods
from sedano.drivers.rabbitmq.channel import Channel
from sedano.drivers.rabbitmq.connection import Connection
from sedano.drivers.rabbitmq.errors import Malformed
from sedano.drivers.rabbitmq.frames import Incoming
from sedano.drivers.rabbitmq.inbox import Inbox
from sedano.drivers.rabbitmq.properties import decode_properties
from sedano.drivers.rabbitmq.topology import Queue
from sedano.exceptions import OperationalError, ResultsUnavailable
from sedano.protocol.results import typed

AHEAD = 300
KEEP_S = 5.0
LONGEST_HELD_S = 300.0
_SETTLE_S = 2.0  # for what lay in the queue to arrive
_TAG = "sedano"


class ReplyQueue:
    """Any thread may use it: of several, one converses with the server. Raises `ResultsUnavailable`."""

    def __init__(
        self, connect: Callable[[], Connection], queue: Queue, inbox: Inbox, content_type: str, *, keep_s: float = KEEP_S
    ) -> None:
        self._connect, self._queue, self._inbox, self._content_type = connect, queue, inbox, content_type
        self._keep_s = keep_s
        self._turn = threading.Lock()
        self._connection: Connection | None = None
        self._channel: Channel | None = None
        self._is_cancelled = False
        self._last_tag = self._acked_tag = 0
        self._held_since = 0.0
        self._hearers: list[Callable[[str, bytes], None]] = []
        self._stop: threading.Event | None = None  # of the thread that keeps the connection

    def hear(self, hearer: Callable[[str, bytes], None]) -> None:
        """`hearer(task id, record)` is called for every record that comes, by whoever converses with the server."""
        self._hearers.append(hearer)

    def unhear(self, hearer: Callable[[str, bytes], None]) -> None:
        with contextlib.suppress(ValueError):
            self._hearers.remove(hearer)

    def listen(self) -> None:
        """From its return on, results come in, or whoever waits for them is told that they do not."""
        if self._turn.acquire(blocking=False):  # else somebody converses, or connects: the queue is there, or will be at once
            try:
                self._converse(0.0, ())
            finally:
                self._turn.release()
        elif self._connection is None:
            with self._turn:
                self._opened()

    def look(self, task_ids: Sequence[str]) -> None:
        """Take in what has come, on and on while there is more and one of `task_ids` is missing."""
        if not self._turn.acquire(blocking=False):
            return
        try:
            while self._converse(0.0, ()):
                pass
            while self._is_full() and not all(map(self._inbox.has, task_ids)):
                self._acknowledge()
                if not self._converse(_SETTLE_S, ()):
                    break
        finally:
            self._turn.release()

    def wait(self, is_done: Callable[[], bool], timeout_s: float, fds: Sequence[int]) -> None:
        """Take in what comes until `is_done()`, one of `fds` is readable, or `timeout_s` is over."""
        ends_at = time.monotonic() + timeout_s
        with self._turn:
            while not is_done():
                if self._is_full():
                    self._acknowledge()
                if not self._converse(max(0.0, ends_at - time.monotonic()), fds):
                    break

    def close(self) -> None:
        """The server deletes the queue, and what nobody has read of it. The next question opens it again."""
        with self._turn:
            stop, self._stop = self._stop, None
            if stop is not None:
                stop.set()
            self._drop()

    # -- whoever has the turn -----------------------------------------------------------------------------------------

    def _converse(self, timeout_s: float, fds: Sequence[int]) -> bool:
        connection = self._opened()
        try:
            found = connection.pump(timeout_s, fds)
        except OperationalError as exc:
            self._drop()
            raise ResultsUnavailable(f"the queue of results is lost: {exc}") from exc
        if self._is_cancelled or (self._channel is not None and not self._channel.is_open):
            why = "it was deleted" if self._channel is None else self._channel.closed_why or "it was deleted"
            self._drop()
            raise ResultsUnavailable(f"the queue of results is lost: {why}")
        return found

    def _opened(self) -> Connection:
        connection = self._connection
        if connection is not None and connection.is_open:
            return connection
        self._drop()
        try:
            connection = self._connection = self._connect()
            channel = self._channel = connection.channel()
            channel.on_deliver, channel.on_cancel = self._deliver, self._cancelled
            queue = self._queue
            waiting = channel.declare_queue(
                queue.name, durable=queue.durable, auto_delete=queue.auto_delete, arguments=queue.arguments
            ).messages
            channel.qos(AHEAD)
            channel.consume(queue.name, _TAG)
            ends_at = time.monotonic() + _SETTLE_S
            while self._last_tag < min(waiting, AHEAD) and time.monotonic() < ends_at:
                connection.pump(max(0.0, ends_at - time.monotonic()))
        except OperationalError as exc:
            self._drop()
            raise ResultsUnavailable(f"the queue of results cannot be opened: {exc}") from exc
        if self._stop is None:
            self._stop = threading.Event()
            threading.Thread(target=self._keep, args=(self._stop,), name="sedano-replies", daemon=True).start()
        return connection

    def _deliver(self, incoming: Incoming) -> None:
        if self._last_tag == self._acked_tag:
            self._held_since = time.monotonic()
        self._last_tag = incoming.delivery_tag
        try:
            properties = decode_properties(incoming.header)
        except Malformed:
            return
        task_id = properties.get("correlation_id")
        if not task_id:
            return
        content_type = properties.get("content_type") or self._content_type
        record = incoming.body if content_type == self._content_type else typed(incoming.body, content_type)
        self._inbox.put(task_id, record, time.monotonic())
        for hearer in self._hearers:
            hearer(task_id, record)

    def _cancelled(self, _tag: str) -> None:
        self._is_cancelled = True

    def _is_full(self) -> bool:
        return self._last_tag - self._acked_tag >= AHEAD // 2

    def _acknowledge(self) -> None:
        """All that came: it is in the inbox. Goes out with what is next."""
        if self._connection is not None and self._channel is not None and self._last_tag > self._acked_tag:
            self._connection.write(methods.ack(self._channel.id, self._last_tag, multiple=True))
            self._acked_tag = self._last_tag

    def _drop(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        self._is_cancelled = False
        self._last_tag = self._acked_tag = 0
        if connection is not None:
            connection.close()

    # -- while nobody waits -------------------------------------------------------------------------------------------

    def _keep(self, stop: threading.Event) -> None:
        while not stop.wait(self._keep_s):
            if not self._turn.acquire(blocking=False):
                continue
            try:
                if stop.is_set():
                    return
                self._look_after()
            finally:
                self._turn.release()

    def _look_after(self) -> None:
        if time.monotonic() - self._held_since > LONGEST_HELD_S:
            self._acknowledge()
        self._inbox.expire(time.monotonic())
        try:
            self._converse(0.0, ())
        except OperationalError:
            with contextlib.suppress(OperationalError):
                self._opened()  # results that are on their way find no queue otherwise
