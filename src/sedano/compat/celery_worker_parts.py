"""`celery.worker.components`, `.strategy`, `.pidbox`, `.loops`, `.autoscale` and `.heartbeat`: parts of Celery's worker.

A node has no such parts. The classes are here to be named by `requires` of the user's own steps, which is true of each of them
before any step starts; what would have to work says what to use.
"""

from __future__ import annotations

from typing import Any

from sedano.worker.bootsteps import StartStopStep, Step


class _Part(StartStopStep):
    """A part of Celery's worker that is no step here."""

    def include_if(self, parent: Any) -> bool:
        del parent
        return False


class Timer(Step):
    """Named by `requires`; it is never made."""

    def include_if(self, parent: Any) -> bool:
        del parent
        return False


class Hub(_Part):
    """As `Timer`."""


class Pool(_Part):
    """As `Timer`."""


class Beat(_Part):
    """As `Timer`."""


class StateDB(_Part):
    """As `Timer`."""


class Consumer(_Part):
    """As `Timer`."""


class WorkerComponent(_Part):
    """As `Timer`."""


class Autoscaler:
    """Celery's thread that scales a pool; `worker_autoscaler` may name it. Nodes scale by what waits in the queues."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        del args, kwargs
        raise NotImplementedError("a node scales by itself: start it with --autoscale=MAX,MIN, or send control autoscale")


class Heart:
    """Celery's heartbeat of a worker. A node sends its own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        del args, kwargs
        raise NotImplementedError("a node sends its heartbeats by itself, every --heartbeat-interval seconds")


def default(task: Any, app: Any, consumer: Any, **_: Any) -> Any:
    """Celery's way of taking a message. Slots take theirs from the store, and no strategy of a task is asked."""
    del app, consumer
    raise NotImplementedError(
        f"the strategy of {getattr(task, 'name', task)!r} is not asked: each slot of a node takes its own messages. To see or "
        "refuse calls, use the signal task_received, or raise Reject or Ignore in a before_start hook of the task"
    )


class Pidbox:
    """Celery's mailbox of a worker; a node has one of its own, which is no object to be made."""

    def __init__(self, c: Any) -> None:
        del c
        raise NotImplementedError("a node hears commands by itself: add your own with celery.worker.control.control_command")


class gPidbox(Pidbox):  # noqa: N801 - Celery's name
    """As `Pidbox`."""


def asynloop(*args: Any, **kwargs: Any) -> None:
    """Celery's event loop. Raises NotImplementedError."""
    del args, kwargs
    raise NotImplementedError("a node has no event loop of Kombu's: use a step of app.steps['worker'] with a thread of its own")


synloop = asynloop

__all__ = [
    "Autoscaler", "Beat", "Consumer", "Heart", "Hub", "Pidbox", "Pool", "StateDB", "Timer", "WorkerComponent", "asynloop",
    "default", "gPidbox", "synloop",
]  # fmt: skip
