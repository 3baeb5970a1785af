"""The app's time zone."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from sedano.exceptions import ImproperlyConfigured


class LocalZone(tzinfo):
    """This machine's zone, with its summer time; what `enable_utc=False` without a `timezone` means."""

    def utcoffset(self, when: datetime | None) -> timedelta:
        return timedelta(seconds=self._local(when).tm_gmtoff)

    def dst(self, when: datetime | None) -> timedelta:
        return timedelta(hours=1) if self._local(when).tm_isdst > 0 else timedelta(0)

    def tzname(self, when: datetime | None) -> str:
        return self._local(when).tm_zone

    def _local(self, when: datetime | None) -> time.struct_time:
        if when is None:
            return time.localtime()
        plain = (when.year, when.month, when.day, when.hour, when.minute, when.second, when.weekday(), 0, -1)
        return time.localtime(time.mktime(plain))

    def __repr__(self) -> str:
        return "<LocalZone>"

    def __reduce__(self) -> Any:
        return LocalZone, ()


def zone(name: Any, *, enable_utc: bool) -> tzinfo:
    """The zone of the settings `timezone` and `enable_utc`. Raises ImproperlyConfigured for an unknown name."""
    if isinstance(name, tzinfo):
        return name
    if not name:
        return UTC if enable_utc else LocalZone()
    if str(name).upper() in ("UTC", "GMT"):
        return UTC
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # noqa: PLC0415 - only where a zone is named: UTC needs none

    try:
        return ZoneInfo(str(name))
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        raise ImproperlyConfigured(
            f"timezone={name!r} is no known time zone. Use a name such as 'Europe/Rome' or 'UTC'; on a system without zone"
            " data, pip install tzdata."
        ) from exc
