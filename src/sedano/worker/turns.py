"""One slot's dealings with its broker: what waits to be sent, the turn that sends it, and everything that can go wrong.

What waits here is also in the store's lease and, once it ran, in the shared table: if this process dies, somebody else finds
it there. What each failure does:

    BrokerUnavailable   reconnect with backoff, give back what is only reserved, repeat settle and begin: both are known by tag
    LeaseLost           the settlements are refused for good: say so; drop everything in hand; a new lease
    StoreFull           settle alone, again and again; after `FULL_PATIENCE_S` without the results that do not fit, which are
                        named in the log
    any other refusal   settle one by one; the one that is refused alone goes in a form that the store must take. So does one
                        over which a connection breaks again and again that works otherwise
"""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from sedano.contracts import Begin, BeginRule, Broker, Delay, Lease, Outcome, Pending, Settlement, Standing, TurnReply
from sedano.crashpoints import reach
from sedano.exceptions import BrokerUnavailable, LeaseLost, OperationalError, ResultsUnavailable, StoreFull
from sedano.polling import POLLIN, new_poll
from sedano.rules.lease import may_begin
from sedano.worker.context import SlotContext
from sedano.worker.gate import Wait
from sedano.worker.held import Held
from sedano.worker.lines import one_line
from sedano.worker.reconnect import Reconnection
from sedano.worker.row import LEAVE
from sedano.worker.settle import Settler
from sedano.worker.stash import QueueOrder, Stash

_logger = logging.getLogger("celery.worker.consumer.consumer")

T = TypeVar("T")

RAN = frozenset({Outcome.SUCCESS, Outcome.FAILURE, Outcome.RETRY, Outcome.IGNORED, Outcome.REJECTED})
FULL_PATIENCE_S = 60.0  # results are worth waiting for, but settling without them empties a store that they have filled
FULL_WAIT_S = 1.0  # or less: whoever wakes the slot makes it try again
MOST_BREAKS = 6
BREAK_WAIT_S = 2.0


class LeaseGone(Exception):
    """The lease was taken over; everything in hand is dropped already."""


class GivenUp(Exception):
    """The slot is to stop and its broker did not come back in a lease time."""


class Turns:
    """Not thread-safe; belongs to one slot. `url` is the broker's, without its password.

    `unsure`: chords may have been completed by a turn whose answer nobody has read.
    `out`, `delays` and `stored` wait to be sent. `begun` are tags of what was begun and is not known to be settled or given
    back. `applied` are the settlements that are in the store since it was last
    emptied: whoever keeps results elsewhere empties it.
    """

    def __init__(self, ctx: SlotContext, broker: Broker, settler: Settler, stash: Stash, url: str, most: int | None) -> None:
        self.lease = Lease("", 0)
        self.out: list[Settlement] = []
        self.delays: list[Delay] = []
        self.stored: list[str] = []
        self.applied: list[Settlement] = []
        self.begun: set[str] = set()
        self.unsure = False
        self.order = QueueOrder(ctx.options.queues, ctx.options.queue_order)
        self._left: list[str] = []  # reserved, and too early by far: to be given back
        self._ctx = ctx
        self._row = ctx.table.row(ctx.index)
        self._broker = broker
        self._settler = settler
        self._stash = stash
        self._next_due: float | None = None
        self._reconnection = Reconnection(
            broker.reconnect, url, most=most, wake_fd=ctx.wake_fd, lease_s=ctx.options.lease_s, loud=ctx.index == 0, patience=3
        )

    @property
    def waiting(self) -> bool:
        """Whether there is something to send."""
        return bool(self.out or self.delays or self.stored)

    def settle(self, settlement: Settlement) -> None:
        self.out.append(settlement)
        for outgoing in settlement.messages_out:
            if outgoing.due is not None:
                self._note_due(outgoing.due)

    def delay(self, order: Delay) -> None:
        self.delays.append(order)
        self._note_due(order.due)

    # -- the lease ----------------------------------------------------------------------------------------------------

    def register(self) -> None:
        """Take a new lease, under a name that was never used, and show it to the supervisor, which renews it.

        When the lease before it was lost because nobody renewed it, nothing is begun on this one either until it is renewed.
        """
        ctx, row = self._ctx, self._row

        def take() -> Lease:
            return self._broker.register(f"{ctx.node}/{ctx.index}/{os.getpid()}/{os.urandom(6).hex()}", ctx.node)

        is_first = not self.lease.owner
        self.lease = self.patiently(take)
        now = ctx.options.clock.monotonic()
        was_kept = is_first or may_begin(row.renewed_at, now, ctx.options.lease_s)
        row.hold(self.lease.owner, self.lease.fence, now if was_kept else row.renewed_at)
        row.turned_at = now

    def drop(self, why: str) -> None:
        """Forget everything in hand: the lease is not ours any more."""
        for settlement in self.out:
            _logger.warning(
                "%s of task %s (attempt %s) comes too late and is refused: %s",
                settlement.outcome.upper(), one_line(settlement.task_id), settlement.retries, why,
            )  # fmt: skip
        self.out.clear()
        self.delays.clear()
        self.begun.clear()
        self._left.clear()
        self._stash.clear()
        self._row.close_window()
        self._row.stash = 0

    def put_off(self, held: Held, where: Wait, until: float) -> None:
        """The rate limit of its task does not let `held` begin before `until` (see `Gate.place`)."""
        if where is Wait.IN_STORE:
            self.delay(Delay(held.tag, until))
        elif where is Wait.IN_HAND:
            self._stash.add_later(until, held.delivery)
        else:
            self._left.append(held.tag)
            self.order.hold(held.delivery.queue, until)

    def consume(self, queues: Sequence[str]) -> None:
        """Take from `queues` from now on; what is in hand of others goes back."""
        self.order = QueueOrder(queues, self._ctx.options.queue_order)
        held = {delivery.queue for delivery in self._stash.deliveries()}
        self._left += self._stash.take_out(held.difference(queues))

    # -- operations ---------------------------------------------------------------------------------------------------

    def take(self, begin: Sequence[Begin], reserve: int, begin_new: BeginRule | None = None) -> TurnReply:
        """Send what waits, begin and reserve. Raises LeaseGone or GivenUp."""
        breaks = 0
        if self._left:
            left, self._left = self._left, []
            self.patiently(lambda: self._broker.release(self.lease, left))
        self.begun.update(one.tag for one in begin)
        while True:
            try:
                reach("slot.turn.before")
                reply = self._broker.turn(
                    self.lease, settle=self.out, delay=self.delays, begin=begin, reserve=reserve, queues=self.order.names,
                    stored=self.stored, begin_new=begin_new,
                )  # fmt: skip
                reach("slot.turn.after")
            except LeaseLost as exc:
                self.drop(str(exc))
                raise LeaseGone from exc
            except StoreFull as exc:
                self._settle_into_full_store(exc)
            except (BrokerUnavailable, ResultsUnavailable) as exc:
                self._come_back(exc)
                breaks += 1
                if breaks > 1:
                    self.pause(BREAK_WAIT_S * min(1.0, breaks / MOST_BREAKS))
                if breaks % MOST_BREAKS == 0 and self.out:
                    self._settle_singly(exc)
            except Exception as exc:
                if not self.out:
                    raise
                self._settle_singly(exc)
            else:
                self._sent(reply, begin, repeated=breaks > 0)
                return reply

    def patiently(self, operation: Callable[[], T]) -> T:
        """Do `operation`, which is harmless to repeat, on a broker that may go away and come back."""
        while True:
            try:
                return operation()
            except LeaseLost as exc:
                self.drop(str(exc))
                raise LeaseGone from exc
            except (BrokerUnavailable, ResultsUnavailable) as exc:
                self._come_back(exc)

    def release_stash(self, also: Sequence[str] = ()) -> None:
        """Give back what the stash holds, and what `also` names."""
        tags = [*self._stash.tags(), *also]
        self._stash.clear()
        self._row.stash = 0
        if tags:
            self.patiently(lambda: self._broker.release(self.lease, tags))

    def heed_pauses(self, reply: TurnReply, asked: Sequence[Begin]) -> None:
        """Give back what is reserved of queues that are paused, and what was `asked` to be begun and was not."""
        tags = self._stash.take_out(reply.paused)
        if len(reply.begun) < len(asked):
            tags += {one.tag for one in asked}.difference(reply.begun)
        self._row.stash = len(self._stash)
        if tags:
            self.patiently(lambda: self._broker.release(self.lease, tags))

    def unbegin(self, tags: Sequence[str]) -> None:
        """Give back begun calls that were not started."""
        self.begun.difference_update(tags)
        self.patiently(lambda: self._broker.unbegin(self.lease, tags))

    def retire(self) -> None:
        self.patiently(lambda: self._broker.retire(self.lease))

    def wait(self, timeout_s: float) -> None:
        """Wait for work or for the supervisor."""
        if not self.order.names:
            self.pause(timeout_s)
            return
        fds = [self._ctx.wake_fd] if self._broker.capabilities.wait_fds else []
        self.patiently(lambda: self._broker.wait(self.order.names, timeout_s, fds))
        self.drain()

    def pause(self, seconds: float) -> None:
        """Wait for the supervisor only."""
        poll = new_poll()
        poll.register(self._ctx.wake_fd, POLLIN)
        poll.poll(seconds * 1000)
        self.drain()

    def drain(self) -> None:
        try:
            os.read(self._ctx.wake_fd, 4096)
        except BlockingIOError:
            return

    def notify(self) -> None:
        """Make the supervisor look at the table."""
        if self._ctx.notify_fd is not None:
            try:
                os.write(self._ctx.notify_fd, b"!")
            except BlockingIOError:
                return  # it has not read the last ones yet: it will look

    # -- inside -------------------------------------------------------------------------------------------------------

    def _sent(self, reply: TurnReply, begin: Sequence[Begin], *, repeated: bool) -> None:
        row, begun = self._row, self.begun
        begun.difference_update(settlement.tag for settlement in self.out)
        begun.difference_update(order.tag for order in self.delays)
        if len(reply.begun) < len(begin):
            begun.difference_update({one.tag for one in begin}.difference(reply.begun))
        for delivery in reply.reserved:
            if delivery.standing is Standing.RESERVED:
                break
            begun.add(delivery.tag)

        row.turned_at = self._ctx.options.clock.monotonic()
        if repeated:
            self._doubt(self.out)
        if reply.refused and not repeated:
            self._say_refused(set(reply.refused))
        else:  # what is refused at a repetition was applied the first time, when the answer was lost
            self.applied += self.out
        self.out.clear()
        self.delays.clear()
        self.stored.clear()
        if self._next_due is not None:
            due, self._next_due = self._next_due, None
            if row.next_due == 0 or due < row.next_due:
                row.next_due = due
                self.notify()

    def _say_refused(self, refused: set[str]) -> None:
        """The lease is ours, and these deliveries are not: what was only reserved was given back by our supervisor."""
        for settlement in self.out:
            if settlement.tag not in refused:
                self.applied.append(settlement)
            elif settlement.outcome in RAN:
                _logger.warning(
                    "the store holds no delivery for the %s of task %s", settlement.outcome, one_line(settlement.task_id)
                )

    def _note_due(self, due: float) -> None:
        if self._next_due is None or due < self._next_due:
            self._next_due = due

    def _come_back(self, exc: OperationalError) -> None:
        """Return with a connection on which nothing is held but what is in `begun`.

        What the broken connection still carries comes too late: the lease has another fence. What it had begun and could
        not say goes back with what was reserved.

        Gives up when the slot is to stop: at once if it has nothing to settle, else after a lease time.
        """
        clock, row = self._ctx.options.clock, self._row
        until = clock.monotonic() + self._ctx.options.lease_s

        def hopeless() -> bool:
            if row.stop == LEAVE:  # the supervisor keeps what cannot be settled until this server is back
                return True
            return row.stop != 0 and (not self.out or clock.monotonic() > until)

        while True:
            had_one = bool(self.lease.owner)  # a lease: so there was a connection to lose
            if not self._reconnection.run(exc, hopeless, lost=had_one):
                raise GivenUp from exc
            if not self.lease.owner:
                return
            self._stash.clear()
            self._left.clear()
            self.begun.difference_update(order.tag for order in self.delays)
            self.delays.clear()
            row.stash = 0
            try:
                self._shut_out_what_comes_late()
                self._broker.release(self.lease, None)
                self._broker.unbegin(self.lease, None, keep=list(self.begun))
            except LeaseLost as lost:
                self.drop(str(lost))
                raise LeaseGone from lost
            except OperationalError as again:
                exc = again
            else:
                return

    def _shut_out_what_comes_late(self) -> None:
        lease = self._broker.refence(self.lease)
        if lease != self.lease:
            self.lease = lease
            self._row.hold(lease.owner, lease.fence, self._row.renewed_at)

    def _settle_into_full_store(self, exc: StoreFull) -> None:
        """Settle what is in hand and nothing else; return when that is done."""
        clock, row = self._ctx.options.clock, self._row
        began = clock.monotonic()
        until = began + self._ctx.options.lease_s
        for tries in itertools.count(1):
            if tries % 10 == 1:
                _logger.error("the store takes nothing: %s; %s settlements wait, trying again", exc, len(self.out))
            if row.stop and clock.monotonic() > until:
                raise GivenUp from exc
            self.pause(FULL_WAIT_S)
            try:
                self._settle_what_fits(give_up=clock.monotonic() - began >= FULL_PATIENCE_S)
            except StoreFull as again:
                exc = again
            except LeaseLost as lost:
                self.drop(str(lost))
                raise LeaseGone from lost
            except (BrokerUnavailable, ResultsUnavailable) as away:
                self._come_back(away)
            else:
                return

    def _settle_what_fits(self, *, give_up: bool) -> None:
        """Settle one by one: each makes a little room. With `give_up`, one that does not fit goes without its result if that
        helps. Raises StoreFull when some are left."""
        refused: StoreFull | None = None
        at = 0
        while at < len(self.out):
            settlement = self.out[at]
            try:
                self._broker.turn(self.lease, settle=[settlement], stored=self.stored)
                self.stored.clear()
                self._settled(settlement)
            except StoreFull as exc:
                refused = exc
                if not (give_up and settlement.writes and self._fits_without_result(settlement, exc)):
                    at += 1
                    continue
            del self.out[at]
        if refused is not None and self.out:
            raise refused

    def _fits_without_result(self, settlement: Settlement, exc: StoreFull) -> bool:
        smaller = msgspec.structs.replace(settlement, result=None, more_results=())
        try:
            self._broker.turn(self.lease, settle=[smaller])
        except StoreFull:
            return False
        _logger.error("the result of task %s is not stored: %s", one_line(settlement.task_id), exc)
        self._settled(smaller)
        return True

    def _settle_singly(self, cause: Exception) -> None:
        """One of several settlements is one that the store refuses: find it, and settle it in a form that it must take."""
        _logger.error("the store refuses a settlement, sending %s one by one: %r", len(self.out), cause)
        while self.out:
            settlement = self.out[0]
            try:
                self._alone(settlement)
            except (LeaseGone, GivenUp):
                raise
            except StoreFull as exc:
                self._settle_into_full_store(exc)
                return
            except Exception as exc:
                _logger.error(
                    "%s of task %s cannot be stored, it becomes a FAILURE: %r",
                    settlement.outcome,
                    one_line(settlement.task_id),
                    exc,
                )
                settlement = self._settler.unstorable(settlement, exc)
                self._alone(settlement)
            self._settled(settlement)
            del self.out[0]

    def _settled(self, settlement: Settlement) -> None:
        self.applied.append(settlement)
        self.begun.discard(settlement.tag)
        self._doubt([settlement])

    def _doubt(self, settlements: Sequence[Settlement]) -> None:
        self.unsure = self.unsure or any(settlement.parts for settlement in settlements)

    def pendings(self) -> list[Pending]:
        """What the lease has pending in the store."""
        return self.patiently(lambda: self._broker.pendings(self.lease))

    def _alone(self, settlement: Settlement) -> None:
        for breaks in itertools.count(1):
            try:
                self._broker.turn(self.lease, settle=[settlement])
                return
            except LeaseLost as lost:
                self.drop(str(lost))
                raise LeaseGone from lost
            except (BrokerUnavailable, ResultsUnavailable) as exc:
                self._come_back(exc)
                if breaks == MOST_BREAKS:
                    raise
                self.pause(BREAK_WAIT_S * breaks / MOST_BREAKS)
