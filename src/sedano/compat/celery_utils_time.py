"""`celery.utils.time`: times and zones. Most of it is what `sedano.schedules` computes with."""

from __future__ import annotations

import random
import time as _time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sedano.clock import LocalZone
from sedano.schedules.fastforward import ffwd
from sedano.schedules.fields import MONTHS, WEEKDAYS
from sedano.schedules.intervals import delta_resolution, humanize_seconds, maybe_timedelta, remaining
from sedano.schedules.zones import (
    add_seconds_to_datetime,
    is_naive,
    localize,
    make_aware,
    maybe_make_aware,
    subtract_datetimes,
    timezone,
    to_utc,
)

LocalTimezone = LocalZone

DAYNAMES = tuple(WEEKDAYS)
MONTHNAMES = tuple(MONTHS)
YEARMONTHS = MONTHS
ZERO = timedelta(0)
RATE_MODIFIER_MAP: dict[str, Callable[[float], float]] = {
    "s": lambda n: n,
    "m": lambda n: n / 60.0,
    "h": lambda n: n / 60.0 / 60.0,
}
TIME_UNITS: tuple[tuple[str, float, Callable[[float], str]], ...] = tuple(
    (unit, seconds, lambda n: f"{n:.2f}")
    for unit, seconds in (("day", 86400.0), ("hour", 3600.0), ("minute", 60.0), ("second", 1.0))
)


def maybe_iso8601(dt: datetime | str | None) -> datetime | None:
    """A time, or its ISO 8601 text, as a time; None for nothing. Raises ValueError."""
    if not dt:
        return None
    return dt if isinstance(dt, datetime) else datetime.fromisoformat(dt)


def rate(r: Any) -> float:
    """A rate limit ("10/m", 5, None) as calls per second; 0 for none. Raises KeyError for an unknown unit, ValueError."""
    if not r:
        return 0
    if isinstance(r, str):
        number, _, unit = r.partition("/")
        return RATE_MODIFIER_MAP[unit or "s"](float(number)) or 0
    return r  # type: ignore[no-any-return]


def weekday(name: str) -> int:
    """The number of a weekday, by its first three letters: 0 is Sunday. Raises KeyError."""
    return _named(name, WEEKDAYS)


def yearmonth(name: str) -> int:
    """The number of a month, by its first three letters: 1 is January. Raises KeyError."""
    return _named(name, MONTHS)


def _named(name: str, numbers: dict[str, int]) -> int:
    number = numbers.get(name[:3].lower())
    if number is None:
        raise KeyError(name)
    return number


def utcoffset(time: Any = _time, localtime: Callable[..., Any] = _time.localtime) -> float:
    """Hours that this machine's zone is behind UTC now."""
    seconds: float = time.altzone if localtime().tm_isdst else time.timezone
    return seconds / 3600


def adjust_timestamp(ts: float, offset: float, here: Callable[..., float] = utcoffset) -> float:
    """A timestamp of a machine whose zone is `offset` hours behind UTC, in this one's."""
    return ts - (offset - here()) * 3600


def get_exponential_backoff_interval(factor: int, retries: int, maximum: int, full_jitter: bool = False) -> int:
    """Seconds until the next try: factor * 2**retries, at most `maximum`, some of it at random with `full_jitter`."""
    countdown = min(maximum, factor * 2**retries)
    return int(max(0, random.randrange(countdown + 1) if full_jitter else countdown))


__all__ = [
    "LocalTimezone",
    "add_seconds_to_datetime",
    "adjust_timestamp",
    "delta_resolution",
    "ffwd",
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
    "subtract_datetimes",
    "timezone",
    "to_utc",
    "utcoffset",
    "weekday",
]
