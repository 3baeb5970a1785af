"""One call in a lane: what is run, how it is interrupted, and what becomes of it when it is ended from outside."""

from __future__ import annotations

import enum
import logging
import threading
from collections.abc import Callable
from signal import Signals
from typing import TYPE_CHECKING, Any, Protocol

from sedano import signals
from sedano.app.attempt import CallEnded
from sedano.contracts import Settlement, Standing
from sedano.exceptions import SoftTimeLimitExceeded, Terminated, WorkerLostError
from sedano.worker import lines
from sedano.worker.held import Held, request_of
from sedano.worker.rowview import Cause
from sedano.worker.settle import Settler
from sedano.worker.slotdeath import Verdicts, judge_started

if TYPE_CHECKING:
    from sedano.worker.perform import Performer

_logger = logging.getLogger("celery.worker")


class LaneEnded(CallEnded):
    """Raised inside a call to end it: its hard limit is over, or an operator has terminated it. `except Exception` in a task
    does not catch it."""


class _State(enum.Enum):
    BEFORE = 0
    RUNS = 1
    OVER = 2


class LaneCode:
    """Whether a call's own code runs. An interruption meets nothing else: what comes too early waits, too late is dropped.

    `throw(kind)` raises in the running code; the crew that runs it sets it before `begin`.
    """

    def __init__(self) -> None:
        self.throw: Callable[[type[BaseException]], None] | None = None
        self._state = _State.BEFORE
        self._wanted: type[BaseException] | None = None
        self._lock = threading.Lock()

    def begin(self) -> None:
        with self._lock:
            self._state = _State.RUNS
            wanted = self._wanted
        if wanted is not None:
            raise wanted

    @property
    def runs(self) -> bool:
        return self._state is _State.RUNS

    def over(self) -> None:
        """What was thrown in this very moment arrives here, where it does no harm."""
        try:
            with self._lock:
                self._state = _State.OVER
            _let_it_come()
        except (SoftTimeLimitExceeded, LaneEnded):
            self._state = _State.OVER

    def interrupt(self, kind: type[BaseException]) -> None:
        """Raise `kind` in the call, now or as soon as its own code runs. From any thread."""
        with self._lock:
            if self._state is _State.RUNS:
                if self.throw is not None:
                    self.throw(kind)
            elif self._state is _State.BEFORE:
                self._wanted = kind


def _let_it_come() -> None:
    """The interpreter delivers an exception to a thread at the entry of a function."""


class LaneCall:
    """`k` is its lane, `serial` its number there. `cause` is why somebody ends it, `signum` the signal that an operator
    named for it, or 0. Crews keep what they like in `where`."""

    __slots__ = ("cause", "code", "held", "k", "lost", "performer", "serial", "signum", "where")

    def __init__(self, held: Held, k: int, serial: int, code: LaneCode, performer: Performer) -> None:
        self.held, self.k, self.serial = held, k, serial
        self.code, self.performer = code, performer
        self.cause = Cause.NONE
        self.signum = 0
        self.lost = False  # given up: whoever runs it is not to run another
        self.where: Any = None


class Owner(Protocol):
    """Whoever gave the calls out."""

    def finished(self, call: LaneCall, settlement: Settlement) -> None:
        """The call is over. From any thread; ignored when it was given up meanwhile."""
        ...

    @property
    def settler(self) -> Settler: ...


class Crew(Protocol):
    """What runs the calls of one process: threads, an event loop, greenlets. Used by one thread, except as said."""

    grace_s: float  # how long a call may take to end after it was told to
    stuck: int  # abandoned calls that still have not ended

    def start(self, owner: Owner) -> None:
        """Get ready. Called once, before anything else."""
        ...

    def take(self, calls: list[LaneCall]) -> None:
        """Begin to run them; returns at once. Each ends in `owner.finished`."""
        ...

    def abandon(self, call: LaneCall) -> bool:
        """The call does not end: mark it `lost` and go on without it, unless it has just ended. From any thread.

        False when this process is stuck in it as a whole: then the supervisor has to end the process.
        """
        ...

    def close(self) -> None:
        """Nothing runs any more."""
        ...


def run_call(call: LaneCall, owner: Owner) -> None:
    """Run it here, and tell its owner. Never raises."""
    try:
        settlement = call.performer.perform(call.held)
    except BaseException as exc:  # a task that leaves, or is ended: its process has other calls to run
        settlement = settle_ended(call, owner.settler, exc)
    owner.finished(call, settlement)


def settle_ended(call: LaneCall, settler: Settler, exc: BaseException | None) -> Settlement:
    """The settlement of a call that was ended by its `cause`, or left by `exc` without one (SystemExit)."""
    held, teller = call.held, call.performer.teller
    delivery = held.delivery
    delivery.standing = Standing.BEGUN_EARLY if held.terms.early else Standing.BEGUN_LATE
    detail = "Worker exited prematurely: " + (f"the task raised {exc!r}." if exc is not None else "it was ended.")
    verdicts = Verdicts()
    try:
        judge_started(verdicts, delivery, settler, call.cause, detail, held.note().hard_s)
    except Exception as error:  # whatever the user's hooks and serializers do, the call must be settled
        _logger.exception("%s[%s] was ended, and its end cannot be worked out", held.name, held.call.id)
        return settler.broken(held, error)
    if call.cause is Cause.TERMINATED:
        lines.handler_error(Terminated("revoked"))
        if teller is not None and teller.on and held.terms.tells:
            teller.revoked(held.call.id, terminated=True, signum=call.signum or None, expired=False)
        if signals.task_revoked.receivers:
            request = request_of(held.call, delivery, str(held.terms.task.app.main), None)
            signum = Signals(call.signum) if call.signum else None
            signals.task_revoked.send(held.terms.task, request=request, terminated=True, signum=signum, expired=False)
    elif verdicts.lost:
        lines.handler_error(WorkerLostError(detail))
    if teller is not None and teller.on:
        for task_id, text in verdicts.failed:
            teller.failed(task_id, text, text)
    return verdicts.settle[0]
