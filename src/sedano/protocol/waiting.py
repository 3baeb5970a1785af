"""Since when a message waits, as far as it says so itself.

Celery's messages carry no time of their sending. Some do: the AMQP property `timestamp`, a header of the same name, or the one
that Sentry's client adds; and a call with an ETA that is over has waited since then at least.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import msgspec

_ENQUEUED = ("timestamp", "sentry-task-enqueued-time")
_MILLISECONDS_FROM = 1e11  # as seconds, this would be in the year 5138


class _Tail(msgspec.Struct):
    headers: dict[str, Any] = {}
    properties: dict[str, Any] = {}


_tail_decoder = msgspec.json.Decoder(_Tail)


def waits_since(tail: bytes, now: float) -> float | None:
    """Unix seconds, never later than `now`; None when the message does not say.

    `tail` is an envelope from its `"headers"` on.
    """
    try:
        message = _tail_decoder.decode(b"{" + tail)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return None
    inner = message.headers.get("headers")
    places: list[dict[str, Any]] = [message.properties, message.headers, *([inner] if isinstance(inner, dict) else [])]
    for place in places:
        for name in _ENQUEUED:
            since = _seconds(place.get(name))
            if since is not None:
                return min(since, now)
    due = _moment(message.headers.get("eta"))
    return due if due is not None and due <= now else None


def _seconds(value: Any) -> float | None:
    """A number of seconds or milliseconds, also as text, or a date and time."""
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return _moment(value)
    if not math.isfinite(number) or number <= 0:
        return None
    return number / 1000 if number >= _MILLISECONDS_FROM else number


def _moment(value: Any) -> float | None:
    """ISO 8601; without an offset, UTC as Celery writes it."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
