"""`solar`: at what the sun does at a place. The computing is `ephem`'s (the extra `solar`)."""

from __future__ import annotations

import importlib
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from sedano.exceptions import ImproperlyConfigured
from sedano.nearest import hint
from sedano.schedules.base import BaseSchedule, schedstate
from sedano.schedules.zones import subtract_datetimes

# Event: ephem's method, how far the sun is below the horizon (degrees, or degrees:minutes), whether its centre is meant.
EVENTS: dict[str, tuple[str, str, bool]] = {
    "dawn_astronomical": ("next_rising", "-18", True),
    "dawn_nautical": ("next_rising", "-12", True),
    "dawn_civil": ("next_rising", "-6", True),
    "sunrise": ("next_rising", "-0:34", False),
    "solar_noon": ("next_transit", "0", False),
    "sunset": ("next_setting", "-0:34", False),
    "dusk_civil": ("next_setting", "-6", True),
    "dusk_nautical": ("next_setting", "-12", True),
    "dusk_astronomical": ("next_setting", "-18", True),
}


class solar(BaseSchedule):  # noqa: N801 - Celery's name
    """At a solar event (the keys of `EVENTS`) at latitude `lat` and longitude `lon`, in degrees, north and east positive.

    In the polar night and day some events do not come for months: the next one is looked for up to `max_search_days` ahead;
    when there is none it is asked again then.
    Raises ImproperlyConfigured without the package ephem, ValueError for an unknown event or a place that is not on earth.
    """

    max_search_days = 366

    def __init__(self, event: str, lat: float, lon: float, **kwargs: Any) -> None:
        try:
            self.ephem: Any = importlib.import_module("ephem")
        except ImportError as exc:
            raise ImproperlyConfigured("solar schedules need the package ephem: pip install 'sedano[solar]'") from exc
        super().__init__(**kwargs)
        if event not in EVENTS:
            near = hint(str(event), EVENTS)
            raise ValueError(f"there is no solar event {event!r}.{near} There are: {', '.join(sorted(EVENTS))}")
        if not -90 <= lat <= 90:
            raise ValueError(f"the latitude {lat} is not between -90 and 90 degrees")
        if not -180 <= lon <= 180:
            raise ValueError(f"the longitude {lon} is not between -180 and 180 degrees")
        self.event, self.lat, self.lon = event, lat, lon
        self.method, horizon, self.use_center = EVENTS[event]
        self.cal: Any = self.ephem.Observer()
        self.cal.lat, self.cal.lon = str(lat), str(lon)
        self.cal.elev = self.cal.pressure = 0
        self.cal.horizon = horizon

    def next_after(self, instant: float, tz: tzinfo | None = None) -> float | None:
        """The event after `instant`, to the microsecond; None when there is none for a year. The zone does not matter."""
        if type(self).remaining_estimate is not solar.remaining_estimate:
            return super().next_after(instant, tz)  # a subclass has something to say about it
        at, was_found = self._search(datetime.fromtimestamp(instant, UTC))
        return at.timestamp() if was_found else None

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        """How long from now until the event after `last_run_at`, or until it is to be asked again."""
        at, _ = self._search(self.maybe_make_aware(last_run_at).astimezone(UTC))
        return subtract_datetimes(at, self.maybe_make_aware(self.now()))

    def is_due(self, last_run_at: datetime) -> tuple[bool, float]:
        """Whether the event has come since `last_run_at`, and the seconds until the next look."""
        left_s = self.remaining_estimate(last_run_at).total_seconds()
        if left_s > 0:
            return schedstate(False, left_s)
        return schedstate(True, max(self.remaining_estimate(self.now()).total_seconds(), 0))

    def _search(self, after: datetime) -> tuple[datetime, bool]:
        """The event after `after`, True; or where the search ended, False."""
        sun = self.ephem.Sun()
        start = self.ephem.Date(after)
        options = {"use_center": True} if self.use_center else {}
        for _ in range(self.max_search_days):
            try:
                found = getattr(self.cal, self.method)(sun, start=start, **options)
            except self.ephem.CircumpolarError:
                start = self.cal.next_antitransit(sun, start=start)  # a day later
            else:
                return _aware(found), True
        return _aware(start), False

    def __repr__(self) -> str:
        return f"<solar: {self.event} at latitude {self.lat}, longitude: {self.lon}>"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, solar):
            return (self.event, self.lat, self.lon) == (other.event, other.lat, other.lon)
        return NotImplemented

    def __hash__(self) -> int:
        return hash((self.event, self.lat, self.lon))

    def __reduce__(self) -> Any:
        return self.__class__, (self.event, self.lat, self.lon)


def _aware(date: Any) -> datetime:
    at: datetime = date.datetime()
    return at.replace(tzinfo=UTC)
