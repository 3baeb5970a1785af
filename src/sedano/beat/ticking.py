"""From an entry that is due to the tick that is written: what is sent, what is missed and why, when it comes again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import msgspec

from sedano import states
from sedano.app.batches import Collected
from sedano.app.entries import Definition, read, read_state, write_state
from sedano.app.firing import call_id, calls_of, messages_of
from sedano.beat.entry import made
from sedano.contracts import Entry, Run, Tick
from sedano.exceptions import BrokerUnavailable, CeleryError, OperationalError
from sedano.log import get_logger
from sedano.rules.ticks import Misfire, Overlap, State, Step, Terms, step
from sedano.schedules import BaseSchedule, crontab

logger = get_logger("celery.beat")

RECHECK_S = 30.0
"""When an entry whose moments cannot be worked out here is looked at again: a beat with newer code may know it."""

LEAST_S = 0.01

_definition = lru_cache(maxsize=8192)(read)


class Due(msgspec.Struct):
    """A tick that is ready to be written, with what is done once it was. `terminate`: the call before, to be ended."""

    tick: Tick
    task: str = ""
    calls: Sequence[Collected] = ()
    terminate: str = ""


class Ticking:
    """Makes ticks. `code` are the app's own entries by name (`ScheduleEntry`), for those that are code."""

    def __init__(self, app: Any, space: str, code: Mapping[str, Any]) -> None:
        self._app = app
        self._space = space
        self._code = code
        self._zone = app.timezone
        expires = app.conf.result_expires
        self._expires_s = expires.total_seconds() if isinstance(expires, timedelta) else expires or None

    def due(self, entry: Entry, now: float) -> Due:
        """What is to be written for an entry that is due at `now` (seconds since the epoch)."""
        assert entry.due is not None
        try:
            definition = _definition(entry.definition)
            when = self.schedule_of(entry.name, definition)
        except (ValueError, TypeError, LookupError) as exc:
            logger.error("beat: The entry %r cannot be worked out here, and waits: %s", entry.name, exc)
            return self._missed(entry, now, str(exc), again=now + RECHECK_S)
        state = read_state(entry.state)
        if state.moment is None and state.waiting is None:
            state = msgspec.structs.replace(state, moment=entry.due)
        is_running = self._is_running(definition, state, now)
        try:
            if _decides_itself(when):
                found = _asked(when, state, now)
            else:
                found = step(
                    self._terms(definition, when),
                    state,
                    now,
                    lambda after: when.next_after(after, self._zone),
                    is_running=is_running,
                    jitter=definition.jittered(entry.name),
                )
        except Exception as exc:  # whatever somebody's schedule does
            logger.error("beat: Cannot calculate the next run of %r.", entry.name, exc_info=True)
            return self._missed(entry, now, f"its next moment cannot be worked out: {exc!r}", again=now + RECHECK_S)
        runs = [Run(entry.name, moment, now, None, reason) for moment, reason in found.missed]
        calls: list[Collected] = []
        last_id = state.last_id
        for moment in found.sent:
            try:
                task_id = call_id(self._space, entry.name, moment)
                calls += self._calls(entry.name, definition, task_id)
            except BrokerUnavailable:
                raise
            except Exception as exc:  # whatever an argument, a task or a serializer does
                logger.error("Message Error: %s: %s", entry.name, exc, exc_info=True)
                runs.append(Run(entry.name, moment, now, None, f"the call could not be made: {exc!r}"))
            else:
                last_id = task_id
                runs.append(Run(entry.name, moment, now, task_id))
        runs.sort(key=lambda run: run.due)
        new_state = write_state(msgspec.structs.replace(found.state, last_id=last_id))
        tick = Tick(entry.name, entry.revision, entry.due, found.next_due, new_state, tuple(runs), tuple(messages_of(calls)))
        return Due(tick, definition.task, calls, state.last_id if found.cancel else "")

    def refused(self, entry: Entry, now: float, reason: str, due: Due) -> Due:
        """The same tick for a store that refuses its messages: its moments are missed."""
        runs = tuple(
            run if run.task_id is None else Run(run.name, run.due, now, None, f"the call could not be sent: {reason}")
            for run in due.tick.runs
        )
        state = msgspec.structs.replace(read_state(due.tick.state), last_id=read_state(entry.state).last_id)
        return Due(msgspec.structs.replace(due.tick, runs=runs, messages=(), state=write_state(state)), due.task)

    def _terms(self, definition: Definition, when: BaseSchedule) -> Terms:
        terms = definition.terms()
        deadline_s = self._app.conf.beat_cron_starting_deadline
        if deadline_s is None or not isinstance(when, crontab) or terms.misfire is not Misfire.ONCE:
            return terms
        return msgspec.structs.replace(terms, misfire=Misfire.SKIP, grace_s=float(deadline_s))

    def schedule_of(self, name: str, definition: Definition) -> BaseSchedule:
        """Raises ValueError, TypeError or LookupError with the reason when this beat does not know it."""
        if definition.when is not None:
            return definition.schedule()
        found: BaseSchedule = self._own(name, definition).schedule
        return found

    # -- parts ----------------------------------------------------------------------------------------------------------

    def _own(self, name: str, definition: Definition) -> Any:
        known = self._code.get(name)
        if known is None:
            raise LookupError(f"{definition.shown} is code of another version of the app: this beat has no entry {name!r}")
        return known

    def _calls(self, name: str, definition: Definition, task_id: str) -> list[Collected]:
        if definition.call:
            args, kwargs, options = definition.arguments()
        else:
            own = self._own(name, definition)
            args, kwargs, options = list(own.args or ()), own.kwargs or {}, own.options or {}
        args = [made(value) for value in args]
        kwargs = {key: made(value) for key, value in kwargs.items()}
        return calls_of(self._app, definition.task, args, kwargs, options, task_id)

    def _is_running(self, definition: Definition, state: State, now: float) -> bool:
        """Whether the call before is not over, as far as its result tells; one whose result would have expired is over."""
        if definition.overlap is Overlap.ALLOW or not state.last_id or not self.tells_ends(definition):
            return False
        if self._expires_s is not None and now - (state.last_at or now) > self._expires_s:
            return False
        try:
            return self._app.AsyncResult(state.last_id).state not in states.READY_STATES
        except OperationalError:
            raise
        except CeleryError as exc:  # it has one, whatever it says
            logger.warning("beat: The result of %s, which %r sent, cannot be read: %s", state.last_id, definition.task, exc)
            return False

    def tells_ends(self, definition: Definition) -> bool:
        """Whether a result will say that a call of this entry is over: overlaps cannot be told otherwise."""
        if self._app.stores.results_url is None:
            return False
        task = self._app.tasks.get(definition.task)
        return not (task.ignore_result if task is not None else self._app.conf.task_ignore_result)

    def _missed(self, entry: Entry, now: float, reason: str, *, again: float) -> Due:
        assert entry.due is not None
        runs = (Run(entry.name, entry.due, now, None, reason),)
        return Due(Tick(entry.name, entry.revision, entry.due, again, entry.state, runs))


def _decides_itself(when: BaseSchedule) -> bool:
    """Whether its class overrides `is_due` alone, as those written for Celery do: then nothing else knows its moments."""
    for kind in type(when).__mro__:
        if "next_after" in vars(kind) or "remaining_estimate" in vars(kind):
            return False
        if "is_due" in vars(kind):
            return True
    return False


def _asked(when: BaseSchedule, state: State, now: float) -> Step:
    """What such a schedule says now. It has no moments that could be missed: policies mean nothing to it."""
    last = now if state.last_at is None else state.last_at
    is_due, next_s = when.is_due(datetime.fromtimestamp(last, UTC))
    next_due = now + max(float(next_s or 0.0), LEAST_S)
    if not is_due:
        return Step(msgspec.structs.replace(state, moment=next_due, last_at=last), next_due)
    return Step(State(next_due, state.total + 1, state.last_id, now, now), next_due, (now,))
