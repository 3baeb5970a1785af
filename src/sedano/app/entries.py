"""An entry of a schedule as it is kept: what to call, when, by which policies. Between users' words, bytes and rules."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Any

import msgspec

from sedano.app.messages import draft_signature
from sedano.exceptions import EncodeError, ImproperlyConfigured
from sedano.nearest import hint
from sedano.protocol.serializers import json
from sedano.rules.ticks import GRACE_S, WINDOW_S, Misfire, Overlap, State, Terms, first
from sedano.schedules import BaseSchedule, maybe_schedule, schedule
from sedano.schedules.data import from_data, to_data

CODE, RUNTIME = "code", "runtime"

POLICIES = (
    "start", "end", "jitter", "max_runs", "one_off", "misfire", "misfire_window", "misfire_grace", "overlap", "description"
)  # fmt: skip
"""The keys of an entry that Celery's beat does not know."""

KEYS = ("task", "schedule", "args", "kwargs", "options", "relative", *POLICIES)


class Definition(msgspec.Struct, frozen=True, omit_defaults=True):
    """One entry. `when` is `schedules.data`'s, None when it is code. `call` is JSON of [args, kwargs, options], "" when it is
    code: then the beat that fires it takes it from its own app. `shown` is how people see what is code.

    `start` and `end` are seconds since the epoch, `jitter` and the `misfire_` ones seconds.
    """

    task: str
    when: dict[str, Any] | None = None
    call: str = ""
    shown: str = ""
    source: str = RUNTIME
    paused: bool = False
    start: float | None = None
    end: float | None = None
    jitter: float = 0.0
    max_runs: int | None = None
    misfire: Misfire = Misfire.ONCE
    misfire_window: float = WINDOW_S
    misfire_grace: float = GRACE_S
    overlap: Overlap = Overlap.ALLOW
    description: str = ""

    @property
    def is_code(self) -> bool:
        """Whether a beat needs the app's own entry to fire it."""
        return self.when is None or not self.call

    def terms(self) -> Terms:
        return Terms(self.misfire, self.overlap, self.misfire_window, self.misfire_grace, self.start, self.end, self.max_runs)

    def schedule(self) -> BaseSchedule:
        """Raises ValueError when it is code, or unreadable."""
        if self.when is None:
            raise ValueError(f"the schedule {self.shown} is code: only a beat with the app that made it knows its moments")
        return from_data(self.when)

    def arguments(self) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
        """(args, kwargs, options). Raises ValueError when they are code."""
        if not self.call:
            raise ValueError(f"the arguments {self.shown} are code: only a beat with the app that made them knows them")
        args, kwargs, options = json.decode(self.call.encode())
        return args, kwargs, options

    def jittered(self, name: str) -> Callable[[float], float]:
        """When a moment is really due: the same for every beat that asks."""
        if not self.jitter:
            return float
        return lambda moment: moment + self.jitter * (zlib.crc32(f"{name}/{moment!r}".encode()) / 2**32)


_encoder = msgspec.json.Encoder()
_definitions = msgspec.json.Decoder(Definition)
_states = msgspec.json.Decoder(State)


def write(definition: Definition) -> bytes:
    return _encoder.encode(definition)


def read(data: bytes) -> Definition:
    """Raises ValueError (msgspec.DecodeError) for what no version of ours wrote."""
    return _definitions.decode(data)


def write_state(state: State) -> bytes:
    return _encoder.encode(state)


def read_state(data: bytes) -> State:
    """A new entry has none yet; what cannot be read counts as none."""
    try:
        return _states.decode(data) if data else State()
    except msgspec.DecodeError:
        return State()


def define(
    name: str,
    given: Mapping[str, Any],
    *,
    source: str = RUNTIME,
    paused: bool = False,
    timezone: tzinfo | None = None,
) -> Definition:
    """From the keys of an entry of `beat_schedule` and ours. `timezone` is that of naive `start` and `end`.

    Raises ImproperlyConfigured that names the entry and the key. What cannot be written as JSON makes it an entry of code,
    which only `source` "code" may be.
    """
    _check_keys(name, given)
    task = given.get("task")
    if not isinstance(task, str) or not task:
        raise _wrong(name, "task", task, "give the name of the task")
    when = _when(name, given)
    data = to_data(when)
    args, kwargs, options = _call(name, given)
    try:
        call = json.encode([args, kwargs, options]).decode()
    except (EncodeError, TypeError, ValueError) as exc:
        if source != CODE:
            raise _wrong(name, "args", args, f"they cannot be kept as JSON ({exc})") from exc
        call = ""
    if data is None and source != CODE:
        raise _wrong(name, "schedule", when, "a schedule of one's own class is code: put it into beat_schedule")
    shown = [repr(when)] if data is None else []
    shown += [f"args={args!r} kwargs={kwargs!r} options={options!r}"] if not call else []
    max_runs = 1 if given.get("one_off") else given.get("max_runs")
    return Definition(
        task,
        data,
        call,
        "; ".join(shown)[:1000],
        source,
        paused,
        _moment(name, "start", given, timezone),
        _moment(name, "end", given, timezone),
        _seconds(name, "jitter", given, 0.0),
        None if max_runs is None else _whole(name, "max_runs", max_runs),
        _policy(name, "misfire", given, Misfire.ONCE, Misfire),
        _seconds(name, "misfire_window", given, WINDOW_S),
        _seconds(name, "misfire_grace", given, GRACE_S),
        _policy(name, "overlap", given, Overlap.ALLOW, Overlap),
        str(given.get("description") or ""),
    )


def first_moment(definition: Definition, when: BaseSchedule, now: float, zone: tzinfo) -> float | None:
    """The first moment of an entry that is made `now`; None when it has none (paused, over, never)."""
    terms = definition.terms()
    if type(when) is schedule and terms.start is not None and terms.start > now:
        return terms.start if terms.end is None or terms.start <= terms.end else None
    return first(terms, now, lambda after: when.next_after(after, zone))


def following(terms: Terms, when: BaseSchedule, moment: float, zone: tzinfo) -> float | None:
    """The moment after `moment`; None after the last before the end."""
    found = when.next_after(moment, zone)
    return None if found is None or (terms.end is not None and found > terms.end) else found


def check_call(app: Any, definition: Definition) -> None:
    """Raise what sending would raise (TypeError, EncodeError ...): now, and not when it is due."""
    args, kwargs, options = definition.arguments()
    task = app.tasks.get(definition.task)
    header = getattr(task, "__header__", None) if getattr(task, "typing", False) else None
    if header is not None:
        header(*args, **kwargs)
    draft_signature(app, {"task": definition.task, "args": args, "kwargs": kwargs, "options": options})


# -- what users write -------------------------------------------------------------------------------------------------------


def _check_keys(name: str, given: Mapping[str, Any]) -> None:
    for key in given:
        if key not in KEYS:
            known = ", ".join(KEYS)
            raise ImproperlyConfigured(f"schedule entry {name!r}: unknown key {key!r}.{hint(str(key), KEYS)} Known: {known}")


def _when(name: str, given: Mapping[str, Any]) -> BaseSchedule:
    value = given.get("schedule")
    if isinstance(value, bool) or not isinstance(value, int | float | timedelta | BaseSchedule):
        raise _wrong(name, "schedule", value, "give seconds, a timedelta, or a schedule such as crontab(hour=7)")
    try:
        when: BaseSchedule = maybe_schedule(value, bool(given.get("relative")))
    except (OverflowError, ValueError) as exc:
        raise _wrong(name, "schedule", value, f"an interval of so many seconds cannot be ({exc})") from exc
    if isinstance(when, schedule) and when.seconds <= 0:
        raise _wrong(name, "schedule", value, "an interval must be longer than nothing")
    return when


def _call(name: str, given: Mapping[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    args, kwargs, options = given.get("args") or (), given.get("kwargs") or {}, given.get("options") or {}
    if (not isinstance(args, Sequence) and not callable(args)) or isinstance(args, str):
        raise _wrong(name, "args", args, "give a list or tuple")
    for key, value in (("kwargs", kwargs), ("options", options)):
        if not isinstance(value, Mapping):
            raise _wrong(name, key, value, "give a mapping")
    return list(args) if isinstance(args, Sequence) else args, dict(kwargs), dict(options)


def _moment(name: str, key: str, given: Mapping[str, Any], timezone: tzinfo | None) -> float | None:
    value = given.get(key)
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return None if value is None else float(value)
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError as exc:
            raise _wrong(name, key, value, "write it as 2030-12-31T07:30:00+01:00") from exc
    if not isinstance(value, datetime):
        raise _wrong(name, key, value, "give a datetime, text such as 2030-12-31T07:30:00+01:00, or seconds since the epoch")
    if value.tzinfo is None:
        if timezone is None:
            raise _wrong(name, key, value, "it has no time zone: nobody knows which instant it is")
        value = value.replace(tzinfo=timezone)
    return value.timestamp()


def _seconds(name: str, key: str, given: Mapping[str, Any], default: float) -> float:
    value = given.get(key)
    if value is None:
        return default
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise _wrong(name, key, value, "give seconds, or a timedelta, not below zero")
    return float(value)


def _whole(name: str, key: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise _wrong(name, key, value, "give a whole number from 1 on")
    return value


def _policy(name: str, key: str, given: Mapping[str, Any], default: Any, kind: Any) -> Any:
    value = given.get(key)
    if value is None:
        return default
    try:
        return kind(value)
    except ValueError as exc:
        raise _wrong(name, key, value, f"choose one of {', '.join(kind)}.{hint(str(value), list(kind))}") from exc


def _wrong(name: str, key: str, value: Any, what: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"schedule entry {name!r}: its {key} is {value!r}: {what}")
