"""Hear what the cluster announces: `EventReceiver`, with Celery's arguments and methods."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from typing import Any

from sedano.clock import utcoffset_h
from sedano.contracts import Mailbox
from sedano.events.event import get_exchange
from sedano.events.ports import app_or_current, opener
from sedano.exceptions import ImproperlyConfigured, UnreadableMessage
from sedano.log import get_logger
from sedano.protocol.events import EVERY_EVENT, read_events
from sedano.protocol.ids import new_id
from sedano.protocol.message import Message
from sedano.protocol.queues import Queue

logger = get_logger("celery.events.receiver")

CLIENT_CLOCK_SKEW = -1
"""What a client sent was before what this process has heard of: clients do not keep a clock in step."""

_LOOK_S = 1.0  # so long `should_stop` may go unseen


class EventReceiver:
    """Hears events and gives each to a handler: `handlers` maps a type to `handler(event)`, "*" stands for every other type.

    `channel` is what `app.connection()` gives, or a channel of it. `routing_key` chooses: "#" all, "worker.#", "task.failed"
    (workers send most events about tasks in lists, under "task.multi").
    """

    app: Any = None

    def __init__(
        self,
        channel: Any = None,
        handlers: Mapping[str, Callable[[dict[str, Any]], Any]] | None = None,
        routing_key: str = EVERY_EVENT,
        node_id: str | None = None,
        app: Any = None,
        queue_prefix: str | None = None,
        accept: Collection[str] | None = None,
        queue_ttl: float | None = None,
        queue_expires: float | None = None,
        queue_exclusive: bool | None = None,
        queue_durable: bool | None = None,
    ) -> None:
        self.app = app_or_current(app or self.app or getattr(channel, "app", None))
        conf = self.app.conf
        self.channel = channel
        self.handlers: Mapping[str, Callable[[dict[str, Any]], Any]] = {} if handlers is None else handlers
        self.routing_key = routing_key
        self.node_id = node_id or new_id()
        self.queue_prefix = queue_prefix or conf.typed("event_queue_prefix")
        self.exchange = get_exchange(self.connection, name=conf.typed("event_exchange"))
        is_exclusive = conf.typed("event_queue_exclusive") if queue_exclusive is None else queue_exclusive
        is_durable = conf.typed("event_queue_durable") if queue_durable is None else queue_durable
        if is_exclusive and is_durable:
            raise ImproperlyConfigured(
                "a queue of events cannot be both exclusive and durable: set event_queue_exclusive or event_queue_durable to"
                " False"
            )
        self.queue = Queue(
            f"{self.queue_prefix}.{self.node_id}",
            exchange=self.exchange,
            routing_key=routing_key,
            auto_delete=not is_durable,
            durable=is_durable,
            exclusive=is_exclusive,
            message_ttl=conf.typed("event_queue_ttl") if queue_ttl is None else queue_ttl,
            expires=conf.typed("event_queue_expires") if queue_expires is None else queue_expires,
        )
        self.clock = self.app.clock
        self.accept = set(accept) if accept is not None else {conf.typed("event_serializer"), "json"}
        self.should_stop = False

    @property
    def connection(self) -> Any:
        """The connection that `channel` belongs to, or is."""
        connection = getattr(self.channel, "connection", None)
        return getattr(connection, "client", connection) or self.channel

    # -- hearing ----------------------------------------------------------------------------------------------------------

    def capture(self, limit: int | None = None, timeout: float | None = None, wakeup: bool = True) -> None:
        """Handle events until `should_stop` is set (by a handler, or another thread) or `limit` messages were heard.

        Raises TimeoutError when nothing was heard for `timeout` seconds, OperationalError when the broker is lost, and what a
        handler raises. `wakeup` has every node send a heartbeat, so that one knows at once who is there.
        """
        for _ in self.itercapture(limit=limit, timeout=timeout, wakeup=wakeup):
            pass

    def itercapture(self, limit: int | None = None, timeout: float | None = None, wakeup: bool = True) -> Iterator[None]:
        """As `capture`; yields after each message."""
        bus = opener(self.app, self.channel, self.connection)()
        with closing(bus), closing(bus.open_events(self.queue.name, self.routing_key)) as mailbox:
            if wakeup:
                self.wakeup_workers()
            heard = 0
            while not self._is_over():
                for message in self._next(mailbox, timeout):
                    if self._is_over():
                        return
                    self._receive(message)
                    yield
                    heard += 1
                    if limit and heard >= limit:
                        return

    def wakeup_workers(self, channel: Any = None) -> None:
        """Have every node send a heartbeat."""
        del channel
        self.app.control.broadcast("heartbeat")

    def _is_over(self) -> bool:
        return bool(self.should_stop)

    def _next(self, mailbox: Mailbox, timeout: float | None) -> list[Message]:
        """The next messages; none when it is time to stop. Raises TimeoutError."""
        began = time.monotonic()
        while not self._is_over():
            left_s = _LOOK_S if timeout is None else min(_LOOK_S, began + timeout - time.monotonic())
            messages = mailbox.receive(max(0.0, left_s))
            if messages:
                return messages
            if timeout is not None and time.monotonic() - began >= timeout:
                raise TimeoutError(f"no event was heard for {timeout} seconds")
        return []

    # -- handling ---------------------------------------------------------------------------------------------------------

    def process(self, type: str, event: dict[str, Any]) -> None:  # noqa: A002 - Celery's name
        """Give an event to its handler."""
        handler = self.handlers.get(type) or self.handlers.get("*")
        if handler is not None:
            handler(event)

    def event_from_message(
        self,
        body: dict[str, Any],
        localize: bool = True,
        now: Callable[[], float] = time.time,
    ) -> tuple[str, dict[str, Any]]:
        """(type, the event as it is here): the logical clock is brought in step with it, `timestamp` is shifted by the
        difference of the two UTC offsets, `local_received` is added."""
        kind = body["type"]
        if kind == "task-sent":
            body["clock"] = (self.clock.value or 1) + CLIENT_CLOCK_SKEW
            self.clock.adjust(body["clock"])
        elif "clock" not in body:
            body["clock"] = self.clock.forward()
        elif body["clock"] is not None:
            self.clock.adjust(body["clock"])
        offset, timestamp = body.get("utcoffset"), body.get("timestamp")
        if localize and offset is not None and timestamp is not None:
            body["timestamp"] = timestamp - (offset - utcoffset_h()) * 3600
        body["local_received"] = now()
        return kind, body

    def _receive(self, message: Message) -> None:
        try:
            events = read_events(message, self.accept)
        except UnreadableMessage as exc:
            logger.debug("a message among the events was left out: %s", exc)
            return
        for event in events:
            self.process(*self.event_from_message(event))


__all__ = ["EventReceiver"]
