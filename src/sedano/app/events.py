"""`app.events`: the classes of the room `events`, bound to this app, and a dispatcher that is open already."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sedano.app.drafts import Draft, origin
from sedano.clock import utcoffset_h
from sedano.events import EventDispatcher
from sedano.events.emitter import Emitter
from sedano.exceptions import SoftTimeLimitExceeded
from sedano.log import get_logger
from sedano.protocol.body import decode_body
from sedano.protocol.events import event_message, routing_key_of
from sedano.protocol.message import Message
from sedano.protocol.saferepr import saferepr

if TYPE_CHECKING:
    from sedano.app.base import Celery
    from sedano.contracts import Bus

logger = get_logger(__name__)

_TASK_SENT = "task-sent"


class Events:
    """One per app. Any thread may use it."""

    receiver_cls: Any = "sedano.events.receiver:EventReceiver"
    dispatcher_cls: Any = "sedano.events.dispatcher:EventDispatcher"
    state_cls: Any = "sedano.events.state:State"

    def __init__(self, app: Celery) -> None:
        self.app = app
        self.emitter = Emitter(self._open_bus)
        self._complained = False

    @cached_property
    def Receiver(self) -> Any:  # noqa: N802 - Celery's name
        """`EventReceiver`, bound to this app."""
        return self.app.subclass_with_self(self.receiver_cls, reverse="events.Receiver")

    @cached_property
    def Dispatcher(self) -> Any:  # noqa: N802
        """`EventDispatcher`, bound to this app."""
        return self.app.subclass_with_self(self.dispatcher_cls, reverse="events.Dispatcher")

    @cached_property
    def State(self) -> Any:  # noqa: N802
        """`State`, bound to this app."""
        return self.app.subclass_with_self(self.state_cls, reverse="events.State")

    @contextmanager
    def default_dispatcher(
        self, hostname: str | None = None, enabled: bool = True, buffer_while_offline: bool = False
    ) -> Generator[EventDispatcher]:
        """A dispatcher on the connection that this app keeps for events."""
        channel = _Shared(self.app, self.emitter)
        with self.Dispatcher(None, hostname, enabled, channel, buffer_while_offline) as dispatcher:
            yield dispatcher

    def tell_sent(self, drafts: Sequence[Draft]) -> None:
        """Announce calls that were sent (`task-sent`), in one round trip. The calls stand whatever becomes of this: an event
        that cannot be sent is a line in the log, once."""
        try:
            self.emitter.emit(self._sent(drafts))
        except SoftTimeLimitExceeded:  # it is this thread's own
            raise
        except Exception as exc:
            if not self._complained:
                self._complained = True
                logger.warning("task-sent events cannot be sent (the calls were): %s", exc)
        else:
            self._complained = False

    def _sent(self, drafts: Sequence[Draft]) -> list[Message]:
        app = self.app
        conf = app.conf
        exchange, serializer = conf.typed("event_exchange"), conf.typed("event_serializer")
        hostname, offset, now = origin(), utcoffset_h(), time.time()
        return [
            event_message(
                {
                    "hostname": hostname,
                    "utcoffset": offset,
                    "pid": os.getpid(),
                    "clock": app.clock.forward(),
                    **_of_call(made),
                    "timestamp": now,
                    "type": _TASK_SENT,
                },
                hostname=hostname,
                routing_key=routing_key_of(_TASK_SENT),
                exchange=exchange,
                serializer=serializer,
            )
            for made in drafts
        ]

    def _open_bus(self) -> Bus:
        return self.app.stores.open_bus()  # as the settings are by then

    def close(self) -> None:
        """Close the connection that is kept; the next event opens it again."""
        self.emitter.close()


class _Shared:
    """In the place of a channel: the connection that the app keeps."""

    def __init__(self, app: Celery, emitter: Emitter) -> None:
        self.app = app
        self.emitter = emitter


def _of_call(made: Draft) -> dict[str, Any]:
    """The fields of `task-sent` that are the call's own, as Celery's clients send them."""
    headers, where = made.message.headers, made.address
    if "task" in headers:  # protocol 2
        own = {
            "uuid": made.task_id,
            "root_id": headers.get("root_id"),
            "parent_id": headers.get("parent_id"),
            "name": made.task,
            "args": headers.get("argsrepr"),
            "kwargs": headers.get("kwargsrepr"),
            "retries": headers.get("retries"),
            "eta": headers.get("eta"),
            "expires": headers.get("expires"),
        }
    else:
        args, kwargs = made.body[:2]
        body = decode_body(made.message, [made.serializer])
        own = {
            "uuid": made.task_id,
            "name": made.task,
            "args": saferepr(args),
            "kwargs": saferepr(kwargs),
            "retries": body.get("retries"),
            "eta": body.get("eta"),
            "expires": body.get("expires"),
        }
    return {**own, "queue": where.queue, "exchange": where.exchange, "routing_key": where.routing_key}
