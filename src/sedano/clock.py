"""Wall and monotonic time as an object that is passed in.

Wall time (`wall`) is for what people wrote down: ETA, expiry, result dates. Leases and time limits use `monotonic` only,
because nobody can trust another machine's wall clock, or the same machine's an hour later.
"""

from __future__ import annotations

import os
import time
from datetime import datetime, timedelta, tzinfo
from typing import Any, Protocol

OFFSET_VARIABLE = "SEDANO_CLOCK_OFFSET_FILE"
"""For fault tests (`sedano.testing.wallclock`): a file with the seconds by which wall time is off, read at each reading.
Looked at once, when this module is imported; unset, it costs nothing."""


class Clock(Protocol):
    """What the rooms above know about time. Both readings are in seconds."""

    def wall(self) -> float:
        """Seconds since the Unix epoch, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds since an arbitrary point; never goes back; the same for all processes of one Linux machine."""
        ...


class SystemClock:
    """The machine's own clocks."""

    __slots__ = ()

    def wall(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


class OffsetClock:
    """The machine's own clocks, with wall time moved by the number in a file."""

    __slots__ = ("_path",)

    def __init__(self, path: str) -> None:
        self._path = path

    def wall(self) -> float:
        with open(self._path, encoding="ascii") as file:
            return time.time() + float(file.read())

    def monotonic(self) -> float:
        return time.monotonic()


def utcoffset_h() -> float:
    """How many hours the local time is behind UTC, as Celery counts: 5.0 in New York's winter, -5.5 in India."""
    return (time.altzone if time.localtime().tm_isdst else time.timezone) / 3600


class LocalZone(tzinfo):
    """This machine's zone, with its summer time; what `enable_utc=False` without a `timezone` means."""

    def utcoffset(self, when: datetime | None) -> timedelta:
        if when is None:
            return timedelta(seconds=time.localtime().tm_gmtoff)
        wall = when.replace(tzinfo=None, microsecond=0)
        # Of a naive time `timestamp` asks the machine, and heeds `fold`; a missing one has the offset before the gap (with
        # fold 1 the one behind it), as in zoneinfo.
        return timedelta(seconds=round((wall - _EPOCH).total_seconds() - wall.timestamp()))

    def dst(self, when: datetime | None) -> timedelta:
        return timedelta(hours=1) if self._local(when).tm_isdst > 0 else timedelta(0)

    def tzname(self, when: datetime | None) -> str:
        return self._local(when).tm_zone

    def fromutc(self, when: datetime) -> datetime:
        """The base class guesses from `dst`; the machine knows, and which of two equal hours it is, too."""
        seconds = round((when.replace(tzinfo=None, microsecond=0) - _EPOCH).total_seconds())
        local = datetime.fromtimestamp(seconds)  # noqa: DTZ006 - this machine's zone is meant
        return local.replace(tzinfo=self, microsecond=when.microsecond)

    def _local(self, when: datetime | None) -> time.struct_time:
        return time.localtime() if when is None else time.localtime(when.replace(tzinfo=None).timestamp())

    def __repr__(self) -> str:
        return "<LocalZone>"

    def __reduce__(self) -> Any:
        return LocalZone, ()


_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - UTC, without a zone


def system_clock() -> Clock:
    path = os.environ.get(OFFSET_VARIABLE)
    return SystemClock() if not path else OffsetClock(path)


SYSTEM_CLOCK: Clock = system_clock()
