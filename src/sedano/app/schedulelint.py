"""What is odd about a schedule as a whole, found before it happens: `sedano schedule lint`, `app.schedules.lint()`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, tzinfo
from itertools import islice
from typing import Any

import msgspec

from sedano.app.entries import Definition, following
from sedano.rules.ticks import Overlap
from sedano.schedules import BaseSchedule, crontab
from sedano.schedules.upcoming import Irregular, doubled_or_missing

DAY_S = 86_400.0
HORIZON_S = 366 * DAY_S
"""Within it both changes of the clocks happen, and 29 February in a leap year only."""

MOST_MOMENTS = 500
"""How many moments of one entry are counted for what piles up."""

PILE = 100
"""So many calls within one second are told of."""


class Finding(msgspec.Struct, frozen=True):
    """`kind`: "pile", "never", "doubled", "missing", "overlap", "task", "unreadable". `names`: at most ten of the entries."""

    kind: str
    names: tuple[str, ...]
    text: str


def lint(
    entries: Iterable[tuple[str, Definition]],
    *,
    now: float,
    zone: tzinfo,
    tasks: Mapping[str, Any],
    tells_ends: bool,
    pile: int = PILE,
) -> list[Finding]:
    """Look at all entries. `now` in seconds since the epoch, `zone` that of schedules that have none of their own; `tasks` are
    those that this process knows; `tells_ends`: results are on."""
    found: list[Finding] = []
    seconds: defaultdict[int, list[str]] = defaultdict(list)
    for name, definition in entries:
        found += _of_one(name, definition, tasks, tells_ends)
        if definition.paused or definition.when is None:
            continue
        try:
            when = definition.schedule()
        except ValueError as exc:
            found.append(Finding("unreadable", (name,), f"its schedule cannot be read: {exc}"))
            continue
        found += _of_the_clock(name, when, now, zone)
        moments = list(islice(_moments(definition, when, now, zone), MOST_MOMENTS))
        if not moments:
            found.append(Finding("never", (name,), "it has no moment to come: delete it, or give it another schedule or end"))
        elif moments[0] > now + HORIZON_S:
            found.append(Finding("never", (name,), f"its next moment is {_shown(moments[0], zone)}: is that meant?"))
        jittered = definition.jittered(name)
        for moment in moments:
            if moment < now + DAY_S:
                seconds[int(jittered(moment))].append(name)
    return [*found, *_piles(seconds, zone, pile)]


def _of_one(name: str, definition: Definition, tasks: Mapping[str, Any], tells_ends: bool) -> list[Finding]:
    found: list[Finding] = []
    task = tasks.get(definition.task)
    if task is None:
        found.append(Finding("task", (name,), f"the task {definition.task!r} is not known here: workers must know it"))
    silent = task is not None and task.ignore_result
    if definition.overlap is not Overlap.ALLOW and (silent or not tells_ends):
        found.append(
            Finding(
                "overlap", (name,), f"overlap {str(definition.overlap)!r} has no effect: no result tells when a call is over"
            )
        )
    header = getattr(task, "__header__", None) if getattr(task, "typing", False) else None
    if header is not None and definition.call:
        args, kwargs, _ = definition.arguments()
        try:
            header(*args, **kwargs)
        except TypeError as exc:
            found.append(Finding("task", (name,), f"its arguments do not fit the task: {exc}"))
    return found


def _of_the_clock(name: str, when: BaseSchedule, now: float, zone: tzinfo) -> list[Finding]:
    """What happens to it where the clocks change, within a year; once for each kind. What runs in each hour of the day anyway
    is not worth a word."""
    if isinstance(when, crontab) and len(when.hour) == 24:
        return []
    kinds: dict[bool, tuple[Irregular, int]] = {}
    for each in doubled_or_missing(when, zone, now, now + HORIZON_S):
        if each.is_missing or len(each.runs) > 1:
            first, count = kinds.get(each.is_missing, (each, 0))
            kinds[each.is_missing] = first, count + 1
    found: list[Finding] = []
    for is_missing, (first, count) in kinds.items():
        wall = first.wall.isoformat(sep=" ", timespec="minutes")
        more = f", and {count - 1} more like it" if count > 1 else ""
        if not is_missing:
            found.append(Finding("doubled", (name,), f"{wall} is there twice, it runs at both{more}"))
        else:
            instead = f"it runs at {first.runs[0].isoformat(sep=' ', timespec='minutes')}" if first.runs else "it does not run"
            found.append(Finding("missing", (name,), f"{wall} is not there, {instead}{more}"))
    return found


def _moments(definition: Definition, when: BaseSchedule, now: float, zone: tzinfo) -> Iterable[float]:
    terms = definition.terms()
    moment: float | None = max(now, definition.start or now)
    while moment is not None:
        moment = following(terms, when, moment, zone)
        if moment is not None:
            yield moment


def _piles(seconds: Mapping[int, list[str]], zone: tzinfo, pile: int) -> list[Finding]:
    """The highest pile of each group of entries."""
    highest: dict[tuple[str, ...], tuple[int, int]] = {}
    for second, names in seconds.items():
        if len(names) >= pile:
            key = tuple(sorted(set(names))[:10])
            highest[key] = max(highest.get(key, (0, 0)), (len(names), -second))
    tops = sorted(highest.items(), key=lambda item: -item[1][0])[:10]
    return [
        Finding("pile", names, f"{count} calls become due in one second at {_shown(-second, zone)}: jitter spreads them")
        for names, (count, second) in tops
    ]


def _shown(moment: float, zone: tzinfo) -> str:
    return datetime.fromtimestamp(moment, UTC).astimezone(zone).isoformat(sep=" ", timespec="seconds")
