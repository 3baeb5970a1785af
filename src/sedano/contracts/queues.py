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
    """A queue and one of its bindings: several bindings of a queue are several specs that differ in nothing else.

    `exchange` "" is the default exchange, which leads to every queue by its name: nothing is bound then. `arguments` are the
    queue's as the broker takes them (`x-max-priority`, `x-expires` in milliseconds …), `binding_arguments` those of the
    binding, `consumer_arguments` of whoever consumes. With `no_declare` the queue, its exchange and its binding are there
    already, or come from somebody else; with `exchange_no_declare` the exchange alone. `exchange_passive`: it must be there.
    With `no_ack` what was handed over is gone. Without a `name` the exchange alone is declared: its queues are their
    consumers' own.

    A broker without exchanges of its own reads names, types and keys, and what it knows of `arguments`; it ignores the rest,
    and a spec without a name.
    """

    name: str
    exchange: str = ""
    exchange_type: str = "direct"
    routing_key: str = ""
    durable: bool = True
    auto_delete: bool = False
    arguments: dict[str, object] = {}
    exclusive: bool = False
    no_declare: bool = False
    no_ack: bool = False
    exchange_durable: bool = True
    exchange_auto_delete: bool = False
    exchange_passive: bool = False
    exchange_no_declare: bool = False
    exchange_arguments: dict[str, object] = {}
    binding_arguments: dict[str, object] = {}
    consumer_arguments: dict[str, object] = {}


class Pause(msgspec.Struct, frozen=True):
    """An order to take nothing from `queue`, given at `since` (Unix seconds) by `by` ("alice@web1"), for people."""

    queue: str
    since: float
    reason: str = ""
    by: str = ""
