"""Rate limits: may a call begin now, and if not, when is it to come back?

A limit of `per_s` calls a second is a time, `free`, at which the next call may begin, and which every call that begins moves on
by one interval (the generic cell rate algorithm: a token bucket whose level is kept as a time). A node that was idle does not
save up: one call begins at once, as in Celery, whose bucket holds one; of faster limits, what belongs to `BURST_S`.

A call that comes too early is told a time of its own, `promised`, one interval behind the one before it, so that those that
wait come back one after another and each finds its place free. Nothing else is kept of it: who comes first, begins first, but
while others were promised a time, a call that was promised none leaves them `GRACE_S` to come. One that came at its time and
found the place taken is the next.
"""

from __future__ import annotations

import math
from typing import NamedTuple

BURST_S = 0.05
"""A slot looks at its calls some milliseconds late: so much is made up for."""

SHORTEST_HORIZON_S, LONGEST_HORIZON_S, HORIZON_CALLS = 60.0, 600.0, 100
"""Calls are told to come back so far ahead at most: what is behind them stays in its queue, for others to take."""

LOOK_AGAIN_S, SHORTEST_LOOK_S = 5.0, 0.02
"""A queue whose front is a call that is beyond the horizon is looked at again when the next call may begin, and not earlier or
later than so."""

GRACE_S = 0.03
"""Less than `BURST_S`, so that nothing is lost when nobody comes."""

SLOWEST_PER_S = 1e-9
"""A call in thirty years; what is slower has times that no calendar knows."""

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


class Verdict(NamedTuple):
    """`go`: begin it, it is counted. Else come back at `at` (on the clock of the question); `far`: so many are before it
    that it is better left in its queue until then."""

    go: bool
    at: float = 0.0
    far: bool = False


GO = Verdict(True)


def judge(free: float, promised: float, per_s: float, now: float, *, returns: bool = False) -> tuple[float, float, Verdict]:
    """(free, promised, verdict) after the question whether one more call may begin `now`.

    `returns`: it has waited for its turn already, and came when that was; so if another was faster, it is the next.
    Times that this limit cannot have given are of another one, or of a clock that was set back: they are not waited for.
    """
    interval = 1.0 / per_s
    if free < now - BURST_S:
        free = now
    elif free > now + interval + BURST_S:
        free = now + interval
    if promised > now + max(horizon_s(interval), interval) + interval:
        promised = free
    grace = GRACE_S if promised > now and not returns and interval > BURST_S else 0.0
    if now >= free - max(0.0, BURST_S - interval) + grace:
        return free + interval, promised, GO
    if returns:
        return free, promised, Verdict(False, free)
    at = max(promised + interval, free)
    if promised > now and at - now > horizon_s(interval):
        return free, promised, Verdict(False, now + min(max(free + grace - now, SHORTEST_LOOK_S), LOOK_AGAIN_S), True)
    return free, at, Verdict(False, at)


def horizon_s(interval: float) -> float:
    return min(max(HORIZON_CALLS * interval, SHORTEST_HORIZON_S), LONGEST_HORIZON_S)


def read_rate(limit: object) -> float:
    """Calls per second of a rate limit as Celery writes it: a number, "10/s", "100/m", "5.5/h"; 0.0 for none (None, 0, "").

    Raises ValueError for anything else.
    """
    if limit is None or limit == "":
        return 0.0
    text, slash, unit = str(limit).partition("/")
    try:
        count = math.nan if isinstance(limit, bool) else float(text)
        per_s = count / _UNITS[unit.strip() if slash else "s"]
    except (ValueError, KeyError, OverflowError):
        per_s = math.nan
    if not (per_s == 0.0 or SLOWEST_PER_S <= per_s < math.inf):
        raise ValueError(f"a rate limit of {limit!r} cannot be: give a number of calls per second, or '10/s', '100/m', '5/h'")
    return per_s
