"""What is known of one worker node, by its events."""

from __future__ import annotations

import bisect
import functools
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sedano.log import get_logger

logger = get_logger("celery.events.state")

HEARTBEAT_EXPIRE_WINDOW = 200
"""Percent: a node counts as alive for twice the time between its heartbeats."""

HEARTBEAT_DRIFT_MAX = 16
"""Seconds between sending and receiving of which nothing is said."""

_MOST_WARNED = 1000


def heartbeat_expires(timestamp: float, freq: float = 60, expire_window: float = HEARTBEAT_EXPIRE_WINDOW) -> float:
    """When a node whose last heartbeat came at `timestamp` counts as offline; `freq` are the seconds between heartbeats."""
    return float(timestamp) + float(freq) * (expire_window / 100)  # some readers of JSON make Decimals


class Worker:
    """A node. Equal to another of the same hostname. Fields of its events that have no place here become attributes too."""

    heartbeat_max = 4
    expire_window = HEARTBEAT_EXPIRE_WINDOW

    _fields = (
        "hostname", "pid", "freq", "heartbeats", "clock", "active", "processed", "loadavg", "sw_ident", "sw_ver", "sw_sys",
    )  # fmt: skip

    def __init__(
        self,
        hostname: str | None = None,
        pid: int | None = None,
        freq: float = 60,
        heartbeats: list[float] | None = None,
        clock: int = 0,
        active: int | None = None,
        processed: int | None = None,
        loadavg: list[float] | None = None,
        sw_ident: str | None = None,
        sw_ver: str | None = None,
        sw_sys: str | None = None,
    ) -> None:
        self.hostname = hostname
        self.pid = pid
        self.freq = freq
        self.heartbeats: list[float] = [] if heartbeats is None else heartbeats
        self.clock = clock or 0
        self.active = active
        self.processed = processed
        self.loadavg = loadavg
        self.sw_ident = sw_ident
        self.sw_ver = sw_ver
        self.sw_sys = sw_sys

    def event(
        self,
        type_: str | None,
        timestamp: float | None = None,
        local_received: float | None = None,
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        """Take note of an event: its fields, and that the node was alive at `local_received`; "offline" forgets that."""
        self.update(fields or {})
        if type_ == "offline":
            self.heartbeats.clear()
        elif local_received and timestamp:
            drift = abs(int(local_received) - int(timestamp))
            if drift > HEARTBEAT_DRIFT_MAX:
                _warn_of_drift(self.hostname or "?", drift, local_received, timestamp)
            if len(self.heartbeats) >= self.heartbeat_max:
                del self.heartbeats[0]
            bisect.insort(self.heartbeats, local_received)

    def update(self, f: Mapping[str, Any], **kw: Any) -> None:
        for name, value in {**f, **kw}.items():
            # What comes over the wire must not replace what this class does.
            if name != "heartbeats" and not hasattr(Worker, name) and not name.startswith("_"):
                setattr(self, name, value)

    @property
    def status_string(self) -> str:
        return "ONLINE" if self.alive else "OFFLINE"

    @property
    def heartbeat_expires(self) -> float:
        """Unix seconds. Raises IndexError when no heartbeat was heard, or the node went offline."""
        return heartbeat_expires(self.heartbeats[-1], self.freq, self.expire_window)

    @property
    def alive(self) -> bool:
        """Whether it was heard of lately."""
        return bool(self.heartbeats) and time.time() < self.heartbeat_expires

    @property
    def id(self) -> str:
        return f"{self.hostname}.{self.pid}"

    def __eq__(self, other: object) -> bool:
        return self.hostname == other.hostname if isinstance(other, Worker) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.hostname)

    def __repr__(self) -> str:
        return f"<Worker: {self.hostname} ({self.status_string} clock:{self.clock})>"

    def __reduce__(self) -> Any:
        return type(self), tuple(getattr(self, name) for name in self._fields)


@functools.lru_cache(maxsize=_MOST_WARNED)
def _drift_of(hostname: str) -> dict[str, bool]:
    """One note per node, so that each is warned of once."""
    del hostname
    return {"said": False}


def _warn_of_drift(hostname: str, drift: int, received: float, sent: float) -> None:
    note = _drift_of(hostname)
    if note["said"]:
        return
    note["said"] = True
    logger.warning(
        "Substantial drift from %s may mean clocks are out of sync.  Current drift is %s seconds.  [orig: %s recv: %s]",
        hostname,
        drift,
        datetime.fromtimestamp(sent),  # noqa: DTZ006 - read by people on this machine
        datetime.fromtimestamp(received),  # noqa: DTZ006
    )
