"""How much to begin at once, and how much to hold in hand. All of it is measured in time, not in numbers of messages.

A *window* is what a slot begins in one step: one call, or several that are predicted to take `window_s` together. Whoever dies
inside a window may take its calls along (early ack), so what is not known to be short gets a window of its own:

- a task whose run time was not measured often enough, or that varies too much to be predicted,
- every redelivery: it may be poison, and a poison call must count no neighbour,
- a late-ack call is no exception: its window costs a repetition instead of a loss.

The *stash* is what is reserved and not begun: some tens of milliseconds of work, so that the next window is always there when
one ends, and no more, because it waits behind this slot while another may be idle.
"""

from __future__ import annotations

from collections.abc import Sequence

MEASURED_AFTER = 5  # runs before a prediction is made
STEADY = 3.0  # a run longer than this times the prediction (and than NOISE_S) makes the task unsteady again
NOISE_S = 0.002
SMOOTHING = 0.2
MAX_WINDOW = 64
MOST_COSTS = 32
MAX_STASH = 256
STASH_WINDOWS = 2.0  # the stash holds as many windows' worth of time


def widest_window(*, relayed: bool) -> int:
    """How many calls are begun at once at most, however short they are. A turn through a relay costs a handing-over more, in
    which the slot waits: there, a window may have as many as a stash."""
    return MAX_STASH if relayed else MAX_WINDOW


class RunTimes:
    """What one slot has measured of each task: a smoothed run time, trusted after `MEASURED_AFTER` steady runs."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, float]] = {}

    def observe(self, task: str, seconds: float) -> None:
        """Note one run. A run that took far longer than predicted makes the task unmeasured again: five more runs."""
        count, mean = self._known.get(task, (0, seconds))
        if count >= MEASURED_AFTER and seconds > NOISE_S and seconds > mean * STEADY:
            self._known[task] = (1, max(seconds, mean))
            return
        self._known[task] = (count + 1, mean + SMOOTHING * (seconds - mean))

    def costs_us(self) -> dict[str, int]:
        """Microseconds that a run of each measured task will probably take, at most `MOST_COSTS` of them."""
        measured = [(task, mean) for task, (count, mean) in self._known.items() if count >= MEASURED_AFTER]
        return {task: int(mean * 1e6) for task, mean in measured[-MOST_COSTS:]}

    def predict(self, task: str) -> float | None:
        """Seconds that the next run will probably take, or None when nobody can say."""
        known = self._known.get(task)
        if known is None or known[0] < MEASURED_AFTER:
            return None
        return known[1]


def choose_window(predictions: Sequence[float | None], *, window_s: float, redelivered: Sequence[bool] = ()) -> int:
    """How many calls to begin now, from the front of the stash; 0 only when the stash is empty.

    `predictions[i]` is the predicted run time of the i-th call (None: unknown), `redelivered[i]` whether it was delivered
    before. At most `MAX_WINDOW`.
    """
    total = 0.0
    for index, prediction in enumerate(predictions):
        alone = prediction is None or (bool(redelivered) and redelivered[index])
        if alone:
            return max(index, 1)
        assert prediction is not None
        total += prediction
        if index and total > window_s:
            return index
        if index + 1 == MAX_WINDOW:
            return MAX_WINDOW
    return len(predictions)


def stash_target(mean_s: float | None, *, window_s: float, cap: int | None = None) -> int:
    """How many deliveries to hold reserved when calls take `mean_s` seconds each (None: unknown).

    `cap` is the user's hard limit of what the slot may hold, the running call included, from
    `worker_prefetch_multiplier`; None leaves it to the measurement.
    """
    if mean_s is None:
        target = 1
    elif mean_s <= 0:
        target = MAX_STASH
    else:
        target = min(MAX_STASH, max(1, int(window_s * STASH_WINDOWS / mean_s)))
    if cap is not None:
        target = min(target, max(cap - 1, 0))
    return target
