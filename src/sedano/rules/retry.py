"""How long until the next try: of a task, of a publish, of a connection."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any


def backoff_countdown(retries: int, *, factor: float, maximum: float, jitter: bool, randrange: Callable[[int], int]) -> int:
    """Seconds until retry number `retries` + 1 of an autoretry with backoff, as Celery computes it.

    factor * 2**retries, at most `maximum`; with `jitter` a random whole number from 0 to that, both included.
    `randrange(n)` gives 0 <= x < n.
    """
    countdown = min(int(maximum), int(factor) << min(retries, 62))
    if jitter:
        countdown = randrange(countdown + 1)
    return max(0, countdown)


def publish_intervals(policy: Mapping[str, Any]) -> Iterator[float]:
    """Seconds to wait before each further try of a publish: `task_publish_retry_policy`.

    `max_retries` None tries for ever, 0 never again. The first wait is `interval_start`, each next one `interval_step`
    longer, at most `interval_max`.
    """
    most = policy.get("max_retries", 3)
    start, step = policy.get("interval_start", 0) or 0, policy.get("interval_step", 0.2) or 0
    longest = policy.get("interval_max", 1)
    tries = 0
    while most is None or tries < most:
        wait = start + step * tries
        yield float(wait if longest is None else min(wait, longest))
        tries += 1


def reconnect_intervals(*, start: float = 2.0, step: float = 2.0, longest: float = 32.0) -> Iterator[float]:
    """Seconds between tries to reach a broker again, for ever: 2, 4, 6 ... 32, as Celery's worker waits."""
    wait = start
    while True:
        yield wait
        wait = min(wait + step, longest)
