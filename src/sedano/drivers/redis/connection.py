"""One conversation with a Redis server: send packed commands, read replies, hear pushes.

Lean on purpose: one `send` and mostly one `recv` for a command or a whole pipeline, no pool, no retry, no lock. It connects
at the first use, and again at the first use after it was lost; whoever uses it decides what is to be repeated.
"""

from __future__ import annotations

import contextlib
import math
import re
import socket
import time
from collections.abc import Callable, Sequence
from typing import NoReturn

from sedano.drivers.redis.address import Address, Server
from sedano.drivers.redis.greeting import greet
from sedano.drivers.redis.patience import Patience
from sedano.drivers.redis.scripts import Script
from sedano.drivers.redis.sockets import is_tls, open_socket, set_limit
from sedano.drivers.redis.wire import (
    MAX_ARGUMENT_BYTES,
    NOTHING,
    Argument,
    BadProtocol,
    ErrorReply,
    Push,
    Reply,
    new_reader,
    pack,
)
from sedano.exceptions import MessageTooLarge, OperationalError, StoreFull
from sedano.polling import POLLIN, new_poll

_CHUNK_BYTES = 1 << 16
_ANY_SERVER_TAKES_BYTES = 1 << 20  # the least that `proto-max-bulk-len` can be set to
_TIMEOUTS = (BlockingIOError, TimeoutError)

_AWAY = frozenset(
    ("LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "MISCONF", "NOREPLICAS", "NOAUTH", "UNKILLABLE")
)
"""Answers of a server that is not, or no longer, the one to talk to: as good as a lost connection."""

_INNER_CODE = re.compile(r"(?:^|[ :]-)(OOM|LOADING|READONLY|MASTERDOWN|MISCONF|NOREPLICAS) ")
"""Redis 6 wraps the error of a command inside a script; the code stands in the middle."""

Command = tuple[Argument, ...]


class Connection:
    """Not thread-safe, not usable after fork.

    `unavailable` is raised when the server cannot be reached, goes away or does not serve; a full server raises
    `StoreFull`, any other error answer a plain `OperationalError`. An argument that is longer than the server takes raises
    `MessageTooLarge` and is not sent: the server would drop the connection in the middle of it. `find_server` is asked at
    every connect. `heard` is called for each part of an answer that comes in several. `pushes` collects what the server says
    unasked: lists such as `[b"invalidate", [b"key"]]`.
    """

    def __init__(
        self,
        address: Address,
        unavailable: type[OperationalError],
        find_server: Callable[[], Server] | None = None,
        *,
        heard: Callable[[], None] | None = None,
    ) -> None:
        self.address = address
        self.pushes: list[list[Reply]] = []
        self.protocol = 0  # 2 or 3 while connected
        self.conversation: object = None  # another one after each connect, None while not connected
        self._unavailable = unavailable
        self._find_server = find_server
        self._heard = heard
        self._socket: socket.socket | None = None
        self._reader = new_reader()
        self._longest_bytes: int | None = None  # None: not asked yet
        self._patience = Patience(address.socket_timeout_s)

    # -- commands -----------------------------------------------------------------------------------------------------

    def command(self, *arguments: Argument) -> Reply:
        """Send one command and return its reply; raises what an error reply means."""
        reply = self._converse(self._packed(arguments), 1)[0]
        if isinstance(reply, ErrorReply):
            self.refuse(reply)
        return reply

    def pipeline(self, commands: Sequence[Command]) -> list[Reply]:
        """Send all, then read all replies; raises what the first error reply means, after all were read."""
        return self._checked(self.attempt(commands))

    def transaction(self, commands: Sequence[Command]) -> list[Reply]:
        """As `pipeline`, all or none (MULTI), as far as Redis can know that beforehand."""
        replies = self._checked(self.attempt([("MULTI",), *commands, ("EXEC",)]))
        return self._checked(replies[-1])

    def attempt(self, commands: Sequence[Command]) -> list[Reply]:
        """As `pipeline`, but error replies are returned."""
        return self._converse(b"".join(map(self._packed, commands)), len(commands))

    def exchange(self, commands: Sequence[Command], replies: int) -> list[Reply]:
        """Send all, then read so many replies: commands that are answered by pushes, such as SUBSCRIBE, have none.

        Raises what an error reply means, and ends the connection then: who knows which command it answers.
        """
        found = self._converse(b"".join(map(pack, commands)), replies)
        for reply in found:
            if isinstance(reply, ErrorReply):
                self.close()
                self.refuse(reply)
        return found

    def run(self, script: Script, keys: Sequence[Argument], arguments: Sequence[Argument]) -> Reply:
        """Run a script, whether or not the server still has it. One round trip when it has."""
        if not script.heavy:
            return self._run(script, keys, arguments)
        if self._socket is None:
            self.connect()
        longer_s = self._longer_limit() if self._patience.is_longer else None
        if longer_s is not None:
            self._limit(longer_s)
        try:
            reply = self._run(script, keys, arguments)
        except self._unavailable as error:
            if isinstance(error.__cause__, _TIMEOUTS):
                self._patience.ran_out(time.monotonic())
            raise
        if longer_s is not None:
            self._limit(self.address.socket_timeout_s)
        return reply

    def _run(self, script: Script, keys: Sequence[Argument], arguments: Sequence[Argument]) -> Reply:
        tail = (len(keys), *keys, *arguments)
        reply = self._converse(self._packed(("EVALSHA", script.sha, *tail)), 1)[0]
        if isinstance(reply, ErrorReply) and reply.code == "NOSCRIPT":
            reply = self._converse(pack(("EVAL", script.text, *tail)), 1)[0]
        if isinstance(reply, ErrorReply):
            self.refuse(reply)
        return reply

    # -- pushes -------------------------------------------------------------------------------------------------------

    def send(self, *arguments: Argument) -> None:
        """Send a command that is answered by pushes, such as SUBSCRIBE."""
        self.connect()
        try:
            self._send(pack(arguments))
        except BaseException as error:
            self._break(error)

    def listen(self, timeout_s: float, fds: Sequence[int] = ()) -> bool:
        """Wait until `pushes` holds something, one of `fds` is readable, or `timeout_s` is over; whether it holds something."""
        self.connect()
        ends_at = time.monotonic() + timeout_s
        try:
            self._hear()
            while not self.pushes:
                is_ours, is_over = self._poll(ends_at - time.monotonic(), fds)
                if is_ours:
                    self._receive()
                    self._hear()
                if is_over:
                    break
        except BaseException as error:
            self._break(error)
        return bool(self.pushes)

    # -- life ---------------------------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Connect now if it is not connected. Raises `ImproperlyConfigured` for a server that is too old."""
        if self._socket is not None:
            return
        try:
            server = self.address.server if self._find_server is None else self._find_server()
            self._socket = open_socket(self.address, server)
            self.protocol = greet(self.address, self._ask, self._unavailable)
            self.conversation = object()
        except BaseException as error:
            self._break(error)

    def close(self) -> None:
        """Drop the connection; the next use makes a new one."""
        stream, self._socket = self._socket, None
        self._reader = new_reader()
        self.pushes.clear()
        self.protocol, self.conversation = 0, None
        self._longest_bytes = None
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()

    def give_up(self) -> NoReturn:
        """Drop the connection because the server is silent."""
        self._break(TimeoutError())

    def refuse(self, reply: ErrorReply) -> NoReturn:
        """Raise what an error reply means."""
        inner = _INNER_CODE.search(str(reply))
        code = inner[1] if inner else reply.code
        if code == "OOM":
            raise StoreFull(f"{self.address.shown} has reached its memory limit (maxmemory): {reply}") from reply
        if code in _AWAY:
            self.close()
            raise self._unavailable(f"{self.address.shown} does not serve: {reply}") from reply
        raise OperationalError(f"{self.address.shown} refused a command: {reply}") from reply

    # -- inside -------------------------------------------------------------------------------------------------------

    def _packed(self, arguments: Command) -> bytes:
        data = pack(arguments)
        if len(data) > _ANY_SERVER_TAKES_BYTES:
            longest = max(len(argument) for argument in arguments if isinstance(argument, bytes | str))
            if longest > _ANY_SERVER_TAKES_BYTES and longest > (most := self._most_bytes()):
                raise MessageTooLarge(
                    f"{self.address.shown} takes no value of {longest} bytes, its limit (proto-max-bulk-len) is {most}. "
                    "Keep what is large elsewhere and pass where it is, or raise the limit."
                )
        return data

    def _most_bytes(self) -> int:
        """The longest argument that the server takes. A user who may not ask is told Redis's default."""
        if self._longest_bytes is None:
            reply = self._converse(pack(("CONFIG", "GET", "proto-max-bulk-len")), 1)[0]
            values = list(reply.values()) if isinstance(reply, dict) else reply[1::2] if isinstance(reply, list) else []
            self._longest_bytes = int(values[0]) if values else MAX_ARGUMENT_BYTES
        return self._longest_bytes

    def _converse(self, data: bytes, count: int) -> list[Reply]:
        if self._socket is None:
            self.connect()
        try:
            self._send(data)
            return [self._read() for _ in range(count)]
        except BaseException as error:
            self._break(error)

    def _longer_limit(self) -> float | None:
        self._patience.look(time.monotonic())
        return self._patience.limit_s

    def _limit(self, seconds: float | None) -> None:
        if self._socket is not None and seconds is not None:
            set_limit(self._socket, seconds)

    def _ask(self, *arguments: Argument) -> Reply:
        self._send(pack(arguments))
        return self._read()

    def _break(self, error: BaseException) -> NoReturn:
        """Whatever interrupts a conversation ends the connection: what came next on it would answer another question."""
        self.close()
        if isinstance(error, _TIMEOUTS):
            raise self._unavailable(f"{self.address.shown} did not answer in time") from error
        if isinstance(error, OSError | EOFError | BadProtocol):
            raise self._unavailable(f"no connection to {self.address.shown}: {error}") from error
        raise error

    def _checked(self, replies: list[Reply]) -> list[Reply]:
        for reply in replies:
            if isinstance(reply, ErrorReply):
                self.refuse(reply)
        return replies

    def _send(self, data: bytes) -> None:
        assert self._socket is not None
        self._socket.sendall(data)

    def _receive(self) -> None:
        assert self._socket is not None
        data = self._socket.recv(_CHUNK_BYTES)
        if not data:
            raise EOFError("the server closed it")
        self._reader.feed(data)

    def _read(self) -> Reply:
        """The next reply; pushes on the way are set aside."""
        parts = 0
        while True:
            reply = self._reader.gets()
            if reply is NOTHING:
                self._receive()
                parts += 1
                if parts > 1 and self._heard is not None:
                    self._heard()
            elif isinstance(reply, Push):
                self.pushes.append(reply)
            else:
                return reply

    def _hear(self) -> None:
        """Set aside what has arrived. With RESP2 messages of subscriptions look like replies."""
        while (reply := self._reader.gets()) is not NOTHING:
            self.pushes.append(reply)

    def _poll(self, timeout_s: float, fds: Sequence[int]) -> tuple[bool, bool]:
        """Whether the server has said something; whether one of `fds` is readable or the time is over."""
        stream = self._socket
        assert stream is not None
        poller = new_poll()
        for fd in (stream.fileno(), *fds):
            poller.register(fd, POLLIN)
        is_pending = is_tls(stream) and stream.pending() > 0
        ready = {fd for fd, _ in poller.poll(0 if is_pending else max(0, math.ceil(timeout_s * 1000)))}
        is_ours = is_pending or stream.fileno() in ready
        return is_ours, bool(ready - {stream.fileno()}) or not is_ours
