"""What becomes of a delivery, as one value that a store applies in one step.

`Settlement` is pure data; it is also what a slot leaves in the shared table when it dies, so it can be written to bytes
(`encode_settlement`) by anybody who has msgspec.
"""

from __future__ import annotations

import enum

import msgspec

from sedano.contracts.workflows import WorkflowNote
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

    With `parked`, the name of a task that no worker knew, the message is kept apart from the queue and its schedule until
    somebody asks for calls of that name (`Broker.unpark`); at `due`, which is given then, it goes to the head of the queue.

    `workflow` is stored by the `publish` that stores the message; a settlement's messages have none.
    """

    message: Message
    routing_key: str
    exchange: str = ""
    exchange_type: str = "direct"
    priority: int = 0
    due: float | None = None
    parked: str = ""
    workflow: WorkflowNote | None = None


class ResultWrite(msgspec.Struct, frozen=True, omit_defaults=True):
    """A result record to store under `task_id`.

    `payload` is the encoded task meta (wire-protocol 6.1) with its compression prefix, if any. `ttl_s` None keeps it for
    ever. `ready` tells whether the state is final: waiting readers are woken for every write, as Celery does. `reply_to` names
    the queue in which whoever made the call waits for it; filled only where results are sent and not kept (rpc://).
    """

    task_id: str
    payload: bytes
    ttl_s: float | None
    ready: bool
    reply_to: str = ""


class ChordStart(msgspec.Struct, frozen=True):
    """A chord that has `size` parts; its bookkeeping is kept for `ttl_s`."""

    group_id: str
    size: int
    ttl_s: float


class ChordPart(msgspec.Struct, frozen=True):
    """One header task's part of a chord, counted in the same step as its settlement.

    `payload` is the JSON `[1, task id, state, result or exception]` of wire-protocol 6.3. Counting the same
    (task_id, group_index) twice counts once. `claim` says what is to be done when all parts are there: the step that counts
    the last one keeps it as a pending of the lease, so that somebody finishes the chord whoever dies.
    """

    group_id: str
    task_id: str
    group_index: int
    payload: bytes
    ttl_s: float
    claim: bytes = b""


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
    """The end of one delivery, or of a pending of this lease (`tag` is `pending_tag(key)`; `fate` is ACK then). Applied whole
    or not at all.

    Order inside the step: `messages_out` are published before the result can be read, as in Celery; then the result, and
    `more_results` of other calls that end with it (the later steps of a chain that failed); then the sizes of the chords that
    start with it, the chord part and `more_parts` of those other calls; then the bookkeeping of the chord `ends_chord` is
    dropped, whose body goes out or fails in this step; then the message's fate. `dead` is required when `fate` is DEAD and
    must be None otherwise.
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
    more_parts: tuple[ChordPart, ...] = ()
    chord_starts: tuple[ChordStart, ...] = ()
    ends_chord: str = ""

    @property
    def writes(self) -> tuple[ResultWrite, ...]:
        """All records to store, the call's own first."""
        return self.more_results if self.result is None else (self.result, *self.more_results)

    @property
    def parts(self) -> tuple[ChordPart, ...]:
        """All chord parts to count, the call's own first."""
        return self.more_parts if self.chord_part is None else (self.chord_part, *self.more_parts)


class Pending(msgspec.Struct, frozen=True):
    """The part of a settlement that goes to another store than the broker's; kept by the broker until it is there."""

    key: str  # "<task_id>:<retries>", or `claim_key` of a chord
    result: ResultWrite | None
    chord_part: ChordPart | None
    more_results: tuple[ResultWrite, ...] = ()
    more_parts: tuple[ChordPart, ...] = ()
    chord_starts: tuple[ChordStart, ...] = ()
    ends_chord: str = ""
    claim: bytes = b""  # of a chord whose parts are all there

    @property
    def writes(self) -> tuple[ResultWrite, ...]:
        return self.more_results if self.result is None else (self.result, *self.more_results)

    @property
    def parts(self) -> tuple[ChordPart, ...]:
        return self.more_parts if self.chord_part is None else (self.chord_part, *self.more_parts)


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
    if not (settlement.writes or settlement.parts or settlement.chord_starts or settlement.ends_chord):
        return None
    key = f"{settlement.task_id}:{settlement.retries}"
    return Pending(
        key,
        settlement.result,
        settlement.chord_part,
        settlement.more_results,
        settlement.more_parts,
        settlement.chord_starts,
        settlement.ends_chord,
    )


def claim_key(group_id: str) -> str:
    """The key of the pending that a completed chord's claim is kept as."""
    return f"chord:{group_id}"


def claimed(part: ChordPart) -> Pending:
    """The pending that the step which completes the chord keeps."""
    return Pending(claim_key(part.group_id), None, None, claim=part.claim)


def pending_tag(key: str) -> str:
    """The tag of a settlement that ends the pending `key` instead of a delivery."""
    return f"={key}"


def pending_key(tag: str) -> str | None:
    """The key of the pending that a settlement's tag names; None when it names a delivery."""
    return tag[1:] if tag.startswith("=") else None


def encode_pending(pending: Pending) -> bytes:
    return _encoder.encode(pending)


def decode_pending(data: bytes) -> Pending:
    return _pending.decode(data)
