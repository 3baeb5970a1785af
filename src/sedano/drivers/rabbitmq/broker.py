"""The life of a delivery on RabbitMQ. Keeps the promises of `contracts/broker.py`, as far as docs/reliability.md says.

Deliveries belong to a connection, so one object of one process (the supervisor's) holds them for all of its slots: leases and
holdings are in its memory, as in the memory driver; what is ready is on the server, and a little of it in the buffers of
`consuming.py`. The server is the reaper: when the connection is gone it gives whatever was not acknowledged to somebody else.

What goes out in a turn (messages, dead letters, calls to be counted) is confirmed before anything is acknowledged, and what is
acknowledged has reached the server before a call begins. A late call whose result goes to another store is acknowledged when
its result is there: it stands for its own pending.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence

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
    Standing,
    Taken,
    TurnOrder,
    TurnReply,
    pending_key,
    pending_of,
)
from sedano.drivers.owners import Held, Owner, Owners
from sedano.drivers.rabbitmq import outgoing as outgoings
from sedano.drivers.rabbitmq.appetite import LONG_S, Appetite
from sedano.drivers.rabbitmq.asides import Numbers, dead_queue, letter, parked_queue
from sedano.drivers.rabbitmq.begun import BegunRecords, Lost
from sedano.drivers.rabbitmq.connection import Connection
from sedano.drivers.rabbitmq.consuming import NEVER, Intake, Item
from sedano.drivers.rabbitmq.declaring import NOT_FOUND, RESOURCE_LOCKED
from sedano.drivers.rabbitmq.errors import ChannelClosed
from sedano.drivers.rabbitmq.opened import PATIENCE_S, Opened
from sedano.drivers.rabbitmq.operators import Operators
from sedano.drivers.rabbitmq.publishing import Ready
from sedano.drivers.rabbitmq.soon import Soon
from sedano.drivers.rabbitmq.stored import fill, is_marked, may_wait, task_of
from sedano.exceptions import BrokerUnavailable, LeaseLost, OperationalError
from sedano.log import get_logger

logger = get_logger(__name__)

_BEGUN = (Standing.BEGUN_EARLY, Standing.BEGUN_LATE)
_PROBE_S = 5.0  # P7: a consuming connection is used at least every ten seconds
_AGAIN_S = 2.0
_ALARM_S = 30.0  # for so long a server that was full is not asked to keep records
_FIRST_S = 0.002  # the first message of a consumer that was started just now is on its way


class RabbitBroker:
    """One node's, or one producer's. `opened` makes its connections when they are needed."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._clock = opened.options.clock
        self._publisher = opened.publisher
        self._declaring = opened.declaring
        self._operators = Operators(opened)
        self._connection: Connection | None = None
        self._intake: Intake | None = None
        self._epoch = 0
        self._lost: str | None = None  # why the connection is gone, until somebody reconnects
        self._owners: Owners[Item] = Owners()
        self._waiting_acks: dict[str, list[Item]] = {}  # of late calls whose result is on its way to another store, by key
        self._appetite = Appetite()
        self._soon: Soon[Item] = Soon()
        self._numbers = Numbers()
        self._rule: BeginRule | None = None  # the last that was given: it tells which calls are begun late
        self._records: BegunRecords | None = None  # of what is begun early; where it makes sense, and from the first lease on
        self._attach_at = -math.inf
        self._unrecorded_until = -math.inf
        self._recorded: dict[str, list[str]] = {}  # key of a pending -> tags of calls that are over when it is stored
        self._asked_at = -math.inf
        self._marks: deque[int] = deque()  # that somebody waits for
        self._queues: tuple[str, ...] = ()
        self._capabilities = Capabilities(
            source=Source.SUPERVISOR,
            shared_results=opened.writes_results,
            schedule=True,
            many_processes=True,
            wait_fds=True,
            pushes=True,
        )

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    # -- producers ----------------------------------------------------------------------------------------------------

    def publish(self, messages: Sequence[Outgoing]) -> None:
        self._send([self._ready(message) for message in messages])

    def declare(self, queues: Iterable[QueueSpec]) -> None:
        specs = list(queues)
        self._publisher.declare(specs)
        self._opened.join_native_delay(specs)

    def _ready(self, message: Outgoing) -> Ready:
        if message.parked:
            self._declaring.know(parked_queue(message.routing_key))
        return outgoings.ready(message, self._clock.wall(), self._opened.levels_of)

    def _send(self, messages: Sequence[Ready]) -> None:
        for queue in {each.delayed_to for each in messages if each.delayed_to}:
            self._opened.delays_to(queue)
        if any(each.exchange == self._opened.native.entry and not each.delayed_to for each in messages):
            self._opened.make(self._opened.native)
        self._publisher.send(messages)

    # -- leases -------------------------------------------------------------------------------------------------------

    def register(self, owner: str, node: str) -> Lease:
        self._connected()
        lease = self._owners.register(owner, node)
        if self._records is None and self._opened.records_begun and self._connection is not None:
            self._records = BegunRecords(node, self._opened.try_out, self._opened.record_ttl_s)
            self._attach_records()
        return lease

    def _attach_records(self) -> None:
        if self._records is None or self._connection is None:
            return
        try:
            self._records.attach(self._connection)
        except ChannelClosed as exc:
            if exc.code == RESOURCE_LOCKED:  # the server has not noticed yet that the connection before is gone
                self._attach_at = self._clock.monotonic() + _AGAIN_S
                return
            logger.error("What is begun early cannot be written down: a call that is lost with its node stays PENDING: %s", exc)
            self._records = None

    def refence(self, lease: Lease) -> Lease:
        return self._owners.alive(lease).lease

    def renew(self, leases: Sequence[Lease]) -> list[Lease]:
        self._connected()
        lost: list[Lease] = []
        for lease in leases:
            try:
                self._owners.alive(lease).beats += 1
            except LeaseLost:
                lost.append(lease)
        return lost

    def leases(self) -> list[LeaseRecord]:
        """Of this node's slots; and of windows that a dead node has begun early, one lease for each."""
        self._connected()
        lost = self._records.leases() if self._records is not None else []
        return [*self._owners.records(), *lost]

    def take_over(self, record: LeaseRecord, by: Lease, *, limit: int, force: bool = False) -> Taken:
        taker = self._owners.alive(by)
        if self._records is not None and (lost := self._records.take(record.owner)) is not None:
            return self._take_lost(lost, taker)
        taken, pendings, more = self._owners.take_over(record, taker, limit, force=force)
        self._appetite.gone(record.owner)
        return Taken([self._delivery(held) for held in taken], pendings, more)

    def _take_lost(self, lost: Lost, taker: Owner[Item]) -> Taken:
        assert self._records is not None
        held: list[Held[Item]] = []
        for queue, raw in lost.calls:
            one = self._owners.hold(taker, Item(queue, 0, -1, raw, redelivered=True, acked=True))
            one.standing = Standing.BEGUN_EARLY
            held.append(one)
        self._records.taken(lost, [one.tag for one in held])
        return Taken([self._delivery(one) for one in held])

    def retire(self, lease: Lease) -> int:
        owner = self._owners.alive(lease)
        count = self._put_back(owner, list(owner.held), Standing.RESERVED)
        self._owners.drop_if_empty(owner)
        self._appetite.gone(lease.owner)
        self._give_up_what_nobody_takes(at_once=True)
        return count

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
        order = TurnOrder(
            lease, list(settle), list(delay), list(begin), reserve, list(queues), list(stored), begin_new
        )  # fmt: skip
        reply, mark = self.turn_ahead(order)
        if mark:
            self._guarded(lambda intake: intake.await_mark(mark, PATIENCE_S))
            self._marks.remove(mark)
        return reply

    def turn_ahead(self, order: TurnOrder) -> tuple[TurnReply, int]:
        """What `turn` returns, before the server has said that it has done its part: the reply may be given out when the mark
        is `reached`; 0: at once."""
        lease, begin, reserve, queues = order.lease, order.begin, order.reserve, order.queues
        owner = self._owners.alive(lease)
        intake = self._connected()
        if reserve:
            intake.prepare(queues)  # what cannot be had is said before anything is done
        now = self._clock.monotonic()
        self._appetite.came(lease.owner, reserve, now)
        reply = TurnReply()
        acks = self._leave(owner, order, reply)
        for start in begin:
            acks += self._begin(owner, start, reply)
        if reply.begun:
            self._appetite.went(lease.owner, now)
        if self._records is not None and reply.begun:
            self._write_down([owner.held[tag] for tag in reply.begun])
        mark = 0
        if acks or reserve or reply.begun:
            mark = self._exchange(acks, queues if reserve else self._queues, now)
        if reserve:
            self._queues = tuple(queues)
            mark = self._reserve(owner, queues, reserve, order.begin_new, reply) or mark
        if mark:
            self._marks.append(mark)
        return reply, mark

    def reached(self, mark: int) -> bool:
        """Whether the server has done all that was sent before `mark`. Raises BrokerUnavailable when that cannot be known."""
        if self._intake is None or not self._intake.is_open:
            raise BrokerUnavailable(self._lost or "the server closed the channel")
        return self._intake.reached(mark)

    def pendings(self, lease: Lease) -> list[Pending]:
        return list(self._owners.alive(lease).pendings.values())

    def release(self, lease: Lease, tags: Sequence[str] | None) -> int:
        owner = self._owners.alive(lease)
        return self._put_back(owner, list(owner.held) if tags is None else tags, Standing.RESERVED)

    def unbegin(self, lease: Lease, tags: Sequence[str] | None, *, keep: Sequence[str] = ()) -> int:
        owner = self._owners.alive(lease)
        kept = frozenset(keep)
        wanted = [tag for tag in owner.held if tag not in kept] if tags is None else tags
        gone = [owner.held[tag] for tag in dict.fromkeys(wanted) if owner.has(tag, *_BEGUN) and owner.held[tag].item.acked]
        if gone:  # the server has forgotten them: they are published again before they leave our hands
            self._send([outgoings.same(held.item.raw, held.item.queue) for held in gone])
            for held in gone:
                self._is_over(held)
        return self._put_back(owner, wanted, *_BEGUN)

    def promote(self, queues: Sequence[str], now: float, *, limit: int = 1000) -> tuple[int, float | None]:  # noqa: ARG002
        """The server brings back what is due; what is due within a second is brought back here."""
        return self._promote_soon(now), self._soon.next_due()

    def unpark(self, tasks: Collection[str], queues: Sequence[str], *, limit: int = 1000) -> int:
        return self._operators.unpark(tasks, queues, limit)

    def wait(self, queues: Sequence[str], timeout_s: float, fds: Sequence[int] = ()) -> None:
        until = self._clock.monotonic() + timeout_s
        while True:
            intake = self._connected()
            self._promote_soon(self._clock.wall())
            self._give_up_what_nobody_takes()
            if self._records is not None and not self._records.is_attached and self._clock.monotonic() >= self._attach_at:
                self._attach_records()
            now = self._clock.monotonic()
            if any(intake.ready(queue) for queue in queues):
                return
            if queues:
                self._queues = tuple(queues)
                intake.ask(queues, max(1, self._appetite.total(now)), self._held_here)
            if now - self._asked_at >= _PROBE_S:
                self._guarded(lambda intake: intake.probe(PATIENCE_S))
                continue  # something may have come with the answer
            if self._has_reached_one():  # by what came while something else was done: nothing more has to come for it
                return
            pause = max(0.0, min(until - now, self._next_look_s(now)))
            came = self._pump(pause, fds)
            after = self._clock.monotonic()
            if came and self._has_reached_one():
                return
            if after >= until or (not came and after - now < pause):  # the time is over, or a descriptor is readable
                return

    def _has_reached_one(self) -> bool:
        """Whether one of the marks that are waited for has been reached since the last look."""
        found = False
        while self._marks and self._intake is not None and self._intake.reached(self._marks[0]):
            self._marks.popleft()
            found = True
        return found

    def _next_look_s(self, now: float) -> float:
        """When something is to be done without anything coming, in seconds."""
        soonest = self._asked_at + _PROBE_S - now
        due = self._soon.next_due()
        if due is not None:
            soonest = min(soonest, due - self._clock.wall())
        if self._intake is not None and self._intake.any_ready:
            soonest = min(soonest, LONG_S)
        return soonest

    # -- operators ----------------------------------------------------------------------------------------------------

    def queues(self) -> list[str]:
        return self._operators.queues()

    def depth(self, queues: Sequence[str]) -> list[Depth]:
        here = {queue: self._owners.count(queue) for queue in queues}
        buffered = {queue: self._intake.ready(queue) if self._intake is not None else 0 for queue in queues}
        return self._operators.depth(queues, here, buffered)

    def parked(self, queues: Sequence[str]) -> list[Parked]:
        return self._operators.parked(queues)

    def held(self, owners: Sequence[str], *, limit: int, tags: Collection[str] | None = None) -> list[Delivery]:
        wanted, names = None if tags is None else frozenset(tags), frozenset(owners)
        held = [each for owner in self._owners.all() if owner.lease.owner in names for each in owner.held.values()]
        held = [each for each in held if wanted is None or each.tag in wanted]
        held.sort(key=lambda each: (each.standing is Standing.RESERVED, each.order))
        return [self._delivery(each) for each in held[:limit]]

    def delayed(self, queues: Sequence[str], *, limit: int) -> tuple[int, list[tuple[float, Delivery]]]:
        """Of those that are due within a second: the server does not show what its delay queues hold."""
        entries = [(due, item) for due, item in self._soon.entries() if item.queue in queues]
        return len(entries), [(due, self._delivery(Held("", item, 0))) for due, item in entries[:limit]]

    def purge(self, queue: str) -> int:
        count = self._operators.purge(queue)
        if self._intake is not None:
            count += self._intake.drop_buffered(queue)
            self._flush()
        return count

    def dead_letters(self, queue: str | None = None, *, limit: int = 100, before: str | None = None) -> list[DeadLetter]:
        return self._operators.dead_letters(queue, limit=limit, before=before)

    def drop_dead(self, ids: Sequence[str]) -> int:
        return self._operators.drop_dead(ids)

    def handback(self, queues: Sequence[str], *, limit: int = 1000) -> int:
        """Parked calls; those that are delayed come back by themselves, in Celery's form."""
        return self._operators.unpark(None, queues, limit)

    # -- workflows: the server keeps no records, and shows no message without taking it ------------------------------------

    def workflow(self, workflow_id: str) -> bytes | None:  # noqa: ARG002
        return None

    def workflows(self, *, limit: int = 100, skip: int = 0) -> list[tuple[str, bytes]]:  # noqa: ARG002
        return []

    def locate(
        self,
        task_ids: Collection[str],  # noqa: ARG002
        queues: Sequence[str],  # noqa: ARG002
        *,
        most: int,  # noqa: ARG002
    ) -> tuple[dict[str, Place], bool]:
        return {}, False

    def find(self, task_id: str, queues: Sequence[str], *, most: int) -> tuple[Found | None, bool]:  # noqa: ARG002
        return None, False

    # -- connection ---------------------------------------------------------------------------------------------------

    def reconnect(self) -> None:
        if self._lost is None and (self._connection is None or self._connection.is_open):
            if not self._publisher.is_open:
                self._publisher.close()
            return
        self._let_go()
        self._publisher.close()
        self._lost = None
        try:
            self._connected()
        except OperationalError as exc:
            self._lost = str(exc)
            raise

    def close(self) -> None:
        """The server takes back what was not acknowledged."""
        self._let_go()
        self._publisher.close()

    # -- the connection that consumes ---------------------------------------------------------------------------------------

    def _connected(self) -> Intake:
        """The channel that consumes, on a connection of its own; made when it is first needed. Raises BrokerUnavailable while
        nobody has reconnected, when nobody can, and once after the server has closed the channel: what was in hand is not."""
        if self._lost is not None:
            raise BrokerUnavailable(self._lost)
        if self._connection is not None and not self._connection.is_open:
            self._was_lost("the connection is closed")
            raise BrokerUnavailable("the connection is closed")
        if self._connection is None:
            try:
                self._connection = self._opened.connect("consumer")
                self._attach_records()
            except OperationalError as exc:
                self._was_lost(str(exc))
                raise
        if self._intake is not None and not self._intake.is_open:
            why = self._intake.closed_why
            self._channel_closed(why)
            raise BrokerUnavailable(f"the server closed the channel: {why}")
        if self._intake is None:
            self._epoch += 1
            try:
                self._intake = Intake(self._connection, self._epoch, self._prepare, self._declaring.lost)
            except BrokerUnavailable as exc:
                self._was_lost(str(exc))
                raise
            self._asked_at = self._clock.monotonic()
        return self._intake

    def _prepare(self, queue: str) -> QueueSpec:
        self._publisher.ensure([queue])
        return self._declaring.spec_of(queue)

    def _channel_closed(self, why: ChannelClosed | None) -> None:
        if why is not None and why.code == NOT_FOUND:
            self._declaring.forget()  # somebody has deleted a queue that nobody consumed
        if why is not None and "timed out" in str(why):
            logger.error(
                "The server took back every message of this node, because one was not acknowledged for longer than its"
                " consumer_timeout allows: %s. Late-ack tasks that run longer need a higher consumer_timeout on the server",
                why,
            )
        else:
            logger.warning("The server closed the channel; what was not acknowledged goes to somebody else: %s", why)
        self._forget_deliveries()

    def _forget_deliveries(self) -> None:
        """What was not acknowledged is the server's again. Calls begun early are still ours; but where it cannot be known that
        the server heard of that, it may give them to somebody else. They are not begun then, and no slot was told that they
        are: if it heard, their record comes back, and they are recorded as lost."""
        intake, doubted = self._intake, []
        for owner in self._owners.all():
            for tag, held in list(owner.held.items()):
                if not held.item.acked:
                    del owner.held[tag]
                elif intake is not None and held.item.epoch == intake.epoch and not intake.reached(held.item.mark):
                    del owner.held[tag]
                    doubted.append(tag)
        if self._records is not None:
            self._records.doubt(doubted)
        self._waiting_acks.clear()
        self._marks.clear()
        self._soon.drop(lambda item: not item.acked)
        self._intake = None

    def _was_lost(self, why: str) -> None:
        self._lost = why
        self._let_go()

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        self._forget_deliveries()
        if self._records is not None:
            self._records.detach()
        if connection is not None:
            if connection.blocked is not None and self._records is not None:
                # It reads nothing more from who publishes: a node has to go on acknowledging, or there is never room again.
                self._unrecorded_until = self._clock.monotonic() + _ALARM_S
                logger.warning(
                    "The server takes no messages now: %s. For %d s it is not told what is begun early; of what is lost"
                    " with its node meanwhile nobody knows",
                    connection.blocked,
                    _ALARM_S,
                )
            connection.close()

    def _pump(self, timeout_s: float, fds: Sequence[int] = ()) -> bool:
        self._connected()
        assert self._connection is not None
        try:
            came = self._connection.pump(timeout_s, fds)
            if self._connection.blocked is not None:  # nor reads acknowledgements: records were published here
                raise BrokerUnavailable(f"the server has stopped reading: {self._connection.blocked}")
        except BrokerUnavailable as exc:
            self._was_lost(str(exc))
            raise
        self._publisher.keep_alive()
        self._connected()
        return came

    def _flush(self) -> None:
        if self._connection is None:
            return
        try:
            self._connection.flush()
        except BrokerUnavailable as exc:
            self._was_lost(str(exc))
            raise

    def _guarded(self, wait: Callable[[Intake], None]) -> None:
        """Wait for the server's answer."""
        intake = self._connected()
        try:
            wait(intake)
        except ChannelClosed:
            self._connected()
            raise
        except BrokerUnavailable as exc:
            self._was_lost(str(exc))
            raise
        self._asked_at = self._clock.monotonic()

    def _give_up_what_nobody_takes(self, *, at_once: bool = False) -> None:
        """What lies here while every slot is busy could run elsewhere."""
        intake = self._intake
        if intake is None or not intake.is_open:
            return
        now = self._clock.monotonic()
        if self._appetite.total(now) == 0 and (at_once or intake.idle_for(now) > LONG_S) and intake.any_ready:
            self._hand_over(intake, is_end=at_once)
            if intake.give_back():
                self._flush()

    def _hand_over(self, intake: Intake, *, is_end: bool) -> None:
        """What is given back comes marked as redelivered, as what was lost does. A late call would be counted for that though
        it never ran, so it goes back as a new message, to the tail; and so does what may be late, when no slot has told; and in
        the end what the server has forgotten already."""
        rule = self._rule

        def counts(item: Item) -> bool:
            if intake.is_own(item.queue):
                return False
            if item.acked:
                return is_end
            if item.redelivered:
                return False
            return rule is None or rule.early is (task_of(item.raw) in rule.exceptions)

        queues = intake.queues_with(counts)
        if not queues:
            return
        for queue in queues:
            intake.cancel(queue)
        self._guarded(lambda intake: intake.probe(PATIENCE_S))  # or they would come back here
        late = intake.take_out(counts)
        try:
            self._send([outgoings.same(item.raw, item.queue) for item in late])
        except OperationalError:
            intake.put_first(late)
            return
        intake.ack(late)

    # -- parts of a turn ----------------------------------------------------------------------------------------------

    def _leave(self, owner: Owner[Item], order: TurnOrder, reply: TurnReply) -> list[Item]:
        """Publish what goes out, and take what is over out of the owner's hands; what is to be acknowledged."""
        out: list[Ready] = []
        ends: list[tuple[Held[Item] | None, Settlement]] = []
        seen: set[str] = set()
        pendings = owner.pendings.keys() - order.stored
        for settlement in order.settle:
            held, key = owner.held.get(settlement.tag), pending_key(settlement.tag)
            if settlement.tag in seen or (held is None and key not in pendings):
                reply.refused.append(settlement.tag)
                continue
            if held is not None and (settlement.fate is Fate.DEAD) != (settlement.dead is not None):
                raise ValueError(f"settlement of {settlement.tag}: a dead note belongs to the fate DEAD, and only to it")
            seen.add(settlement.tag)
            ends.append((held, settlement))
            out += self._goes_out(held, settlement)
        moves: list[tuple[Held[Item], float, bool]] = []
        for move in order.delay:
            held = owner.held.get(move.tag)
            if held is None or move.tag in seen:
                reply.refused.append(move.tag)
                continue
            seen.add(move.tag)
            left_s = move.due - self._clock.wall()
            if held.item.acked:  # nobody but us has it: it cannot wait in our hands
                left_s = max(1.0, left_s)
            moved = outgoings.delayed(held.item.raw, held.item.queue, left_s, self._opened.levels_of)
            moves.append((held, move.due, moved is not None))
            if moved is not None:
                out.append(moved)
        counted = self._to_be_counted(owner, order.begin, seen)
        self._send([*out, *(copy for _, copy in counted)])
        for item, _ in counted:
            item.goes_round = True
        acks = [item for key in order.stored for item in self._stored(owner, key)]
        acks += [item for held, settlement in ends for item in self._end(owner, held, settlement)]
        for held, due, is_sent in moves:
            acks += self._move(owner, held, due, is_sent=is_sent)
        return acks

    def _goes_out(self, held: Held[Item] | None, settlement: Settlement) -> list[Ready]:
        out = [self._ready(message) for message in settlement.messages_out]
        if self._capabilities.shared_results:
            out += [ready for write in settlement.writes if (ready := self._opened.result_message(write)) is not None]
        if held is None:
            return out
        if settlement.dead is not None:
            self._declaring.know(dead_queue(held.item.queue, settlement.dead))
            kept = letter(held.item.raw, held.item.queue, settlement.dead, self._numbers.next())
            out += [kept] if kept is not None else []
        elif settlement.fate is Fate.REQUEUE:
            out.append(outgoings.redelivered(held.item.raw, held.item.queue))
        return out

    def _end(self, owner: Owner[Item], held: Held[Item] | None, settlement: Settlement) -> list[Item]:
        """It is over; what of it may be acknowledged now."""
        if held is None:
            return self._stored(owner, pending_key(settlement.tag) or "")
        del owner.held[held.tag]
        pending = None if self._capabilities.shared_results else pending_of(settlement)
        if pending is None:
            self._is_over(held)
            return [held.item]
        owner.pendings[pending.key] = pending
        if not held.item.acked:
            self._waiting_acks.setdefault(pending.key, []).append(held.item)
        elif self._records is not None:
            self._recorded.setdefault(pending.key, []).append(held.tag)
        return []

    def _is_over(self, held: Held[Item]) -> None:
        if held.item.acked and self._records is not None:
            self._records.over([held.tag])

    def _stored(self, owner: Owner[Item], key: str) -> list[Item]:
        """A pending is done."""
        owner.pendings.pop(key, None)
        if self._records is not None and (tags := self._recorded.pop(key, None)) is not None:
            self._records.over(tags)
        return self._waiting_acks.pop(key, [])

    def _move(self, owner: Owner[Item], held: Held[Item], due: float, *, is_sent: bool) -> list[Item]:
        del owner.held[held.tag]
        self._is_over(held)
        if is_sent:
            return [held.item]
        self._soon.add(due, held.item)
        return []

    def _to_be_counted(self, owner: Owner[Item], begin: Sequence[Begin], seen: set[str]) -> list[tuple[Item, Ready]]:
        """A call that somebody had before, and that is begun so that it may come again: how often it was lost stands in the
        message, so it goes round once more with its count. A classic queue counts nothing itself."""
        out: list[tuple[Item, Ready]] = []
        for order in begin:
            held = owner.held.get(order.tag)
            if order.early or order.tag in seen or held is None or held.standing is not Standing.RESERVED:
                continue
            if held.item.redelivered and (copy := outgoings.counted(held.item.raw, held.item.queue)) is not None:
                out.append((held.item, copy))
        return out

    def _begin(self, owner: Owner[Item], order: Begin, reply: TurnReply) -> list[Item]:
        held = owner.held.get(order.tag)
        if held is None:
            reply.refused.append(order.tag)
            return []
        if held.item.goes_round:
            del owner.held[order.tag]
            return [held.item]
        if held.standing is Standing.RESERVED:
            held.standing = Standing.BEGUN_EARLY if order.early else Standing.BEGUN_LATE
        reply.begun.append(order.tag)
        return [held.item] if held.standing is Standing.BEGUN_EARLY else []

    def _write_down(self, held: Iterable[Held[Item]]) -> None:
        """Those of `held` that are begun early by this step, before they are acknowledged."""
        if self._records is None or self._clock.monotonic() < self._unrecorded_until:
            return
        calls = [
            (each.tag, each.item.queue, each.item.raw)
            for each in held
            if each.standing is Standing.BEGUN_EARLY and not each.item.acked
        ]
        if calls:
            self._records.frames(self._connected().channel, calls)

    def _exchange(self, acks: Sequence[Item], queues: Sequence[str], now: float) -> int:
        """Acknowledge, and let the server push what the slots will take now. The mark that is reached when it has done so."""
        intake = self._connected()
        changed = intake.ask(queues, self._appetite.total(now), self._held_here)
        if intake.ack(acks):
            mark = intake.mark()
            for item in acks:
                item.mark = mark if item.mark == NEVER else item.mark
            self._pump(0)
            return mark
        if changed and not any(intake.ready(queue) for queue in queues):
            self._pump(_FIRST_S)
        else:
            self._pump(0)
        return 0

    def _held_here(self, queue: str) -> int:
        """How many unacknowledged messages of `queue` slots have in hand."""
        return self._intake.held(queue) if self._intake is not None else 0

    def _reserve(
        self, owner: Owner[Item], queues: Sequence[str], reserve: int, rule: BeginRule | None, reply: TurnReply
    ) -> int:
        intake = self._connected()
        items, reply.more = intake.take(queues, reserve)
        held = [self._owners.hold(owner, item) for item in items]
        reply.reserved = [self._delivery(each) for each in held]
        if rule is None:
            return 0
        self._rule = rule
        standings = rule.standings((task_of(item.raw), item.redelivered or is_marked(item.raw)) for item in items)
        early: list[Item] = []
        for each, delivery, standing in zip(held, reply.reserved, standings, strict=False):
            if may_wait(each.item.raw) or (standing is Standing.BEGUN_LATE and each.item.redelivered):
                break  # it may not be due; it is counted when it is begun
            each.standing = delivery.standing = standing
            if standing is Standing.BEGUN_EARLY:
                early.append(each.item)
        if standings:
            self._appetite.went(owner.lease.owner, self._clock.monotonic())
        self._write_down(held)
        return self._exchange(early, queues, self._clock.monotonic()) if early else 0

    def _put_back(self, owner: Owner[Item], tags: Sequence[str], *standings: Standing) -> int:
        items = self._owners.take(owner, tags, *standings)
        if self._intake is not None:
            self._intake.put_first(item for item in items if not item.acked or Standing.RESERVED in standings)
        return len(items)

    def _promote_soon(self, now: float) -> int:
        due = self._soon.take(now)
        if due and self._intake is not None:
            self._intake.put_first(due)
        return len(due)

    def _delivery(self, held: Held[Item]) -> Delivery:
        item = held.item
        delivery = Delivery(held.tag, item.queue, item.raw, None, redelivered=item.redelivered, standing=held.standing)
        if not self._opened.leaves_unread:
            fill(delivery)
        return delivery
