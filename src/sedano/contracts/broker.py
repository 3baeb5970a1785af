"""What a broker promises: the life of a delivery.

    reserve (leased, not started) -> begin (counted; early-ack calls are nobody else's any more) -> run -> settle

Terms (style.md section 4): an *owner* is whoever holds deliveries: a slot, or a supervisor that has taken some over. It has
one `Lease`, a pair of its name and a *fence*. Every operation on deliveries carries the lease; when another node has taken
the lease over, the operation raises `LeaseLost` and nothing of it is applied. Nobody trusts a wall clock for leases: each
`renew` adds one to the lease's *beats*, and a reaper takes an owner over only after it has seen the same beats for the lease
time on its own monotonic clock (`rules/lease.py`).

Where a delivery stands:

    queued --reserve--> reserved --begin--> begun --settle--> gone (acked, dead, requeued)
      ^  ^                 |  |                |
      |  +----release------+  +----settle------|--> gone: expired, revoked, unreadable, unknown
      |                    |                   |
      +--------------------|----unbegin--------+      release and unbegin put it back at the HEAD, uncounted
      +--promote-- delayed <--delay                   delay moves a call that was not started to the schedule
      +--promote, unpark-- parked                     a settlement's message out with `parked`: a call that nobody knows

Begun deliveries remember whether they were begun `early` (the message is acked: it must never be given to anybody else;
when its owner dies the call is LOST) or late (when its owner dies it is given out again, counted).

Decisions that every driver keeps, each a test of `sedano.testing.contracts`:

- A message that goes back to the head keeps its exact bytes and its old place, also across owners that were taken over.
- REQUEUE is counted whether the delivery was begun or not; what cannot be read goes to the tail as it is.
- A begin repeated with the other `early` keeps the first. `stored` is applied before `settle`.
- A lease that was retired, is unknown or has another fence raises `LeaseLost` from every operation, whatever its arguments.
- After a first page of a take-over the old lease stays listed until it is empty, so that another can go on if the taker dies;
  nobody takes over his own.
- One copy per queue however many bindings match; a message without a matching binding fails the whole step.
- Of a paused queue (`Coordination.pause`) nothing is reserved, and what was reserved before is not begun: a `Begin` of it is
  neither reported nor refused, it stays reserved for the caller to release. Everything else goes on: what was begun runs and
  is settled, producers publish, delayed calls become due and wait.
- Parked calls wait by task name, apart from everything else; they go back in the order in which their time ends.
- The newest dead letter always stays, even when it is larger than the queue's cap.

A `Broker` object is one connection of one process: not thread-safe, not usable after fork. Several may be open.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

import msgspec

from sedano.contracts.queues import DeadLetter, Depth, Parked, QueueSpec
from sedano.contracts.settlement import Outgoing, Pending, Settlement
from sedano.contracts.workflows import WorkflowStore
from sedano.protocol.message import Message


class Source(enum.StrEnum):
    """Who reserves: with SLOT each slot opens its own connection; with SUPERVISOR deliveries belong to one connection.

    What a worker needs of a SUPERVISOR broker besides the contract, because one thread serves all slots with it: `wait` can
    watch other descriptors, and goes by the queues that it is given at each call, whatever the last turn has asked for.
    """

    SLOT = "slot"
    SUPERVISOR = "supervisor"


class Capabilities(msgspec.Struct, frozen=True):
    """What this driver, opened with these URLs, can do. Callers ask; they never catch "not implemented"."""

    source: Source
    shared_results: bool  # settle writes results and chord parts itself, in the same step
    schedule: bool  # delay/promote: delayed calls live in the store
    many_processes: bool  # False: memory
    wait_fds: bool  # wait() can watch other file descriptors besides its own
    pushes: bool = False  # what is ready is pushed: a turn may reserve less than there is, and `wait` ends when it has come


class Lease(msgspec.Struct, frozen=True):
    """The right of `owner` to its deliveries, valid while nobody has taken it over. `fence` is unique per registration."""

    owner: str
    fence: int


class LeaseRecord(msgspec.Struct, frozen=True):
    """A lease as a reaper sees it. `beats` grows with each renewal; `held` counts its deliveries."""

    owner: str
    node: str
    fence: int
    beats: int
    held: int = 0


class Standing(enum.StrEnum):
    """Where a taken-over delivery stood when its owner died."""

    RESERVED = "reserved"
    BEGUN_EARLY = "begun-early"
    BEGUN_LATE = "begun-late"


class Delivery(msgspec.Struct):
    """One handing-over of a message.

    `tag` settles it; `queue` is where it was taken from; `message` is None when `raw` cannot be read, and then `unreadable`
    says why. `deliveries` counts earlier deliveries of this message that were begun and lost (0 for a fresh one);
    `redelivered` is Kombu's flag. `raw` is the exact stored form.
    """

    tag: str
    queue: str
    raw: bytes
    message: Message | None
    unreadable: str = ""
    priority: int = 0
    redelivered: bool = False
    deliveries: int = 0
    standing: Standing = Standing.RESERVED


class Begin(msgspec.Struct, frozen=True):
    """Begin the reserved delivery `tag`; `early` acks it in the same step."""

    tag: str
    early: bool


class BeginRule(msgspec.Struct, frozen=True):
    """Which deliveries are begun in the very step that reserves them, and how: `early`, or the other way for the tasks in
    `exceptions`.

    Always the first. Those behind it, up to `most` in all, as long as they and those before them are of tasks in `costs`
    (microseconds of a run), take no more than `budget_us` together, and were not delivered before: a window, chosen as
    `rules/window.py` does it, before anybody has seen the messages.
    """

    early: bool
    exceptions: frozenset[str] = frozenset()
    costs: dict[str, int] = {}
    budget_us: int = 0
    most: int = 1

    def standings(self, heads: Iterable[tuple[str | None, bool]]) -> list[Standing]:
        """How the first so many of those reserved are begun, by (task or None where it cannot be read, delivered before)."""
        standings: list[Standing] = []
        spent = 0
        for task, before in heads:
            cost = self.costs.get(task) if task is not None and not before else None
            spent += cost or 0
            if task is None or len(standings) >= self.most or (standings and (cost is None or spent > self.budget_us)):
                break
            is_early = self.early is not (task in self.exceptions)
            standings.append(Standing.BEGUN_EARLY if is_early else Standing.BEGUN_LATE)
            if cost is None:
                break
        return standings


class Delay(msgspec.Struct, frozen=True):
    """Move the delivery `tag`, whose call was not started, to the schedule; it returns to the head of its queue at `due`
    (Unix seconds)."""

    tag: str
    due: float


class ChordReady(msgspec.Struct, frozen=True):
    """The last part of a chord was counted by this very step: its caller has the claim to publish the body.

    `claim` is the part's own; when it is not empty and broker and results share a store, it stands as a pending of the lease
    (`claim_key`), and is ended by a settlement of that pending.
    """

    group_id: str
    claim: bytes = b""


class TurnOrder(msgspec.Struct, frozen=True, array_like=True):
    """The arguments of one `Broker.turn`, for brokers that can do several turns at once (`worker/relay/server.py`)."""

    lease: Lease
    settle: list[Settlement] = []
    delay: list[Delay] = []
    begin: list[Begin] = []
    reserve: int = 0
    queues: list[str] = []
    stored: list[str] = []
    begin_new: BeginRule | None = None


class TurnReply(msgspec.Struct):
    """What a turn did. `refused` are tags of settlements, delays and begins that this lease does not hold (any more);
    their settlements were not applied. `begun` are the tags begun now. `more` tells that the queues held more than was
    taken. `revision` is the store's revoke revision, `paused` names its paused queues (`contracts/coordination.py`)."""

    begun: list[str] = msgspec.field(default_factory=list)
    reserved: list[Delivery] = msgspec.field(default_factory=list)
    refused: list[str] = msgspec.field(default_factory=list)
    chords: list[ChordReady] = msgspec.field(default_factory=list)
    more: bool = False
    revision: int = 0
    paused: frozenset[str] = frozenset()


class Taken(msgspec.Struct):
    """What a take-over brought: deliveries that are now the taker's, and pending settlements to finish."""

    deliveries: list[Delivery] = msgspec.field(default_factory=list)
    pendings: list[Pending] = msgspec.field(default_factory=list)
    more: bool = False


class Broker(WorkflowStore, Protocol):
    """One connection to a broker. Every method may raise `BrokerUnavailable`; after it, `reconnect` and go on.

    What a `BrokerUnavailable` leaves open (the step may or may not have been applied) is harmless by construction: settle
    and begin are refused or repeated by tag, reserved deliveries come back when the lease is released or taken over. It may
    even be applied later, when its bytes were long on their way: `refence` shuts it out.
    """

    @property
    def capabilities(self) -> Capabilities: ...

    # -- producers ----------------------------------------------------------------------------------------------------

    def publish(self, messages: Sequence[Outgoing]) -> None:
        """Store all `messages`, in order, and the `workflow` of each, in one round trip; returns when all is accepted.

        Raises `MessageTooLarge`, `StoreFull`, or `OperationalError` for an exchange without a matching binding.
        All or nothing where the store can (memory, sqlite, redis).
        """
        ...

    def declare(self, queues: Iterable[QueueSpec]) -> None:
        """Make queues and bindings known. Repeating it is cheap and harmless."""
        ...

    # -- leases -------------------------------------------------------------------------------------------------------

    def register(self, owner: str, node: str) -> Lease:
        """Take a lease for the new name `owner` (unique for ever, such as "<node>:<pid>:<random>")."""
        ...

    def refence(self, lease: Lease) -> Lease:
        """The same lease under another fence: whatever was sent on a connection that broke, and arrives only now, is refused.

        To be called after `reconnect`. Repeating it, when its answer was lost, gives the same lease again. A store to which
        nothing can come late returns `lease` itself. Raises `LeaseLost`.
        """
        ...

    def renew(self, leases: Sequence[Lease]) -> list[Lease]:
        """Add one to the beats of each; returns those that are lost. One round trip."""
        ...

    def leases(self) -> list[LeaseRecord]:
        """All leases of the store."""
        ...

    def take_over(self, record: LeaseRecord, by: Lease, *, limit: int, force: bool = False) -> Taken:
        """End the lease of `record.owner` and make up to `limit` of its deliveries and pendings the property of `by`.

        Refused (an empty `Taken`) when the lease has another fence or other beats than `record` says, unless `force`
        (a supervisor that knows its own slot is dead). After the first call the old lease is lost at once; call again
        while `more`. Deliveries keep their tags. Raises `LeaseLost` when `by` itself is lost.
        """
        ...

    def retire(self, lease: Lease) -> int:
        """End one's own lease: everything reserved goes back to the head of its queue; returns how many.

        What is begun must be settled before; what is not is left to a reaper, and the lease with it.
        """
        ...

    # -- deliveries ---------------------------------------------------------------------------------------------------

    def turn(
        self,
        lease: Lease,
        *,
        settle: Sequence[Settlement] = (),
        delay: Sequence[Delay] = (),
        begin: Sequence[Begin] = (),
        reserve: int = 0,
        queues: Sequence[str] = (),
        stored: Sequence[str] = (),
        begin_new: BeginRule | None = None,
    ) -> TurnReply:
        """Settle, delay, begin and reserve, in this order, as one step and one round trip. Never waits for work.

        `queues` in the order in which they are to be looked at; within one priority step the first queue that has
        something gives it. Takes the next of a queue, a lower priority number first. `stored` are keys of pendings
        (`Pending.key`) that are now in the result store and can be deleted. With `capabilities.shared_results` False,
        settling keeps `pending_of(settlement)` in the same step.
        With `begin_new`, the first of those reserved are begun at once, as their `standing` says, so that a slot with empty
        hands starts them without another round trip. What the store cannot read stays reserved, and whatever is behind it.
        Repeating a turn whose answer was lost is harmless: a begin of what this lease has begun is reported in `begun`
        again, a settlement that was applied is refused.
        Raises `LeaseLost`: nothing was applied. `StoreFull`: nothing was applied; settle without results, or later.
        """
        ...

    def pendings(self, lease: Lease) -> list[Pending]:
        """What this lease has pending, in no order; for when the answer to a turn was lost. Raises `LeaseLost`."""
        ...

    def release(self, lease: Lease, tags: Sequence[str] | None) -> int:
        """Give reserved deliveries back to the head of their queues, uncounted, in their old order; returns how many.

        `tags` None gives back all that this lease has reserved, known to the caller or not (an answer was lost).
        """
        ...

    def unbegin(self, lease: Lease, tags: Sequence[str] | None, *, keep: Sequence[str] = ()) -> int:
        """As `release`, for begun deliveries whose call was not started. Early-acked ones become ordinary again.

        `tags` None: all that this lease has begun but those in `keep` (the answer to a turn with `begin_new` was lost).
        """
        ...

    def promote(self, queues: Sequence[str], now: float, *, limit: int = 1000) -> tuple[int, float | None]:
        """Move calls whose `due` <= `now` to the head of their queues (earliest first to be taken): delayed ones, then
        parked ones, which so come before them.

        Returns how many, and when the next one of these queues is due (Unix seconds) or None.
        """
        ...

    def unpark(self, tasks: Collection[str], queues: Sequence[str], *, limit: int = 1000) -> int:
        """Move up to `limit` parked calls of `tasks` to the head of their queues, of those whose time ends first the first
        to be taken; returns how many. Cheap when there is none."""
        ...

    def wait(self, queues: Sequence[str], timeout_s: float, fds: Sequence[int] = ()) -> None:
        """Return when one of `queues` may hold work, when one of `fds` is readable, or after `timeout_s`.

        May return early for no reason; never sleeps through work that was published, or whose queue was resumed, after the
        last `turn` that reserved nothing. What that turn named as paused ends no wait. Without `capabilities.wait_fds`,
        `fds` must be empty.
        """
        ...

    # -- operators ----------------------------------------------------------------------------------------------------

    def queues(self) -> list[str]:
        """Names of all queues that the store knows, sorted."""
        ...

    def depth(self, queues: Sequence[str]) -> list[Depth]: ...

    def parked(self, queues: Sequence[str]) -> list[Parked]:
        """What is parked in each of `queues`, in their order, by task name."""
        ...

    def held(self, owners: Sequence[str], *, limit: int, tags: Collection[str] | None = None) -> list[Delivery]:
        """Up to `limit` of the deliveries that `owners` hold (with `tags`, of these), each with its standing; begun ones first,
        then in the order in which they were reserved. Only looks: nobody gets anything, and what moves meanwhile may be missed.
        """
        ...

    def delayed(self, queues: Sequence[str], *, limit: int) -> tuple[int, list[tuple[float, Delivery]]]:
        """How many calls stand in the schedule of `queues`, and the first `limit` of them with their due (Unix seconds), the
        earliest first. These deliveries are nobody's and have no tag. What is parked is not among them."""
        ...

    def purge(self, queue: str) -> int:
        """Drop all ready messages of `queue` (not the delayed, parked, reserved or dead); returns how many."""
        ...

    def dead_letters(self, queue: str | None = None, *, limit: int = 100, before: str | None = None) -> list[DeadLetter]:
        """Newest first; `before` is the id of the last letter of the page before. Ids are numbers that grow, and `before` may
        be one that no letter has."""
        ...

    def drop_dead(self, ids: Sequence[str]) -> int: ...

    def handback(self, queues: Sequence[str], *, limit: int = 1000) -> int:
        """Put up to `limit` delayed calls, and then parked ones, back into their queues in Celery's form (their `eta` header
        still says when)."""
        ...

    # -- connection ---------------------------------------------------------------------------------------------------

    def reconnect(self) -> None:
        """Drop the connection and open a new one. Leases outlive it."""
        ...

    def close(self) -> None:
        """Idempotent. Does not retire leases."""
        ...
