"""What is wrong with entries, said when beat starts and not when they are due."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import lru_cache
from typing import Any

from sedano.exceptions import ImproperlyConfigured
from sedano.log import get_logger
from sedano.nearest import hint

logger = get_logger("celery.beat")


def readable(entries: Mapping[str, Any], make: Callable[[str, Any], Any]) -> dict[str, Any]:
    """What `make(name, fields)` makes of the entries, without those that can never be sent; each of them is logged."""
    found: dict[str, Any] = {}
    for name, fields in entries.items():
        try:
            entry = make(name, fields)
            require_possible(entry)
        except Exception as exc:  # one entry must not keep the others from being sent
            logger.error("beat: The entry %r is left out: %s", name, exc)
        else:
            found[name] = entry
    return found


def known_keys(name: str, fields: Any, kind: Any) -> dict[str, Any]:
    """The fields that the constructor `kind` takes; a warning for each other key. Raises ImproperlyConfigured for what is no
    mapping, or has no schedule."""
    try:
        given = dict(fields)
    except (TypeError, ValueError):
        raise ImproperlyConfigured(
            f"it is {fields!r}, and must be a mapping such as {{'task': 'proj.add', 'schedule': 30.0, 'args': (2, 3)}}"
        ) from None
    _require_schedule(given.get("schedule"))
    parameters = _parameters_of(kind)
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return given
    known = [key for key in parameters if key not in ("name", "app")]
    for key in [key for key in given if key not in parameters]:
        del given[key]
        keys = "" if (near := hint(str(key), known)) else f" There are: {', '.join(known)}."
        logger.warning("beat: The entry %r has the unknown key %r, which is ignored.%s%s", name, key, near, keys)
    return given


def _require_schedule(when: Any) -> None:
    if when is None:
        raise ImproperlyConfigured("it has no schedule: give 'schedule', such as 30.0 (seconds) or crontab(hour=7)")
    if isinstance(when, bool) or not (isinstance(when, int | float | timedelta) or hasattr(when, "is_due")):
        raise ImproperlyConfigured(
            f"its schedule {when!r} is none: give seconds, a timedelta, crontab(...) or another schedule"
        )


@lru_cache(maxsize=64)
def _parameters_of(kind: Any) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(kind).parameters


def require_possible(entry: Any) -> None:
    """Raise ImproperlyConfigured for an entry that can never be sent, or would be sent without end."""
    task = getattr(entry, "task", None)
    if not task:
        raise ImproperlyConfigured("it names no task: give 'task'")
    if not isinstance(task, str):
        raise ImproperlyConfigured(f"its task must be the name of a task, not {task!r}")
    when = getattr(entry, "schedule", None)
    _require_schedule(when)
    every = getattr(when, "run_every", None)
    if every is not None and hasattr(every, "total_seconds") and every.total_seconds() <= 0:
        raise ImproperlyConfigured(f"its interval is {every}: it would be sent without end")


def warn(app: Any, entries: Mapping[str, Any]) -> None:
    """Log a warning for each entry whose task is not known here, or does not take the entry's arguments."""
    for name, entry in entries.items():
        problem = _problem(app, entry)
        if problem:
            logger.warning("beat: The entry %r %s", name, problem)


def _problem(app: Any, entry: Any) -> str | None:
    task = app.tasks.get(entry.task)
    if task is None:
        near = hint(entry.task, app.tasks)
        return f"sends the task {entry.task!r}, which is not registered here: workers must know it.{near}"
    header = getattr(task, "__header__", None) if getattr(task, "typing", True) else None
    if header is None:
        return None
    try:
        header(*(entry.args or ()), **(entry.kwargs or {}))
    except TypeError as exc:
        return f"cannot be sent: its arguments do not fit the task {entry.task!r}: {exc}"
    return None
