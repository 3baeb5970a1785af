"""One AMQP connection: frames out, events in, heartbeats, and the waiting. Start with `pump`.

All waiting happens in `_step`, which sends what the socket takes and reads what it has at the same time. So neither side can
wait for the other with full buffers, and heartbeats go on whatever is waited for.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from sedano.drivers.rabbitmq import methods
from sedano.drivers.rabbitmq.address import Address, Server
from sedano.drivers.rabbitmq.channel import Channel
from sedano.drivers.rabbitmq.errors import ChannelClosed, ConnectionBlocked, Malformed, NotAnswered, NotConfirmed
from sedano.drivers.rabbitmq.frames import Event, Frames, Incoming, Returned
from sedano.drivers.rabbitmq.greeting import greet
from sedano.drivers.rabbitmq.methods import Close, Method, Text
from sedano.drivers.rabbitmq.sockets import open_socket
from sedano.exceptions import BrokerUnavailable, ImproperlyConfigured, OperationalError
from sedano.polling import POLLIN, POLLOUT, new_poll

_CHUNK_BYTES = 1 << 18
_GOODBYE_S = 1.0
_LEAST_HANDSHAKE_S = 10.0
"""RabbitMQ's own limit. A busy machine accepts a connection long before it answers on it."""

_PASSING = (ChannelClosed, NotConfirmed, ConnectionBlocked, ImproperlyConfigured, NotAnswered)
"""Errors after which the connection is as good as before."""


class Connection:
    """Not thread-safe, not usable after fork: a child may only `close` it, which then says nothing to the server.

    It does not connect when it is made, and not again when it is lost: whoever uses it opens another one. Everything but
    `close` raises `BrokerUnavailable` when the connection is not open, breaks, or is closed by the server; its text says why.
    Callbacks of channels run inside `pump` and inside every method that waits for an answer. What they raise ends the
    connection.
    """

    def __init__(
        self,
        address: Address,
        *,
        name: str = "",
        connect_timeout_s: float | None = 4.0,
        socket_timeout_s: float | None = 120.0,
    ) -> None:
        self.address = address
        self.name = name
        self.server_properties: dict[str, Any] = {}
        self.server: Server | None = None  # the one of the address' servers that answered
        self.blocked: str | None = None
        self.frame_max = address.frame_max_bytes
        self.heartbeat_s = 0.0  # as agreed with the server; 0: none
        self._channel_max = 0
        self._connect_timeout_s = connect_timeout_s or 4.0
        self._socket_timeout_s = math.inf if socket_timeout_s is None else socket_timeout_s
        self._stream: socket.socket | None = None
        self._pid = 0
        self._why = "it was not opened"
        self._frames = Frames(self.frame_max)
        self._events: deque[Event] = self._frames.events
        self._answers: deque[tuple[int, Method]] = deque()  # for channel 0
        self._channels: dict[int, Channel] = {}
        self._out: list[bytes] = []
        self._sending: memoryview | None = None
        self._read_wants_write = False
        self._heard_at = self._sent_at = 0.0

    # -- life ---------------------------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        return self._stream is not None

    def open(self) -> None:
        """Connect to the first of the servers that answers. Raises `AccessRefused`, `ImproperlyConfigured`."""
        if self._stream is not None:
            return
        for place, server in enumerate(self.address.servers, 1):
            try:
                self._open(server)
                return
            except BrokerUnavailable:
                if place == len(self.address.servers):
                    raise

    def close(self) -> None:
        """Say goodbye if the server listens, and drop the connection. Idempotent; raises nothing.

        While the server is `blocked` the connection is reset instead: otherwise the server would take what it has not read yet
        after the alarm, when whoever published it has long been told that it was not taken.
        """
        if self._stream is not None and self._pid == os.getpid() and self.blocked is None:
            with contextlib.suppress(OSError, EOFError, Malformed, OperationalError):
                self._answers.clear()
                self.write(methods.close_connection(200, "goodbye"))
                ends_at = time.monotonic() + _GOODBYE_S
                while not self._answers and time.monotonic() < ends_at:
                    self._step(ends_at)
                    self._sort_goodbye()
        self._drop("it was closed")

    def fileno(self) -> int:
        """Of the socket. What was read already makes it readable no more: `pump(0.0)` before it is waited for."""
        return self._checked().fileno()

    def channel(self) -> Channel:
        """A new open channel; one round trip."""
        self._checked()
        number = next((one for one in range(1, self._channel_max + 1) if one not in self._channels), None)
        if number is None:
            raise OperationalError(f"the server allows {self._channel_max} channels on a connection, and all are in use")
        channel = self._channels[number] = Channel(self, number)
        try:
            channel.open()
        except BaseException:
            self._channels.pop(number, None)
            raise
        return channel

    # -- conversation -------------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Queue whole frames; `flush`, `pump` or the next method that waits sends them."""
        self._out.append(data)

    def flush(self) -> None:
        """Send what is queued. While the socket takes nothing it goes on reading; what came waits for the next `pump`."""
        stream = self._checked()
        try:
            if self._send():
                return
            began_at = time.monotonic()
            while not self._send():
                ends_at = max(began_at, self._sent_at) + self._socket_timeout_s
                if time.monotonic() >= ends_at:
                    raise TimeoutError("the server takes nothing")
                self._step(ends_at)
        except BaseException as error:
            self.fail(error, stream)

    def pump(self, timeout_s: float, fds: Sequence[int] = ()) -> bool:
        """Flush, then read and dispatch what comes; return after `timeout_s` or when one of `fds` is readable.

        True: something was dispatched. Heartbeats are sent, and missing ones noticed.
        """
        stream = self._checked()
        try:
            ends_at = time.monotonic() + timeout_s
            found = self._dispatch()
            while True:
                is_other = self._step(0.0 if found else ends_at, fds)
                found = self._dispatch() or found
                if found or is_other or self._stream is None or time.monotonic() >= ends_at:
                    break
            if self._out and self._stream is not None:
                self._send()
        except BaseException as error:
            self.fail(error, stream)
        self._checked()
        return found

    def wait_until(self, is_done: Callable[[], bool], timeout_s: float | None, what: str) -> None:
        """Converse until `is_done`. After `timeout_s` (None: the socket's timeout, which ends the connection) it raises.

        For channels. Raises `ConnectionBlocked` when the time is over and the server has said that it takes nothing.
        """
        stream = self._checked()
        limit_s = self._socket_timeout_s if timeout_s is None else timeout_s
        try:
            ends_at = time.monotonic() + limit_s
            self._dispatch()
            while not is_done():
                if time.monotonic() >= ends_at:
                    self._time_is_over(what, limit_s, ends=timeout_s is None)
                self._step(ends_at)
                self._dispatch()
                if self._stream is None:
                    self._checked()
        except BaseException as error:
            self.fail(error, stream)

    def check(self) -> None:
        """Raise `BrokerUnavailable` when the connection is not open."""
        self._checked()

    def forget(self, channel: Channel) -> None:
        """For channels: this one is closed, and its number free."""
        if self._channels.get(channel.id) is channel:
            del self._channels[channel.id]

    def fail(self, error: BaseException, stream: socket.socket | None = None) -> NoReturn:
        """End the connection for `error`, unless it is one that leaves it whole, and raise what it means."""
        if isinstance(error, _PASSING) or (stream is not None and stream is not self._stream):
            raise error
        if isinstance(error, OperationalError):
            self._drop(str(error))
            raise error
        if isinstance(error, OSError | EOFError | Malformed):
            text = str(error) or type(error).__name__
            self._drop(text)
            raise BrokerUnavailable(f"no connection to {self.address.shown}: {text}") from error
        self._drop(f"{type(error).__name__} came in between")
        raise error

    # -- inside -------------------------------------------------------------------------------------------------------

    def _open(self, server: Server) -> None:
        self._answers.clear()
        self._channels.clear()
        self._out.clear()
        self._sending, self._read_wants_write = None, False
        self.blocked = None
        where = f"{self.address.shown} ({server.host}:{server.port})"
        try:
            stream = self._stream = open_socket(self.address, server, self._connect_timeout_s)
        except OSError as error:
            self._why = str(error)
            is_tls_error = type(error).__name__.startswith("SSL")
            hint = "; does this port speak TLS?" if is_tls_error and "WRONG_VERSION" in str(error) else ""
            raise BrokerUnavailable(f"no connection to {where}: {error}{hint}") from error
        self._pid = os.getpid()
        self._frames = Frames(self.address.frame_max_bytes)
        self._events = self._frames.events
        self._heard_at = self._sent_at = time.monotonic()
        self.heartbeat_s = 0.0
        ends_at = time.monotonic() + max(self._connect_timeout_s, _LEAST_HANDSHAKE_S)
        try:
            terms = greet(self.address, self.name, self.write, lambda: self._answer(ends_at))
        except (Malformed, EOFError, OSError) as error:
            self._drop(str(error))
            raise BrokerUnavailable(f"no AMQP connection to {where}: {error}") from error
        except BaseException as error:
            self.fail(error, stream)
        self.server, self.server_properties = server, terms.server_properties
        self.frame_max = self._frames.frame_max = terms.frame_max
        self.heartbeat_s = terms.heartbeat_s
        self._channel_max = terms.channel_max

    def _answer(self, ends_at: float) -> tuple[int, Method]:
        """The next method on channel 0, while the connection is being opened."""
        while not self._answers:
            if time.monotonic() >= ends_at:
                raise TimeoutError("the server did not answer in time")
            self._step(ends_at)
            while self._events:
                _, method, found = self._events.popleft()
                assert not isinstance(found, Incoming | Returned)
                self._answers.append((method, found))
        return self._answers.popleft()

    def _checked(self) -> socket.socket:
        stream = self._stream
        if stream is None:
            raise BrokerUnavailable(f"no connection to {self.address.shown}: {self._why}")
        if self._pid != os.getpid():
            raise BrokerUnavailable(f"the connection to {self.address.shown} belongs to the parent of this process")
        return stream

    def _drop(self, why: str) -> None:
        stream, self._stream = self._stream, None
        if stream is None:
            return
        self._why = why
        self._out.clear()
        self._sending = None
        self._events.clear()
        for channel in list(self._channels.values()):
            channel.lose()
        self._channels.clear()
        with contextlib.suppress(OSError):
            if self.blocked is not None and self._pid == os.getpid():
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            stream.close()

    def _step(self, ends_at: float, fds: Sequence[int] = ()) -> bool:
        """Send what the socket takes, read what it has; wait until it does or has something, or one of `fds` is readable.

        True: one of `fds` is. Returns at `ends_at` (monotonic seconds) at the latest.
        """
        is_sent = self._send()
        if self._receive():
            return False
        now = time.monotonic()
        if self.heartbeat_s:
            ends_at = min(ends_at, self._beat(now))
            is_sent = self._send()
        stream = self._stream
        assert stream is not None
        poller = new_poll()
        own = stream.fileno()
        poller.register(own, POLLIN if is_sent and not self._read_wants_write else POLLIN | POLLOUT)
        for fd in fds:
            poller.register(fd, POLLIN)
        wait_ms = max(0, math.ceil(min(ends_at - now, 3600.0) * 1000))
        ready = [fd for fd, _ in poller.poll(wait_ms)]
        if own in ready:
            self._receive()
            return len(ready) > 1
        return bool(ready)

    def _send(self) -> bool:
        """Send what the socket takes; whether that was all."""
        stream = self._stream
        assert stream is not None
        while True:
            if self._sending is None:
                if not self._out:
                    return True
                self._sending = memoryview(self._out[0] if len(self._out) == 1 else b"".join(self._out))
                self._out.clear()
            try:
                sent = stream.send(self._sending)
            except OSError as error:
                if _must_wait(error):
                    return False
                raise
            self._sent_at = time.monotonic()
            self._sending = self._sending[sent:] if sent < len(self._sending) else None

    def _receive(self) -> bool:
        """Read what is there, once; whether anything was."""
        stream = self._stream
        assert stream is not None
        try:
            data = stream.recv(_CHUNK_BYTES)
        except OSError as error:
            self._read_wants_write = type(error).__name__ == "SSLWantWriteError"
            if _must_wait(error):
                return False
            raise
        self._read_wants_write = False
        if not data:
            raise EOFError("the server closed it without a word")
        self._heard_at = time.monotonic()
        self._frames.feed(data)
        return True

    def _beat(self, now: float) -> float:
        """Heartbeats: ours where it is due, the server's where it is missing. When to look again."""
        if now - self._heard_at >= 2 * self.heartbeat_s:
            raise TimeoutError(f"nothing was heard for {now - self._heard_at:.0f} s, two heartbeats")
        if now - self._sent_at >= self.heartbeat_s / 2:
            if self._sending is None and not self._out:
                self._out.append(methods.HEARTBEAT)
            return min(now + self.heartbeat_s / 2, self._heard_at + 2 * self.heartbeat_s)
        return min(self._sent_at + self.heartbeat_s / 2, self._heard_at + 2 * self.heartbeat_s)

    def _dispatch(self) -> bool:
        """Give away what was read, in its order; whether there was anything."""
        events = self._events
        if not events:
            return False
        channels = self._channels
        while events:
            number, method, found = events.popleft()
            channel = channels.get(number)
            if channel is not None:
                channel.take(method, found)
            elif number == 0:
                self._take(method, found)
        return True

    def _take(self, method: int, found: Method | Incoming | Returned) -> None:
        if isinstance(found, Close):
            self._say_goodbye()
            raise BrokerUnavailable(f"{self.address.shown} closed the connection: {found.code} {found.text}")
        if method == methods.CONNECTION_BLOCKED and isinstance(found, Text):
            self.blocked = found.text
        elif method == methods.CONNECTION_UNBLOCKED:
            self.blocked = None

    def _say_goodbye(self) -> None:
        with contextlib.suppress(OSError):
            self.write(methods.close_connection_ok())
            self._send()

    def _sort_goodbye(self) -> None:
        """While closing: nothing counts but the server's agreement, or that it closes too."""
        while self._events:
            number, method, _ = self._events.popleft()
            if number == 0 and method in (methods.CONNECTION_CLOSE, methods.CONNECTION_CLOSE_OK):
                if method == methods.CONNECTION_CLOSE:
                    self._say_goodbye()
                self._answers.append((method, methods.OK))

    def _time_is_over(self, what: str, limit_s: float, *, ends: bool) -> NoReturn:
        text = f"{self.address.shown} did not answer {what} within {limit_s:g} s"
        if self.blocked is not None:
            text = f"{text}: it takes nothing from publishers now ({self.blocked})"
        error = (NotAnswered if self.blocked is None else ConnectionBlocked)(text)
        if ends:
            self._drop(text)
        raise error


def _must_wait(error: OSError) -> bool:
    """Whether the socket has to be waited for. The errors of TLS are known by name: `ssl` is slow to import."""
    return isinstance(error, BlockingIOError) or type(error).__name__ in ("SSLWantReadError", "SSLWantWriteError")
