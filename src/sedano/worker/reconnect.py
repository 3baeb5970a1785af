"""Waiting for a broker that went away, with Celery's log lines."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator

from sedano.exceptions import OperationalError
from sedano.polling import POLLIN, new_poll

_logger = logging.getLogger("celery.worker.consumer.consumer")

LOST = "consumer: Connection to broker lost. Trying to re-establish the connection..."
CANNOT = "consumer: Cannot connect to %s: %s.\n%s\n"
LONGEST_S = 8.0  # a connection is used or tried again within ten seconds


def backoff(longest_s: float = LONGEST_S) -> Iterator[float]:
    """Seconds to wait before each further try: 2, 4, 8, 8, ..., none longer than `longest_s`."""
    wait = min(2.0, longest_s)
    while True:
        yield wait
        wait = min(wait * 2, longest_s)


def humanize(seconds: float) -> str:
    """`in 2.00 seconds`, as Celery's line says it."""
    return f"in {seconds:.2f} {'second' if seconds == 1 else 'seconds'}"


class Reconnection:
    """Calls `reconnect` until it succeeds.

    `url` is shown in the log and must be redacted already. `loud` False writes the lines at DEBUG: of a node's slots, which
    all lose the same broker at the same moment, one speaks. Its supervisor speaks too, so failures before the try number
    `patience` are DEBUG as well. `most` is shown as the number of tries; the supervisor decides when to give up, a slot tries
    for ever. `lease_s` keeps the waits short enough for a broker that comes back to be used within a lease.
    """

    def __init__(
        self,
        reconnect: Callable[[], None],
        url: str,
        *,
        most: int | None,
        wake_fd: int | None,
        lease_s: float = 20.0,
        loud: bool = True,
        patience: int = 1,
    ) -> None:
        self._reconnect, self._url, self._most, self._wake_fd = reconnect, url, most, wake_fd
        self._longest_s = min(LONGEST_S, lease_s / 2.5)
        self._loud, self._patience = loud, patience

    def run(self, cause: OperationalError, stopped: Callable[[], bool], *, lost: bool = True) -> bool:
        """Come back with a working connection: True. False when `stopped()` became true before there was one.

        `lost` False: there was no connection yet, `cause` is why the first try failed.
        """
        waits = backoff(self._longest_s)
        tries = 0
        if lost:
            _logger.log(logging.WARNING if self._loud else logging.DEBUG, "%s (%r)", LOST, cause)
        else:
            tries += 1
            self._say_cannot(cause, tries, wait := next(waits))
            self.pause(wait)
        while not stopped():
            try:
                self._reconnect()
            except OperationalError as exc:
                tries += 1
                self._say_cannot(exc, tries, wait := next(waits))
                self.pause(wait)
            else:
                return True
        return False

    def _say_cannot(self, exc: OperationalError, tries: int, wait: float) -> None:
        level = logging.ERROR if self._loud and tries >= self._patience else logging.DEBUG
        most = "" if self._most is None else f"/{self._most}"
        _logger.log(level, CANNOT, self._url, exc, f"Trying again {humanize(wait)}... ({tries}{most})")

    def pause(self, seconds: float) -> None:
        """Wait, but no longer than until the supervisor wants something."""
        poll = new_poll()  # select() stops at file number 1024
        if self._wake_fd is not None:
            poll.register(self._wake_fd, POLLIN)
        if poll.poll(seconds * 1000) and self._wake_fd is not None:
            drain(self._wake_fd)


def drain(fd: int) -> None:
    """Read the wake-up bytes away. Never blocks: `fd` is readable when this is called, and one read takes what is there."""
    try:
        os.read(fd, 4096)
    except (BlockingIOError, InterruptedError):
        return
