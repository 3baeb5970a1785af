"""Waiting for lists to become non-empty, without asking again and again and without ever popping.

Redis tells a connection that has read a key when the key changes (CLIENT TRACKING, RESP3). OPTIN, so that only the one read
that arms the alarm is tracked and busy connections cost the server nothing; NOLOOP, because what this connection itself does
needs no alarm: the arming read sees it. The alarm comes once for a key until it is read again, ignores the database number,
and names no key after FLUSHDB: whatever it says, look again.

Where tracking is refused (an old proxy, an ACL) the lists are looked at every `POLL_S`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from sedano.drivers.redis.connection import Command, Connection
from sedano.drivers.redis.wire import ErrorReply, Reply
from sedano.polling import POLLIN, new_poll

POLL_S = 0.25

_ARM = ("CLIENT", "CACHING", "YES")


class Alarm:
    """The alarm of one connection; re-armed by every wait. `switch` is a text that says which lists are to be waited for."""

    def __init__(self, connection: Connection, switch: str = "", *, is_polling: bool) -> None:
        self._connection = connection
        self._switch = switch
        self._is_polling = is_polling
        self._tracked: object = None  # the conversation for which tracking is on

    def wait(self, lists: Sequence[str], timeout_s: float, fds: Sequence[int] = (), *, known: bytes = b"") -> None:
        """Return when one of `lists` holds something, when one of `fds` is readable, or after `timeout_s`; with `known`, also
        when the switch is another text than that.

        May return early for no reason. Raises what the connection raises.
        """
        if not lists and not known:
            _wait_for(fds, timeout_s)
        elif self._can_track():
            self._wait_for_push(lists, timeout_s, fds, known)
        else:
            self._poll(lists, timeout_s, fds, known)

    def _can_track(self) -> bool:
        if self._is_polling:
            return False
        self._connection.connect()
        if self._connection.conversation is not self._tracked:
            if self._connection.protocol < 3:
                return False
            reply = self._connection.attempt([("CLIENT", "TRACKING", "ON", "OPTIN", "NOLOOP")])[0]
            if isinstance(reply, ErrorReply):
                self._is_polling = True
                return False
            self._tracked = self._connection.conversation
        return True

    def _wait_for_push(self, lists: Sequence[str], timeout_s: float, fds: Sequence[int], known: bytes) -> None:
        # One step for all lists, whether they exist or not, and the switch. Alarms up to its answer are old: it has seen them.
        if known:
            seen = self._connection.pipeline([_ARM, ("MULTI",), *self._looks(lists, known), ("EXEC",)])[-1]
        else:
            seen = self._connection.pipeline([_ARM, *self._looks(lists, known)])[1:]
        self._connection.pushes.clear()
        if _is_quiet(seen, known):
            self._connection.listen(timeout_s, fds)

    def _poll(self, lists: Sequence[str], timeout_s: float, fds: Sequence[int], known: bytes) -> None:
        ends_at = time.monotonic() + timeout_s
        while _is_quiet(self._connection.pipeline(self._looks(lists, known)), known):
            left = ends_at - time.monotonic()
            if left <= 0 or _wait_for(fds, min(left, POLL_S)):
                return

    def _looks(self, lists: Sequence[str], known: bytes) -> list[Command]:
        looks: list[Command] = [("GET", self._switch)] if known else []
        return [*looks, ("EXISTS", *lists)] if lists else looks


def _is_quiet(seen: Sequence[Reply], known: bytes) -> bool:
    """Whether what `_looks` has seen is the switch as it is known, and no list."""
    if known and seen[0] != known:
        return False
    return not any(seen[1:] if known else seen)


def _wait_for(fds: Sequence[int], timeout_s: float) -> bool:
    poller = new_poll()
    for fd in fds:
        poller.register(fd, POLLIN)
    return bool(poller.poll(max(0, timeout_s * 1000)))
