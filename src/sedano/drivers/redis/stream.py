"""Subscriptions: what arrives on channels, on a connection of their own."""

from __future__ import annotations

import time
from collections.abc import Sequence

from sedano.drivers.redis.connection import Connection
from sedano.drivers.redis.keys import ResultKeys

_PER_COMMAND = 1000
PROBE_S = 10.0  # after so much silence the server is asked whether it is there: a lost connection looks like silence
ANSWER_S = 5.0


class Subscription:
    """One connection that listens to channels. Works with either protocol version."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._messages: list[tuple[bytes, bytes]] = []
        self._heard_at = time.monotonic()
        self._asked_at: float | None = None

    def subscribe(self, channels: Sequence[str]) -> None:
        """From the return of this call on, messages to `channels` are heard."""
        self._change("SUBSCRIBE", channels)

    def unsubscribe(self, channels: Sequence[str]) -> None:
        self._change("UNSUBSCRIBE", channels)

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
        elif now >= self._asked_at + ANSWER_S and not self._connection.listen(0.0):
            self._connection.give_up()
        return self._asked_at + ANSWER_S

    def _change(self, command: str, channels: Sequence[str]) -> None:
        for start in range(0, len(channels), _PER_COMMAND):
            some = channels[start : start + _PER_COMMAND]
            self._connection.send(command, *some)
            confirmed = 0
            while confirmed < len(some):
                if not self._connection.listen(self._connection.address.socket_timeout_s or 3600.0):
                    self._connection.give_up()
                confirmed += self._sort()

    def _sort(self) -> int:
        """Keep messages; returns how many confirmations there were among what arrived."""
        confirmed = 0
        self._heard_at, self._asked_at = time.monotonic(), None
        for push in self._connection.pushes:
            if push[0] == b"message":
                self._messages.append((push[1], push[2]))
            elif push[0] in (b"subscribe", b"unsubscribe"):
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

    def watch(self, task_ids: Sequence[str]) -> None:
        new = list(dict.fromkeys(task_id for task_id in task_ids if task_id not in self._watched))
        if new:
            self._subscription.subscribe([self._keys.record(task_id) for task_id in new])
            self._watched.update(new)

    def unwatch(self, task_ids: Sequence[str]) -> None:
        old = [task_id for task_id in dict.fromkeys(task_ids) if task_id in self._watched]
        if old:
            self._subscription.unsubscribe([self._keys.record(task_id) for task_id in old])
            self._watched.difference_update(old)

    def wait(self, timeout_s: float, fds: Sequence[int] = ()) -> list[tuple[str, bytes | None]]:
        head = len(self._keys.record(""))
        found = [(channel.decode()[head:], payload) for channel, payload in self._subscription.receive(timeout_s, fds)]
        return [(task_id, payload) for task_id, payload in found if task_id in self._watched]

    def close(self) -> None:
        self._subscription.close()
