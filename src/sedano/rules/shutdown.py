"""What a worker does when it is told to stop: one table.

States: RUNNING -> WARM (takes nothing more, hands the unbegun back, finishes what runs) -> COLD (cancels what runs) -> HARD
(leaves at once). Events: TERM, INT, QUIT (QUIT also stands for TERM when REMAP_SIGTERM=SIGQUIT), DRAINED (everything that ran
is settled), TIMEOUT (`worker_drain_timeout` is over), SHUTDOWN (remote control or code).

Exit codes are Celery's: 0 after TERM, 1 after INT; a cold stop ends with 0 as Celery's does.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Phase(enum.StrEnum):
    RUNNING = "running"
    WARM = "warm"
    COLD = "cold"
    HARD = "hard"
    STOPPED = "stopped"


class Event(enum.StrEnum):
    TERM = "TERM"
    INT = "INT"
    QUIT = "QUIT"
    SHUTDOWN = "SHUTDOWN"
    TIMEOUT = "TIMEOUT"
    DRAINED = "DRAINED"


class Action(enum.StrEnum):
    NONE = "none"
    DRAIN = "drain"  # stop taking, hand back, wait for what runs
    CANCEL = "cancel"  # end what runs; late-ack calls go back
    EXIT = "exit"


@dataclass(frozen=True, slots=True)
class Step:
    """Where to go, what to do, what to say, and the exit code that is now meant (None: unchanged)."""

    phase: Phase
    action: Action
    message: str | None = None
    exitcode: int | None = None


WARM_MESSAGE = "worker: Warm shutdown (MainProcess)"
COLD_MESSAGE = "worker: Cold shutdown (MainProcess)"
HINT_MESSAGE = "worker: Hitting Ctrl+C again will initiate cold shutdown, terminating all running tasks!"

_STAY_WARM = Step(Phase.WARM, Action.NONE)
_STAY_COLD = Step(Phase.COLD, Action.NONE)
_GO_COLD = Step(Phase.COLD, Action.CANCEL, COLD_MESSAGE)
_LEAVE = Step(Phase.HARD, Action.EXIT)
_DONE = Step(Phase.STOPPED, Action.EXIT)

TRANSITIONS: dict[tuple[Phase, Event], Step] = {
    (Phase.RUNNING, Event.TERM): Step(Phase.WARM, Action.DRAIN, WARM_MESSAGE, 0),
    (Phase.RUNNING, Event.SHUTDOWN): Step(Phase.WARM, Action.DRAIN, WARM_MESSAGE, 0),
    (Phase.RUNNING, Event.INT): Step(Phase.WARM, Action.DRAIN, f"{HINT_MESSAGE}\n{WARM_MESSAGE}", 1),
    (Phase.RUNNING, Event.QUIT): Step(Phase.COLD, Action.CANCEL, COLD_MESSAGE, 0),
    (Phase.WARM, Event.TERM): _STAY_WARM,
    (Phase.WARM, Event.SHUTDOWN): _STAY_WARM,
    (Phase.WARM, Event.INT): _GO_COLD,
    (Phase.WARM, Event.QUIT): _GO_COLD,
    (Phase.WARM, Event.TIMEOUT): _GO_COLD,
    (Phase.WARM, Event.DRAINED): _DONE,
    (Phase.COLD, Event.TERM): _STAY_COLD,
    (Phase.COLD, Event.SHUTDOWN): _STAY_COLD,
    (Phase.COLD, Event.TIMEOUT): _LEAVE,
    (Phase.COLD, Event.INT): _LEAVE,
    (Phase.COLD, Event.QUIT): _LEAVE,
    (Phase.COLD, Event.DRAINED): _DONE,
}


def step(phase: Phase, event: Event) -> Step:
    """What `event` means in `phase`; an event that means nothing there changes nothing."""
    return TRANSITIONS.get((phase, event), Step(phase, Action.NONE))
