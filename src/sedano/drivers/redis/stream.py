"""Subscriptions: what arrives on channels, on a connection of their own."""

from __future__ import annotations

import time
from collections.abc import Sequence

from sedano.drivers.redis.connection import Connection
from sedano.drivers.redis.keys import ResultKeys
from sedano.drivers.redis.wire import ErrorReply, Reply

_PER_COMMAND = 1000
_MOST_LOOKED_AT = 64
"""Records asked for where they are listened to: Redis drops a subscriber that is more than 8 or 32 MB behind."""
PROBE_S = 10.0  # after so much silence the server is asked whether it is there: a lost connection looks like silence
ANSWER_S = 5.0


class Subscription:
    """One connection that listens to channels. Works with either protocol version."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._messages: list[tuple[bytes, bytes]] = []
        self._heard_at = time.monotonic()
        self._asked_at: float | None = None
        self._pongs_due = 0  # answers to come before that of the next question

    @property
    def takes_commands(self) -> bool:
        """Whether the connection may be asked other things too, which the old protocol forbids."""
        self._connection.connect()
        return self._connection.protocol >= 3

    def subscribe(self, channels: Sequence[str], *, are_patterns: bool = False) -> None:
        """From the return of this call on, messages to `channels` are heard."""
        command = "PSUBSCRIBE" if are_patterns else "SUBSCRIBE"
        for start in range(0, len(channels), _PER_COMMAND):
            some = channels[start : start + _PER_COMMAND]
            self._connection.send(command, *some)
            confirmed = 0
            while confirmed < len(some):
                if not self._connection.listen(self._connection.address.socket_timeout_s or 3600.0):
                    self._connection.give_up()
                confirmed += self._sort()

    def unsubscribe(self, channels: Sequence[str]) -> None:
        """Messages to `channels` may be heard for a moment still: nobody waits for the server here."""
        for start in range(0, len(channels), _PER_COMMAND):
            self._connection.send("UNSUBSCRIBE", *channels[start : start + _PER_COMMAND])

    def look(self, leave: Sequence[str], enter: Sequence[str], keys: Sequence[str]) -> list[bytes | None]:
        """Unsubscribe, subscribe, and read `keys`, in one round trip. Needs `takes_commands`.

        What was heard of a key before it was read is older than what is returned, and dropped.
        """
        commands = [(name, *channels) for name, channels in (("UNSUBSCRIBE", leave), ("SUBSCRIBE", enter)) if channels]
        due, self._pongs_due = self._pongs_due, 0
        values: list[bytes | None] = self._connection.exchange([*commands, ("MGET", *keys)], due + 1)[-1]
        self._sort()
        if self._messages:
            read = {key.encode() for key, value in zip(keys, values, strict=True) if value is not None}
            self._messages = [message for message in self._messages if message[0] not in read]
        return values

    def receive(self, timeout_s: float, fds: Sequence[int] = ()) -> list[tuple[bytes, bytes]]:
        """(channel, payload) since the last call, [] after `timeout_s` or when one of `fds` is readable.

        Raises what the connection raises, also when the server has not answered for `PROBE_S` and `ANSWER_S`.
        """
        ends_at = time.monotonic() + timeout_s
        while not self._messages:
            look_at = self._probe()
            if self._connection.listen(min(ends_at, look_at) - time.monotonic(), fds):
                self._sort()
            elif time.monotonic() < look_at or look_at >= ends_at:
                break
        messages, self._messages = self._messages, []
        return messages

    def connect(self) -> None:
        self._connection.connect()

    def close(self) -> None:
        self._connection.close()

    def _probe(self) -> float:
        """Ask whether the server is there if it was silent; until when (monotonic seconds) to listen before the next look."""
        now = time.monotonic()
        if self._asked_at is None:
            if now < self._heard_at + PROBE_S:
                return self._heard_at + PROBE_S
            self._connection.send("PING")
            self._asked_at = now
            self._pongs_due += self._connection.protocol >= 3  # with the old one the answer looks like a push
        elif now >= self._asked_at + ANSWER_S and not self._connection.listen(0.0):
            self._connection.give_up()
        return self._asked_at + ANSWER_S

    def _sort(self) -> int:
        """Keep messages; returns how many channels are heard from now on, by what arrived."""
        confirmed = 0
        self._heard_at, self._asked_at = time.monotonic(), None
        pushes: Sequence[Reply] = self._connection.pushes
        for push in pushes:
            if isinstance(push, ErrorReply):
                self._connection.close()
                self._connection.refuse(push)
            if not isinstance(push, list):
                self._pongs_due = 0  # the answer to a probe
            elif push[0] == b"message":
                self._messages.append((push[1], push[2]))
            elif push[0] == b"pmessage":
                self._messages.append((push[2], push[3]))
            elif push[0] in (b"subscribe", b"psubscribe"):
                confirmed += 1
        self._connection.pushes.clear()
        return confirmed


class RedisResultStream:
    """Records as they are written: each write is published under its own key, payload included."""

    def __init__(self, connection: Connection, keys: ResultKeys) -> None:
        self._subscription = Subscription(connection)
        self._keys = keys
        self._watched: set[str] = set()

    def connect(self) -> None:
        self._subscription.connect()

    def watch(self, task_ids: Sequence[str], drop: Sequence[str] = (), *, look: bool = True) -> list[tuple[str, bytes | None]]:
        asked = list(dict.fromkeys(task_ids))
        new = [task_id for task_id in asked if task_id not in self._watched]
        old = [task_id for task_id in dict.fromkeys(drop) if task_id in self._watched]
        self._watched.difference_update(old)
        self._watched.update(new)
        enter, leave = [self._keys.record(task_id) for task_id in new], [self._keys.record(task_id) for task_id in old]
        if look and 0 < len(asked) <= _MOST_LOOKED_AT and len(leave) <= _PER_COMMAND and self._subscription.takes_commands:
            records = self._subscription.look(leave, enter, [self._keys.record(task_id) for task_id in asked])
            return [(task_id, payload) for task_id, payload in zip(asked, records, strict=True) if payload is not None]
        self._subscription.unsubscribe(leave)
        self._subscription.subscribe(enter)
        return [(task_id, None) for task_id in asked] if look else []

    def unwatch(self, task_ids: Sequence[str]) -> None:
        old = [task_id for task_id in dict.fromkeys(task_ids) if task_id in self._watched]
        self._watched.difference_update(old)
        self._subscription.unsubscribe([self._keys.record(task_id) for task_id in old])

    def wait(self, timeout_s: float, fds: Sequence[int] = ()) -> list[tuple[str, bytes | None]]:
        head = len(self._keys.record(""))
        found = [(channel.decode()[head:], payload) for channel, payload in self._subscription.receive(timeout_s, fds)]
        return [(task_id, payload) for task_id, payload in found if task_id in self._watched]

    def close(self) -> None:
        self._subscription.close()
