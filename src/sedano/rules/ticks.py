"""What happens at a due moment of a schedule's entry.

A moment is *missed* when nobody dealt with it in time: a later one is due as well, or it is late by more than the grace.

    misfire   several due, or one that is late .. "once": the latest is sent, the others are missed
                                                  "skip": as "once", but not if even the latest is later than the grace
                                                  "all": each is sent, the oldest first, save those older than the window
    overlap   the call before is not over ....... "allow": the next is sent all the same
                                                  "skip": it is not
                                                  "queue": it waits for the other's end; one waits at a time, the latest
                                                  "cancel": the call before is terminated, the next is sent
    the end   `max_runs` calls were sent, the one of a one-off, or no moment is left before `end`: the entry is over

Every moment ends as sent or as missed with a reason; none is dealt with twice, since the entry's next moment is always later.
"""

from __future__ import annotations

import enum
from collections.abc import Callable

import msgspec

GRACE_S = 30.0
"""Longer than a change of leaders takes, so that "skip" loses nothing to it."""

WINDOW_S = 3600.0
AT_ONCE = 100
"""How many moments of one entry are sent in one step; the rest follow in the next."""

MOST_COUNTED = 1000
"""So many missed moments are written down one by one; the rest are passed over, the last one says so."""

LOOK_AGAIN_S = 1.0
"""How often a call that must wait for the end of the one before asks for it."""


class Misfire(enum.StrEnum):
    ONCE = "once"
    SKIP = "skip"
    ALL = "all"


class Overlap(enum.StrEnum):
    ALLOW = "allow"
    SKIP = "skip"
    QUEUE = "queue"
    CANCEL = "cancel"


class Terms(msgspec.Struct, frozen=True):
    """The policies of one entry. `start` and `end` are seconds since the epoch; `window_s` is for misfire "all"."""

    misfire: Misfire = Misfire.ONCE
    overlap: Overlap = Overlap.ALLOW
    window_s: float = WINDOW_S
    grace_s: float = GRACE_S
    start: float | None = None
    end: float | None = None
    max_runs: int | None = None


class State(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is remembered of an entry from tick to tick: its next moment (before jitter), the calls so far, the last of them,
    and the moment that waits for its end."""

    moment: float | None = None
    total: int = 0
    last_id: str = ""
    last_moment: float | None = None
    last_at: float | None = None
    waiting: float | None = None


class Step(msgspec.Struct, frozen=True):
    """What to do now: calls to send for `sent` moments, reasons for `missed` ones, and when to look at the entry again (None:
    it is over). `state` lacks the last call's id only. `cancel`: terminate the call before."""

    state: State
    next_due: float | None
    sent: tuple[float, ...] = ()
    missed: tuple[tuple[float, str], ...] = ()
    cancel: bool = False


def first(terms: Terms, after: float, upcoming: Callable[[float], float | None]) -> float | None:
    """The first moment of a new entry after `after`; `upcoming` gives the moment that follows an instant."""
    if terms.start is not None and terms.start > after:
        after = terms.start - 1e-6  # a moment right at the start counts
    return _within(terms, upcoming(after))


def step(
    terms: Terms,
    state: State,
    now: float,
    upcoming: Callable[[float], float | None],
    *,
    is_running: bool = False,
    jitter: Callable[[float], float] = float,
) -> Step:
    """Decide what is to be done at `now` with an entry in this state.

    `upcoming` gives the moment that follows another, `jitter` when a moment is really due. `is_running`: the last call is
    not over.
    """
    missed: list[tuple[float, str]] = []
    due, moment, passed = _due(terms, state.moment, now, upcoming, jitter)
    sent = _wanted(terms, due, now, jitter, missed)
    if len(sent) > AT_ONCE:
        moment, sent = sent[AT_ONCE], sent[:AT_ONCE]
    if passed and missed:
        missed[-1] = (missed[-1][0], f"{missed[-1][1]}; so were moments before it, too many to count")
    if state.waiting is not None:
        sent = [state.waiting, *sent]
    sent, waiting, cancel = _beside(terms, sent, state.last_id if is_running else "", missed)
    left = None if terms.max_runs is None else max(0, terms.max_runs - state.total)
    if left is not None and len(sent) >= left:
        late = [*sent[left:], *([] if waiting is None else [waiting])]
        missed += [(each, f"all runs were had: {terms.max_runs}") for each in late]
        sent, waiting, moment = sent[:left], None, None
    last = (sent[-1], now) if sent else (state.last_moment, state.last_at)
    new = State(moment, state.total + len(sent), state.last_id, *last, waiting)
    dues = [jitter(moment)] if moment is not None else []
    if waiting is not None:
        dues.append(now + LOOK_AGAIN_S)
    return Step(new, min(dues, default=None), tuple(sent), tuple(sorted(missed)), cancel)


def _due(
    terms: Terms,
    moment: float | None,
    now: float,
    upcoming: Callable[[float], float | None],
    jitter: Callable[[float], float],
) -> tuple[list[float], float | None, bool]:
    """The moments from `moment` on that are due, the first that is not, and whether some were passed over."""

    def next_of(after: float) -> float | None:
        return _within(terms, upcoming(after))

    due: list[float] = []
    passed = False
    window_s = terms.window_s if terms.misfire is Misfire.ALL else 0.0
    while moment is not None and jitter(moment) <= now:
        if len(due) == MOST_COUNTED:
            if now - due[-1] <= window_s:
                break  # these are all wanted: the rest in the next step
            due, passed, moment = due[:-1], True, _last_before(now - window_s, moment, next_of)
        due.append(moment)
        moment = next_of(moment)
    return due, moment, passed


def _beside(
    terms: Terms, sent: list[float], running: str, missed: list[tuple[float, str]]
) -> tuple[list[float], float | None, bool]:
    """(what is sent, what waits, whether the call before is terminated), by the overlap policy; `running` is the id of the call
    before if it is not over. The others are added to `missed`."""
    if terms.overlap is Overlap.ALLOW or not sent:
        return sent, None, False
    *others, last = sent
    if terms.overlap is Overlap.QUEUE and not running and others:
        first, *others = others
        missed += [(each, "a later one waits already") for each in others]
        return [first], last, False
    missed += [
        (each, f"the call before, {running}, is not over" if running else "a later one was due as well") for each in others
    ]
    if not running:
        return [last], None, False
    if terms.overlap is Overlap.QUEUE:
        return [], last, False
    if terms.overlap is Overlap.CANCEL:
        return [last], None, True
    missed.append((last, f"the call before, {running}, is not over"))
    return [], None, False


def _wanted(
    terms: Terms, due: list[float], now: float, jitter: Callable[[float], float], missed: list[tuple[float, str]]
) -> list[float]:
    """Which of the due moments are to be sent; the others are added to `missed`."""
    if not due:
        return []
    if terms.misfire is Misfire.ALL:
        sent = [each for each in due if now - each <= terms.window_s]
        missed += [(each, f"older than the window of {terms.window_s:g} s") for each in due if now - each > terms.window_s]
        return sent
    missed += [(each, "a later one was due as well") for each in due[:-1]]
    last = due[-1]
    if terms.misfire is Misfire.SKIP and now - jitter(last) > terms.grace_s:
        missed.append((last, f"late by more than {terms.grace_s:g} s"))
        return []
    return [last]


def _last_before(now: float, moment: float, next_of: Callable[[float], float | None]) -> float:
    """A moment not after `now` and close to it: the calendar is asked from ever longer ago until it has one later than
    `moment`."""
    back = 1.0
    while now - back > moment:
        found = next_of(now - back)
        if found is not None and moment <= found <= now:
            return found
        back *= 2
    return moment


def _within(terms: Terms, moment: float | None) -> float | None:
    return None if moment is None or (terms.end is not None and moment > terms.end) else moment
