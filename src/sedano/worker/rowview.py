"""What a row of the shared table says, as values: phases, the calls of a window, where each stands."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

import msgspec


class Phase(enum.IntEnum):
    """What a slot is doing. The slot writes it; EMPTY and GONE are the supervisor's."""

    EMPTY = 0  # no slot
    STARTING = 1
    IDLE = 2  # waits for work, holds nothing
    BUSY = 3
    STOPPING = 4
    GONE = 5  # dead, not cleaned up yet


class CallStatus(enum.IntEnum):
    """Where a call of the window stands."""

    BEGUN = 0
    STARTED = 1
    FINISHED = 2
    TAKEN = 3


class Cause(enum.IntEnum):
    """Why the supervisor ends a slot on purpose."""

    NONE = 0
    HARD_LIMIT = 1
    TERMINATED = 2  # by an operator
    COLD_STOP = 3


class CallNote(msgspec.Struct, frozen=True, array_like=True):
    """One call of a window. `deliveries` as in `Delivery`; `soft_s` and `hard_s` are the limits that apply to it."""

    tag: str
    queue: str
    task_id: str
    task: str
    early: bool
    deliveries: int = 0
    retries: int = 0
    soft_s: float | None = None
    hard_s: float | None = None


@dataclass(frozen=True, slots=True)
class RowView:
    """A row at one moment. `current` is the index of the call that was started last, -1 for none; it is running when its
    status is STARTED. `settlements` maps tags of FINISHED calls to their encoded settlements. Where many calls run at once,
    `causes` says for which of them the process was ended. `server` is the
    place of the broker's server that its lease is kept by."""

    index: int
    owner: str
    fence: int
    pid: int
    phase: Phase
    window: int
    notes: tuple[CallNote, ...] = ()
    statuses: tuple[CallStatus, ...] = ()
    current: int = -1
    started_at: float = 0.0
    settlements: dict[str, bytes] = field(default_factory=dict)
    condemned: Cause = Cause.NONE
    causes: dict[str, Cause] = field(default_factory=dict)
    server: int = 0

    @property
    def running(self) -> CallNote | None:
        """The call that is started and not finished."""
        if self.current < 0 or self.statuses[self.current] is not CallStatus.STARTED:
            return None
        return self.notes[self.current]
