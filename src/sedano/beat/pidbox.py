"""Answers `inspect ping` for a beat, as the node `celerybeat@host`; and falls silent when the scheduler does not tick."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import Any

from sedano.app.nodenames import default_nodename, host_format
from sedano.clock import SYSTEM_CLOCK
from sedano.contracts import Bus, Mailbox
from sedano.exceptions import OperationalError, UnreadableMessage
from sedano.log import get_logger, redact_url
from sedano.protocol import control
from sedano.protocol.control import ControlRequest
from sedano.protocol.message import Message
from sedano.rules.retry import reconnect_intervals

logger = get_logger("celery.beat")

NODENAME_DEFAULT = "celerybeat"
DEFAULT_INTERVAL_S = 300.0
LISTEN_S = 60.0


def beat_nodename(hostname: str | None = None) -> str:
    """The name that beat answers to: `-n`, in which a word without `@` is the host part."""
    return host_format(default_nodename(hostname, NODENAME_DEFAULT))


class BeatPidbox:
    """A thread with a connection of its own. Commands other than `ping` are for workers, and it says nothing to them.

    `max_tick_age` (seconds): a scheduler whose last tick is older has stalled, and silence is what a probe understands.
    """

    min_tick_age = 60.0
    join_timeout = 3.0

    def __init__(self, service: Any) -> None:
        self.service = service
        self.app = service.app
        self.hostname = beat_nodename(service.hostname)
        self.thread: threading.Thread | None = None
        self._ends = os.pipe()
        self._is_stopping = threading.Event()

    # -- is it alive --------------------------------------------------------------------------------------------------

    @property
    def max_tick_age(self) -> float:
        """Seconds; 0 for: however long."""
        configured = self.app.conf.beat_remote_control_max_tick_age
        if configured is not None:
            return float(configured)
        interval = self.service.effective_max_interval or self.service.max_interval or DEFAULT_INTERVAL_S
        return float(max(interval * 2, self.min_tick_age))

    def tick_age(self) -> float | None:
        """Seconds since the last tick, None before the first."""
        last: float | None = self.service._last_tick
        return None if last is None else SYSTEM_CLOCK.monotonic() - last

    def is_stale(self) -> bool:
        age, limit = self.tick_age(), self.max_tick_age
        return bool(limit) and age is not None and age > limit

    # -- the thread ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Listen, in a thread. Safe twice."""
        if self.thread is None:
            self.thread = threading.Thread(target=self._run, name="BeatPidbox", daemon=True)
            self.thread.start()

    def stop(self) -> None:
        """Have the thread end, and wait a little for it: it holds up nothing."""
        if self.thread is None or self._is_stopping.is_set():
            return
        self._is_stopping.set()
        os.write(self._ends[1], b"w")
        self.thread.join(self.join_timeout)
        if self.thread.is_alive():
            logger.warning("beat pidbox: consumer thread did not stop within %s seconds", self.join_timeout)

    def _run(self) -> None:
        try:
            waits = reconnect_intervals()
            while not self._is_stopping.is_set():
                try:
                    self._listen()
                    waits = reconnect_intervals()
                except OperationalError as exc:
                    wait_s = next(waits)
                    logger.error("beat pidbox: Connection error: %s. Trying again in %s seconds...", exc, wait_s)
                    self._is_stopping.wait(wait_s)
                except Exception:  # beat goes on without it rather than not at all
                    logger.exception("beat pidbox: it ends, and beat will no longer answer remote control commands")
                    return
        finally:
            if self._is_stopping.is_set():
                for fd in self._ends:
                    os.close(fd)

    def _listen(self) -> None:
        """Answer until it is to end, or the connection breaks."""
        bus: Bus = self.app.stores.open_bus()
        mailbox: Mailbox | None = None
        try:
            mailbox = bus.open_mailbox(self.hostname)
            logger.info("beat pidbox: Connected to %s.", redact_url(self.app.stores.broker_url))
            while not self._is_stopping.is_set():
                for message in mailbox.receive(LISTEN_S, [self._ends[0]]):
                    self._hear(bus, message)
        finally:
            for store in (mailbox, bus):
                if store is not None:
                    with suppress(OperationalError):
                        store.close()

    def _hear(self, bus: Bus, message: Message) -> None:
        try:
            asked = control.read_request(message, self.app.accept_content)
        except UnreadableMessage as exc:
            logger.error("beat pidbox: a command that cannot be read: %s", exc)
            return
        if not asked.concerns(self.hostname) or asked.method != "ping":
            return
        self.app.clock.forward()
        self.app.clock.adjust(asked.clock)
        if self.is_stale():
            logger.warning(
                "beat pidbox: not answering %s, the scheduler has not ticked for %.1fs (over the %ss limit).",
                asked.method,
                self.tick_age(),
                self.max_tick_age,
            )
        elif asked.reply_to is not None:
            self._answer(bus, asked)

    def _answer(self, bus: Bus, asked: ControlRequest) -> None:
        assert asked.reply_to is not None
        serializer = self.app.conf.task_serializer
        message = control.reply(self.hostname, {"ok": "pong"}, asked, clock=self.app.clock.forward(), serializer=serializer)
        try:
            bus.reply(asked.reply_to.exchange, asked.reply_to.routing_key, message)
        except OperationalError:
            raise
        except Exception as exc:  # an address that no store takes
            logger.error("beat pidbox: the answer cannot be sent to where it is wanted: %r", exc)
