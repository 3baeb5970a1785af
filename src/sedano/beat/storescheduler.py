"""`StoreScheduler`: entries live in the store, and any number of beats serve them.

One beat leads (`leading.py`) and sends; the others stand by. Each tick is one step of the store: message, next moment, history.
So a beat that dies, two that think they lead, or a clock that is set cannot send a moment twice. Entries made at run time
(`app.schedules`) stand beside those of `beat_schedule`, which are brought in line by name when a beat starts.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Collection, Sequence
from contextlib import closing
from datetime import UTC, datetime, tzinfo
from typing import Any

import msgspec

from sedano.app.batches import Collected, publish_all
from sedano.app.entries import CODE, Definition, define, first_moment, read, read_state, write, write_state
from sedano.app.firing import space_of
from sedano.app.messages import announced
from sedano.app.reconciling import Difference, compare, moves
from sedano.beat.entry import ScheduleEntry
from sedano.beat.leading import STANDBY_S, Leading
from sedano.beat.schedulefile import ScheduleFile, files_of
from sedano.beat.scheduler import Scheduler
from sedano.beat.ticking import Due, Ticking
from sedano.clock import SYSTEM_CLOCK, Clock
from sedano.contracts import Change, Fence, Schedules, Tick
from sedano.contracts import Entry as Stored
from sedano.exceptions import (
    BrokerUnavailable,
    CeleryError,
    ImproperlyConfigured,
    LeadershipLost,
    NotAllSent,
    OperationalError,
    ResultsUnavailable,
    StoreFull,
)
from sedano.log import get_logger, redact_url
from sedano.rules.ticks import Overlap, State
from sedano.schedules import schedule as interval

logger = get_logger("celery.beat")

LOOK_S = 0.5
"""How often the leader looks for entries that were made or changed."""

AWAY = (BrokerUnavailable, ResultsUnavailable, StoreFull)
"""It is tried again; any other error is that of one message."""

NEVER = datetime(1970, 1, 1, tzinfo=UTC)
PAGE = 1000
STEP_CALLS, STEP_S = 1000, 0.5
LONGEST_WAIT_S = 4.0
CLOCK_WENT_BACK_S = 2.0


class StoreEntry(ScheduleEntry):
    """An entry of code, with the policies that Celery's beat does not know."""

    def __init__(self, name: str | None = None, task: str | None = None, app: Any = None, **given: Any) -> None:
        fields = {
            key: given.pop(key)
            for key in ("last_run_at", "total_run_count", "schedule", "args", "kwargs", "options", "relative")
            if key in given
        }
        fields.setdefault("last_run_at", NEVER)  # the store knows it; to ask the clock 100,000 times takes a second
        super().__init__(name, task, app=app, **fields)
        self.relative = fields.get("relative", False)
        self.policies = given


class StoreScheduler(Scheduler):
    """The scheduler that beat uses unless it is told otherwise, where the store can carry it."""

    Entry = StoreEntry

    def __init__(self, app: Any, *args: Any, clock: Clock = SYSTEM_CLOCK, owner: str | None = None, **kwargs: Any) -> None:
        self.clock = clock
        self.space = space_of(app)
        self._filename = kwargs.get("schedule_filename") or ""
        self.owner = owner or f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex[:6]}"
        self.keep: int = app.conf.typed("schedule_history")
        self._schedules: Schedules | None = None
        self._leading: Leading | None = None
        self._ticking: Ticking | None = None
        self._waits_s = LOOK_S
        self._is_away = False
        self._is_reconciled = False
        self._revision = 0
        self._offset: float | None = None
        self._went_back = False
        self._said_leader: str | None = None
        super().__init__(app, *args, **kwargs)

    # -- the beginning --------------------------------------------------------------------------------------------------

    def setup_schedule(self) -> None:
        super().setup_schedule()
        self._ticking = Ticking(self.app, self.space, self.schedule)

    def definitions(self) -> dict[str, Definition]:
        """What the app's own code defines; what cannot be read is logged and left out."""
        found: dict[str, Definition] = {}
        zone = self.app.timezone
        for name, entry in self.schedule.items():
            try:
                found[name] = definition_of(name, entry, zone)
            except ImproperlyConfigured as exc:
                logger.error("beat: The entry %r is left out: %s", name, exc)
        return found

    def reconcile(self, schedules: Schedules) -> Difference:
        """Bring the store's entries of code in line with this app's. Raises OperationalError."""
        stored = all_entries(schedules)
        difference = compare(self.definitions(), stored)
        past = {} if stored else past_of(self._filename)
        now = self.clock.wall()
        wanted = {**difference.new, **{name: after for name, (_, after) in difference.changed.items()}}
        known = {entry.name: entry for entry in stored if entry.name in difference.changed}
        changes: list[Change] = []
        for name, definition in wanted.items():
            if name in known and not moves(difference.changed[name][0], definition):
                changes.append(Change(name, write(definition), known[name].due))  # a new argument is no new beginning
                continue
            state = read_state(known[name].state) if name in known else State()
            changes.append(self._change(name, definition, state, past.get(name), now))
        for start in range(0, len(changes), PAGE):
            schedules.put(changes[start : start + PAGE])
        schedules.remove(list(difference.gone))
        for name in difference.taken:
            logger.warning(
                "beat: The entry %r of beat_schedule is left out: one of this name was made at run time. Delete it"
                " (schedule delete) or rename yours.",
                name,
            )
        if wanted or difference.gone:
            logger.info(
                "beat: %d entries are new, %d changed, %d gone",
                len(difference.new),
                len(difference.changed),
                len(difference.gone),
            )
        return difference

    def _change(self, name: str, definition: Definition, state: State, past: Any, now: float) -> Change:
        assert self._ticking is not None
        if definition.overlap is not Overlap.ALLOW and not self._ticking.tells_ends(definition):
            logger.warning(
                "beat: The entry %r has overlap %r, but no result tells when a call of %s is over (no result backend, or"
                " ignore_result): its calls overlap.",
                name,
                str(definition.overlap),
                definition.task,
            )
        if definition.paused:
            return Change(name, write(definition), None)
        since = now if past is None else min(now, past.last_run_at.timestamp())
        moment = first_moment(definition, self._ticking.schedule_of(name, definition), since, self.app.timezone)
        due = None if moment is None else definition.jittered(name)(moment)
        total = state.total if past is None else int(past.total_run_count)
        return Change(name, write(definition), due, write_state(msgspec.structs.replace(state, moment=moment, total=total)))

    # -- ticks ----------------------------------------------------------------------------------------------------------

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Send all that is due, if this beat leads; in how many seconds to come back."""
        del args, kwargs
        try:
            wait_s = self._tick()
        except LeadershipLost as exc:
            logger.warning("beat: %s", exc)
            assert self._leading is not None
            self._leading.lost()
            return STANDBY_S
        except OperationalError as exc:
            return self._away(exc)
        if self._is_away:
            self._is_away = False
            self._waits_s = LOOK_S
            logger.info("beat: The store is there again.")
        return wait_s

    def _tick(self) -> float:
        schedules, leading = self.opened()
        if not self._is_reconciled:
            self.reconcile(schedules)
            self._is_reconciled = True
        fence = leading.hold()
        self._say_who_leads(leading)
        self._went_back = self._clock_went_back() or self._went_back  # it may be this one that leads next
        if fence is None:
            return STANDBY_S
        if self._went_back:
            self._bring_near(schedules, fence)
            self._went_back = False
        now = self.clock.wall()
        look = schedules.look(now, limit=PAGE)
        if look.revision < self._revision:
            logger.warning("beat: The store has lost the schedule: the entries of beat_schedule are made anew.")
            self.reconcile(schedules)
            look = schedules.look(now, limit=PAGE)
        self._revision = look.revision
        if look.entries:
            done = 0
            while done < len(look.entries) and (fence := leading.hold()) is not None:
                done += self.fire(schedules, fence, look.entries[done:], now)
            return 0.0
        if look.next_due is None:
            return LOOK_S
        return min(LOOK_S, max(0.0, look.next_due - self.clock.wall()))

    def fire(self, schedules: Schedules, fence: Fence, entries: Sequence[Stored], now: float) -> int:
        """Send the first of these entries that are due, as many as make a step; how many they were. A step is short beside the
        life of the lock: one that made its calls for longer than it leads would be refused, and begin again without end."""
        assert self._ticking is not None
        dues: list[Due] = []
        calls, began = 0, self.clock.monotonic()
        for entry in entries:
            dues.append(self._ticking.due(entry, now))
            calls += len(dues[-1].calls)
            if calls >= STEP_CALLS or self.clock.monotonic() - began >= STEP_S:
                break
        try:
            written = schedules.fire(self._ticks(dues), fence, keep=self.keep)
        except CeleryError as exc:
            if not _is_of_one_message(exc):
                raise
            sent = {result.id for result in exc.sent} if isinstance(exc, NotAllSent) else set()
            written = self._one_by_one(schedules, fence, entries[: len(dues)], dues, now, sent)
        for due, is_written in zip(dues, written, strict=True):
            if is_written:
                self._written(due)
        self._tell(written, dues)
        return len(dues)

    def _ticks(self, dues: Sequence[Due], sent: Collection[str] = ()) -> list[Tick]:
        """What the store is to write. One that is not the broker's cannot write the messages: they go before (but for those
        that were `sent`), so that none is lost; a beat that dies in between sends them again, with the same ids."""
        calls = [call for due in dues for call in due.calls]
        if self.app.stores.schedules_share_broker:
            for queues in {id(call.made.address.declare): call.made.address.declare for call in calls}.values():
                self.app.sender.publish((), declare=queues, retry=False)
            return [due.tick for due in dues]
        publish_all(self.app, [call for call in calls if call.made.task_id not in sent])
        return [msgspec.structs.replace(due.tick, messages=()) for due in dues]

    def _one_by_one(
        self, schedules: Schedules, fence: Fence, entries: Sequence[Stored], dues: list[Due], now: float, sent: Collection[str]
    ) -> list[bool]:
        """The store refuses a message: all but that one go on. `dues` are replaced where they were refused; calls with an id in
        `sent` are on their way already."""
        assert self._ticking is not None
        written: list[bool] = []
        for number, (entry, due) in enumerate(zip(entries, list(dues), strict=True)):
            try:
                written += schedules.fire(self._ticks([due], sent), fence, keep=self.keep)
            except CeleryError as exc:
                if not _is_of_one_message(exc):
                    raise
                reason = _reason(exc)
                logger.error("beat: The call of the entry %r cannot be sent: %s", entry.name, reason)
                dues[number] = self._ticking.refused(entry, now, str(reason), due)
                written += schedules.fire([dues[number].tick], fence, keep=self.keep)
        return written

    def _written(self, due: Due) -> None:
        for call in due.calls:
            announced(call.made)
            logger.debug("%s sent. id->%s", due.task, call.made.task_id)
        for run in due.tick.runs:
            if run.task_id is not None:
                logger.info("Scheduler: Sending due task %s (%s)", run.name, due.task)
            else:
                logger.info("beat: %s was not sent for %s: %s", run.name, _shown(run.due), run.reason)
        if due.terminate:
            self.app.control.revoke(due.terminate, terminate=True)

    def _tell(self, written: Sequence[bool], dues: Sequence[Due]) -> None:
        if self.app.terms.sent_event:
            calls: list[Collected] = [
                call for due, is_written in zip(dues, written, strict=True) if is_written for call in due.calls
            ]
            self.app.events.tell_sent([call.made for call in calls])

    # -- the clock ------------------------------------------------------------------------------------------------------

    def _clock_went_back(self) -> bool:
        """Whether the wall clock was set back since the last tick: intervals would wait for it to catch up."""
        offset = self.clock.wall() - self.clock.monotonic()
        before, self._offset = self._offset, offset
        return before is not None and before - offset > CLOCK_WENT_BACK_S

    def _bring_near(self, schedules: Schedules, fence: Fence) -> None:
        """Let no interval last longer than itself. What goes by the calendar stays: it has had its moments."""
        logger.warning("beat: The clock was set back: intervals begin anew.")
        now = self.clock.wall()
        ticks: list[Tick] = []
        for entry in all_entries(schedules):
            definition = _readable(entry)
            if entry.due is None or definition is None or definition.when is None:
                continue
            when = definition.schedule()
            if (
                type(when) is not interval
                or (definition.start or 0) > now
                or entry.due - now <= when.seconds + definition.jitter
            ):
                continue
            state = read_state(entry.state)
            moment = now + when.seconds
            near = State(moment, state.total, state.last_id, state.last_moment, state.last_at, state.waiting)
            ticks.append(
                Tick(entry.name, entry.revision, entry.due, definition.jittered(entry.name)(moment), write_state(near))
            )
        for start in range(0, len(ticks), PAGE):
            schedules.fire(ticks[start : start + PAGE], fence, keep=self.keep)

    # -- the store ------------------------------------------------------------------------------------------------------

    def opened(self) -> tuple[Schedules, Leading]:
        """The connections, made when they are asked for first."""
        schedules, leading = self._schedules, self._leading
        if schedules is None:
            schedules = self._schedules = self.app.stores.open_schedules(self.space)
            if self.app.stores.agrees_on_host:
                logger.warning(
                    "beat: the schedule, and the lock that keeps a second beat from sending it, stand in %s. A beat on another"
                    " host sends everything once more: start beats on one host only, or set schedule_store.",
                    self.app.stores.agreed,
                )
        if leading is None:
            coordination = self.app.stores.open_schedule_coordination()
            leading = self._leading = Leading(coordination, self.space, self.owner, self.clock)
        return schedules, leading

    def _away(self, exc: OperationalError) -> float:
        wait_s = self._waits_s
        self._waits_s = min(LONGEST_WAIT_S, 2 * wait_s)
        if not self._is_away:
            self._is_away = True
            logger.error(
                "beat: Connection error: %s. Trying again in %s seconds; what becomes due meanwhile is caught up by the"
                " policies of the entries.",
                _reason(exc),
                wait_s,
            )
        if self._leading is not None:
            self._leading.lost()
        try:
            if self._schedules is not None and self._leading is not None:
                self._schedules.reconnect()
                self._leading.reconnect()
        except OperationalError:
            pass  # the next tick says so
        return wait_s

    def _say_who_leads(self, leading: Leading) -> None:
        if leading.leader == self._said_leader:
            return
        self._said_leader = leading.leader
        if leading.leads:
            logger.info("beat: This beat leads.")
        else:
            logger.info("beat: Standing by: %s leads.", leading.leader or "another beat")

    def sync(self) -> None:
        """The store has everything."""

    def close(self) -> None:
        """Let another beat lead at once, and close the store."""
        super().close()
        leading, schedules = self._leading, self._schedules
        self._leading = self._schedules = None
        try:
            if leading is not None:
                leading.resign()
        except OperationalError:
            pass  # the lock runs out by itself
        finally:
            if leading is not None:
                leading.close()
            if schedules is not None:
                schedules.close()

    @property
    def info(self) -> str:
        stores = self.app.stores
        return f"    . store -> {redact_url(stores.schedules_url or stores.broker_url)}"


def definition_of(name: str, entry: Any, zone: tzinfo) -> Definition:
    """The definition of an entry of code (`StoreEntry`); naive times are of `zone`. Raises ImproperlyConfigured."""
    given = {
        "task": entry.task,
        "schedule": entry.schedule,
        "args": entry.args,
        "kwargs": entry.kwargs,
        "options": entry.options,
    }
    policies = getattr(entry, "policies", {})
    return define(name, {**given, **policies}, source=CODE, timezone=zone)


def all_entries(schedules: Schedules) -> list[Stored]:
    """In pages, by name."""
    found: list[Stored] = []
    while page := schedules.entries(after=found[-1].name if found else "", limit=PAGE):
        found += page
    return found


def past_of(filename: str) -> dict[str, Any]:
    """The entries (`ScheduleEntry`) of a schedule file that a beat with a file has left, Celery's included."""
    if not filename or not files_of(filename):
        return {}
    try:
        with closing(ScheduleFile(filename)) as shelf:
            found = dict(shelf.get("entries") or {})
            entries = {name: entry for name, entry in found.items() if isinstance(entry.last_run_at, datetime)}
            shelf.cache.clear()  # or closing would write back what was read
    except Exception as exc:  # a pickle may raise anything
        logger.warning("beat: The schedule file %r cannot be read, and entries are counted from now on: %r", filename, exc)
        return {}
    logger.info("beat: Going on from the schedule file %r, which is left as it is.", filename)
    return entries


def _is_of_one_message(exc: CeleryError) -> bool:
    each: BaseException | None = exc
    while each is not None:  # what was sent at once names the sender's error as its cause, and that the driver's
        if isinstance(each, (LeadershipLost, *AWAY)):
            return False
        each = each.__cause__
    return True


def _reason(exc: CeleryError) -> BaseException:
    """What went wrong, without how many of the calls it was."""
    return exc.__cause__ or exc if isinstance(exc, NotAllSent) else exc


def _readable(entry: Stored) -> Definition | None:
    try:
        return read(entry.definition)
    except ValueError:
        return None


def _shown(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
