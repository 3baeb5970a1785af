"""The slot: one unit of concurrency. Settle what is over, begin the next window, reserve more, in one round trip; then run.

    turn: settle window n, begin window n+1, reserve ──► decide about what was reserved ──► run window n+1 ──┐
      ▲                                                                                                      │
      └──────────────────────────────────────────────────────────────────────────────────────────────────────┘
      nothing in hand: begin the first that is reserved in the same turn; nothing there: wait for work

A slot stops beginning when its lease was not renewed for two thirds of the lease time: its node's supervisor renews it, and
somebody else may take it over after a whole one. It is fenced besides: a turn of a lease that is lost changes nothing.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence

from sedano.contracts import (
    Begin,
    BeginRule,
    Delay,
    Delivery,
    Outcome,
    Settlement,
    Source,
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
from sedano.rules.window import MAX_STASH, RunTimes, stash_target, widest_window
from sedano.worker.agreed import Agreed
from sedano.worker.brisk import brisk
from sedano.worker.cancelled import heard, told_too_late
from sedano.worker.context import SlotContext
from sedano.worker.following import Following
from sedano.worker.gate import Gate
from sedano.worker.held import Held
from sedano.worker.intake import Intake
from sedano.worker.memory import MemoryLimit
from sedano.worker.openchords import OpenChords
from sedano.worker.perform import Performer, UserCode
from sedano.worker.relay.doors import open_at
from sedano.worker.revocations import Revocations
from sedano.worker.row import LEAVE, Row
from sedano.worker.rowview import Phase
from sedano.worker.separate import SeparateResults
from sedano.worker.settle import Settler
from sedano.worker.stash import Stash
from sedano.worker.teller import Teller, send_to
from sedano.worker.turns import GivenUp, LeaseGone, Turns

_logger = logging.getLogger("celery.worker.consumer.consumer")

IDLE_WAIT_S = 5.0  # P7: a consuming connection is used at least every ten seconds
BLIND_WAIT_S = 0.25  # where waiting cannot watch the supervisor's file besides
RENEWAL_LOOK_S = 0.1
STALE_WAIT_S = 0.5  # between two looks at a lease that is not renewed
SMOOTHING = 0.1


def run_slot(ctx: SlotContext) -> int:
    """Run calls until the supervisor says stop, `max_tasks` are done or the process has grown too large; its exit code.

    Raises SystemExit and KeyboardInterrupt of a task's own code: then what is in hand stands in the table, for the supervisor
    to settle.
    """
    row = ctx.table.row(ctx.index)
    row.phase = Phase.STARTING
    row.pid = os.getpid()
    user_code = UserCode(row)
    user_code.install()
    os.set_blocking(ctx.wake_fd, False)
    reach("slot.started")
    slot = Slot(ctx, user_code)
    try:
        return slot.run()
    finally:
        slot.close()


class Slot:
    """The loop. One lease, one broker connection, one row of the table."""

    def __init__(self, ctx: SlotContext, user_code: UserCode) -> None:
        options, app = ctx.options, ctx.app
        self._ctx = ctx
        self._options = options
        self._clock = options.clock
        self._row: Row = ctx.table.row(ctx.index)
        self._row.server = ctx.table.server
        tallies = ctx.table.tallies[ctx.index]
        self._tallies = tallies if tallies.is_on else None
        self._stores = brisk(app.stores.at(self._row.server), options.lease_s, self._hear)
        self._broker = open_at(self._stores, ctx.relays, self._row.server)
        self._capabilities = self._broker.capabilities
        self._widest = widest_window(relayed=self._capabilities.source is Source.SUPERVISOR)
        self._settler = Settler(app, ctx.node, options)
        self._results = SeparateResults(self._stores.open_results_if_on, self._settler.unstorable_pending, options.clock)
        self._chords = OpenChords(self._settler.finisher, self._results, is_shared=self._capabilities.shared_results)
        self._times = RunTimes()
        self._stash = Stash(self._times, options.window_s)
        self._turns = Turns(
            ctx, self._broker, self._settler, self._stash, redact_url(self._stores.broker_url),
            app.conf.typed("broker_connection_max_retries") or None,
        )  # fmt: skip
        self._agreed = Agreed(self._stores.open_coordination)
        self._gate = Gate(
            ctx.table.buckets, self._stash, options.clock, schedule=self._capabilities.schedule,
            throttle=self._agreed.throttle if options.cluster_rates else None,
        )  # fmt: skip
        self._following = Following(ctx.table.orders, self._turns, self._stash, self._settler.book, self._gate)
        self._counter, self._places = ctx.table.counts.counter(ctx.index)
        self._teller = Teller(ctx.table, ctx.node, None if ctx.tell_fd is None else send_to(ctx.tell_fd), options.clock)
        self._intake = Intake(self._settler, ctx.node, options, self._was_successful, self._teller, ctx.table.announced)
        self._performer = Performer(self._settler, self._intake, ctx.node, user_code, self._results.store)
        self._revocations = Revocations(self._agreed.revokes)
        self._mean_s: float | None = None
        self._appetite = 1
        self._left = options.max_tasks
        self._memory = MemoryLimit(options.max_memory_kib)
        self._stale = False
        self._misjudged = False

    def _hear(self) -> None:
        """A large message is on its way: a slot that takes long to get it is not one that hangs."""
        self._row.turned_at = self._clock.monotonic()

    # -- the loop -----------------------------------------------------------------------------------------------------

    def run(self) -> int:
        try:
            self._register()
            while not (self._row.stop or self._left == 0 or self._memory.is_over):
                try:
                    self._step()
                except LeaseGone:
                    self._register()
            self._leave()
        except GivenUp:
            if not self._turns.out or self._row.stop == LEAVE:
                return 0
            _logger.error("slot %s ends while its broker is away: the supervisor has what it could not settle", self._ctx.name)
            return 1
        return 0

    def close(self) -> None:
        self._teller.flush()
        self._broker.close()
        self._results.close()
        self._agreed.close()

    def _register(self) -> None:
        while True:
            try:
                self._turns.register()
            except LeaseGone:
                continue
            break
        reach("slot.registered")

    def _step(self) -> None:
        if not self._may_begin():
            return
        self._following.look()
        if self._turns.order.held:
            self._turns.order.let_go(self._clock.monotonic())
        window = self._choose()
        rule = self._rule() if not window and self._begins_new else None
        reply = self._turn(window, self._hunger(window, rule), rule)
        if len(reply.begun) < len(window):
            begun = set(reply.begun)
            window = [held for held in window if held.tag in begun]
            self._turns.release_stash()  # the supervisor gave back what we hold, or part of it: do not ask for each
        self._row.stash = len(self._stash) + len(reply.reserved)
        if window:
            if self._takes_long(window):
                self._turns.release_stash(also=[delivery.tag for delivery in reply.reserved])
                return
            self._accept(reply)
        elif reply.reserved:
            window = self._accept(reply)
            if window and self._takes_long(window):
                self._turns.release_stash()
        elif not self._turns.waiting:
            if not self._chords:
                self._idle()
            else:  # their parts cannot be read now
                self._turns.pause(1.0)

    def _takes_long(self, window: list[Held]) -> bool:
        """Run the window; whether what waited behind it has waited too long."""
        began = self._clock.monotonic()
        self._run_window(window)
        return self._clock.monotonic() - began > self._options.long_s

    def _turn(self, window: Sequence[Held], reserve: int, begin_new: BeginRule | None = None) -> TurnReply:
        turns = self._turns
        begin = [Begin(held.tag, held.terms.early) for held in window]
        self._teller.look()
        reply = turns.take(begin, reserve, begin_new)
        if reply.reserved:
            turns.order.gave(delivery.queue for delivery in reply.reserved)
        if reply.paused:
            turns.heed_pauses(reply, begin)
        is_news = reply.revision != self._revocations.revision and self._revocations.follow(reply.revision)
        if is_news:
            self._intake.revoked, self._intake.stamps = self._revocations.ids, self._revocations.stamps
            self._settler.cancelled = self._revocations.cancelled
        if not self._capabilities.shared_results:
            self._store_results()
        if is_news and self._settler.cancelled:
            self._mend_told()
        if self._settler.unheard:
            heard(self._settler, turns.applied)
        turns.applied.clear()
        self._chords.finish(turns, reply.chords)
        return reply

    def _store_results(self) -> None:
        pendings = (pending_of(settlement) for settlement in self._turns.applied)
        self._results.add(pending for pending in pendings if pending is not None)
        keys, chords = self._results.send()
        self._turns.stored += keys
        self._chords.add_of_pendings(chords)

    # -- what to begin, what to reserve -------------------------------------------------------------------------------

    def _may_begin(self) -> bool:
        """Whether the lease is fresh enough to begin on. If not, everything reserved is given back, and it is waited for."""
        row = self._row
        if row.lost:
            self._turns.drop("the lease was taken over by another node")
            raise LeaseGone
        age = self._clock.monotonic() - row.renewed_at
        if may_begin(0.0, age, self._options.lease_s):
            self._stale = False
            return True
        if not self._stale:
            self._stale = True
            _logger.warning("the lease was not renewed for %.1f s: beginning nothing until it is", age)
            self._turn((), 0)
            self._turns.release_stash()
        self._turns.pause(STALE_WAIT_S)
        return False

    def _choose(self) -> list[Held]:
        """The next window, out of the stash; those that expired or were revoked meanwhile are settled."""
        now = self._clock.wall()
        for delivery in self._stash.due(now):
            held = self._decide(delivery, now)
            if held is not None:
                self._stash.add(held)
        window: list[Held] = []
        rates = self._gate.rates
        while not window:
            taken = self._stash.take_window(self._most())
            if not taken:
                break
            for held in taken:
                refused = self._intake.again(held, now)
                if refused is not None:
                    self._turns.settle(refused)
                elif not rates or (verdict := self._gate.lets(held)).go:
                    window.append(held)
                else:
                    self._turns.put_off(held, *self._gate.place(held, verdict))
        return window

    @property
    def _begins_new(self) -> bool:
        """Whether the store may begin calls in the step that reserves them: not while rate limits hold, which it does not
        know."""
        return self._capabilities.schedule and not self._gate.rates and self._settler.book.rule is not None

    def _rule(self) -> BeginRule | None:
        """With empty hands the next window is begun in the step that reserves it: one round trip less until it runs, and a
        store has less to write down."""
        kinds = self._settler.book.rule
        if kinds is None or self._misjudged:
            self._misjudged = False
            return None
        budget_us = int(self._options.window_s * 1e6)
        most = min(self._most(), self._widest)
        return BeginRule(kinds.early, kinds.exceptions, self._times.costs_us(), budget_us, most)

    def _most(self) -> int:
        """How many may be begun at once at most, by the user's own limits."""
        cap, left = self._options.prefetch_cap, self._left
        most = MAX_STASH if left is None else left
        return most if cap is None else min(most, max(cap, 1))

    def _hunger(self, window: Sequence[Held], rule: BeginRule | None) -> int:
        """How many to reserve: the next window itself if `rule` lets it begin at once; else what is to wait behind `window`."""
        return self._hunger_to_hold(window) if rule is None else self._hunger_to_begin(rule)

    def _hunger_to_begin(self, rule: BeginRule) -> int:
        """As many as are likely to fit into a window; more after turns that brought nothing to run."""
        if self._appetite > 1 or self._mean_s is None:
            return min(self._appetite, self._most())
        return min(max(1, int(self._options.window_s / max(self._mean_s, 1e-6))), rule.most)

    def _hunger_to_hold(self, window: Sequence[Held]) -> int:
        """So much that the next window is in hand when this one ends.

        Nothing where the turn that settles this one begins the next; and nothing while a call runs of which nobody knows that
        it is short: what waits behind it could run elsewhere.
        """
        options = self._options
        if window and self._begins_new:
            return 0
        if window:
            predicted = self._times.predict(window[0].call.task)
            if predicted is None or predicted > options.window_s:
                return 0
        target = stash_target(self._mean_s, window_s=options.window_s, cap=options.prefetch_cap)
        if not window:
            target = max(target, self._appetite)
        if options.prefetch_cap is not None:
            target = min(target, max(options.prefetch_cap, 1) - len(window))
        if self._left is not None:
            target = min(target, self._left - len(window))
        return max(0, target - self._stash.ready)

    def _accept(self, reply: TurnReply) -> list[Held]:
        """Sort what was reserved; returns what is begun already and is to run."""
        window: list[Held] = []
        if reply.reserved:
            before, now = len(self._stash), self._clock.wall()
            for delivery in reply.reserved:
                held = self._decide(delivery, now)
                if held is None:
                    continue
                if delivery.standing is Standing.RESERVED:
                    self._stash.add(held)
                elif held.terms.early is (delivery.standing is Standing.BEGUN_EARLY):
                    window.append(held)
                else:  # the store took it for another task, or its task has changed: the next turn only reserves it
                    self._turns.unbegin([delivery.tag])
                    self._misjudged = True
            # Calls that are only moved on (not due, expired) take no time: look at more of them at once.
            is_fed = bool(window) or len(self._stash) > before
            self._appetite = 1 if is_fed else min(self._appetite * 2, MAX_STASH)
        self._row.stash = len(self._stash)
        return window

    def _decide(self, delivery: Delivery, now: float) -> Held | None:
        """What is to run; whatever else was decided is done, or waits for the next turn."""
        try:
            decision = self._intake.decide(delivery, now)
        except Exception as exc:  # whatever a message made us do: it must not come again and again
            _logger.exception("cannot decide about a message of queue %s: kept as a dead letter", delivery.queue)
            decision = self._settler.unreadable(delivery, exc)
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

    def _run_window(self, window: list[Held]) -> None:
        self._await_renewal()
        left = window
        while left:
            left = self._run_opened(left)

    def _await_renewal(self) -> None:
        """After a turn in which the store stood still the lease looks old, and the keeper's renewal is about to come: what is
        in hand is not given back for that, it would come again in the same way."""
        row, options = self._row, self._options
        for _ in range(max(1, int(options.lease_s / 3 / RENEWAL_LOOK_S))):
            if row.stop or row.lost or may_begin(row.renewed_at, self._clock.monotonic(), options.lease_s):
                return
            self._turns.pause(RENEWAL_LOOK_S)

    def _run_opened(self, window: list[Held]) -> list[Held]:
        """Run the calls of `window`; returns those that need a window of their own in the table, which was full."""
        row, lease_s, monotonic = self._row, self._options.lease_s, self._clock.monotonic
        self._open(window)
        unrun: list[Held] = []
        left: list[Held] = []
        for k, held in enumerate(window):
            now = monotonic()
            if row.is_called_off() or self._memory.is_over or not may_begin(row.renewed_at, now, lease_s):
                unrun += window[k:]
                break
            if not row.start(k, now):
                unrun.append(held)  # the supervisor has taken it back, and gives it back, too: whoever comes first
                continue
            if not self._run_call(held, k, now):
                self._turn((), 0)
                still = row.close_window()
                left = [window[i] for i in still]
                unrun += [window[i] for i in range(k + 1, len(window)) if i not in still]
                break
        if unrun:
            self._turns.unbegin([held.tag for held in unrun])
        if not self._turns.out:
            row.close_window()
        return left

    def _run_call(self, held: Held, k: int, started_at: float) -> bool:
        """False when the table has no room for the settlement: it must go to the store before the next call."""
        reach("slot.call.before")
        now = self._clock.wall()
        settlement = self._intake.again(held, now)  # a revoke may have become known in the turn that began it
        if settlement is not None:
            self._turns.settle(settlement)
            return self._keep(k, settlement)
        self._intake.begun(held)
        if self._tallies is not None and held.call.eta is not None:
            self._tallies.started_late(held.call.task, now - held.call.eta)
        place = self._places.get(held.call.task)
        if place is not None:
            self._counter[place] += 1
        settlement = self._performer.perform(held, at_once=self._times.predict(held.call.task) is None)
        reach("slot.call.after")
        self._turns.settle(settlement)
        kept = self._keep(k, settlement)
        reach("slot.finished")
        self._count(held, settlement.outcome, self._clock.monotonic() - started_at)
        return kept

    def _keep(self, k: int, settlement: Settlement) -> bool:
        """Write the settlement into the table; False when it has no room, or no form for it: JSON can carry more."""
        try:
            encoded = encode_settlement(settlement)
        except (OverflowError, TypeError, UnicodeEncodeError):
            return False
        return self._row.finish(k, encoded)

    def _open(self, window: list[Held]) -> None:
        row = self._row
        row.open_window([held.note() for held in window])
        if row.phase is not Phase.BUSY:
            row.phase = Phase.BUSY
            if not self._ctx.table.supervisor_watches:
                self._turns.notify()

    def _count(self, held: Held, outcome: Outcome, seconds: float) -> None:
        task = held.call.task
        self._times.observe(task, seconds)
        if self._tallies is not None:
            self._tallies.count(task, outcome, seconds)
        mean = self._mean_s
        self._mean_s = seconds if mean is None else mean + SMOOTHING * (seconds - mean)
        self._row.count(outcome)
        self._memory.look()
        if self._left is not None:
            self._left -= 1

    # -- idleness and the end -----------------------------------------------------------------------------------------

    def _idle(self) -> None:
        row = self._row
        row.close_window()
        row.phase = Phase.IDLE
        if row.stop:
            return
        reach("slot.wait.before")
        waits = [IDLE_WAIT_S if self._capabilities.wait_fds else BLIND_WAIT_S]
        if (retry_in := self._results.retry_in) is not None:
            waits.append(retry_in)
        if (due := self._stash.next_due()) is not None:
            waits.append(max(0.0, due - self._clock.wall()))
        if held := self._turns.order.held:
            waits.append(max(0.0, min(held.values()) - self._clock.monotonic()))
        self._turns.wait(min(waits))

    def _leave(self) -> None:
        """Settle what is over, hand back what is not begun, end the lease."""
        self._row.phase = Phase.STOPPING
        reach("slot.stop.before")
        try:
            self._turn((), 0)
            if self._turns.waiting:
                self._turn((), 0)
            self._row.close_window()
            self._turns.retire()
        except LeaseGone:
            return

    # -- other stores -------------------------------------------------------------------------------------------------

    def _mend_told(self) -> None:
        """What the turn has stored was decided before it told of cancelled workflows."""
        late = told_too_late(self._settler, self._turns.applied)
        if late:
            try:
                self._results.store(late)
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
        return decode_meta(payload, self._settler.records.how.serializer, exceptions=False).get("status") == "SUCCESS"
