"""What becomes of a delivery, as one value that a store applies in one step.

`Settlement` is pure data; it is also what a slot leaves in the shared table when it dies, so it can be written to bytes
(`encode_settlement`) by anybody who has msgspec.
"""

from __future__ import annotations

import enum

import msgspec

from sedano.protocol.message import Message


class Outcome(enum.StrEnum):
    """What an attempt ended in, or why there was none. The value is the word that logs and dead letters show."""

    SUCCESS = "success"
    FAILURE = "failure"
    RETRY = "retry"
    IGNORED = "ignored"
    REJECTED = "rejected"
    REVOKED = "revoked"  # revoked or terminated by an operator
    EXPIRED = "expired"
    LOST = "lost"  # its process died while it ran
    POISON = "poison"  # lost more often than task_max_deliveries allows
    UNKNOWN = "unknown"  # no such task here
    UNREADABLE = "unreadable"  # the bytes are no message


class Fate(enum.StrEnum):
    """What happens to the message."""

    ACK = "ack"  # done, forget it
    DEAD = "dead"  # done; keep the exact message as a dead letter
    REQUEUE = "requeue"  # back to the tail of its queue, marked redelivered, `deliveries` counted


class Outgoing(msgspec.Struct, frozen=True):
    """A message on its way to a queue.

    `exchange` "" sends to the queue named by `routing_key`; another name is looked up in the bindings that were declared.
    `priority` is Celery's number as the user gave it (0 to 9 on Redis, 0 served first); `due` is seconds since the Unix
    epoch when the message is to enter its queue (own retries; producers never use it: they publish as Celery does and the
    worker moves what is not due), None for now.
    """

    message: Message
    routing_key: str
    exchange: str = ""
    exchange_type: str = "direct"
    priority: int = 0
    due: float | None = None


class ResultWrite(msgspec.Struct, frozen=True):
    """A result record to store under `task_id`.

    `payload` is the encoded task meta (wire-protocol 6.1) with its compression prefix, if any. `ttl_s` None keeps it for
    ever. `ready` tells whether the state is final: waiting readers are woken for every write, as Celery does.
    """

    task_id: str
    payload: bytes
    ttl_s: float | None
    ready: bool


class ChordPart(msgspec.Struct, frozen=True):
    """One header task's part of a chord, counted in the same step as its settlement.

    `payload` is the JSON `[1, task id, state, result or exception]` of wire-protocol 6.3. Counting the same
    (task_id, group_index) twice counts once.
    """

    group_id: str
    task_id: str
    group_index: int
    payload: bytes
    ttl_s: float


class DeadNote(msgspec.Struct, frozen=True):
    """Why a message is kept as a dead letter. `died_at` is wall seconds; `detail` one line for people."""

    cause: str
    detail: str
    task_id: str
    task: str
    died_at: float
    keep_s: float
    max_bytes: int


class Settlement(msgspec.Struct, frozen=True):
    """The end of one delivery. Applied whole or not at all.

    Order inside the step: `messages_out` are published before the result can be read, as in Celery; then the result, and
    `more_results` of other calls that end with it (the later steps of a chain that failed); then the chord part; then the
    message's fate. `dead` is required when `fate` is DEAD and must be None otherwise.
    `retries` together with `task_id` names the attempt: a pending settlement is replayed under (task_id, retries).
    """

    tag: str
    outcome: Outcome
    fate: Fate = Fate.ACK
    task_id: str = ""
    retries: int = 0
    result: ResultWrite | None = None
    messages_out: tuple[Outgoing, ...] = ()
    chord_part: ChordPart | None = None
    dead: DeadNote | None = None
    more_results: tuple[ResultWrite, ...] = ()

    @property
    def writes(self) -> tuple[ResultWrite, ...]:
        """All records to store, the call's own first."""
        return self.more_results if self.result is None else (self.result, *self.more_results)


class Pending(msgspec.Struct, frozen=True):
    """The part of a settlement that goes to another store than the broker's; kept by the broker until it is there."""

    key: str  # "<task_id>:<retries>"
    result: ResultWrite | None
    chord_part: ChordPart | None
    more_results: tuple[ResultWrite, ...] = ()

    @property
    def writes(self) -> tuple[ResultWrite, ...]:
        return self.more_results if self.result is None else (self.result, *self.more_results)


_encoder = msgspec.msgpack.Encoder()
_settlement = msgspec.msgpack.Decoder(Settlement)
_pending = msgspec.msgpack.Decoder(Pending)


def encode_settlement(settlement: Settlement) -> bytes:
    return _encoder.encode(settlement)


def decode_settlement(data: bytes) -> Settlement:
    """Raises msgspec.DecodeError when the bytes are no settlement."""
    return _settlement.decode(data)


def pending_of(settlement: Settlement) -> Pending | None:
    """What is left to do in a separate result store, or None."""
    if settlement.result is None and settlement.chord_part is None and not settlement.more_results:
        return None
    key = f"{settlement.task_id}:{settlement.retries}"
    return Pending(key, settlement.result, settlement.chord_part, settlement.more_results)


def encode_pending(pending: Pending) -> bytes:
    return _encoder.encode(pending)


def decode_pending(data: bytes) -> Pending:
    return _pending.decode(data)
