"""Zones: by name, and what `celery.utils.time` says about naive and aware times.

Conversions between instants and wall times for the computing core are in `walls.py`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from sedano.clock import LocalZone
from sedano.nearest import hint

LOCAL = LocalZone()
"""This machine's zone."""


def zone_named(zone: str | tzinfo) -> tzinfo:
    """A zone for its name; a zone as it is. UTC is `datetime.UTC`. Raises ValueError for a name that nobody knows."""
    if isinstance(zone, tzinfo):
        return zone
    if not isinstance(zone, str):
        raise TypeError(f"a time zone is a name such as 'Europe/Berlin' or a tzinfo, not {type(zone).__name__}")
    if zone.upper() in ("UTC", "GMT"):
        return UTC
    try:
        return ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        near = hint(zone, available_timezones())
        raise ValueError(
            f"{zone!r} is no known time zone.{near} Use a name such as 'Europe/Berlin' or 'UTC'; on a system without zone"
            " data, pip install tzdata."
        ) from exc


def plain_zone(zone: tzinfo) -> tzinfo:
    """`zone` in a form whose arithmetic is right: pytz's zones give wrong offsets when they are attached to a time."""
    name = getattr(zone, "zone", None)
    if isinstance(name, str) and hasattr(zone, "localize"):
        return zone_named(name)
    return zone


def zone_text(zone: tzinfo) -> str:
    """The name of a zone where it has one."""
    return "UTC" if zone is UTC else str(getattr(zone, "key", None) or getattr(zone, "zone", None) or zone)


# -- as celery.utils.time -----------------------------------------------------------------------------------------------


def is_naive(dt: datetime) -> bool:
    """Whether it has no zone."""
    return dt.tzinfo is None or dt.tzinfo.utcoffset(dt) is None


def make_aware(dt: datetime, tz: tzinfo) -> datetime:
    """A naive time as one of `tz`; of a repeated hour the first."""
    return dt.replace(tzinfo=plain_zone(tz), fold=0)


def localize(dt: datetime, tz: tzinfo) -> datetime:
    """A time of UTC in `tz`, a naive one as one of `tz`; one of another zone stays as it is, as in Celery."""
    if is_naive(dt):
        return make_aware(dt, tz)
    is_utc = dt.tzinfo is UTC or getattr(dt.tzinfo, "key", None) == "UTC"
    return dt.astimezone(plain_zone(tz)) if is_utc else dt


def to_utc(dt: datetime) -> datetime:
    """A naive time as one of UTC."""
    return make_aware(dt, UTC)


def maybe_make_aware(dt: datetime, tz: tzinfo | None = None, naive_as_utc: bool = True) -> datetime:
    """An aware time as it is. A naive one is UTC's, shown in `tz`; or one of `tz` without `naive_as_utc`."""
    if not is_naive(dt):
        return dt
    return localize(to_utc(dt) if naive_as_utc else dt, UTC if tz is None else tz)


def add_seconds_to_datetime(dt: datetime, seconds: float) -> datetime:
    """So many seconds later on a running clock, whatever the hands do meanwhile."""
    later = timedelta(seconds=seconds)
    return dt + later if is_naive(dt) else (dt.astimezone(UTC) + later).astimezone(dt.tzinfo)


def subtract_datetimes(end: datetime, start: datetime) -> timedelta:
    """How long it is from `start` to `end` on a running clock. Naive times are UTC's."""
    return maybe_make_aware(end).astimezone(UTC) - maybe_make_aware(start).astimezone(UTC)


class Timezones:
    """`celery.utils.time.timezone`."""

    @property
    def utc(self) -> tzinfo:
        return UTC

    @property
    def local(self) -> tzinfo:
        """This machine's zone."""
        return LOCAL

    def get_timezone(self, zone: Any) -> Any:
        """A zone for its name; anything else as it is. Raises ValueError for an unknown name."""
        return zone_named(zone) if isinstance(zone, str) else zone

    def tz_or_local(self, tzinfo: Any = None) -> Any:
        return LOCAL if tzinfo is None else self.get_timezone(tzinfo)

    def to_local(self, dt: datetime, local: Any = None, orig: Any = None) -> datetime:
        """A time of UTC (or naive and of `orig`) in `local`, else in this machine's zone."""
        aware = make_aware(dt, self.get_timezone(orig) if orig is not None else UTC) if is_naive(dt) else dt
        return localize(aware, self.tz_or_local(local))

    def to_system(self, dt: datetime) -> datetime:
        """The same instant in this machine's zone."""
        return dt.astimezone(LOCAL)

    def to_local_fallback(self, dt: datetime) -> datetime:
        """A naive time as one of this machine's zone; one of UTC in it."""
        return localize(dt, LOCAL)


timezone = Timezones()
