"""The life of a delivery on Redis. Keeps the promises of `contracts/broker.py`; keys are described in `keys.py`.

Every step on deliveries is one script, one round trip, and carries the fence of its lease.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from sedano.clock import Clock
from sedano.contracts import (
    Begin,
    BeginRule,
    Capabilities,
    DeadLetter,
    Delay,
    Delivery,
    Depth,
    Fate,
    Found,
    Lease,
    LeaseRecord,
    Outgoing,
    Parked,
    Pending,
    Place,
    QueueSpec,
    Settlement,
    Source,
    Taken,
    TurnReply,
    decode_pending,
)
from sedano.drivers.redis import holdings, operators, parking, turns, workflows
from sedano.drivers.redis.connection import Connection
from sedano.drivers.redis.deliveries import delivery_of_record, requeued
from sedano.drivers.redis.foreign import restore_foreign
from sedano.drivers.redis.keys import LAYOUT_VERSION, Keys
from sedano.drivers.redis.routing import Router
from sedano.drivers.redis.scripts import load
from sedano.drivers.redis.turns import ResultWriter
from sedano.drivers.redis.waiting import Alarm
from sedano.drivers.redis.wire import Argument, Reply
from sedano.exceptions import ImproperlyConfigured, LeaseLost, StoreFull

RESCORE_S = 10
"""Scores of what we hold are refreshed when older. A Celery worker's visibility timeout must be 30 s or more beside us."""

REFRESH_BINDINGS_S = 20 * 60
"""A third of the shortest life of a binding."""

_PUBLISH, _TURN, _ASIDE, _GIVE_BACK = load("publish"), load("turn", heavy=True), load("aside"), load("give_back")
_REGISTER, _REFENCE, _RENEW, _PENDINGS = load("register"), load("refence"), load("renew"), load("pendings")
_LEASES, _TAKE_OVER = load("leases"), load("take_over", heavy=True)
_PROMOTE, _HANDBACK = load("promote"), load("handback")


class RedisBroker:
    """One connection. With a `writer`, settling writes results and chord parts in the same step, into database
    `results_db` of the same server; without, it keeps pendings."""

    def __init__(
        self,
        connection: Connection,
        keys: Keys,
        clock: Clock,
        *,
        writer: ResultWriter | None,
        results_db: int,
        visibility_timeout_s: float,
        is_polling: bool = False,
    ) -> None:
        self._connection = connection
        self._keys = keys
        self._clock = clock
        self._writer = writer
        db = connection.address.db
        self._databases = (db, "" if results_db == db else results_db)
        self._visibility_timeout_s = visibility_timeout_s
        self._router = Router(connection, keys)
        self._bindings_refreshed_at = clock.monotonic()
        self._alarm = Alarm(connection, keys.own("paused"), is_polling=is_polling)
        self._paused = b""  # what the last turn said of paused queues
        self._raws: dict[str, dict[str, bytes]] = {}  # owner -> tag -> envelope of what it holds, for requeueing
        self._capabilities = Capabilities(
            source=Source.SLOT, shared_results=writer is not None, schedule=True, many_processes=True, wait_fds=True
        )

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    # -- producers ----------------------------------------------------------------------------------------------------

    def publish(self, messages: Sequence[Outgoing]) -> None:
        """Messages of one list are one LPUSH, as Celery sends them; whatever else is one script."""
        if not messages:
            return
        has_workflow = any(outgoing.workflow is not None for outgoing in messages)
        found = None if has_workflow else self._router.one_list(messages)
        if found is not None:
            self._connection.command("LPUSH", found[0], *found[1])
            return
        arguments = [part for sending in self._router.sendings(messages) for part in sending]
        unnoted = self._router.unnoted(messages)
        if unnoted:
            self._connection.command("SADD", self._keys.own("queues"), *unnoted)
            self._router.note(unnoted)
        if has_workflow:
            workflows.publish(self._connection, self._keys, messages, arguments, self._clock.wall())
        elif all(kind == "L" for kind in arguments[::4]) and len(set(arguments[1::4])) == 1:
            self._connection.command("LPUSH", arguments[1], *arguments[3::4])
        else:
            self._connection.run(_PUBLISH, (self._keys.own("sequence"),), arguments)

    def declare(self, queues: Iterable[QueueSpec]) -> None:
        self._router.declare(queues)

    # -- leases -------------------------------------------------------------------------------------------------------

    def register(self, owner: str, node: str) -> Lease:
        own = self._keys.own
        keys = (own("lease." + owner), own("owners"), own("fence"), own("layout"))
        fence = self._connection.run(_REGISTER, keys, (owner, node, LAYOUT_VERSION))
        if isinstance(fence, list):
            raise ImproperlyConfigured(
                f"{self._connection.address.shown} holds Sedano's keys in layout {fence[0].decode()!r}, this version knows "
                f"{LAYOUT_VERSION!r}: run the same version everywhere, or use another global_keyprefix"
            )
        if fence == b"taken":
            raise ValueError(f"owner {owner!r} is registered already: an owner's name is used once")
        return Lease(owner, int(fence))

    def refence(self, lease: Lease) -> Lease:
        keys = (self._keys.own("lease." + lease.owner), self._keys.own("fence"))
        return Lease(lease.owner, int(self._alive(lease, self._connection.run(_REFENCE, keys, (lease.fence,)))))

    def renew(self, leases: Sequence[Lease]) -> list[Lease]:
        self._refresh_bindings()
        if not leases:
            return []
        keys = (self._keys.unacked_index, self._keys.own("lease."), self._keys.own("held."))
        arguments: list[Argument] = [RESCORE_S]
        for lease in leases:
            arguments += (lease.owner, lease.fence)
        return [leases[number - 1] for number in self._connection.run(_RENEW, keys, arguments)]

    def leases(self) -> list[LeaseRecord]:
        keys = (self._keys.own("owners"), self._keys.own("lease."), self._keys.own("held."))
        flat = self._connection.run(_LEASES, keys, ())
        return [
            LeaseRecord(flat[i].decode(), flat[i + 1].decode(), int(flat[i + 2]), int(flat[i + 3]), int(flat[i + 4]))
            for i in range(0, len(flat), 5)
        ]

    def take_over(self, record: LeaseRecord, by: Lease, *, limit: int, force: bool = False) -> Taken:
        keys = self._keys_of(by.owner)
        dead = self._keys_of(record.owner)
        reply = self._connection.run(
            _TAKE_OVER,
            (*keys[:4], self._keys.own("owners"), self._keys.unacked, self._keys.unacked_index, *dead[:4]),
            (by.fence, record.owner, record.fence, record.beats, "1" if force else "0", limit),
        )
        more, taken, pendings = self._alive(by, reply)
        deliveries = [delivery_of_record(*taken[i : i + 3]) for i in range(0, len(taken), 3)]
        self._remember(by, deliveries)
        self._set_aside(by, deliveries)
        return Taken(deliveries, [decode_pending(value) for value in pendings], more == b"1")

    def retire(self, lease: Lease) -> int:
        return self._give_back(lease, "rq", "retire", ())

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
        names = tuple(queues)
        if not names:
            reserve = 0
        lists, facts = turns.sources(self._keys, names)
        keys = (*self._turn_keys(lease.owner), *(lists if reserve else ()))
        whose: list[Argument] = [lease.fence, lease.owner, self._keys.prefix, self._keys.separator, *self._databases]
        what: list[Argument] = [
            len(stored), *stored, *self._settle_arguments(lease, settle), *turns.other_arguments(delay, begin),
            *turns.reserve_arguments(reserve, facts, begin_new),
        ]  # fmt: skip
        try:
            reply = self._connection.run(_TURN, keys, [*whose, "", *what])
        except StoreFull:
            room = turns.bytes_needed(settle)
            if room is None:
                raise
            reply = self._connection.run(_TURN, keys, [*whose, room, *what])
        answer = turns.read_turn(self._alive(lease, reply), lease.owner, turns.places(self._keys, names), self._writer, settle)
        self._paused = reply[-1]
        self._forget(lease, [*(one.tag for one in settle), *(one.tag for one in delay), *answer.refused])
        if answer.reserved:
            self._remember(lease, answer.reserved)
            self._set_aside(lease, answer.reserved)
        return answer

    def pendings(self, lease: Lease) -> list[Pending]:
        lease_key, _, _, pending = self._keys_of(lease.owner)
        values = self._alive(lease, self._connection.run(_PENDINGS, (lease_key, pending), (lease.fence,)))
        return [decode_pending(value) for value in values]

    def release(self, lease: Lease, tags: Sequence[str] | None) -> int:
        return self._give_back(lease, "rq", "all" if tags is None else "some", tags or ())

    def unbegin(self, lease: Lease, tags: Sequence[str] | None, *, keep: Sequence[str] = ()) -> int:
        return self._give_back(lease, "el", "all", keep) if tags is None else self._give_back(lease, "el", "some", tags)

    def promote(self, queues: Sequence[str], now: float, *, limit: int = 1000) -> tuple[int, float | None]:
        names = list(dict.fromkeys(queues))
        arguments: list[Argument] = [repr(float(now)), limit, *self._places(), *names]
        count, due = self._connection.run(_PROMOTE, self._schedules(names), arguments)
        return int(count), None if due is None else float(due)

    def unpark(self, tasks: Collection[str], queues: Sequence[str], *, limit: int = 1000) -> int:
        return parking.unpark(self._connection, self._keys, tasks, list(dict.fromkeys(queues)), limit)

    def wait(self, queues: Sequence[str], timeout_s: float, fds: Sequence[int] = ()) -> None:
        if self._paused:
            paused = turns.names_of(self._paused)
            queues = [name for name in queues if name not in paused]
        lists, _ = turns.sources(self._keys, tuple(queues))
        self._alarm.wait([str(name) for name in lists], timeout_s, fds, known=self._paused)

    # -- operators ----------------------------------------------------------------------------------------------------

    def queues(self) -> list[str]:
        return operators.queues(self._connection, self._keys)

    def depth(self, queues: Sequence[str]) -> list[Depth]:
        return operators.depth(self._connection, self._keys, queues, self._clock.wall())

    def parked(self, queues: Sequence[str]) -> list[Parked]:
        return parking.counts(self._connection, self._keys, queues)

    def held(self, owners: Sequence[str], *, limit: int, tags: Collection[str] | None = None) -> list[Delivery]:
        return holdings.held(self._connection, self._keys, owners, limit, tags)

    def delayed(self, queues: Sequence[str], *, limit: int) -> tuple[int, list[tuple[float, Delivery]]]:
        return holdings.delayed(self._connection, self._keys, queues, limit)

    def purge(self, queue: str) -> int:
        return operators.purge(self._connection, self._keys, queue)

    def dead_letters(self, queue: str | None = None, *, limit: int = 100, before: str | None = None) -> list[DeadLetter]:
        return operators.dead_letters(self._connection, self._keys, queue, limit, before, self._clock.wall())

    def drop_dead(self, ids: Sequence[str]) -> int:
        return operators.drop_dead(self._connection, self._keys, ids)

    def handback(self, queues: Sequence[str], *, limit: int = 1000) -> int:
        names = list(dict.fromkeys(queues))
        arguments: list[Argument] = [limit, *self._places(), *names]
        return int(self._connection.run(_HANDBACK, self._schedules(names), arguments))

    def restore_foreign(self, visibility_timeout_s: float | None = None, *, limit: int = 1000) -> int:
        """Put back what dead Celery workers left in `unacked` for longer than `visibility_timeout_s` (by default the
        transport option `visibility_timeout`, 3600), as a Celery worker would; returns how many.

        Never touches what a Sedano owner holds, dead or alive: a reaper takes that over. Not part of the contract.
        """
        timeout_s = self._visibility_timeout_s if visibility_timeout_s is None else visibility_timeout_s
        return restore_foreign(self._connection, self._keys, self._router, timeout_s, limit, self._clock.wall())

    # -- workflows ----------------------------------------------------------------------------------------------------

    def workflow(self, workflow_id: str) -> bytes | None:
        return workflows.read(self._connection, self._keys, workflow_id, self._clock.wall())

    def workflows(self, *, limit: int = 100, skip: int = 0) -> list[tuple[str, bytes]]:
        return workflows.page(self._connection, self._keys, limit, skip, self._clock.wall())

    def locate(self, task_ids: Collection[str], queues: Sequence[str], *, most: int) -> tuple[dict[str, Place], bool]:
        return workflows.locate(self._connection, self._keys, task_ids, queues, most, self._clock.wall())

    def find(self, task_id: str, queues: Sequence[str], *, most: int) -> tuple[Found | None, bool]:
        return workflows.find(self._connection, self._keys, task_id, queues, most, self._clock.wall())

    # -- connection ---------------------------------------------------------------------------------------------------

    def reconnect(self) -> None:
        self._connection.close()
        self._connection.connect()

    def close(self) -> None:
        self._connection.close()

    # -- inside -------------------------------------------------------------------------------------------------------

    def _settle_arguments(self, lease: Lease, settle: Sequence[Settlement]) -> list[Argument]:
        outgoing: list[list[Argument]] = []
        requeues: dict[str, bytes] = {}
        now = 0.0
        for settlement in settle:
            if (settlement.fate is Fate.DEAD) != (settlement.dead is not None):
                raise ValueError(f"settlement of {settlement.tag}: a dead note belongs to the fate DEAD, and only to it")
            if settlement.fate is Fate.REQUEUE:
                requeues[settlement.tag] = requeued(self._raw_of(lease, settlement.tag))
            elif settlement.fate is Fate.DEAD:
                now = self._clock.wall()
        if any(settlement.messages_out for settlement in settle):
            outgoing = self._sendings(settle)
        return turns.settle_arguments(settle, outgoing, self._writer, requeues, now)

    def _sendings(self, settle: Sequence[Settlement]) -> list[list[Argument]]:
        """The messages out of each settlement, their exchanges looked up together."""
        messages = [message for settlement in settle for message in settlement.messages_out]
        sendings = iter(self._router.sendings(messages))
        return [[part for _ in settlement.messages_out for part in next(sendings)] for settlement in settle]

    def _raw_of(self, lease: Lease, tag: str) -> bytes:
        """The envelope of what the lease holds; b"" when it does not hold it (any more)."""
        known = self._raws.get(lease.owner, {}).get(tag)
        if known is not None:
            return known
        return bytes(self._connection.command("HGET", self._keys.own("kept." + lease.owner), tag) or b"")

    def _give_back(self, lease: Lease, standings: str, which: str, tags: Sequence[str]) -> int:
        lease_key, held, kept, pending = self._keys_of(lease.owner)
        count = self._connection.run(
            _GIVE_BACK,
            (lease_key, held, kept, self._keys.unacked, self._keys.unacked_index, pending, self._keys.own("owners")),
            (lease.fence, lease.owner, self._keys.prefix, self._keys.separator, standings, which, *tags),
        )
        self._alive(lease, count)
        if which == "some":
            self._forget(lease, tags)
        else:
            self._raws.pop(lease.owner, None)  # what is begun is fetched if it is ever requeued
        return int(count)

    def _set_aside(self, lease: Lease, deliveries: Sequence[Delivery]) -> None:
        """Bytes that slipped through the script's look must not stay where they stop Celery's restore."""
        tags = [delivery.tag for delivery in deliveries if delivery.message is None]
        if tags:
            lease_key, held, _, _ = self._keys_of(lease.owner)
            keys = (lease_key, held, self._keys.unacked, self._keys.unacked_index)
            self._connection.run(_ASIDE, keys, (lease.fence, *tags))

    def _alive(self, lease: Lease, reply: Reply) -> Reply:
        """`reply`, unless it says that the lease is lost."""
        if reply is None:
            self._raws.pop(lease.owner, None)
            raise LeaseLost(lease.owner)
        return reply

    def _remember(self, lease: Lease, deliveries: Sequence[Delivery]) -> None:
        raws = self._raws.setdefault(lease.owner, {})
        for delivery in deliveries:
            raws[delivery.tag] = delivery.raw

    def _forget(self, lease: Lease, tags: Sequence[str]) -> None:
        raws = self._raws.get(lease.owner)
        if raws:
            for tag in tags:
                raws.pop(tag, None)

    def _refresh_bindings(self) -> None:
        now = self._clock.monotonic()
        if self._router.has_expiring and now - self._bindings_refreshed_at >= REFRESH_BINDINGS_S:
            self._bindings_refreshed_at = now
            self._router.refresh()

    def _keys_of(self, owner: str) -> tuple[str, str, str, str]:
        own = self._keys.own
        return own("lease." + owner), own("held." + owner), own("kept." + owner), own("pending." + owner)

    def _turn_keys(self, owner: str) -> tuple[str, ...]:
        own = self._keys.own
        return (
            *self._keys_of(owner),
            self._keys.unacked,
            self._keys.unacked_index,
            own("sequence"),
            own("revision"),
            own("delayed."),
            *operators.letter_keys(self._keys),
            own("paused"),
        )

    def _places(self) -> tuple[str, str, str]:
        """What a script needs to make names of lists and of our keys."""
        return self._keys.prefix, self._keys.separator, self._keys.own("")

    def _schedules(self, queues: Sequence[str]) -> list[str]:
        return [self._keys.own("delayed." + queue) for queue in queues]
