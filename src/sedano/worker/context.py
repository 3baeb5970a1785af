"""What a slot is given when it starts, whichever pool runs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sedano.clock import SYSTEM_CLOCK, Clock

if TYPE_CHECKING:
    from sedano.app.base import Celery
    from sedano.worker.table import SharedTable


@dataclass(frozen=True, slots=True)
class SlotOptions:
    """Plain values for the slot loop; resolved from settings and the command line once, in the supervisor.

    Times are in seconds. `prefetch_cap` None holds work measured in time (see `rules/window.py`); a number caps how many
    deliveries the slot may hold. What waits behind a window that takes
    longer than `long_s` is given back. `max_tasks` None lets the slot live for ever, and so does `max_memory_kib`.
    `unknown_timeout_s` is how long a call of an unknown task is parked, 0 not at all. `dead_keep_s` and `dead_max_bytes` limit
    what is kept of failed calls. With `cluster_rates` rate limits are those of the whole cluster, kept in the store. `lanes` is
    how many calls one process runs at once when it starts, 0 where it runs one.
    """

    queues: tuple[str, ...]
    queue_order: str = "round_robin"  # or "priority", "sorted"
    lease_s: float = 20.0
    window_s: float = 0.02
    long_s: float = 0.05
    prefetch_cap: int | None = None
    max_tasks: int | None = None
    max_memory_kib: int | None = None
    max_deliveries: int = 5
    unknown_timeout_s: float = 600.0
    dead_keep_s: float = 7 * 86400.0
    dead_max_bytes: int = 256 * 1024 * 1024
    cluster_rates: bool = False
    lanes: int = 0
    clock: Clock = SYSTEM_CLOCK


@dataclass(frozen=True, slots=True)
class SlotContext:
    """One slot: its place in the table and its ways to and from the supervisor.

    `wake_fd` becomes readable when the supervisor wants the slot to look at its row (stop, revoke, terminate) before its
    wait for work is over: read it empty. `notify_fd` (None in the solo pool) is written one byte when the supervisor should
    look at the table: the slot left idleness, or wrote an earlier `next_due`. What becomes of
    calls is told to `tell_fd` (`teller.py`), None when there is nobody to tell. `name` is what log lines show as processName.
    `relays` are the sockets by which the supervisor's connections to the broker are used (`relay/doors.py`).
    """

    app: Celery
    index: int
    name: str
    node: str
    table: SharedTable
    options: SlotOptions
    wake_fd: int
    notify_fd: int | None = None
    tell_fd: int | None = None
    relays: tuple[str, ...] = ()
