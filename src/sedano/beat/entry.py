"""An entry of a schedule: what is sent, when it was sent last, and what its arguments may be made of at that moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Self

from sedano.schedules import maybe_schedule

EDITABLE = ("task", "args", "kwargs", "options", "schedule")
"""What `update` takes over and equality looks at: not the past."""


class SchedulingError(Exception):
    """An entry could not be sent. Its cause says why."""


class BeatLazyFunc:
    """An argument that is made when the entry is sent: `{"kwargs": {"now": BeatLazyFunc(datetime.now, UTC)}}`."""

    def __init__(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self._func = func
        self._func_params: dict[str, Any] = {"args": args, "kwargs": kwargs}

    def __call__(self) -> Any:
        return self.delay()

    def delay(self) -> Any:
        """The value, now."""
        return self._func(*self._func_params["args"], **self._func_params["kwargs"])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BeatLazyFunc):
            return NotImplemented
        return (self._func, self._func_params) == (other._func, other._func_params)

    def __hash__(self) -> int:
        return hash(self._func)


class ScheduleEntry:
    """One entry. Its attributes are its constructor's keywords, so that `Entry(**dict(entry, last_run_at=...))` makes the next.

    `schedule` is a schedule object, a timedelta, or a number of seconds; `last_run_at` None means now; `relative` rounds an
    interval to its own unit. Two entries are equal when their editable fields are: `EDITABLE`.
    """

    name: Any = None
    task: Any = None
    schedule: Any = None
    args: Any = None
    kwargs: Any = None
    options: Any = None
    last_run_at: Any = None
    total_run_count = 0

    def __init__(
        self,
        name: str | None = None,
        task: str | None = None,
        last_run_at: datetime | None = None,
        total_run_count: int | None = None,
        schedule: Any = None,
        args: Any = (),
        kwargs: Any = None,
        options: Any = None,
        relative: bool = False,
        app: Any = None,
    ) -> None:
        self.app = app
        self.name = name
        self.task = task
        self.args = args
        self.kwargs = kwargs or {}
        self.options = options or {}
        self.schedule = maybe_schedule(schedule, relative, app=app)
        self.last_run_at = last_run_at or self.default_now()
        self.total_run_count = total_run_count or 0

    def default_now(self) -> datetime:
        """The time now in the zone of the schedule, or of the app."""
        now: datetime = self.schedule.now() if self.schedule else self.app.now()
        return now

    _default_now = default_now

    def _next_instance(self, last_run_at: datetime | None = None) -> Self:
        """The entry as it stands once it was sent, at `last_run_at` (None: now)."""
        changed = {"last_run_at": last_run_at or self.default_now(), "total_run_count": self.total_run_count + 1}
        return self.__class__(**dict(self, **changed))

    __next__ = next = _next_instance

    def update(self, other: Any) -> None:
        """Take over the editable fields of `other`."""
        self.__dict__.update({field: getattr(other, field) for field in EDITABLE})

    def is_due(self) -> Any:
        """`(is_due, seconds)`: whether to send it now, and when to look again; see `BaseSchedule.is_due`."""
        return self.schedule.is_due(self.last_run_at)

    def editable_fields_equal(self, other: Any) -> bool:
        return all(getattr(self, field) == getattr(other, field) for field in EDITABLE)

    def __reduce__(self) -> Any:
        past = (self.name, self.task, self.last_run_at, self.total_run_count)
        return self.__class__, (*past, self.schedule, self.args, self.kwargs, self.options)

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return iter(vars(self).items())

    def __eq__(self, other: object) -> bool:
        return self.editable_fields_equal(other)

    __hash__ = None  # type: ignore[assignment] # it can be changed

    # A heap orders entries of one moment and priority by themselves; any order will do.
    def __lt__(self, other: object) -> bool:
        return id(self) < id(other) if isinstance(other, ScheduleEntry) else NotImplemented

    def __le__(self, other: object) -> bool:
        return id(self) <= id(other) if isinstance(other, ScheduleEntry) else NotImplemented

    def __gt__(self, other: object) -> bool:
        return id(self) > id(other) if isinstance(other, ScheduleEntry) else NotImplemented

    def __ge__(self, other: object) -> bool:
        return id(self) >= id(other) if isinstance(other, ScheduleEntry) else NotImplemented

    def __repr__(self) -> str:
        given = [*map(repr, self.args or ()), *(f"{key}={value!r}" for key, value in (self.kwargs or {}).items())]
        return f"<{type(self).__name__}: {self.name} {self.task}({', '.join(given)}) {self.schedule}>"


def made(value: Any) -> Any:
    """An argument as it is sent."""
    return value() if isinstance(value, BeatLazyFunc) else value
