"""Announce something: `EventDispatcher`, with Celery's arguments and methods."""

from __future__ import annotations

import os
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Mapping
from types import TracebackType
from typing import Any, ClassVar, Self

from sedano.clock import utcoffset_h
from sedano.events.emitter import Emitter
from sedano.events.event import Event, get_exchange
from sedano.events.ports import app_or_current, opener
from sedano.protocol.events import TRANSIENT, event_message, group_from, multi_key_of, routing_key_of

_MOST_BUFFERED = 10_000
"""Events that wait for a broker: the oldest go."""


class BusProducer:
    """What publishes for a dispatcher; with the method of Kombu's producers that a dispatcher calls."""

    def __init__(self, emitter: Emitter) -> None:
        self.emitter = emitter

    def publish(
        self,
        body: Any,
        routing_key: str = "",
        exchange: str = "",
        serializer: str | None = None,
        headers: Mapping[str, Any] | None = None,
        delivery_mode: int = TRANSIENT,
        retry: bool = False,
        retry_policy: Mapping[str, Any] | None = None,
        **_ignored: Any,
    ) -> None:
        message = event_message(
            body,
            hostname=(headers or {}).get("hostname", ""),
            routing_key=routing_key,
            exchange=exchange,
            serializer=serializer or "json",
            delivery_mode=delivery_mode,
        )
        self.emitter.emit([message], retry=retry, policy=retry_policy)


class EventDispatcher:
    """Sends events under the name `hostname` (default gen<pid>@<host>).

    `connection` or `channel` are what `app.connection()` gives and say which broker; without them it is the app's, on the one
    connection that the app keeps for events. `groups` ("task", "worker") are those that are sent, all when empty. Events of
    `buffer_group` wait until there are `buffer_limit`, or for `flush`, and go together; `on_send_buffered` is called for each
    that waits. With `buffer_while_offline` what a broker did not take waits for `flush`; else OperationalError is raised.

    Any thread may use it. Close it after use, or use it in a `with` block.
    """

    app: Any = None
    DISABLED_TRANSPORTS: ClassVar[set[str]] = {"sql"}

    def __init__(
        self,
        connection: Any = None,
        hostname: str | None = None,
        enabled: bool = True,
        channel: Any = None,
        buffer_while_offline: bool = True,
        app: Any = None,
        serializer: str | None = None,
        groups: Collection[str] | None = None,
        delivery_mode: int = TRANSIENT,
        buffer_group: Collection[str] | None = None,
        buffer_limit: int = 24,
        on_send_buffered: Callable[[], Any] | None = None,
    ) -> None:
        self.app = app_or_current(app or self.app or getattr(connection, "app", None))
        self.connection = connection
        self.channel = channel
        self.hostname = hostname or f"gen{os.getpid()}@{_host()}"
        self.buffer_while_offline = buffer_while_offline
        self.buffer_group = frozenset(buffer_group or ())
        self.buffer_limit = buffer_limit
        self.on_send_buffered = on_send_buffered
        self.serializer = serializer or self.app.conf.typed("event_serializer")
        self.groups = set(groups or ())
        self.delivery_mode = delivery_mode
        self.on_enabled: set[Callable[[], Any]] = set()
        self.on_disabled: set[Callable[[], Any]] = set()
        self.exchange = get_exchange(connection, name=self.app.conf.typed("event_exchange"))
        self.headers = {"hostname": self.hostname}
        self.clock = self.app.clock
        self.pid = os.getpid()
        self.mutex = threading.RLock()
        self.producer: Any = None
        self.enabled = enabled
        self._closed = False
        self._waiting: deque[tuple[Any, str]] = deque(maxlen=_MOST_BUFFERED)
        self._buffered: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        source = channel if channel is not None else connection
        shared = getattr(self.app.events if source is None else source, "emitter", None)
        self._owns_emitter = shared is None
        self._emitter: Emitter = shared or Emitter(opener(self.app, channel, connection))
        if enabled:
            self.enable()

    # -- on and off -------------------------------------------------------------------------------------------------------

    def enable(self) -> None:
        with self.mutex:
            self.producer = BusProducer(self._emitter)
            self._closed = False
            self.enabled = True
        for callback in self.on_enabled:
            callback()

    def disable(self) -> None:
        if self.enabled:
            self.enabled = False
            self.close()
            for callback in self.on_disabled:
                callback()

    def close(self) -> None:
        """Send no more, until `enable`. What is buffered stays."""
        with self.mutex:
            self._closed = True
            self.producer = None
            if self._owns_emitter:
                self._emitter.close()

    @property
    def publisher(self) -> Any:
        """The older name of `producer`."""
        return self.producer

    @publisher.setter
    def publisher(self, producer: Any) -> None:
        self.producer = producer

    # -- sending ----------------------------------------------------------------------------------------------------------

    def send(
        self,
        type: str,  # noqa: A002 - Celery's name
        blind: bool = False,
        utcoffset: Callable[[], float] = utcoffset_h,
        retry: bool = False,
        retry_policy: Mapping[str, Any] | None = None,
        Event: Callable[..., dict[str, Any]] = Event,  # noqa: N803 - Celery's name
        **fields: Any,
    ) -> None:
        """Send an event with these fields; nothing when it is disabled, or of a group that is not sent.

        `blind`: without the logical clock. With `retry` the broker is tried again as `retry_policy` says.
        """
        if not self.enabled:
            return
        group = group_from(type)
        if self.groups and group not in self.groups:
            return
        event = self._event(type, fields, blind, Event, utcoffset)
        with self.mutex:
            if group not in self.buffer_group:
                if not self._closed:
                    self._publish(event, self.producer, routing_key_of(type), retry, retry_policy)
                return
            waiting = self._buffered[group]
            waiting.append(event)
            is_full = len(waiting) >= self.buffer_limit
        if is_full:
            self.flush()
        elif self.on_send_buffered is not None:
            self.on_send_buffered()

    def publish(
        self,
        type: str,  # noqa: A002 - Celery's name
        fields: Mapping[str, Any],
        producer: Any,
        blind: bool = False,
        Event: Callable[..., dict[str, Any]] = Event,  # noqa: N803 - Celery's name
        **kwargs: Any,
    ) -> None:
        """Send an event by a producer of one's own: its method `publish` is called as Kombu's. `retry`, `retry_policy` and
        `utcoffset` as of `send`."""
        event = self._event(type, fields, blind, Event, kwargs.get("utcoffset") or utcoffset_h)
        with self.mutex:
            self._publish(event, producer, routing_key_of(type), bool(kwargs.get("retry")), kwargs.get("retry_policy"))

    def flush(self, errors: bool = True, groups: bool = True) -> None:
        """Send what waits: `errors` are events that a broker did not take, `groups` those of `buffer_group`."""
        with self.mutex:
            if self._closed:
                return
            if errors:
                again = list(self._waiting)
                self._waiting.clear()
                for body, routing_key in again:
                    self._publish(body, self.producer, routing_key)
            if groups:
                for group in list(self._buffered):
                    if events := self._buffered.pop(group):
                        self._publish(events, self.producer, multi_key_of(group))

    def extend_buffer(self, other: EventDispatcher) -> None:
        """Take over what another dispatcher could not send."""
        self._waiting.extend(other._waiting)

    # -- one event ----------------------------------------------------------------------------------------------------------

    def _event(
        self,
        type_: str,
        fields: Mapping[str, Any],
        blind: bool,
        make: Callable[..., dict[str, Any]],
        utcoffset: Callable[[], float],
    ) -> dict[str, Any]:
        clock = None if blind else self.clock.forward()
        pid = os.getpid()
        if pid != self.pid:  # after a fork
            self.pid = pid
        return make(type_, hostname=self.hostname, utcoffset=utcoffset(), pid=pid, clock=clock, **fields)

    def _publish(
        self,
        body: Any,
        producer: Any,
        routing_key: str,
        retry: bool = False,
        policy: Mapping[str, Any] | None = None,
    ) -> None:
        if producer is None:
            return
        try:
            producer.publish(
                body,
                routing_key=routing_key,
                exchange=self.exchange.name,
                retry=retry,
                retry_policy=policy,
                declare=[self.exchange],
                serializer=self.serializer,
                headers=self.headers,
                delivery_mode=self.delivery_mode,
            )
        except Exception:
            if not self.buffer_while_offline:
                raise
            self._waiting.append((body, routing_key))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def _host() -> str:
    return os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "localhost")


__all__ = ["BusProducer", "EventDispatcher"]
