"""The owner of many lanes: one lease and one connection for all calls that run in this process.

    turn: settle what has ended, begin what waits, reserve for every free lane ──► hand the begun calls to the crew
      ▲                                                                                │ each runs in its lane
      └── woken by a call that ends, by work in the queues, by the supervisor ◄────────┘

A turn goes out as soon as a call has ended or a lane is free and there may be work; what ends meanwhile goes with the next one.
Nothing is begun that has no lane, so nothing begun waits: there is nothing to take back. The crew (`pools/`) runs the calls;
what it needs of Python's threads, loops or greenlets is its own affair.

As a slot, it stops beginning when its lease was not renewed for two thirds of the lease time.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Sequence

from sedano.contracts import (
    Begin,
    BeginRule,
    Delay,
    Delivery,
    Outcome,
    Settlement,
    Standing,
    TurnReply,
    encode_settlement,
    pending_of,
)
from sedano.crashpoints import reach
from sedano.exceptions import OperationalError
from sedano.log import redact_url
from sedano.protocol.results import decode_meta
from sedano.rules.lease import may_begin
from sedano.rules.window import MAX_STASH, MOST_COSTS
from sedano.worker.agreed import Agreed
from sedano.worker.board import LaneBoard, Order
from sedano.worker.brisk import brisk
from sedano.worker.cancelled import heard, told_too_late
from sedano.worker.context import SlotContext
from sedano.worker.following import Following
from sedano.worker.gate import Gate
from sedano.worker.held import Held
from sedano.worker.intake import Intake
from sedano.worker.lanecall import Crew, LaneCall, LaneCode, settle_ended
from sedano.worker.lanelimits import LaneLimits
from sedano.worker.laneturns import LaneStash, LaneTurns, SharedResults, is_suspect
from sedano.worker.memory import MemoryLimit
from sedano.worker.openchords import OpenChords
from sedano.worker.perform import Performer
from sedano.worker.relay.doors import open_at
from sedano.worker.revocations import Revocations
from sedano.worker.row import LEAVE, Row
from sedano.worker.rowview import Phase
from sedano.worker.separate import SeparateResults
from sedano.worker.settle import Settler
from sedano.worker.teller import Teller, send_to
from sedano.worker.turns import GivenUp, LeaseGone

_logger = logging.getLogger("celery.worker.consumer.consumer")

IDLE_WAIT_S = 5.0  # P7: a consuming connection is used at least every ten seconds
BLIND_WAIT_S = 0.25
RENEWAL_LOOK_S = 0.1
STALE_WAIT_S = 0.5  # between two looks at a lease that is not renewed
MOST_AT_ONCE = MAX_STASH  # reserved in one turn: a store is not to be kept from others


class LaneOwner:
    """The loop; `run` is called once. Public besides: what a crew calls (`finished`, `settler`)."""

    def __init__(self, ctx: SlotContext, board: LaneBoard, crew: Crew) -> None:
        options, app = ctx.options, ctx.app
        self._ctx, self._board, self._crew = ctx, board, crew
        self._options, self._clock = options, options.clock
        self._row: Row = ctx.table.row(ctx.index)
        self._row.server = ctx.table.server
        self._stores = brisk(app.stores.at(self._row.server), options.lease_s, self._hear)
        self._broker = open_at(self._stores, ctx.relays, self._row.server)
        self._capabilities = self._broker.capabilities
        self.settler = Settler(app, ctx.node, options)
        self._results = SeparateResults(self._stores.open_results_if_on, self.settler.unstorable_pending, options.clock)
        self._chords = OpenChords(self.settler.finisher, self._results, is_shared=self._capabilities.shared_results)
        self._shared_results = SharedResults(self._stores.open_results_if_on)
        self._stash = LaneStash()
        self._bell = os.pipe()
        for fd in self._bell:
            os.set_blocking(fd, False)
        self._turns = LaneTurns(
            ctx, self._broker, self.settler, self._stash, redact_url(self._stores.broker_url),
            app.conf.typed("broker_connection_max_retries") or None, self._bell[0],
        )  # fmt: skip
        self._agreed = Agreed(self._stores.open_coordination)
        self._gate = Gate(
            ctx.table.buckets, self._stash, options.clock, schedule=self._capabilities.schedule,
            throttle=self._agreed.throttle if options.cluster_rates else None,
        )  # fmt: skip
        self._following = Following(ctx.table.orders, self._turns, self._stash, self.settler.book, self._gate, self._resize)
        self._counter, self._places = ctx.table.counts.counter(ctx.index)
        self._idle_lanes = board.lanes - (
            options.lanes or board.lanes
        )  # not to be used: an operator may want more calls at once, or fewer
        self._teller = Teller(ctx.table, ctx.node, None if ctx.tell_fd is None else send_to(ctx.tell_fd), options.clock)
        self._intake = Intake(self.settler, ctx.node, options, self._was_successful, self._teller, ctx.table.announced)
        self._revocations = Revocations(self._agreed.revokes)
        self._limits = LaneLimits(crew, self._give_up)
        self._free = list(range(board.lanes - 1, -1, -1))
        self._running: dict[LaneCall, None] = {}
        self._ended: deque[tuple[LaneCall, Settlement]] = deque()
        self._settling: list[LaneCall] = []  # their lanes are free after the next turn
        self._performers: list[Performer | None] = [None] * board.lanes
        tallies = ctx.table.tallies[ctx.index]
        self._tallies = tallies if tallies.is_on else None
        self._known: dict[str, int] = {}  # names of tasks that ran lately: what is begun in the step that reserves it
        self._asleep = False
        self._may_be_work = True
        self._suspects = 0
        self._orders_seen = board.orders_given
        self._left = None if options.max_tasks is None else options.max_tasks * options.lanes
        self._memory = MemoryLimit(options.max_memory_kib)
        self._stale = False
        self._misjudged = False

    def _hear(self) -> None:
        """A large message is on its way: an owner that takes long to get it is not one that hangs."""
        self._row.turned_at = self._clock.monotonic()

    # -- the crew's side, from any thread -----------------------------------------------------------------------------

    def finished(self, call: LaneCall, settlement: Settlement) -> None:
        """Whoever takes the call out of `_running` settles it: its lane, or the one that gave it up."""
        if call not in self._running:
            return
        try:
            del self._running[call]
        except KeyError:
            return
        self._limits.forget(call)
        reach("slot.call.after")
        try:
            self._board.finish(call.k, encode_settlement(settlement))
        except (OverflowError, TypeError, UnicodeEncodeError):
            _logger.debug("the settlement of %s has no form for the table", settlement.task_id)
        reach("slot.finished")
        self._ended.append((call, settlement))
        if self._asleep:
            self._asleep = False
            try:
                os.write(self._bell[1], b"e")
            except BlockingIOError:
                return  # full of wake-ups already

    def _give_up(self, call: LaneCall) -> None:
        if call in self._running:
            self.finished(call, settle_ended(call, self.settler, None))

    # -- the loop -----------------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Run calls until the supervisor says stop, or enough are done; the process's exit code."""
        self._crew.start(self)
        try:
            self._register()
            while not self._is_over():
                try:
                    self._step()
                except LeaseGone:
                    self._free_lanes()
                    self._register()
            self._leave()
        except GivenUp:
            return self._give_up_all()
        return 0

    def close(self) -> None:
        self._teller.flush()
        self._limits.close()
        self._crew.close()
        self._broker.close()
        self._results.close()
        self._shared_results.close()
        self._agreed.close()

    @property
    def _is_stopping(self) -> bool:
        return self._row.stop != 0 or self._left == 0 or self._memory.is_over or self._is_worn

    @property
    def _is_worn(self) -> bool:
        """Calls that were given up still run: another process is better as soon as this one is free of others, at latest when
        it has as many of them as lanes."""
        stuck = self._crew.stuck
        return stuck > 0 and (
            stuck >= self._board.lanes - self._idle_lanes or not (self._running or self._ended or self._settling)
        )

    def _is_over(self) -> bool:
        return self._is_stopping and not (self._running or self._ended)

    def _register(self) -> None:
        while True:
            try:
                self._turns.register()
            except LeaseGone:
                continue
            break
        self._may_be_work = True
        reach("slot.registered")

    def _step(self) -> None:
        self._follow_orders()
        if self._following.look():
            self._may_be_work = True
        if self._turns.order.held:
            self._turns.order.let_go(self._clock.monotonic())
        self._take_ended()
        if self._is_stopping or not self._may_begin():
            if len(self._stash):
                self._turns.release_stash()
            if self._turns.waiting:
                self._turn((), 0)
            self._free_lanes()
            self._pause()
            return
        room = max(0, len(self._free) + len(self._settling) - self._idle_lanes)
        begin = self._choose(room)
        reserve = self._hunger(room - len(begin)) if self._may_be_work or self._settling else 0
        if not (begin or reserve or self._turns.waiting):
            self._wait()
            return
        reply = self._turn(begin, reserve)
        self._free_lanes()
        if reserve:
            self._may_be_work = reply.more or len(reply.reserved) >= reserve
        if len(reply.begun) < len(begin):
            begun = set(reply.begun)
            begin = [held for held in begin if held.tag in begun]
            self._turns.release_stash()  # the supervisor gave back what we hold, or part of it
        self._start([*begin, *self._accept(reply)])

    def _turn(self, begin: Sequence[Held], reserve: int) -> TurnReply:
        turns = self._turns
        rule = self._rule(reserve) if reserve else None
        wanted = [Begin(held.tag, held.terms.early) for held in begin]
        self._teller.look()
        reply = turns.take(wanted, reserve, rule)
        if reply.reserved:
            turns.order.gave(delivery.queue for delivery in reply.reserved)
        if reply.paused:
            turns.heed_pauses(reply, wanted)
        is_news = reply.revision != self._revocations.revision and self._revocations.follow(reply.revision)
        if is_news:
            self._intake.revoked, self._intake.stamps = self._revocations.ids, self._revocations.stamps
            self.settler.cancelled = self._revocations.cancelled
        if not self._capabilities.shared_results:
            self._store_results()
        if is_news and self.settler.cancelled:
            self._mend_told()
        if self.settler.unheard:
            heard(self.settler, turns.applied)
        turns.applied.clear()
        self._chords.finish(turns, reply.chords)
        return reply

    def _take_ended(self) -> None:
        """Put what has ended into the next turn; its lanes are free after that."""
        while self._ended:
            call, settlement = self._ended.popleft()
            self._turns.settle(settlement)
            self._count(settlement.outcome)
            if self._tallies is not None:
                seconds = self._clock.monotonic() - self._board.started_at(call.k)
                self._tallies.count(call.held.call.task, settlement.outcome, seconds)
            self._memory.look()
            if is_suspect(call.held):
                self._suspects -= 1
            self._settling.append(call)

    def _free_lanes(self) -> None:
        for call in self._settling:
            self._board.free(call.k)
            if call.lost:
                self._performers[call.k] = None  # still in use
            self._free.append(call.k)
        self._settling.clear()

    # -- what to begin, what to reserve -------------------------------------------------------------------------------

    def _may_begin(self) -> bool:
        """Whether the lease is fresh enough to begin on."""
        row = self._row
        if row.lost:
            self._turns.drop("the lease was taken over by another node")
            raise LeaseGone
        age = self._clock.monotonic() - row.renewed_at
        if may_begin(0.0, age, self._options.lease_s):
            self._may_be_work = self._may_be_work or self._stale
            self._stale = False
            return True
        if not self._stale:
            self._stale = True
            _logger.warning("the lease was not renewed for %.1f s: beginning nothing until it is", age)
        return False

    def _choose(self, room: int) -> list[Held]:
        """What to begin out of the stash; what expired or was revoked meanwhile is settled."""
        if not len(self._stash):
            return []
        now = self._clock.wall()
        for delivery in self._stash.due(now):
            held = self._decide(delivery, now)
            if held is not None:
                self._stash.add(held)
        chosen: list[Held] = []
        for held in self._stash.take_lanes(room, suspects=1 - self._suspects):
            refused = self._intake.again(held, now)
            if refused is not None:
                self._turns.settle(refused)
            elif not self._gate.rates or (verdict := self._gate.lets(held)).go:
                chosen.append(held)
            else:
                self._turns.put_off(held, *self._gate.place(held, verdict))
                self._may_be_work = True
        self._row.stash = len(self._stash)
        return chosen

    def _hunger(self, room: int) -> int:
        wanted = min(room - self._stash.ready, MOST_AT_ONCE)
        return max(0, wanted if self._left is None else min(wanted, self._left))

    def _rule(self, reserve: int) -> BeginRule | None:
        """Each has a lane, so all of known tasks are begun at once, whatever they cost."""
        kinds = self.settler.book.rule
        if kinds is None or not self._capabilities.schedule or self._misjudged or self._suspects or self._gate.rates:
            self._misjudged = False
            return None
        return BeginRule(kinds.early, kinds.exceptions, self._known, 0, reserve)

    def _accept(self, reply: TurnReply) -> list[Held]:
        """Sort what was reserved; returns what is begun already and is to run."""
        begun: list[Held] = []
        now = self._clock.wall() if reply.reserved else 0.0
        for delivery in reply.reserved:
            held = self._decide(delivery, now)
            if held is None:
                self._may_be_work = True  # its place is free again
                continue
            self._know(held.call.task)
            if delivery.standing is Standing.RESERVED:
                self._stash.add(held)
            elif held.terms.early is (delivery.standing is Standing.BEGUN_EARLY):
                begun.append(held)
            else:  # the store took it for another task, or its task has changed: the next turn only reserves it
                self._turns.unbegin([delivery.tag])
                self._misjudged = self._may_be_work = True
        self._row.stash = len(self._stash)
        return begun

    def _resize(self, lanes: int) -> None:
        """Run at most `lanes` calls at once; those that run more are let end."""
        self._idle_lanes = max(0, self._board.lanes - lanes)

    def _know(self, task: str) -> None:
        if task not in self._known:
            if len(self._known) >= MOST_COSTS:
                self._known = {}
            self._known = {**self._known, task: 0}

    def _decide(self, delivery: Delivery, now: float) -> Held | None:
        """What is to run; whatever else was decided is done, or waits for the next turn."""
        try:
            decision = self._intake.decide(delivery, now)
        except Exception as exc:  # whatever a message made us do: it must not come again and again
            _logger.exception("cannot decide about a message of queue %s: kept as a dead letter", delivery.queue)
            decision = self.settler.unreadable(delivery, exc)
        if isinstance(decision, Held):
            return decision
        if not isinstance(decision, Delay):
            self._turns.settle(decision)
        elif self._capabilities.schedule:
            self._turns.delay(decision)
        else:
            self._stash.add_later(decision.due, delivery)
        return None

    # -- running ------------------------------------------------------------------------------------------------------

    def _start(self, window: Sequence[Held]) -> None:
        if not window:
            return
        if not self._is_fresh():
            self._turns.unbegin([held.tag for held in window])
            self._may_be_work = True
            return
        row, now, wall = self._row, self._clock.monotonic(), self._clock.wall()
        if row.phase is not Phase.BUSY:
            row.phase = Phase.BUSY
            if not self._ctx.table.supervisor_watches:
                self._turns.notify()
        row.window += 1
        calls: list[LaneCall] = []
        for held in window:
            refused = self._intake.again(held, wall)  # a revoke may have become known in the turn that began it
            if refused is not None:
                self._turns.settle(refused)
                continue
            calls.append(self._start_one(held, now, wall))
        self._crew.take(calls)
        self._teller.flush()

    def _is_fresh(self) -> bool:
        """Whether what was begun may run. After a turn in which the store stood still the lease looks old, and the keeper's
        renewal is about to come: it is waited for."""
        row, lease_s = self._row, self._options.lease_s
        for _ in range(max(1, int(lease_s / 3 / RENEWAL_LOOK_S))):
            if row.stop or row.lost:
                return False
            if may_begin(row.renewed_at, self._clock.monotonic(), lease_s):
                return True
            self._turns.pause(RENEWAL_LOOK_S)
        return False

    def _start_one(self, held: Held, now: float, wall: float) -> LaneCall:
        k = self._free.pop()
        note = held.note()
        serial = self._board.start(k, note, now)
        reach("slot.call.before")
        self._intake.begun(held)
        if self._tallies is not None and held.call.eta is not None:
            self._tallies.started_late(held.call.task, wall - held.call.eta)
        place = self._places.get(held.call.task)
        if place is not None:
            self._counter[place] += 1
        if is_suspect(held):
            self._suspects += 1
        if self._left is not None:
            self._left -= 1
        code = LaneCode()
        call = LaneCall(held, k, serial, code, self._performer(k, code))
        self._running[call] = None
        self._limits.watch(call, note, now)
        return call

    def _performer(self, k: int, code: LaneCode) -> Performer:
        performer = self._performers[k]
        if performer is None:
            made = Performer(self.settler, self._intake, self._ctx.node, code, self._shared_results.store)
            performer = self._performers[k] = made
        performer.guard_with(code)
        return performer

    def _follow_orders(self) -> None:
        """The supervisor wants calls to be interrupted."""
        given = self._board.orders_given
        if given == self._orders_seen:
            return
        self._orders_seen = given
        by_lane = {call.k: call for call in list(self._running)}
        for k, serial, order, signum in self._board.orders():
            call = by_lane.get(k)
            if call is None or call.serial != serial:
                continue
            if order is Order.SOFT:
                self._limits.soft(call, call.held.note())
            else:
                self._limits.end(call, call.held.note(), signum)

    def _count(self, outcome: Outcome) -> None:
        row = self._row
        row.processed += 1
        if outcome is Outcome.SUCCESS:
            row.succeeded += 1
        elif outcome is Outcome.RETRY:
            row.retried += 1
        elif outcome is Outcome.FAILURE:
            row.failed += 1

    # -- idleness and the end -----------------------------------------------------------------------------------------

    def _wait(self) -> None:
        """Until a call ends, the supervisor wants something or, with a free lane, there is work."""
        row = self._row
        if not self._running:
            row.phase = Phase.IDLE
        if row.stop:
            return
        wants_work = len(self._free) - self._idle_lanes > self._stash.ready
        self._asleep = True
        try:
            if self._ended:
                return
            if wants_work:
                reach("slot.wait.before")
                self._turns.wait(self._patience_s())
                self._may_be_work = True
            else:
                self._turns.pause(self._patience_s())
        finally:
            self._asleep = False

    def _pause(self) -> None:
        """Until a call ends or the supervisor wants something: nothing is to be begun now."""
        if self._is_over():
            return
        self._asleep = True
        if not self._ended:
            self._turns.pause(STALE_WAIT_S if self._stale else IDLE_WAIT_S)
        self._asleep = False

    def _patience_s(self) -> float:
        waits = [IDLE_WAIT_S if self._capabilities.wait_fds else BLIND_WAIT_S]
        if (retry_in := self._results.retry_in) is not None:
            waits.append(retry_in)
        if (due := self._stash.next_due()) is not None:
            waits.append(max(0.0, due - self._clock.wall()))
        if held := self._turns.order.held:
            waits.append(max(0.0, min(held.values()) - self._clock.monotonic()))
        return min(waits)

    def _leave(self) -> None:
        """Settle what is over, hand back what is not begun, end the lease."""
        self._row.phase = Phase.STOPPING
        reach("slot.stop.before")
        try:
            self._turn((), 0)
            if self._turns.waiting:
                self._turn((), 0)
            self._turns.retire()
        except LeaseGone:
            return

    def _give_up_all(self) -> int:
        """The broker is away, and we are to stop. What still runs is waited for: its outcome stands on the board then."""
        while self._running:
            self._asleep = True
            if not self._ended:
                self._turns.pause(IDLE_WAIT_S)
            self._asleep = False
            self._take_ended()
        self._take_ended()
        if not self._turns.out or self._row.stop == LEAVE:
            return 0
        _logger.error("%s ends while its broker is away: the supervisor has what it could not settle", self._ctx.name)
        return 1

    # -- other stores -------------------------------------------------------------------------------------------------

    def _store_results(self) -> None:
        pendings = (pending_of(settlement) for settlement in self._turns.applied)
        self._results.add(pending for pending in pendings if pending is not None)
        keys, chords = self._results.send()
        self._turns.stored += keys
        self._chords.add_of_pendings(chords)

    def _mend_told(self) -> None:
        """What the turn has stored was decided before it told of cancelled workflows."""
        late = told_too_late(self.settler, self._turns.applied)
        if late:
            try:
                self._shared_results.store(late)
            except OperationalError as exc:  # the states say less; nothing of it will run
                _logger.warning("REVOKED of %s calls of a cancelled workflow is not stored: %s", len(late), exc)

    def _was_successful(self, task_id: str) -> bool:
        try:
            payload = self._results.fetch(task_id)
        except OperationalError as exc:
            _logger.warning("whether task %s was successful before cannot be looked up, it runs again: %s", task_id, exc)
            return False
        if payload is None:
            return False
        return decode_meta(payload, self.settler.records.how.serializer, exceptions=False).get("status") == "SUCCESS"
