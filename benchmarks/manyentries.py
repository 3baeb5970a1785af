"""A beat with many entries, 1,000 of them due each second: how long it takes to start, and how late it is. Prints JSON.

Lateness is until the store has the message: the end of the step that wrote it.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Sequence

from sedano import Celery
from sedano.app.entries import define, write, write_state
from sedano.beat.storescheduler import StoreScheduler
from sedano.contracts import Change, Schedules, Tick
from sedano.rules.ticks import State

DUE_PER_S = 1000


def fill(schedules: Schedules, count: int, begin: float) -> None:
    """Entries whose first moments are spread evenly over one interval after `begin`."""
    every = count / DUE_PER_S
    definition = write(define("e", {"task": "nobody.waits", "schedule": every}))
    for start in range(0, count, 1000):
        dues = [(number, begin + every * number / count) for number in range(start, min(count, start + 1000))]
        schedules.put([Change(f"e{number}", definition, due, write_state(State(due))) for number, due in dues])


def main(url: str, count: int, seconds: float) -> dict[str, float]:
    app = Celery("beats", broker=url, result_expires=None, set_as_current=False)
    begin = time.time() + count / 20_000 + 10
    with contextlib.closing(app.stores.open_schedules("beats")) as schedules:
        fill(schedules, count, begin)
    began = time.monotonic()
    scheduler = StoreScheduler(app)
    scheduler.tick()
    started = time.monotonic() - began
    late = watched(scheduler.opened()[0])
    time.sleep(max(0.0, begin - time.time() - 0.5))
    cpu = time.process_time()
    ends_at = begin + seconds
    while time.time() < ends_at:
        time.sleep(scheduler.tick())
    used = time.process_time() - cpu
    scheduler.close()
    app.close()
    late.sort()
    p50, p99, worst = late[len(late) // 2], late[len(late) * 99 // 100], late[-1]
    times = {"late p50 ms": 1000 * p50, "late p99 ms": 1000 * p99, "late max ms": 1000 * worst}
    return {
        "start s": round(started, 3),
        "sent": len(late),
        **{key: round(ms, 1) for key, ms in times.items()},
        "cpu": round(used / seconds, 3),
    }


def watched(schedules: Schedules) -> list[float]:
    """Grows by the lateness of each tick that is written."""
    late: list[float] = []
    fire = schedules.fire

    def timed(ticks: Sequence[Tick], *rest: object, **more: object) -> list[bool]:
        written = fire(ticks, *rest, **more)  # type: ignore[arg-type]
        now = time.time()
        late.extend(now - tick.due for tick in ticks)
        return written

    schedules.fire = timed  # type: ignore[method-assign,assignment]
    return late


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))))
