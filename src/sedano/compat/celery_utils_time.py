"""`celery.utils.time`: times and zones."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from sedano.app.timezones import LocalZone, zone

LocalTimezone = LocalZone
_UNITS = (("day", 86400.0, "{:.2f}"), ("hour", 3600.0, "{:.2f}"), ("minute", 60.0, "{:.2f}"), ("second", 1.0, "{:.2f}"))
_PER_SECOND = {"s": 1.0, "m": 60.0, "h": 3600.0}


class _Timezones:
    """`celery.utils.time.timezone`."""

    utc = UTC

    @property
    def local(self) -> tzinfo:
        return LocalZone()

    def get_timezone(self, zone_: Any) -> tzinfo:
        return zone(zone_, enable_utc=True)

    def tz_or_local(self, tzinfo: Any = None) -> tzinfo:
        return LocalZone() if tzinfo is None else self.get_timezone(tzinfo)

    def to_local(self, dt: datetime, local: Any = None, orig: Any = None) -> datetime:
        aware = make_aware(dt, self.get_timezone(orig) if orig is not None else UTC) if is_naive(dt) else dt
        return localize(aware, self.tz_or_local(local))

    def to_system(self, dt: datetime) -> datetime:
        return localize(dt, LocalZone())


timezone = _Timezones()


def is_naive(dt: datetime) -> bool:
    """Whether it has no zone."""
    return dt.tzinfo is None or dt.tzinfo.utcoffset(dt) is None


def make_aware(dt: datetime, tz: tzinfo) -> datetime:
    """A naive time as one of that zone."""
    return dt.replace(tzinfo=tz)


def maybe_make_aware(dt: datetime, tz: tzinfo | None = None, naive_as_utc: bool = True) -> datetime:
    """With a zone: UTC when it has none (or the zone itself), then in `tz`."""
    if is_naive(dt):
        dt = make_aware(dt, UTC if naive_as_utc or tz is None else tz)
    return localize(dt, UTC if tz is None else tz)


def localize(dt: datetime, tz: tzinfo) -> datetime:
    """The same instant in another zone."""
    return dt.astimezone(tz)


def to_utc(dt: datetime) -> datetime:
    """A naive time as one of UTC."""
    return make_aware(dt, UTC)


def maybe_iso8601(dt: datetime | str | None) -> datetime | None:
    """A time, or its ISO 8601 text, as a time."""
    return datetime.fromisoformat(dt) if isinstance(dt, str) and dt else dt or None


def maybe_timedelta(delta: Any) -> Any:
    """A number of seconds as a timedelta; anything else as it is."""
    return timedelta(seconds=delta) if isinstance(delta, int | float) else delta


def rate(r: Any) -> float:
    """A rate limit ("10/m", 5, None) as calls per second; 0 for none."""
    if not r:
        return 0.0
    if isinstance(r, str):
        number, _, unit = r.partition("/")
        return float(number) / _PER_SECOND[unit or "s"] if float(number) else 0.0
    return float(r)


def humanize_seconds(secs: float, prefix: str = "", sep: str = "", now: str = "now", microseconds: bool = False) -> str:
    """Seconds as text for people: "in 1.50 minutes"."""
    for unit, divider, shape in _UNITS:
        if secs >= divider:
            value = secs / divider
            return f"{prefix}{sep}{shape.format(value)} {unit}{'' if value == 1 else 's'}"
    if microseconds and secs > 0.0:
        return f"{prefix}{sep}{secs:.2f} seconds"
    return now


def remaining(start: datetime, ends_in: timedelta, now: datetime | None = None, relative: bool = False) -> timedelta:
    """How long from `now` until `ends_in` after `start`; with `relative`, until the next multiple of it. Below 0 when past."""
    current = now or datetime.now(UTC)
    begin = start if start.tzinfo is not None else make_aware(start, current.tzinfo or UTC)
    end = begin + ends_in
    if relative and ends_in:
        while end < current:
            end += ends_in
    return end - current


def utcoffset(time: Any = None, localtime: Any = None) -> float:
    """Hours that this machine's zone is behind UTC."""
    del time, localtime
    offset = LocalZone().utcoffset(None)
    return -offset.total_seconds() / 3600


def adjust_timestamp(ts: float, offset: float, here: Any = utcoffset) -> float:
    """A timestamp of a machine whose zone is `offset` hours behind UTC, in this one's."""
    return ts - (offset - float(here())) * 3600


def get_exponential_backoff_interval(factor: int, retries: int, maximum: int, full_jitter: bool = False) -> int:
    """Seconds until the next try: factor * 2**retries, at most `maximum`, some of it at random with `full_jitter`."""
    countdown = min(maximum, factor * 2**retries)
    return int(max(0, random.randrange(countdown + 1) if full_jitter else countdown))


__all__ = [
    "LocalTimezone",
    "adjust_timestamp",
    "get_exponential_backoff_interval",
    "humanize_seconds",
    "is_naive",
    "localize",
    "make_aware",
    "maybe_iso8601",
    "maybe_make_aware",
    "maybe_timedelta",
    "rate",
    "remaining",
    "timezone",
    "to_utc",
    "utcoffset",
]
