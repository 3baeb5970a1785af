"""`Scheduler`: keeps entries in memory and sends those that are due. The base of all schedulers, others' included.

Its methods, attributes and the moments at which they are called are Celery's: schedulers of other packages override some and
call others. What is added: a tick whose call cannot be sent because the broker is away is tried again until it is sent, an
entry that cannot be read does not keep the others from being sent, and a clock that was set is noticed.
"""

from __future__ import annotations

import copy
import heapq
import traceback
from calendar import timegm
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, NamedTuple

from sedano.beat import checks
from sedano.beat.entry import ScheduleEntry, SchedulingError, made
from sedano.clock import SYSTEM_CLOCK, Clock
from sedano.exceptions import OperationalError
from sedano.log import get_logger
from sedano.rules.retry import reconnect_intervals
from sedano.schedules import crontab
from sedano.schedules.intervals import humanize_seconds

logger = get_logger("celery.beat")

DEFAULT_MAX_INTERVAL = 300
PRIORITY = 5
LONGEST_WAIT_S = 8.0  # for a broker that is away
CLOCK_WAS_SET_S = 1.0
"""By so much must the wall clock have moved against the monotonic one for the heap's moments to be worked out anew."""


class event_t(NamedTuple):  # noqa: N801 - Celery's name
    """A place in the heap: when (seconds since the epoch), a number among those of one moment, whose turn."""

    time: float
    priority: int
    entry: Any


class Stopped(Exception):
    """The service stops while a tick waits for the broker; the entry stands as before, and is due when beat starts again."""


def forget_future(entry: Any) -> None:
    """Let an interval be reckoned from now on that was sent last at a time that is still to come, because the clock was set
    back. (A crontab stays: the moments that come again have had their run.)"""
    last, now = entry.last_run_at, entry.default_now()
    if isinstance(last, datetime) and hasattr(entry.schedule, "run_every") and _aware(last) > _aware(now):
        entry.last_run_at = now


def _aware(when: datetime) -> datetime:
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when


class Scheduler:
    """Sends the entries of `schedule`, a mapping of names to entries.

    `max_interval` (seconds) is the longest sleep between two looks; 0 or None: the setting `beat_max_loop_interval`, then the
    class's own. `lazy` sets nothing up: for a look at `info`. `Producer` has no meaning here.
    """

    Entry: Any = ScheduleEntry
    max_interval: Any = DEFAULT_MAX_INTERVAL
    sync_every: float = 3 * 60
    sync_every_tasks: int | None = None
    logger = logger
    clock: Clock = SYSTEM_CLOCK
    pause: Callable[[float], bool] | None = None
    """Waits so many seconds; False when the service stops meanwhile. Set by the service."""

    _last_sync: float | None = None
    _tasks_since_sync = 0
    _clock_offset: float | None = None

    def __init__(
        self,
        app: Any,
        schedule: Any = None,
        max_interval: float | None = None,
        Producer: Any = None,  # noqa: N803 - Celery's name
        lazy: bool = False,
        sync_every_tasks: int | None = None,
        **kwargs: Any,
    ) -> None:
        del kwargs
        self.app = app
        given = {} if schedule is None else schedule
        self.data = given() if callable(given) else given
        self.max_interval = max_interval or app.conf.beat_max_loop_interval or self.max_interval
        self.Producer = Producer
        self._heap: list[Any] | None = None
        self.old_schedulers: Any = None
        self.sync_every_tasks = app.conf.beat_sync_every if sync_every_tasks is None else sync_every_tasks
        if not lazy:
            self.setup_schedule()

    # -- entries ------------------------------------------------------------------------------------------------------

    def setup_schedule(self) -> None:
        """Called once, with the settings read: bring the entries together."""
        self.install_default_entries(self.data)
        self.merge_inplace(self.app.conf.beat_schedule)

    def install_default_entries(self, data: Any) -> None:
        """Add `celery.backend_cleanup` where results expire and nobody else removes them."""
        entries: dict[str, Any] = {}
        cleans_itself = getattr(self.app.backend, "supports_autoexpire", False)
        if self.app.conf.result_expires and not cleans_itself and "celery.backend_cleanup" not in data:
            entries["celery.backend_cleanup"] = {
                "task": "celery.backend_cleanup",
                "schedule": crontab("0", "4", "*"),
                "options": {"expires": 12 * 3600},
            }
        self.update_from_dict(entries)

    def add(self, **kwargs: Any) -> Any:
        """Add an entry, or replace that of the name; the arguments are those of `Entry`."""
        entry = self.Entry(app=self.app, **kwargs)
        self.schedule[entry.name] = entry
        return entry

    def _maybe_entry(self, name: str, entry: Any) -> Any:
        if isinstance(entry, self.Entry):
            entry.app = self.app
            return entry
        return self.Entry(**dict(checks.known_keys(name, entry, self.Entry), name=name, app=self.app))

    def update_from_dict(self, dict_: Mapping[str, Any]) -> None:
        """Add entries (or mappings of their fields), replacing those of the same names. One that cannot be made is left out,
        with an error that names it."""
        self.schedule.update(checks.readable(dict_, self._maybe_entry))

    def merge_inplace(self, b: Mapping[str, Any]) -> None:
        """Make the schedule have the entries of `b` and no others. An entry that is there already keeps its past."""
        entries = checks.readable(
            b, lambda name, fields: self.Entry(**dict(checks.known_keys(name, fields, self.Entry), name=name, app=self.app))
        )
        schedule = self.schedule
        for name in set(schedule) - set(entries):
            schedule.pop(name, None)
        for name, entry in entries.items():
            if schedule.get(name):
                schedule[name].update(entry)
            else:
                schedule[name] = entry

    def check_entries(self) -> None:
        """Log a warning for each entry that will fail when it is due. Called once when beat starts."""
        checks.warn(self.app, self.schedule)

    def get_schedule(self) -> Any:
        return self.data

    def set_schedule(self, schedule: Any) -> None:
        self.data = schedule

    schedule = property(get_schedule, set_schedule)

    # -- sending ------------------------------------------------------------------------------------------------------

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        """Send a due entry, which `reserve` has moved on already. What goes wrong is logged, and does not stop the others.

        Raises `Stopped`; see `apply_async`.
        """
        logger.info("Scheduler: Sending due task %s (%s)", entry.name, entry.task)
        try:
            result = self.apply_async(entry, producer=producer, advance=False)
        except Stopped:
            raise
        except Exception as exc:  # whatever an argument, a task or a serializer does
            logger.error("Message Error: %s\n%s", exc, traceback.format_stack(), exc_info=True)
            return
        sent_id = getattr(result, "id", None)
        if sent_id:
            logger.debug("%s sent. id->%s", entry.task, sent_id)
        else:
            logger.debug("%s sent.", entry.task)

    def apply_async(self, entry: Any, producer: Any = None, advance: bool = True, **kwargs: Any) -> Any:
        """Send the entry's call; `advance` moves the entry on first. In a service it is tried until the broker has it, unless
        the entry's options or `task_publish_retry` say that calls are not to be tried again.

        Raises `SchedulingError` with the cause; `Stopped` when the service stops while the broker is away.
        """
        del kwargs
        # It moves on before it is sent: a call that cannot be sent must not be due for ever.
        entry = self.reserve(entry) if advance else entry
        try:
            args = [made(value) for value in entry.args or ()]
            keywords = {key: made(value) for key, value in (entry.kwargs or {}).items()}
            return self._send_until_sent(entry, args, keywords, producer)
        except Stopped:
            raise
        except Exception as exc:
            raise SchedulingError(f"Couldn't apply scheduled task {entry.name}: {exc}") from exc
        finally:
            self._tasks_since_sync += 1
            if self.should_sync():
                self._do_sync()

    def _send_until_sent(self, entry: Any, args: list[Any], kwargs: dict[str, Any], producer: Any) -> Any:
        options = dict(entry.options or {})
        options["headers"] = {**(options.get("headers") or {}), "celery_beat_task": True}
        task = self.app.tasks.get(entry.task)
        waits = reconnect_intervals(start=1.0, step=1.0, longest=LONGEST_WAIT_S)
        while True:
            try:
                if task:
                    return task.apply_async(args, kwargs, producer=producer, **options)
                return self.send_task(entry.task, args, kwargs, producer=producer, **options)
            except OperationalError as exc:
                if self.pause is None or not options.get("retry", self.app.conf.task_publish_retry):
                    raise
                wait_s = next(waits)
                logger.error("beat: Connection error: %s. Trying again in %s seconds...", exc, wait_s)
                if not self.pause(wait_s):
                    raise Stopped from exc

    def send_task(self, *args: Any, **kwargs: Any) -> Any:
        """Send a call of a task that is not registered here."""
        kwargs.pop("producer", None)
        return self.app.send_task(*args, **kwargs)

    def reserve(self, entry: Any) -> Any:
        """Move the entry on: the same with this run counted takes its place, and is returned."""
        new_entry = self.schedule[entry.name] = next(entry)
        return new_entry

    # -- when ---------------------------------------------------------------------------------------------------------

    def adjust(self, n: float | None, drift: float = -0.010) -> float | None:
        """A little sooner than `n` seconds: what lies between here and the send takes as long."""
        return n + drift if n and n > 0 else n

    def is_due(self, entry: Any) -> Any:
        return entry.is_due()

    def _is_due_failed(self, entry: Any) -> tuple[bool, float]:
        """One entry whose next run cannot be worked out stops no other."""
        again = humanize_seconds(self.max_interval)
        logger.error(
            "beat: Cannot calculate the next run of %r, trying again in %s.",
            getattr(entry, "name", entry),
            again,
            exc_info=True,
        )
        return False, self.max_interval

    def _when(self, entry: Any, next_time_to_run: Any, mktime: Any = timegm) -> float:
        """`next_time_to_run` seconds from the entry's now, since the epoch."""
        now: datetime = entry.default_now()
        aware = _aware(now)
        return float(mktime(aware.utctimetuple()) + aware.microsecond / 1e6 + (self.adjust(next_time_to_run) or 0))

    def populate_heap(self, event_t: Any = event_t, heapify: Any = heapq.heapify) -> None:
        """Put all entries into the heap, by their next moments."""
        self._heap = []
        for entry in self.schedule.values():
            try:
                is_due, delay = entry.is_due()
            except Exception:  # whatever somebody's schedule does
                is_due, delay = self._is_due_failed(entry)
            self._heap.append(event_t(self._when(entry, 0 if is_due else delay) or 0, PRIORITY, entry))
        heapify(self._heap)

    def tick(self, event_t: Any = event_t, min: Any = min, heappop: Any = heapq.heappop, heappush: Any = heapq.heappush) -> Any:  # noqa: A002
        """Send at most one entry; returns in how many seconds to come back, 0 when more may be due."""
        was_set = self._clock_was_set()
        if was_set:
            for entry in self.schedule.values():
                forget_future(entry)
        if self._heap is None or was_set or not self.schedules_equal(self.old_schedulers, self.schedule):
            self.old_schedulers = copy.copy(self.schedule)
            self.populate_heap()
        heap: list[Any] = self._heap or []
        if not heap:
            return self.max_interval
        event = heap[0]
        entry = event[2]
        now = self._when(entry, 0)
        if event[0] > now:
            return min(event[0] - now, self.max_interval)
        try:
            is_due, delay = self.is_due(entry)
        except Exception:  # whatever somebody's schedule does
            is_due, delay = self._is_due_failed(entry)
        verify = heappop(heap)
        if verify is not event:  # somebody has put another one in front meanwhile
            heappush(heap, verify)
            return min(verify[0] - self._when(verify[2], 0), self.max_interval)
        if is_due:
            self._send_due(entry, event, delay)
            return 0
        # It was thought to be due, and says that it is not: it gets another place, for others not to wait behind it.
        again = delay if isinstance(delay, int | float) else self.max_interval
        heappush(heap, event_t(self._when(entry, again), event[1], entry))
        return 0 if heap[0][2] is not entry else min(self.adjust(again), self.max_interval)

    def _send_due(self, entry: Any, event: Any, delay: Any) -> None:
        heap, next_entry = self._heap, self.reserve(entry)
        try:
            self.apply_entry(entry, producer=self.producer)
        except Stopped:
            if self.schedule.get(entry.name) is next_entry:
                self.schedule[entry.name] = entry
            raise
        assert heap is not None
        heapq.heappush(heap, event_t(self._when(next_entry, delay), event[1], next_entry))

    def _clock_was_set(self) -> bool:
        """Whether the wall clock has jumped since the last tick. The moments in the heap are of the clock as it was."""
        offset = self.clock.wall() - self.clock.monotonic()
        before, self._clock_offset = self._clock_offset, offset
        if before is None or abs(offset - before) < CLOCK_WAS_SET_S:
            return False
        logger.warning("beat: The clock was set by %+.1f seconds: all moments are worked out anew.", offset - before)
        return True

    def schedules_equal(self, old_schedules: Any, new_schedules: Any) -> bool:
        """Whether both have the same entries by name, equal in what can be edited."""
        if old_schedules is None or new_schedules is None:
            return old_schedules is new_schedules
        if old_schedules.keys() != new_schedules.keys():
            return False
        for name, old in old_schedules.items():
            new = new_schedules.get(name)
            if new is not old and (not new or new != old):
                return False
        return True

    # -- keeping it ---------------------------------------------------------------------------------------------------

    def should_sync(self) -> bool:
        """Whether the state is to be saved now: by `sync_every` (seconds) or `sync_every_tasks`."""
        if not self._last_sync or self.clock.monotonic() - self._last_sync > self.sync_every:
            return True
        return bool(self.sync_every_tasks and self._tasks_since_sync >= self.sync_every_tasks)

    def _do_sync(self) -> None:
        try:
            logger.debug("beat: Synchronizing schedule...")
            self.sync()
        finally:
            self._last_sync = self.clock.monotonic()
            self._tasks_since_sync = 0

    def sync(self) -> None:
        """Save the state; for subclasses."""

    def close(self) -> None:
        """Save the state, and let go of the broker. It can be used again."""
        try:
            self.sync()
        finally:
            for name in ("producer", "connection"):
                self.__dict__.pop(name, None)

    # -- Celery's face of the broker ----------------------------------------------------------------------------------

    @cached_property
    def connection(self) -> Any:
        """A handle of the broker; calls are sent through the app's own connection."""
        return self.app.connection_for_write()

    @cached_property
    def producer(self) -> Any:
        """What `apply_async` takes as `producer`, which has no meaning here."""
        return self.connection

    def _ensure_connected(self) -> Any:
        return self.connection.ensure_connection()

    @property
    def info(self) -> str:
        """A line for the banner."""
        return ""
