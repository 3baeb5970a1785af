"""`app.schedules`: entries of the schedule that are made, changed and looked at while beats run. See docs/how-to/schedules.md.

Whatever is changed here a beat sees within a second, if it uses the store's schedule (as it does unless told otherwise).
"""

from __future__ import annotations

import builtins
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from sedano.app.entries import (
    CODE,
    POLICIES,
    RUNTIME,
    Definition,
    check_call,
    define,
    first_moment,
    following,
    read,
    read_state,
    write,
    write_state,
)
from sedano.app.firing import call_id, calls_of, messages_of, space_of
from sedano.app.messages import announced
from sedano.app.reconciling import moves
from sedano.app.schedulelint import Finding, lint
from sedano.clock import SYSTEM_CLOCK
from sedano.contracts.schedules import Change, Entry, Run, Schedules
from sedano.exceptions import ScheduleConflict, ScheduleNotFound
from sedano.nearest import hint
from sedano.rules.ticks import State
from sedano.schedules import BaseSchedule

if TYPE_CHECKING:
    from sedano.app.base import Celery

PAGE = 1000
TRIES = 20
"""How often a change is made anew when others change the same entry meanwhile."""


class ScheduledEntry(msgspec.Struct, frozen=True):
    """An entry as it stands. Times are aware datetimes of the app's zone; `next_run` None: paused, or over. `schedule` None: it
    is code that this process does not have; `shown` is its text."""

    name: str
    task: str
    schedule: BaseSchedule | None
    args: Sequence[Any] | None
    kwargs: Mapping[str, Any] | None
    options: Mapping[str, Any] | None
    next_run: datetime | None
    last_run: datetime | None
    last_id: str
    total: int
    paused: bool
    source: str
    definition: Definition

    @property
    def shown(self) -> str:
        return self.definition.shown if self.schedule is None else repr(self.schedule)

    @property
    def is_over(self) -> bool:
        """It will not come again: all its runs were had, or no moment is left."""
        return self.next_run is None and not self.paused


class PastRun(msgspec.Struct, frozen=True):
    """What became of a moment: the call that was sent, how late (seconds), or why none was."""

    name: str
    due: datetime
    at: datetime
    task_id: str | None
    reason: str
    manual: bool

    @property
    def lateness(self) -> float:
        return (self.at - self.due).total_seconds()


class ScheduleClient:
    """What `app.schedules` is. Every method may raise OperationalError when the store is away."""

    def __init__(self, app: Celery) -> None:
        self.app = app
        self.space = space_of(app)

    # -- changing -------------------------------------------------------------------------------------------------------

    def create(
        self,
        name: str,
        task: Any,
        schedule: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        replace: bool = False,
        paused: bool = False,
        **more: Any,
    ) -> ScheduledEntry:
        """Make an entry. `task` is a task or the name of one; `schedule` seconds, a timedelta or a schedule.

        `more` are options of the call (`queue`, `priority`, `expires`, `headers` ...) and policies: `start`, `end`, `jitter`,
        `max_runs`, `one_off`, `misfire` ("once", "skip", "all"), `misfire_window`, `misfire_grace`, `overlap` ("allow",
        "skip", "queue", "cancel"), `description`. Raises ScheduleConflict when there is one of the name (with `replace`: only
        when it is one of code), ImproperlyConfigured for what cannot be, TypeError for arguments that the task does not take.
        """
        definition = self._define(name, task, schedule, args, kwargs, more, paused)
        with self._opened() as schedules:
            for _ in range(TRIES):
                known = schedules.entry(name)
                if known is not None:
                    self._refuse_code(known, "replaced")
                    if not replace:
                        raise ScheduleConflict(f"there is a schedule entry {name!r} already: replace=True replaces it")
                if self._put(schedules, name, definition, 0 if known is None else known.revision):
                    return self._there(schedules, name)
        raise ScheduleConflict(f"the schedule entry {name!r} is changed by others all the time: try again")

    def update(self, name: str, **changes: Any) -> ScheduledEntry:
        """Change what is named, as `create` takes it; what is not, stays. A new schedule, start or end works out the next run
        anew. Raises ScheduleNotFound; ScheduleConflict for an entry of code, which is changed there."""

        def changed(entry: Entry, definition: Definition) -> Definition:
            self._refuse_code(entry, "changed")
            args, kwargs, options = definition.arguments()
            policies = {
                "start": definition.start,
                "end": definition.end,
                "jitter": definition.jitter,
                "max_runs": definition.max_runs,
                "misfire": definition.misfire,
                "misfire_window": definition.misfire_window,
                "misfire_grace": definition.misfire_grace,
                "overlap": definition.overlap,
                "description": definition.description,
            }
            given = {**options, **policies, **changes}
            task, schedule = given.pop("task", definition.task), given.pop("schedule", definition.schedule())
            args, kwargs = given.pop("args", args), given.pop("kwargs", kwargs)
            return self._define(name, task, schedule, args, kwargs, given, bool(given.pop("paused", definition.paused)))

        return self._change(name, changed)

    def pause(self, name: str) -> ScheduledEntry:
        """Send nothing for the entry until it is resumed; one of code as well. Its moments meanwhile are not caught up."""
        return self._change(name, lambda _, definition: msgspec.structs.replace(definition, paused=True))

    def resume(self, name: str) -> ScheduledEntry:
        """Go on, from the next moment after now."""
        return self._change(name, lambda _, definition: msgspec.structs.replace(definition, paused=False))

    def delete(self, name: str) -> None:
        """Forget the entry and its history. Raises ScheduleNotFound; ScheduleConflict for one of code: it would come back."""
        with self._opened() as schedules:
            self._refuse_code(self._entry(schedules, name), "deleted")
            schedules.remove([name])

    def run_now(self, name: str) -> Any:
        """Send the entry's call now, besides its own moments; its result. Paused ones as well. Raises ScheduleNotFound;
        ValueError when its arguments are code."""
        now = SYSTEM_CLOCK.wall()
        with self._opened() as schedules:
            definition = read(self._entry(schedules, name).definition)
            args, kwargs, options = definition.arguments()
            task_id = call_id(self.space, f"{name}\nby hand", now)
            calls = calls_of(self.app, definition.task, args, kwargs, options, task_id)
            if not schedules.note(Run(name, now, now, task_id, manual=True), messages_of(calls), keep=self._keep()):
                raise self._unknown(schedules, name)
        for call in calls:
            announced(call.made)
        return calls[0].result if calls else self.app.AsyncResult(task_id)

    # -- looking --------------------------------------------------------------------------------------------------------

    def get(self, name: str) -> ScheduledEntry:
        """Raises ScheduleNotFound."""
        with self._opened() as schedules:
            return self._shown(self._entry(schedules, name))

    def list(self, prefix: str = "") -> Iterator[ScheduledEntry]:
        """All entries whose names begin so, by name."""
        with self._opened() as schedules:
            for entry in _pages(schedules):
                if entry.name.startswith(prefix):
                    yield self._shown(entry)

    def next_runs(self, name: str, n: int = 10) -> builtins.list[datetime]:
        """When it is due the next `n` times, jitter included, as far as is known now; none for a paused one."""
        with self._opened() as schedules:
            entry = self._entry(schedules, name)
        definition, state = read(entry.definition), read_state(entry.state)
        if entry.due is None:
            return []
        left = n if definition.max_runs is None else min(n, definition.max_runs - state.total)
        when, jittered, terms = definition.schedule(), definition.jittered(name), definition.terms()
        found: builtins.list[datetime] = []
        moment: float | None = entry.due if state.moment is None else state.moment
        while moment is not None and len(found) < left:
            found.append(self._time(jittered(moment)))
            moment = following(terms, when, moment, self.app.timezone)
        return found

    def history(self, name: str | None = None, limit: int = 100) -> Sequence[PastRun]:
        """What became of the last moments of an entry, or of all; the last first."""
        with self._opened() as schedules:
            runs = schedules.runs(name, limit=limit)
            if name is not None and not runs:
                self._entry(schedules, name)
        return [PastRun(run.name, self._time(run.due), self._time(run.at), run.task_id, run.reason, run.manual) for run in runs]

    def lint(self, *, pile: int = 100) -> builtins.list[Finding]:
        """What is odd about the schedule as a whole: what piles up (`pile` calls in one second), never fires, fires twice or
        not at all where the clocks change, cannot do what it says."""
        with self._opened() as schedules:
            return lint(
                self._definitions(schedules),
                now=SYSTEM_CLOCK.wall(),
                zone=self.app.timezone,
                tasks=self.app.tasks,
                tells_ends=self.app.stores.results_url is not None,
                pile=pile,
            )

    # -- parts ----------------------------------------------------------------------------------------------------------

    @contextmanager
    def _opened(self) -> Generator[Schedules]:
        schedules = self.app.stores.open_schedules(self.space)
        try:
            yield schedules
        finally:
            schedules.close()

    def _definitions(self, schedules: Schedules) -> Iterator[tuple[str, Definition]]:
        for entry in _pages(schedules):
            yield entry.name, read(entry.definition)

    def _keep(self) -> int:
        keep: int = self.app.conf.typed("schedule_history")
        return keep

    def _define(
        self, name: str, task: Any, schedule: Any, args: Any, kwargs: Any, more: Mapping[str, Any], paused: bool
    ) -> Definition:
        if not isinstance(name, str) or not name:
            raise TypeError(f"a schedule entry needs a name, not {name!r}")
        task_name = task if isinstance(task, str) else getattr(task, "name", task)
        given = {"task": task_name, "schedule": schedule, "args": args, "kwargs": kwargs or {}}
        policies = {key: value for key, value in more.items() if key in POLICIES}
        options = {key: value for key, value in more.items() if key not in POLICIES}
        options = {**options.pop("options", {}), **options}
        made = define(
            name, {**given, **policies, "options": options}, source=RUNTIME, paused=paused, timezone=self.app.timezone
        )
        check_call(self.app, made)
        return made

    def _put(self, schedules: Schedules, name: str, definition: Definition, expects: int, state: State | None = None) -> bool:
        now = SYSTEM_CLOCK.wall()
        state = state or State()
        moment = due = None
        if not definition.paused:
            moment = first_moment(definition, definition.schedule(), now, self.app.timezone)
            due = None if moment is None else definition.jittered(name)(moment)
        if definition.max_runs is not None and state.total >= definition.max_runs:
            moment = due = None
        written = write_state(msgspec.structs.replace(state, moment=moment, waiting=None))
        return schedules.put([Change(name, write(definition), due, written, expects)]) != [None]

    def _change(self, name: str, change: Any) -> ScheduledEntry:
        with self._opened() as schedules:
            for _ in range(TRIES):
                entry = self._entry(schedules, name)
                before = read(entry.definition)
                after = change(entry, before)
                if after == before or self._rewritten(schedules, entry, before, after):
                    return self._there(schedules, name)
        raise ScheduleConflict(f"the schedule entry {name!r} is changed by others all the time: try again")

    def _rewritten(self, schedules: Schedules, entry: Entry, before: Definition, after: Definition) -> bool:
        state = read_state(entry.state)
        is_moved = moves(before, after)
        if is_moved and not (after.paused or after.when is not None):
            # Its moments are code: the beat that has it works them out.
            return schedules.put([Change(entry.name, write(after), SYSTEM_CLOCK.wall(), None, entry.revision)]) != [None]
        if is_moved:
            return self._put(schedules, entry.name, after, entry.revision, state)
        return schedules.put([Change(entry.name, write(after), entry.due, None, entry.revision)]) != [None]

    def _entry(self, schedules: Schedules, name: str) -> Entry:
        entry = schedules.entry(name)
        if entry is None:
            raise self._unknown(schedules, name)
        return entry

    def _there(self, schedules: Schedules, name: str) -> ScheduledEntry:
        return self._shown(self._entry(schedules, name))

    def _unknown(self, schedules: Schedules, name: str) -> ScheduleNotFound:
        near = hint(name, [entry.name for entry in schedules.entries(limit=PAGE)])
        return ScheduleNotFound(f"there is no schedule entry {name!r} of the app {self.space!r}.{near}")

    def _refuse_code(self, entry: Entry, what: str) -> None:
        if read(entry.definition).source == CODE:
            raise ScheduleConflict(
                f"the schedule entry {entry.name!r} comes from beat_schedule: it is {what} there. It can be paused here"
            )

    def _shown(self, entry: Entry) -> ScheduledEntry:
        definition, state = read(entry.definition), read_state(entry.state)
        args, kwargs, options = definition.arguments() if definition.call else (None, None, None)
        return ScheduledEntry(
            entry.name,
            definition.task,
            None if definition.when is None else definition.schedule(),
            args,
            kwargs,
            options,
            None if entry.due is None else self._time(entry.due),
            None if state.last_at is None else self._time(state.last_at),
            state.last_id,
            state.total,
            definition.paused,
            definition.source,
            definition,
        )

    def _time(self, seconds: float) -> datetime:
        return datetime.fromtimestamp(seconds, UTC).astimezone(self.app.timezone)


def _pages(schedules: Schedules) -> Iterator[Entry]:
    """All entries, by name."""
    last = ""
    while page := schedules.entries(after=last, limit=PAGE):
        yield from page
        last = page[-1].name
