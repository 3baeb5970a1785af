"""Pickles of schedule files: written with Celery's names for our classes, and read by them.

So a file that Celery's beat has written is read without Celery, and Celery's beat can read ours. Nothing that such a file
names is imported: what is neither a schedule or an entry nor a plain value is read as `Unknown`. That loses nothing, because
the tasks, arguments and schedules that count are those of the settings; a file remembers when they were sent.
"""

from __future__ import annotations

import datetime
import io
import pickle
import zoneinfo
from collections.abc import Mapping
from typing import Any

from sedano import schedules
from sedano.app.timezones import LocalZone
from sedano.beat.entry import BeatLazyFunc, ScheduleEntry


def _attribute(holder: Any, name: str) -> Any:
    """Pickles of zones name the method that makes them, and get no other attribute of anything."""
    return getattr(holder, name) if (holder, name) == (zoneinfo.ZoneInfo, "_unpickle") else Unknown


_SCHEDULES = ("BaseSchedule", "clocked", "crontab", "schedule", "solar")
CELERY: Mapping[tuple[str, str], Any] = {
    ("celery.beat", "ScheduleEntry"): ScheduleEntry,
    ("celery.beat", "BeatLazyFunc"): BeatLazyFunc,
    ("celery.utils.time", "LocalTimezone"): LocalZone,
    **{("celery.schedules", name): getattr(schedules, name) for name in _SCHEDULES if hasattr(schedules, name)},
}
PLAIN: Mapping[tuple[str, str], Any] = {
    ("datetime", "date"): datetime.date,
    ("datetime", "datetime"): datetime.datetime,
    ("datetime", "time"): datetime.time,
    ("datetime", "timedelta"): datetime.timedelta,
    ("datetime", "timezone"): datetime.timezone,
    ("zoneinfo", "ZoneInfo"): zoneinfo.ZoneInfo,
    ("builtins", "getattr"): _attribute,
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("builtins", "range"): range,
    ("builtins", "complex"): complex,
    ("builtins", "bytearray"): bytearray,
}
_NAMES = {id(kind): name for name, kind in CELERY.items()}


class Unknown:
    """Stands for an object of a class that a schedule file may not bring in. Takes whatever a pickle does to it."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Unknown:
        del args, kwargs
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        """Forget it."""

    def extend(self, values: Any) -> None:
        """Forget them."""

    add = append
    update = extend
    __call__ = __init__


class _Reader(pickle.Unpickler):
    def __init__(self, file: Any, more: Mapping[tuple[str, str], Any]) -> None:
        super().__init__(file)
        self._more = more

    def find_class(self, module: str, name: str) -> Any:
        key = (module, name)
        for table in (CELERY, PLAIN, self._more):
            if key in table:
                return table[key]
        return Unknown


# The pickler that is written in Python: the other one cannot be told to write another name than that of the class's module.
_Pickler: Any = vars(pickle)["_Pickler"]


class _Writer(_Pickler):  # type: ignore[misc] # its class is Any
    def save_global(self, obj: Any, name: str | None = None) -> None:
        known = _NAMES.get(id(obj))
        if known is None:
            super().save_global(obj, name)
            return
        for word in known:
            self.save(word)
        self.write(pickle.STACK_GLOBAL)
        self.memoize(obj)

    dispatch = {**_Pickler.dispatch, type: save_global}  # noqa: RUF012 - a table of the base


def dumps(value: Any) -> bytes:
    """Raises what pickle raises for objects that have no pickle: PicklingError, TypeError, AttributeError."""
    file = io.BytesIO()
    _Writer(file, protocol=4).dump(value)
    return file.getvalue()


def loads(data: bytes, more: Mapping[tuple[str, str], Any]) -> Any:
    """The value; `more` are further classes by (module, name). Raises UnpicklingError and others for what is no pickle."""
    return _Reader(io.BytesIO(data), more).load()
