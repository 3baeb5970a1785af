"""An event as a map, and the exchange it is published to; with Celery's names."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from sedano.protocol.events import EVENT_EXCHANGE, group_from
from sedano.protocol.queues import Exchange

__all__ = ["EVENT_EXCHANGE_NAME", "Event", "event_exchange", "get_exchange", "group_from"]

EVENT_EXCHANGE_NAME = EVENT_EXCHANGE
event_exchange = Exchange(EVENT_EXCHANGE, type="topic")

# Stores of these kinds carry a topic exchange as a fanout one, by the channel's name.
_FANOUT = ("redis", "gcpubsub")


def Event(type: str, _fields: Mapping[str, Any] | None = None, **fields: Any) -> dict[str, Any]:  # noqa: A002, N802 - Celery's names
    """A map with this `type`, these fields and a `timestamp`: now, unless one is given."""
    event = {**(_fields or {}), **fields}
    event.setdefault("timestamp", time.time())
    event["type"] = type
    return event


def get_exchange(conn: Any, name: str = EVENT_EXCHANGE) -> Exchange:
    """The exchange as `conn` carries it: fanout on Redis, else topic."""
    kind = getattr(getattr(conn, "transport", None), "driver_type", "")
    return Exchange(name, type="fanout" if kind in _FANOUT else "topic")
