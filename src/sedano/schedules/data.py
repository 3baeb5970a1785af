"""Schedules as plain data that any store can keep, and back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from sedano.schedules.base import BaseSchedule
from sedano.schedules.crontabs import crontab
from sedano.schedules.intervals import schedule
from sedano.schedules.oneoff import clocked
from sedano.schedules.sunlight import solar
from sedano.schedules.zones import zone_text

_FIELDS = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")


def to_data(when: BaseSchedule) -> dict[str, Any] | None:
    """The schedule as text and numbers; None for a class or a `nowfun` of the user's own, which are code."""
    if when.nowfun is not None:
        return None
    data = _kind_of(when)
    if data is not None and when.own_zone is not None:
        data["tz"] = zone_text(when.own_zone)
    return data


def from_data(data: Mapping[str, Any]) -> BaseSchedule:
    """What `to_data` wrote. Raises ValueError for anything else."""
    return _made(tuple(sorted(data.items())))


def _kind_of(when: BaseSchedule) -> dict[str, Any] | None:
    if type(when) is crontab:
        return {"crontab": when.to_text()}
    if type(when) is schedule:
        every: dict[str, Any] = {"every": when.run_every.total_seconds()}
        return {**every, "relative": True} if when.relative else every
    if type(when) is clocked:
        return {"at": when.when.isoformat()}
    if type(when) is solar:
        return {"sun": when.event, "lat": float(when.lat), "lon": float(when.lon)}
    return None


@lru_cache(maxsize=4096)
def _made(items: tuple[tuple[str, Any], ...]) -> BaseSchedule:
    data = dict(items)
    tz = data.pop("tz", None)
    if "crontab" in data:
        fields = str(data["crontab"]).split(" ")
        second = fields.pop(0) if len(fields) == 6 else 0
        if len(fields) != 5:
            raise ValueError(f"{data['crontab']!r} has no five or six fields")
        return crontab(**dict(zip(_FIELDS, fields, strict=True)), second=second, tz=tz)
    if "every" in data:
        return schedule(timedelta(seconds=data["every"]), bool(data.get("relative")), tz=tz)
    if "at" in data:
        return clocked(datetime.fromisoformat(data["at"]), tz=tz)
    if "sun" in data:
        return solar(data["sun"], data["lat"], data["lon"], tz=tz)
    raise ValueError(f"{data!r} is no schedule that this version knows")
