"""How long a call waits for somebody who knows its task.

    taken, task unknown --park--> parked --(a node that knows it)--> its queue --> runs, or is taken by the wrong node again
                                     +-----(its time is over)------> its queue --> fails where it is unknown

The time is in the message, so it is the same for every node that takes it. A call that comes back before its time was fetched
by a node that knows its task, or handed back to Celery: it gets a new time, so that a node which is always too late does not
make it fail. Near its end the time stays as it is: it may have been another node's clock that said it was over.
"""

from __future__ import annotations

NEAR_S = 60.0


def park_until(before: float | None, now: float, timeout_s: float, eta: float | None = None) -> float | None:
    """When the call fails (Unix seconds), None for now. `before` is what was said when it was last parked, if it was.

    A call with an `eta` waits as long after it: before, nobody would run it.
    """
    if timeout_s <= 0:
        return None
    anew = max(now, eta or now) + timeout_s
    if before is None:
        return anew
    if before <= now:
        return None
    return before if before - now <= min(NEAR_S, timeout_s / 2) else anew
