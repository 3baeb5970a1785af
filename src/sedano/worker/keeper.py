"""Keeps the node alive in the store: renews its leases, watches those of others, moves due calls to their queues, follows
the revokes and the pauses.

A thread with a connection of its own; it runs no code of the user's and waits for nothing but the store, because a late
renewal stops every slot of the node. Taking over the dead is the reaper's work.

One beat does it all. It comes six times in a lease time while some slot works, four times while there are other nodes to
watch, three times when this node is alone and idle: that is all that such a node does.
"""

from __future__ import annotations

import heapq
import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from sedano import crashpoints
from sedano.clock import SYSTEM_CLOCK
from sedano.contracts import Coordination, LeaseRecord, QueueSpec, Results, Revoke
from sedano.contracts.coordination import revoked_stamps
from sedano.exceptions import OperationalError, ResultsUnavailable
from sedano.rules.lease import LeaseWatch, look_every, renew_every
from sedano.rules.promotion import look_again_in
from sedano.worker.control.running import bearers
from sedano.worker.leasebook import LeaseBook
from sedano.worker.link import StoreLink
from sedano.worker.pauses import PauseWatch
from sedano.worker.rounds import Rounds, Schedule
from sedano.worker.table import Phase

_logger = logging.getLogger("celery.worker")
_consumer = logging.getLogger("celery.worker.consumer.connection")
EXPIRE_EVERY_S = 60.0
RESTORE_EVERY_S = 30.0
UNPARK_EVERY_S = 2.0  # what another node parks is looked for; it is also how long a call waits that the wrong node takes again
UNPARK_ALONE_S = 60.0  # a node parks nothing that it knows itself
MOST_HASTENED, PER_STEP = 20_000, 1000
HASTEN_AGAIN_S = (0.0, 1.0, 5.0)
BEATS_WHEN_IDLE = 3  # in a lease time; a slot begins on a lease that is up to two thirds old


@dataclass(frozen=True, slots=True)
class KeeperTerms:
    """`queues` are those that the node consumes, `specs` their declarations; `url` is redacted; `tasks` it can run."""

    node: str
    queues: tuple[str, ...]
    specs: tuple[QueueSpec, ...]
    lease_s: float
    url: str
    tasks: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class KeeperEars:
    """What the keeper tells the supervisor, called in the keeper's thread.

    `connected` after each new connection; `terminate` with orders to end running calls; `died` with leases of others that
    stood still for the lease time; `tried` with how often in a row the broker could not be reached.
    """

    connected: Callable[[], None]
    terminate: Callable[[Sequence[Revoke]], None]
    died: Callable[[Sequence[LeaseRecord]], None]
    tried: Callable[[int], None]


@runtime_checkable
class RestoresForeign(Protocol):
    """A broker on which dead Celery workers leave deliveries that nobody but a Celery worker would put back."""

    def restore_foreign(self) -> int: ...


class Keeper:
    """`start`, `wake` when a slot has delayed a call, `stop`."""

    def __init__(
        self,
        terms: KeeperTerms,
        book: LeaseBook,
        link: StoreLink,
        open_results: Callable[[], Results | None],
        open_coordination: Callable[[], Coordination],
        ears: KeeperEars,
    ) -> None:
        self._terms, self._book, self._link, self._ears = terms, book, link, ears
        self._open_results, self._open_coordination = open_results, open_coordination
        self._results: Results | None = None
        self._coordination: Coordination | None = None
        self._beat_s = renew_every(terms.lease_s)
        slow_look_s = 2 * look_every(terms.lease_s)
        self._schedule = Schedule(
            {
                "beat": self._beat_s,
                "promote": slow_look_s,
                "expire": EXPIRE_EVERY_S,
                "restore": RESTORE_EVERY_S,
                "unpark": UNPARK_EVERY_S,
            }
        )
        self.renewed_at = 0.0  # monotonic
        self._retry_at = 0.0
        self._watch = LeaseWatch()
        self._strangers = False
        self._namesakes: dict[str, int] = {}
        self._has_namesake = False
        self._known_connection = False
        self._revision = 0
        self._pauses = PauseWatch(terms.queues)
        self._undeclared = False
        self._hastened: list[tuple[float, float]] = []  # a heap of (monotonic, until): see `hasten`
        self._hands_back = False
        self._serves = True
        self._has_estates: Callable[[], bool] = lambda: False
        self.rounds = Rounds("sedano-keeper", self._round, self._end)

    def consume(self, queues: tuple[str, ...], specs: tuple[QueueSpec, ...]) -> None:
        """The node consumes these queues from now on. From any thread."""
        self._terms = replace(self._terms, queues=queues, specs=specs)
        self._pauses = PauseWatch(queues)
        self._undeclared = True
        self.rounds.wake()

    def know(self, tasks: frozenset[str]) -> None:
        """The node can run these tasks from now on. From any thread."""
        self._terms = replace(self._terms, tasks=tasks)
        self._schedule.hasten("unpark", 0.0)
        self.rounds.wake()

    def hasten(self, until: float) -> None:
        """Bring calls back to their queues that are due before `until` (Unix seconds): another rate limit holds for some of
        them; slots delay the others again. Now, and twice more: a slot may not have heard of it yet, and delay another by the
        old limit. From any thread."""
        now = time.monotonic()
        for later_s in HASTEN_AGAIN_S:
            heapq.heappush(self._hastened, (now + later_s, until))
        self.rounds.wake()

    # -- the node's server, or one that it has left -------------------------------------------------------------------

    def serve(self) -> None:
        """This is the node's server now. From any thread."""
        self._serves, self._link.loud, self._retry_at, self._known_connection = True, True, 0.0, False
        self.rounds.wake()

    def leave(self, has_estates: Callable[[], bool]) -> None:
        """The node uses another server: all that is left to do here is to keep the leases for as long as somebody holds calls
        under them, or `has_estates`, and settles them when the server is back. From any thread."""
        self._has_estates = has_estates
        self._serves, self._link.loud = False, False
        self.rounds.wake()

    @property
    def serves(self) -> bool:
        return self._serves

    def _guard(self) -> float | None:
        if not (self._book.kept() or self._has_estates()):
            self._close_others()
            self._link.close()
            return None
        try:
            self._renew()
            self._link.worked()
        except OperationalError as exc:
            wait = self._link.broke(exc, longest_s=self._beat_s)
            self._retry_at = time.monotonic() + wait
            return wait
        return self._beat_s

    def _round(self) -> float | None:
        wait = self._retry_at - time.monotonic()
        if wait > 0:
            return wait  # woken while the broker is away: it is asked again when that was announced
        if not self._serves:
            return self._guard()
        try:
            self._work()
            self._link.worked()
        except OperationalError as exc:
            self._known_connection = False
            self._close_others()
            wait = self._link.broke(exc, longest_s=self._beat_s)
            self._retry_at = time.monotonic() + wait
            if self._serves:
                self._ears.tried(self._link.tries)
            return wait
        left_s = self._schedule.seconds_left()
        return left_s if not self._hastened else min(left_s, max(0.0, self._hastened[0][0] - time.monotonic()))

    def _work(self) -> None:
        broker = self._link.broker()
        if not self._known_connection:
            broker.declare(self._terms.specs)
            self._known_connection = True
            _consumer.info("Connected to %s", self._terms.url)
            self._ears.connected()
        if self._schedule.take("beat") or (self._works() and self.is_late):
            self._renew()
            self._look_at_others()
            self._pauses.look(self._connected_coordination().pauses())
            if self._works():
                self._follow_revokes()
            self._schedule.set("beat", self._pace_s())
        if self._undeclared:
            self._undeclared = False
            broker.declare(self._terms.specs)
        while self._hastened and self._hastened[0][0] <= time.monotonic():
            self._bring_back(self._hastened[0][1])
            heapq.heappop(self._hastened)
        self._note_hints()
        if self._schedule.take("promote"):
            self._promote()
        if self._schedule.take("unpark"):
            self._unpark()
        if self._schedule.take("expire"):
            self._expire()
        if self._schedule.take("restore") and isinstance(broker, RestoresForeign):
            count = broker.restore_foreign()
            if count:
                _logger.warning("put %d calls back into their queues that dead Celery workers had taken", count)

    @property
    def is_late(self) -> bool:
        """Whether the next beat is due by the pace of a node that works: wake this thread when a slot begins to."""
        return time.monotonic() - self.renewed_at >= self._beat_s

    def _works(self) -> bool:
        return any(row.phase is Phase.BUSY for row in self._book.rows())

    def _pace_s(self) -> float:
        if self._works():
            return self._beat_s
        return look_every(self._terms.lease_s) if self._strangers else self._terms.lease_s / BEATS_WHEN_IDLE

    # -- leases -------------------------------------------------------------------------------------------------------

    def _renew(self) -> None:
        crashpoints.reach("supervisor.renew.before")
        kept = self._book.kept()
        before = time.monotonic()  # the store's answer proves that the lease held at some time after this
        lost = {lease.owner for lease in self._link.broker().renew([each.lease for each in kept])}
        for each in kept:
            if each.lease.owner not in lost:
                if each.row is not None and each.is_current():
                    each.row.renewed_at = before
            elif each.row is None:
                self._book.drop(each.lease.owner)
            elif each.is_current():
                each.row.lost = True
                if each.row.phase is not Phase.STOPPING:  # else it has retired its lease itself
                    _logger.warning(
                        "%s: its lease is gone: another node has taken it over, or the store has lost it", each.lease.owner
                    )
        self.renewed_at = before
        crashpoints.reach("supervisor.renew.after")

    def _look_at_others(self) -> None:
        records = self._link.broker().leases()
        ours = self._book.ours()
        strangers = [record for record in records if record.owner not in ours]
        if strangers and not self._strangers:
            self._schedule.hasten("unpark", UNPARK_EVERY_S)
        self._strangers = bool(strangers)
        self._look_at_namesakes(strangers)
        dead = self._watch.observe(strangers, time.monotonic(), self._terms.lease_s)
        if dead:
            self._ears.died(dead)

    def _look_at_namesakes(self, strangers: Sequence[LeaseRecord]) -> None:
        """Warn of another node that has our name and is alive: somebody renews leases of that name, and it is not us."""
        seen = {record.owner: record.beats for record in strangers if record.node == self._terms.node}
        alive = [owner for owner, beats in seen.items() if beats > self._namesakes.get(owner, beats)]
        self._namesakes = seen
        if alive and not self._has_namesake:
            parts = alive[0].split("/")
            _logger.warning(
                "another worker has the name %s too (pid %s there, %d here): a command to that name reaches both, the answer "
                "of one hides that of the other, and monitors take them for one. "
                "Give each worker a name of its own: -n NAME@%%h",
                self._terms.node, parts[-2] if len(parts) > 2 else "unknown", os.getpid(),
            )  # fmt: skip
        self._has_namesake = bool(alive) or (self._has_namesake and bool(seen))

    # -- the schedule -------------------------------------------------------------------------------------------------

    def _note_hints(self) -> None:
        """Slots write down when the first of the calls that they delayed is due."""
        for row in self._book.rows():
            due = row.next_due
            if due:
                row.next_due = 0.0  # a hint that is written this very moment is lost: the slow look finds its call
                self._schedule.hasten("promote", due - SYSTEM_CLOCK.wall())

    def _promote(self) -> None:
        broker = self._link.broker()
        if not broker.capabilities.schedule:
            return
        crashpoints.reach("supervisor.promote.before")
        while True:
            moved, next_due = broker.promote(self._terms.queues, SYSTEM_CLOCK.wall())
            wait_s = look_again_in(moved, next_due, SYSTEM_CLOCK.wall())
            if wait_s is None or wait_s > 0.0 or self.is_late:  # a million may be due: the leases come first
                break
        if wait_s is not None:
            self._schedule.hasten("promote", wait_s)
        crashpoints.reach("supervisor.promote.after")

    def _bring_back(self, until: float) -> None:
        broker = self._link.broker()
        for _ in range(MOST_HASTENED // PER_STEP if broker.capabilities.schedule else 0):
            moved, _ = broker.promote(self._terms.queues, until, limit=PER_STEP)
            if moved < PER_STEP:
                return

    def _unpark(self) -> None:
        """Fetch what others have parked and this node can run.

        Beside others a thousand at a time: the wrong node may take them again.
        """
        if not self._strangers:
            self._schedule.set("unpark", UNPARK_ALONE_S)
        broker = self._link.broker()
        if not (self._terms.tasks and broker.capabilities.schedule):
            return
        count = broker.unpark(self._terms.tasks, self._terms.queues)
        if count:
            _logger.info("%d parked calls of tasks that this node knows are back in their queues", count)
            self._schedule.hasten("unpark", UNPARK_EVERY_S if self._strangers else 0.0)

    def _expire(self) -> None:
        try:
            if self._results is None:
                self._results = self._open_results()
            if self._results is not None and self._results.expire(SYSTEM_CLOCK.wall()):
                self._schedule.set("expire", 0.0)  # there may be more: after the leases, if these are due
        except ResultsUnavailable as exc:  # another store than the broker's, perhaps: the leases must not wait for it
            _logger.warning("old results are not removed now: %s", exc)
            self._close_others()

    # -- revokes ------------------------------------------------------------------------------------------------------

    def _follow_revokes(self) -> None:
        """Find orders to end running calls which were given to another node, or while nobody heard. Slots that become busy
        read them at their turns."""
        coordination = self._connected_coordination()
        if coordination.revision() == self._revision:
            return
        self._revision, orders = coordination.revokes()
        deadly = [order for order in orders if order.terminate]
        if deadly:
            self._ears.terminate([*deadly, *self._of_stamps(deadly)])

    def _of_stamps(self, deadly: Sequence[Revoke]) -> list[Revoke]:
        """The orders about stamps among `deadly`, for the calls that run here and bear them."""
        found: list[Revoke] = []
        for signal in {order.signal for order in deadly if "\n" in order.task_id}:
            stamps = revoked_stamps(order.task_id for order in deadly if order.signal == signal)
            if stamps:
                ids = bearers(self._book.table, self._link.broker(), stamps)
                found += [Revoke(id_, terminate=True, signal=signal) for id_ in ids]
        return found

    def _connected_coordination(self) -> Coordination:
        if self._coordination is None:
            self._coordination = self._open_coordination()
        return self._coordination

    # -- the end ------------------------------------------------------------------------------------------------------

    def finish(self, *, hand_back: bool) -> None:
        """End the thread. With `hand_back`, if no lease is left in the store, delayed and parked calls go back for Celery to
        find."""
        self._hands_back = hand_back
        self.rounds.stop()

    def _end(self) -> None:
        try:
            if self._hands_back and self._link.works:
                self._hand_back()
        except OperationalError as exc:
            _logger.warning("delayed and parked calls stay in the store (use `sedano handback`): %s", exc)
        self._close_others()
        self._link.close()

    def _close_others(self) -> None:
        for store in (self._results, self._coordination):
            if store is not None:
                store.close()
        self._results = self._coordination = None

    def _hand_back(self) -> None:
        broker = self._link.broker()
        if broker.leases():
            return
        crashpoints.reach("supervisor.handback.before")
        count = 0
        while moved := broker.handback(self._terms.queues):
            count += moved
        if count:
            _logger.info("the last node stops: %d delayed or parked calls are back in their queues, in Celery's form", count)
