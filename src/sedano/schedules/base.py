"""What all schedules share: where "now", the time zone and the app come from, and the next run in instants."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, NamedTuple

from sedano.clock import SYSTEM_CLOCK
from sedano.current import get_app
from sedano.schedules.zones import maybe_make_aware, plain_zone, timezone, zone_named


class schedstate(NamedTuple):  # noqa: N801 - Celery's name
    """Whether it is due, and after how many seconds to look again."""

    is_due: bool
    next: float


class BaseSchedule:
    """Base of all schedules, and of those of your own: they override `remaining_estimate` and `is_due`, or `next_after`.

    `nowfun` gives the present time, else the app's `now` does. `app` is the one given, else the process's current one. `tz` (a
    name or a tzinfo) is the zone that the schedule is meant in, else the app's; a schedule without any app is UTC's.
    """

    _app: Any = None
    _tz: tzinfo | None = None

    def __init__(
        self, nowfun: Callable[[], datetime] | None = None, app: Any = None, *, tz: str | tzinfo | None = None
    ) -> None:
        self.nowfun = nowfun
        self._app = app
        if tz is not None:
            self.tz = tz

    # -- what computes --------------------------------------------------------------------------------------------------

    def next_after(self, instant: float, tz: tzinfo | None = None) -> float | None:
        """The first run after `instant`, both in seconds since the epoch; None when there is none. No clock is read.

        For an interval `instant` is the run before. `tz` is the zone to use where the schedule has none of its own.
        This one asks `remaining_estimate` of a copy whose "now" is `instant`: it serves classes that override only that.
        """
        zone = self.zone(tz)
        moment = datetime.fromtimestamp(instant, UTC).astimezone(zone)
        asked = copy.copy(self)
        asked.nowfun = lambda: moment
        left_s = asked.remaining_estimate(moment).total_seconds()
        return instant + left_s if left_s > 0 else None

    def zone(self, default: tzinfo | None = None) -> tzinfo:
        """The schedule's own zone, else `default`, else the app's."""
        if self._tz is not None:
            return plain_zone(self._tz)
        return plain_zone(self.tz if default is None else default)

    # -- Celery's methods -----------------------------------------------------------------------------------------------

    def now(self) -> datetime:
        """The present time: `nowfun`'s, else the app's."""
        if self.nowfun is not None:
            return self.nowfun()
        app = self.app
        # The one clock of this room: Celery's interface has no other place for it.
        return datetime.fromtimestamp(SYSTEM_CLOCK.wall(), UTC) if app is None else app.now()

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        """How long from now until the run after `last_run_at`; not above zero when it is due."""
        raise NotImplementedError(f"{type(self).__name__} does not define remaining_estimate")

    def is_due(self, last_run_at: datetime) -> tuple[bool, float]:
        """Whether the run after `last_run_at` is due, and after how many seconds to look again."""
        raise NotImplementedError(f"{type(self).__name__} does not define is_due")

    def maybe_make_aware(self, dt: datetime, naive_as_utc: bool = True) -> datetime:
        """A naive time as one of UTC, shown in the schedule's zone (without `naive_as_utc`, as one of that zone)."""
        return maybe_make_aware(dt, self.tz, naive_as_utc=naive_as_utc)

    @property
    def app(self) -> Any:
        """The app given, else the process's current one; None when there is none."""
        return get_app() if self._app is None else self._app

    @app.setter
    def app(self, app: Any) -> None:
        self._app = app

    @property
    def own_zone(self) -> tzinfo | None:
        """The zone that it was given; None: the app's."""
        return self._tz

    @property
    def tz(self) -> tzinfo:
        """The schedule's zone, else the app's."""
        if self._tz is not None:
            return self._tz
        app = self.app
        return UTC if app is None else app.timezone

    @tz.setter
    def tz(self, tz: str | tzinfo | None) -> None:
        self._tz = None if tz is None else zone_named(tz)

    @property
    def utc_enabled(self) -> bool:
        """The app's `enable_utc`."""
        app = self.app
        return True if app is None else bool(app.conf.enable_utc)

    def to_local(self, dt: datetime) -> datetime:
        """As it is; in this machine's zone when `enable_utc` is off."""
        return dt if self.utc_enabled else timezone.to_local_fallback(dt)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, BaseSchedule):
            return other.nowfun == self.nowfun
        return NotImplemented

    __hash__ = object.__hash__
