"""Queues as an operator sees them: what they are, what they hold, which are paused."""

from __future__ import annotations

import msgspec

from sedano.contracts.settlement import DeadNote


class DeadLetter(msgspec.Struct, frozen=True):
    """A kept message. `id` is unique in the store; `raw` the exact stored form, for replay."""

    id: str
    queue: str
    note: DeadNote
    raw: bytes


class Depth(msgspec.Struct, frozen=True):
    """How many messages a queue has: ready to be taken, delayed, reserved by somebody, begun, dead letters, parked.

    `since` is when the first of the ready ones came (Unix seconds), of several priority steps the earliest; None when nothing
    is ready, and where the store cannot know: Redis keeps only what the message carries. `paused`: nothing is taken now.
    """

    queue: str
    ready: int
    delayed: int = 0
    reserved: int = 0
    begun: int = 0
    dead: int = 0
    parked: int = 0
    since: float | None = None
    paused: bool = False


class Parked(msgspec.Struct, frozen=True):
    """Calls of `queue` for a task that no worker knew: how many, and when the first of them fails (Unix seconds)."""

    queue: str
    task: str
    count: int
    due: float


class QueueSpec(msgspec.Struct, frozen=True):
    """A queue and its binding. `max_priority` and `arguments` are the broker's own business."""

    name: str
    exchange: str = ""
    exchange_type: str = "direct"
    routing_key: str = ""
    durable: bool = True
    auto_delete: bool = False
    arguments: dict[str, object] = {}


class Pause(msgspec.Struct, frozen=True):
    """An order to take nothing from `queue`, given at `since` (Unix seconds) by `by` ("alice@web1"), for people."""

    queue: str
    since: float
    reason: str = ""
    by: str = ""
