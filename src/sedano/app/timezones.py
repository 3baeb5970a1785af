"""The app's time zone."""

from __future__ import annotations

from datetime import UTC, tzinfo
from typing import Any

from sedano.clock import LocalZone
from sedano.exceptions import ImproperlyConfigured


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


__all__ = ["LocalZone", "zone"]
