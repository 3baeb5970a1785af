"""Settles what the dead left, and gives back what waits behind a long call: the thread that acts on others' leases.

An *estate* is what one dead owner held. A slot of this node is known to be dead, and its row says what it was doing
(`slotdeath.py`); an owner of another node is taken over when the keeper has seen its beats stand still for the lease time
(`rules/lease.py`). Either way its deliveries become the property of this thread's own lease, and are settled under it.

When the store fails in the middle, nobody knows what of the last step was applied. The thread then gives its own lease up,
takes a new one, and takes the old one's property over together with the estate: every step is repeated by tag, none twice.

Hooks of the user's tasks run here (`on_failure` of a lost call); the keeper, which renews, is another thread.
"""

from __future__ import annotations

import logging
import signal
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from sedano import crashpoints, signals
from sedano.contracts import Broker, Delivery, Lease, LeaseRecord, Settlement, Taken
from sedano.exceptions import (
    BrokerUnavailable,
    CeleryError,
    LeaseLost,
    OperationalError,
    ResultsUnavailable,
    StoreFull,
    Terminated,
    WorkerLostError,
)
from sedano.protocol.call import read
from sedano.worker import lines
from sedano.worker.held import request_of
from sedano.worker.leasebook import LeaseBook, owner_name
from sedano.worker.link import StoreLink
from sedano.worker.reconnect import LONGEST_S
from sedano.worker.rounds import Rounds
from sedano.worker.settle import Settler
from sedano.worker.slotdeath import Verdicts, judge_slot, judge_stranger, tells
from sedano.worker.table import RowView
from sedano.worker.teller import Teller

_logger = logging.getLogger("celery.worker")
_AT_ONCE = 200  # deliveries of one take-over
_SETTLE_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class SlotDeath:
    """How a slot of this node died: its row at that moment, a text for people ("signal 9 (SIGKILL)"), and what more is known
    of it, to be written behind that. `signum` is the signal that ended it."""

    view: RowView
    how: str
    cold: bool = False
    more: str = ""
    signum: signal.Signals | None = None


@dataclass(slots=True)
class _Estate:
    owners: list[str]  # the dead one, and our own leases that were given up over it
    sources: list[tuple[LeaseRecord, bool]]  # to take over, and whether by force
    death: SlotDeath | None
    decided: dict[str, Settlement] = field(default_factory=dict)
    count: int = 0


@dataclass(frozen=True, slots=True)
class _GiveBack:
    lease: Lease
    unbegin: tuple[str, ...]
    release_all: bool


class Reaper:
    """`start`, then tell it of deaths (`bury`) and of calls to give back (`give_back`) from any thread."""

    def __init__(
        self, link: StoreLink, book: LeaseBook, settler: Settler, node: str, lease_s: float, teller: Teller | None = None
    ) -> None:
        self._teller = teller
        self._link, self._book, self._settler, self._node, self._lease_s = link, book, settler, node, lease_s
        self._estates: deque[_Estate] = deque()
        self._returns: deque[_GiveBack] = deque()
        self._lease: Lease | None = None
        self._busy = False
        self._heir: Reaper | None = None
        self.rests = False
        """Its server is not the node's any more: with nothing left to settle it keeps neither lease nor connection."""
        self.rounds = Rounds("sedano-reaper", self._round, self._end)

    # -- from other threads -------------------------------------------------------------------------------------------

    def bury(self, death: SlotDeath) -> None:
        """Settle what this slot held. To be called before its row is reset."""
        view = death.view
        if not view.owner:
            return  # it died before it had a lease
        self._book.note_estate(view.owner)
        record = LeaseRecord(view.owner, self._node, view.fence, 0)
        self._estates.append(_Estate([view.owner], [(record, True)], death))
        self.rounds.wake()

    def inherit(self, records: Sequence[LeaseRecord]) -> None:
        """Take over and settle what these dead owners of other nodes held; refused to us if they turn out to live."""
        for record in records:
            self._book.note_estate(record.owner)
            self._estates.append(_Estate([record.owner], [(record, False)], None))
        self.rounds.wake()

    def give_back(self, lease: Lease, unbegin: list[str], *, release_all: bool) -> None:
        """Un-begin calls that were taken back from a live slot; release all that it has reserved if `release_all`."""
        self._returns.append(_GiveBack(lease, tuple(unbegin), release_all))
        self.rounds.wake()

    def hand_over(self, heir: Reaper) -> None:
        """Have `heir`, which reaches the same store on another way, settle what is left, and this one rest."""
        self._heir, self.rests = heir, True
        self.rounds.wake()

    @property
    def works(self) -> bool:
        """Whether its store answered when it was last asked."""
        return self._link.works

    @property
    def idle(self) -> bool:
        """Nothing is left to settle or to give back."""
        return not (self._estates or self._returns or self._busy)

    # -- rounds -------------------------------------------------------------------------------------------------------

    def _round(self) -> float | None:
        self._busy = True
        try:
            if self._heir is not None:
                self._bequeath(self._heir)
            elif self._estates or self._returns or not self.rests:
                self._work()
                self._link.worked()
            if self.rests:
                self._go_to_rest()
        except OperationalError as exc:
            # Once its store is back, another node may take the estate over after a lease time, and knows less of it.
            return self._link.broke(exc, longest_s=min(LONGEST_S, self._lease_s / 4))
        finally:
            self._busy = False
        return None

    def _bequeath(self, heir: Reaper) -> None:
        if self._lease is not None:
            self._book.drop(self._lease.owner)
            record = LeaseRecord(self._lease.owner, self._node, self._lease.fence, 0)
            self._estates.append(_Estate([self._lease.owner], [(record, True)], None))
            self._lease = None
        for estate in self._estates:
            for owner in estate.owners:
                heir._book.note_estate(owner)
                self._book.close_estate(owner)
        heir._estates.extend(self._estates)
        heir._returns.extend(self._returns)
        self._estates.clear()
        self._returns.clear()
        self._heir = None
        heir.rounds.wake()

    def _go_to_rest(self) -> None:
        if self._lease is not None and not (self._estates or self._returns):
            self._link.broker().retire(self._lease)
            self._book.drop(self._lease.owner)
            self._lease = None
            _logger.info("what was left on the broker's server before is settled")
        self._link.close()

    def _work(self) -> None:
        while self._returns:
            self._return(self._returns[0])
            self._returns.popleft()
        while self._estates:
            self._settle(self._estates[0])
            self._estates.popleft()

    def _return(self, order: _GiveBack) -> None:
        broker = self._link.broker()
        try:
            if order.release_all:
                broker.release(order.lease, None)
            if order.unbegin:  # they come before what was only reserved
                broker.unbegin(order.lease, order.unbegin)
        except LeaseLost:
            _logger.debug("%s is lost: what it held is not ours to give back", order.lease.owner)

    # -- one estate ---------------------------------------------------------------------------------------------------

    def _settle(self, estate: _Estate) -> None:
        """Take over and settle. Raises OperationalError, and can be called again then."""
        crashpoints.reach("supervisor.reap.before" if estate.death is None else "supervisor.slotdeath.before")
        lease = self._my_lease()
        try:
            while estate.sources:
                record, force = estate.sources[0]
                taken = self._link.broker().take_over(record, lease, limit=_AT_ONCE, force=force)
                self._settle_taken(estate, taken, lease)
                if not taken.more:
                    estate.sources.pop(0)
        except OperationalError:
            self._give_up_lease(estate, lease)
            raise
        except LeaseLost:
            # This node stood still for a lease time. Whoever has our lease now settles what we had taken over.
            self._book.drop(lease.owner)
            self._lease = None
            if estate.sources:
                self._settle(estate)
                return
        except Exception:
            _logger.critical(
                "what %s left cannot be settled; it is tried again from the beginning in %g s",
                estate.owners[0],
                self._lease_s,
                exc_info=True,
            )
            self._give_up_lease(None, lease)
        for owner in estate.owners:
            self._book.close_estate(owner)
        if estate.death is not None:
            crashpoints.reach("supervisor.slotdeath.after")
        elif estate.count:
            _logger.warning("%s is dead: settled or gave back the %d deliveries it held", estate.owners[0], estate.count)

    def _my_lease(self) -> Lease:
        if self._lease is None:
            self._lease = self._link.broker().register(owner_name(self._node, "reaper"), self._node)
            self._book.add(self._lease)
        return self._lease

    def _give_up_lease(self, estate: _Estate | None, lease: Lease) -> None:
        """Nobody knows what of our own property is settled: leave it to our next lease, or to a reaper."""
        self._book.drop(lease.owner)
        self._lease = None
        if estate is not None:
            self._book.note_estate(lease.owner)
            estate.owners.append(lease.owner)
            estate.sources.insert(0, (LeaseRecord(lease.owner, self._node, lease.fence, 0), True))

    def _settle_taken(self, estate: _Estate, taken: Taken, lease: Lease) -> None:
        death = estate.death
        crashpoints.reach("supervisor.slotdeath.taken" if death is not None else "supervisor.reap.after")
        estate.count += len(taken.deliveries)
        known = [estate.decided[d.tag] for d in taken.deliveries if d.tag in estate.decided]
        verdicts = self._judge(estate, [d for d in taken.deliveries if d.tag not in estate.decided])
        for settlement in verdicts.settle:
            estate.decided[settlement.tag] = settlement
        settlements = known + verdicts.settle
        for first in range(0, len(settlements), _SETTLE_AT_ONCE):
            self._settle_some(lease, settlements[first : first + _SETTLE_AT_ONCE])
        broker: Broker = self._link.broker()
        if verdicts.release:
            broker.release(lease, verdicts.release)
        if verdicts.unbegin:  # they come before what was only reserved
            broker.unbegin(lease, verdicts.unbegin)
        self._link.store_pendings(lease, taken.pendings)

    def _settle_some(self, lease: Lease, settlements: Sequence[Settlement]) -> None:
        """Settle. What the store refuses goes alone, in a form that it must take: it must not keep all others waiting."""
        try:
            self._link.settle(lease, settlements)
        except (BrokerUnavailable, ResultsUnavailable, StoreFull, LeaseLost):
            raise
        except CeleryError as exc:
            if len(settlements) > 1:
                for one in settlements:
                    self._settle_some(lease, [one])
                return
            (refused,) = settlements
            _logger.error("%s of task %s cannot be stored, it becomes a FAILURE: %r", refused.outcome, refused.task_id, exc)
            self._link.settle(lease, [self._settler.unstorable(refused, exc)])

    def _judge(self, estate: _Estate, deliveries: list[Delivery]) -> Verdicts:
        death = estate.death
        if death is None:
            detail = f"Worker exited prematurely: {estate.owners[0]} is gone."
            verdicts = judge_stranger(deliveries, self._settler, detail=detail)
            self._tell(verdicts, None)
            return verdicts
        detail = f"Worker exited prematurely: {death.how}{death.more}."
        verdicts = judge_slot(death.view, deliveries, self._settler, detail=detail, cold=death.cold)
        for _ in verdicts.lost:
            lines.handler_error(WorkerLostError(detail))
        for delivery in verdicts.terminated:
            lines.handler_error(Terminated(death.how))
            self._tell_terminated(delivery, death.signum)
        self._tell(verdicts, death.signum)
        return verdicts

    def _tell(self, verdicts: Verdicts, signum: signal.Signals | None) -> None:
        """Events for who listens."""
        teller = self._teller
        if teller is None:
            return
        teller.look()
        if not teller.on:
            return
        for task_id, text in verdicts.failed:
            teller.failed(task_id, text, text)  # what was ended has no traceback
        for delivery in verdicts.terminated:
            if delivery.message is not None and tells(delivery, self._settler):
                number = None if signum is None else int(signum)
                teller.revoked(str(delivery.message.headers.get("id")), terminated=True, signum=number, expired=False)
        teller.flush()

    def _tell_terminated(self, delivery: Delivery, signum: signal.Signals | None) -> None:
        if not signals.task_revoked.receivers or delivery.message is None:
            return
        terms = self._settler.book.find(str(delivery.message.headers.get("task")))
        if terms is not None:
            request = request_of(read(delivery.message), delivery, self._node, None)
            signals.task_revoked.send(terms.task, request=request, terminated=True, signum=signum, expired=False)

    # -- the end ------------------------------------------------------------------------------------------------------

    def _end(self) -> None:
        """Leave nothing in the store that somebody would have to reap."""
        try:
            if self._lease is not None:
                self._link.broker().retire(self._lease)
                self._book.drop(self._lease.owner)
        except (OperationalError, LeaseLost) as exc:
            _logger.debug("the reaper's own lease is left to others: %s", exc)
        self._link.close()
