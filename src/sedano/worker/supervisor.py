"""The node's event loop: orders slots, watches the table, hears signals and threads, and stops the node.

Nothing in it waits for a store: what needs one is handed to the keeper, the reaper or the mailbox, each a thread with a
connection of its own. An idle node sleeps in one system call.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol, TypeVar

from sedano import crashpoints
from sedano.contracts import Lease, Revoke
from sedano.rules.shutdown import Action, Event, Phase, step
from sedano.worker.autoscale import Autoscale
from sedano.worker.health import LOOK_EVERY_S, SILENT_S, WEDGED_S, Health, some_of
from sedano.worker.keeper import BEATS_WHEN_IDLE
from sedano.worker.lanewatch import LaneWatch
from sedano.worker.lines import one_line
from sedano.worker.mailbox import NodeMailbox
from sedano.worker.notify import Notifier
from sedano.worker.oom import OomKills, describe_loss
from sedano.worker.plan import NodePlan
from sedano.worker.pools.events import Pool, PoolBroken, SlotBorn, SlotDead
from sedano.worker.pools.processes import describe_exit
from sedano.worker.poolsize import PoolSize
from sedano.worker.reaper import SlotDeath
from sedano.worker.restart import Restarts
from sedano.worker.scout import Scout
from sedano.worker.servers import Servers
from sedano.worker.slotprocess import DEADLY
from sedano.worker.stopsignals import SignalPipe, signal_number, stop_events
from sedano.worker.table import LEAVE, Cause, RowView, SharedTable
from sedano.worker.table import Phase as SlotPhase
from sedano.worker.timelimits import TICK_S, TableWatch
from sedano.worker.vitals import Vitals

_logger = logging.getLogger("celery.worker")
_pool_logger = logging.getLogger("celery.worker.pool")
_control = logging.getLogger("celery.worker.control")

_PROMPT_START_S, _LATE_START_TICK_S = 3.0, 0.25  # a node that waits for its broker looks less often whether it is ready
MAILBOX_PATIENCE_S = 10.0  # who sees "ready" may send a command at once; a node without commands is better than none
ANSWER_S = 2.0  # commands are answered within a second or two
TERMINATE_GRACE_S = 1.0  # a task that sits in C code does not hear a signal handled by Python
EX_OK, EX_FAILURE, EX_UNAVAILABLE = 0, 1, 69

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class NodeHooks:
    """What the supervisor tells its owner, in its own thread: `ready` once all slots may work, `shutting_down(signal name,
    "Warm" or "Cold", exit code)`, and lines for the terminal."""

    ready: Callable[[], None]
    shutting_down: Callable[[str, str, int], None]
    say: Callable[[str], None]


class Follower(Protocol):
    """A thread that uses the node's server."""

    def move(self) -> None:
        """Use the one that is the node's now."""
        ...


class Supervisor:
    """One node from its first order to the last slot's end. `run` blocks; the other public methods may be called from any
    thread."""

    def __init__(
        self,
        plan: NodePlan,
        table: SharedTable,
        pool: Pool,
        hooks: NodeHooks,
        notify_fds: tuple[int, int],
        signals: SignalPipe | None,
    ) -> None:
        self._plan, self._table, self._pool, self._hooks = plan, table, pool, hooks
        self._notify_read, self._notify_write = notify_fds
        self._notify_lock = threading.Lock()
        self._signals = signals
        self._stop_events = stop_events()
        self._selector = selectors.DefaultSelector()
        self._posted: deque[Callable[[], None]] = deque()
        self._phase = Phase.RUNNING
        self._exitcode = EX_OK
        self._drain_until: float | None = None
        self._settle_until: float | None = None
        self._ready = False
        self._began = time.monotonic()
        self._connected = False
        self._working_since: float | None = None  # every slot, and the connection: only the mailbox is waited for
        self._away_since: float | None = None
        self._health = Health(plan.node, plan.slot.lease_s / BEATS_WHEN_IDLE, self._began)
        self._look_at_health = 0.0
        self._orders: dict[int, float] = {}  # row index -> when its next slot is to be ordered
        self._alive: set[int] = set()  # rows whose slot was ordered and has not died
        self._restarts = [Restarts(plan.alive_s) for _ in range(len(table))]
        self._executions: dict[int, float] = {}  # row index -> when a terminated slot that still lives is killed
        self._wedged: set[int] = set()  # rows whose slot is killed because it asks for no work
        self._oom = OomKills()
        self._busy = False
        self.wants_restart = False  # SIGHUP: the owner is to start the program again
        self._leaving: set[int] = set()  # rows whose slot is to end on the server that the node has left
        self.servers: Servers
        self.scout: Scout | None = None  # None: there is one server only
        self.followers: list[Follower] = []  # threads besides that go along to another server
        self.vitals = Vitals()
        self.notifier: Notifier | None = None  # None: no service manager wants to know
        self.mailbox: NodeMailbox | None = None  # None: this node hears no commands
        self.autoscale: Autoscale | None = None  # None: the pool keeps its size, but for what an operator orders
        self.size = PoolSize(table, plan.concurrency)
        self._renewing: Callable[[], None] | None = None  # what comes when the last slot of a pool that is renewed is gone
        self._lanes = LaneWatch(table, pool) if table.boards else None
        self._watch = self._lanes or TableWatch(table, pool, self._give_back, long_s=plan.slot.long_s)

    # -- from any thread ----------------------------------------------------------------------------------------------

    def post(self, action: Callable[[], None]) -> None:
        """Have `action` run in the loop's thread."""
        self._posted.append(action)
        with self._notify_lock, contextlib.suppress(OSError):  # full, or closed
            os.write(self._notify_write, b"p")

    def close(self) -> None:
        """Close what it has opened, the notify pipe first: after `run`, when no slot writes to it any more."""
        with self._notify_lock:
            os.close(self._notify_read)
            os.close(self._notify_write)
            self._notify_read = self._notify_write = -1
        self._oom.close()

    def stop(self, event: Event, *, name: str = "") -> None:
        """As if a signal had come."""
        self.post(lambda: self._stop(event, name or event.value))

    def terminate(self, ids: Collection[str], signum: int) -> list[str]:
        """End the running calls among `ids`; the ids of those that were found running."""
        try:
            return self.ask(lambda: self._terminate(ids, signum))
        except TimeoutError:
            return []

    def ask(self, question: Callable[[], T]) -> T:
        """The answer to `question`, which the loop's thread gives. Raises what that raises, and TimeoutError when the loop does
        not turn: then nobody is asked any more."""
        answer: Future[T] = Future()

        def give() -> None:
            if not answer.set_running_or_notify_cancel():
                return
            try:
                answer.set_result(question())
            except Exception as exc:  # whoever asks hears of it
                answer.set_exception(exc)

        self.post(give)
        try:
            return answer.result(timeout=ANSWER_S)
        except TimeoutError:
            if answer.cancel():  # what was told to have failed must not happen later
                raise
            return answer.result(timeout=ANSWER_S)

    def grow(self, count: int) -> None:
        """Have `count` more slots. Raises ValueError when there is no room for them."""

        def order() -> None:
            if count > self.size.room:
                raise ValueError(
                    f"this node has room for {self.size.room} more processes: start it with a larger concurrency (-c)"
                )
            grown = self.size.grow(count, self._alive | self._orders.keys())
            if self._renewing is None:  # else they come with the others
                self._orders.update(dict.fromkeys(grown, time.monotonic()))

        self.ask(order)

    def shrink(self, count: int) -> None:
        """Have `count` slots less, each as soon as its call is over. Raises ValueError when none would be left."""

        def order() -> None:
            if count >= self.size.wanted:
                raise ValueError(f"of {self.size.wanted} processes at most {self.size.wanted - 1} can go")
            gone = self.size.shrink(count, self._alive | self._orders.keys())
            for index in gone:
                if self._orders.pop(index, None) is not None:
                    self.size.is_retired(index)
            self._stop_slots(index for index in gone if index in self._alive)

        self.ask(order)

    def rescale(self, most: int | None, least: int | None) -> tuple[int, int]:
        """Other bounds for a pool that scales itself; (most, least) that hold now. Raises ValueError."""

        def order() -> tuple[int, int]:
            if self.autoscale is None:
                raise ValueError("Autoscale not enabled")
            return self.autoscale.update(most, least)

        return self.ask(order)

    def restart_pool(self, renew: Callable[[], None] | None) -> None:
        """Have every slot replaced as soon as its call is over. With `renew` all of them end first, it is called, and then
        the new ones start."""

        def order() -> None:
            if self._phase is not Phase.RUNNING:
                raise ValueError("this node is stopping")
            if renew is not None:
                self._renewing = renew
                self._orders.clear()
            self._stop_slots(self._alive)
            if renew is not None and not self._alive:
                self._renew()

        self.ask(order)

    def wake_slots(self) -> None:
        """Make every slot look at the table."""

        def wake() -> None:
            for index in self._alive:
                self._pool.wake(index)

        self.post(wake)

    def follow_revokes(self, orders: Sequence[Revoke]) -> None:
        """Orders to end calls that the store holds."""
        by_signal: dict[str, set[str]] = {}
        for order in orders:
            by_signal.setdefault(order.signal, set()).add(order.task_id)

        def act() -> None:
            for name, ids in by_signal.items():
                with contextlib.suppress(ValueError):
                    self._terminate(ids, signal_number(name))

        self.post(act)

    def connected(self) -> None:
        self.post(self._note_connection)

    def tried(self, tries: int) -> None:
        self.post(lambda: self._note_tries(tries))

    def found_server(self, place: int, is_same: bool, why: str) -> None:
        """The node is to go on with the server at `place`."""
        self.post(lambda: self._move(place, why, is_same=is_same))

    @property
    def slots(self) -> int:
        """How many there are."""
        return len(self._alive)

    @property
    def is_ready(self) -> bool:
        """All slots work, and every connection that consumes was answered lately."""
        return not self.unready()

    def unready(self) -> str:
        """Why this node takes no calls now, for people; "" when it does. As it is at this moment, not at the last look."""
        now = time.monotonic()
        if self._phase is not Phase.RUNNING:
            return "it is stopping, and takes nothing more"
        if not self._connected:
            return f"it has no connection to {self.servers.current.url} yet"
        if not self._ready:
            return "it is starting: not all of its slots are up"
        keeper = self.servers.current.keeper
        silent = self._health.unanswered(now, self._table, keeper.renewed_at, is_away=self._away_since is not None)
        if silent:
            return f"the broker has not answered {some_of(silent)} for {SILENT_S:g} seconds"
        waiting = [when for when in self._orders.copy().values() if when > now]
        if waiting and not any(row.phase in (SlotPhase.IDLE, SlotPhase.BUSY) for row in self._table):
            return f"all of its slots have died right after their start; the next one is started in {min(waiting) - now:.1f} s"
        return ""

    def lifeless(self) -> str:
        """Why this node should be started again, for people; "" when it works, or waits for its broker. From any thread."""
        if not self.vitals.loop_is_alive:
            return f"the supervisor's loop has not turned for {time.monotonic() - self.vitals.turned_at:.0f} s"
        keeper = self.servers.current.keeper
        silent_s = time.monotonic() - max(keeper.renewed_at, self._began)
        if self._away_since is None and silent_s > self._plan.slot.lease_s + SILENT_S and not self._stops_here():
            return f"the keeper of the leases has neither renewed them for {silent_s:.0f} s nor said that the broker is away"
        return ""

    def _stops_here(self) -> bool:
        return self._phase in (Phase.STOPPED, Phase.HARD)

    # -- the loop -----------------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Run the node until it has stopped; the exit code. The pool must be started, keeper and reaper running."""
        places = 1 if self._lanes is not None else self._plan.concurrency  # a second process with lanes is for another server
        for index in range(places if self.autoscale is None else self.autoscale.at_start):
            self._orders[index] = 0.0
        with self._selector as selector:
            selector.register(self._notify_read, selectors.EVENT_READ, self._hear_slots)
            if self._signals is not None:
                selector.register(self._signals.fileno(), selectors.EVENT_READ, self._hear_signals)
            pool_fd = self._pool.fileno()
            selector.register(pool_fd, selectors.EVENT_READ, self._hear_pool)
            while not self._stops_here():
                self.vitals.turned()
                self._order_slots()
                for key, _ in selector.select(self._wait_s()):
                    key.data()
                while self._posted:
                    self._posted.popleft()()
                self._look()
                if self._pool.fileno() != pool_fd:
                    selector.unregister(pool_fd)
                    pool_fd = self._pool.fileno()
                    selector.register(pool_fd, selectors.EVENT_READ, self._hear_pool)
        return self._exitcode

    def _wait_s(self) -> float | None:
        now = time.monotonic()
        times = [*self._orders.values(), *self._executions.values()]
        if self._drain_until is not None:
            times.append(self._drain_until)
        if self.notifier is not None:
            times.append(self.notifier.due_at)
        if self._ready:
            times.append(self._look_at_health)
            if self.autoscale is not None:
                times.append(self.autoscale.look_at)
        if self._phase is not Phase.RUNNING:
            times.append(now + TICK_S)
        elif self._busy:
            times.append(now + self._watch.tick_s)
        elif not self._ready:
            times.append(now + (TICK_S if now - self._began < _PROMPT_START_S else _LATE_START_TICK_S))
        return max(0.0, min(times) - now) if times else None

    def _look(self) -> None:
        now = time.monotonic()
        self._busy = self._watch.look(now)
        if not self._ready:
            self._check_ready()
        for index in [index for index, when in self._executions.items() if now >= when]:
            del self._executions[index]
            self._pool.signal(index, signal.SIGKILL)
        if self.notifier is not None and now >= self.notifier.due_at:
            self.notifier.look(now, self.unready(), is_alive=not self.lifeless())
        if self._drain_until is not None and now >= self._drain_until:
            self._drain_until = None
            self._stop(Event.TIMEOUT, "worker_drain_timeout")
        if self._ready and now >= self._look_at_health:
            self._look_at_health = now + LOOK_EVERY_S
            self._oom.forget()
            self._check_health(now)
        if self._ready and self.autoscale is not None and self._phase is Phase.RUNNING:
            self._scale(self.autoscale, now)
        if self._phase is not Phase.RUNNING and not self._alive:
            self._check_drained(now)

    def _hear_slots(self) -> None:
        try:
            heard = os.read(self._notify_read, 65536)
        except BlockingIOError:
            return
        # Only what slots say is of interest to the keeper: what it posts itself must not wake it again.
        keeper = self.servers.current.keeper
        if heard.strip(b"p") and (keeper.is_late or any(row.next_due for row in self._table)):
            keeper.rounds.wake()

    def _hear_signals(self) -> None:
        assert self._signals is not None
        for number in self._signals.read():
            event = self._stop_events.get(number)
            if number == signal.SIGHUP:
                self.wants_restart = not (sys.stdin is not None and sys.stdin.isatty())
                event = Event.TERM
            elif number == signal.SIGCHLD and os.getpid() == 1:
                self._pool.reap_orphans()
            if event is not None:
                self._stop(event, signal.Signals(number).name)

    # -- slots --------------------------------------------------------------------------------------------------------

    def _order_slots(self) -> None:
        now = time.monotonic()
        for index in [index for index, when in self._orders.items() if now >= when]:
            del self._orders[index]
            self._alive.add(index)
            self.vitals.starts += 1
            self._restarts[index].born(now, self._table.row(index).window)
            self._pool.order(index)

    def _scale(self, autoscale: Autoscale, now: float) -> None:
        if self._renewing is not None or (now < autoscale.look_at and not (self._busy and autoscale.is_resting)):
            return
        grown, gone = autoscale.look(now, self._alive | self._orders.keys())
        self._orders.update(dict.fromkeys(grown, now))
        self._stop_slots(gone)

    def _stop_slots(self, indexes: Iterable[int]) -> None:
        for index in indexes:
            self._table.row(index).stop = 1
            self._pool.wake(index)

    def _renew(self) -> None:
        renew, self._renewing = self._renewing, None
        if renew is None or self._phase is not Phase.RUNNING:
            return
        renew()
        places = self.size.wanted if self.autoscale is None else self.autoscale.at_start
        self._orders.update(dict.fromkeys(range(1 if self._lanes is not None else places), 0.0))

    def _hear_pool(self) -> None:
        try:
            events = self._pool.events()
        except PoolBroken as exc:
            _logger.critical("%s", exc)
            self._selector.unregister(self._pool.fileno())
            self._exitcode = EX_UNAVAILABLE
            for index in sorted(self._alive):
                self._bury(SlotDead(index, self._table.row(index).pid, None, f"slot {index}"))
            self._alive.clear()
            self._orders.clear()
            self._phase = Phase.COLD
            return
        for event in events:
            if isinstance(event, SlotBorn):
                self._slot_born(event)
            else:
                self._slot_dead(event)

    def _slot_born(self, event: SlotBorn) -> None:
        row = self._table.row(event.index)
        if self._phase is Phase.COLD:
            self._pool.signal(event.index, signal.SIGKILL)
        elif self._phase is Phase.WARM:
            row.stop = 1
            self._pool.wake(event.index)

    def _slot_dead(self, event: SlotDead) -> None:
        self._alive.discard(event.index)
        row = self._table.row(event.index)
        self._executions.pop(event.index, None)
        self.vitals.died(event.exitcode, row.condemned, wedged=event.index in self._wedged)
        self._wedged.discard(event.index)
        meant = row.condemned is not Cause.NONE or event.exitcode is None or event.index in self._leaving
        self._bury(event)
        self._leaving.discard(event.index)
        retired = self.size.is_retired(event.index) or (self.autoscale is not None and self.autoscale.is_retired(event.index))
        is_followed = self._lanes is not None and bool(self._alive - self._leaving or self._orders)
        if self._renewing is not None:
            if not self._alive:
                self._renew()
        elif self._phase is Phase.RUNNING and not (retired or is_followed):
            now = time.monotonic()
            restarts = self._restarts[event.index]
            wait_s = restarts.wait_s(now, event.exitcode, row.window, meant=meant)
            self._orders[event.index] = now + wait_s
            if wait_s:
                _logger.error(
                    "Slot %d has died %d times in a row right after its start; the next one is started in %.1f s. "
                    "Look for an error in worker_process_init receivers, or for what kills the process.",
                    event.index,
                    restarts.failures,
                    wait_s,
                )

    def _bury(self, event: SlotDead) -> None:
        """Hand what the slot left to the reaper and empty its row."""
        row = self._table.row(event.index)
        view = self._table.snapshot(event.index)
        how = "its status is unknown" if event.exitcode is None else describe_exit(event.exitcode)
        if event.exitcode and self._phase is not Phase.COLD:
            _pool_logger.error("Process %r pid:%d exited with %r", event.name, event.pid, how)
        # It has retired its lease itself; one that left a server behind may not have been able to.
        left_cleanly = event.exitcode == 0 and view.phase is SlotPhase.STOPPING and event.index not in self._leaving
        if not left_cleanly:
            self.servers.of(view.server).reaper.bury(
                SlotDeath(view, how, self._phase is Phase.COLD, self._more_of(event, view), _signal_of(event.exitcode))
            )
        self._table.reset(event.index)
        if self._phase is Phase.COLD:
            row.stop = 1  # a solo slot that was given up must not go on

    def _more_of(self, event: SlotDead, view: RowView) -> str:
        """What is known of a death that nobody of this node wanted."""
        if event.exitcode is None or event.exitcode >= 0 or view.condemned is not Cause.NONE:
            return ""
        oom = event.exitcode == -signal.SIGKILL and self._phase is not Phase.COLD and self._oom.took_one()
        more = describe_loss(event.peak_kib, oom=oom)
        if oom:
            _pool_logger.error(
                "Slot %d (pid %d) was ended%s. Give the node more memory, fewer slots (-c), or --max-memory-per-child",
                event.index,
                event.pid,
                more.removeprefix(", sent"),
            )
        return more

    def _give_back(self, lease: Lease, tags: list[str], release_all: bool) -> None:
        place = next((row.server for row in self._table if row.owner == lease.owner), self.servers.place)
        self.servers.of(place).reaper.give_back(lease, tags, release_all=release_all)

    def _terminate(self, ids: Collection[str], signum: int) -> list[str]:
        if self._lanes is not None:
            return self._lanes.terminate(ids, signum)
        ended: list[str] = []
        for row in self._table:
            running = row.running()
            note = row.note(running[0], running[1]) if running is not None else None
            if running is None or note is None or note.task_id not in ids or row.condemned is not Cause.NONE:
                continue
            ended.append(note.task_id)
            _control.info("Terminating %s (%s)", one_line(note.task_id), signum)
            if not self._pool.ends_calls:
                _control.warning("the pool %s cannot end a running call: %s goes on", self._pool.name, note.task_id)
            elif signum == signal.SIGUSR1:
                if row.mark_soft(running[0], running[1]):
                    self._pool.signal(row.index, signum)
            elif row.condemn(running[0], running[1], Cause.TERMINATED):
                row.terminate = signum in DEADLY
                self._pool.signal(row.index, signum)
                self._executions[row.index] = time.monotonic() + TERMINATE_GRACE_S
        return ended

    # -- readiness ----------------------------------------------------------------------------------------------------

    def _note_connection(self) -> None:
        self._connected = True
        self._away_since = None
        if self.scout is not None:
            self.scout.rest()
        if self.mailbox is not None:
            self.mailbox.rounds.wake()  # it need not wait for its next try, nor need the slots
        for index in self._alive:
            self._pool.wake(index)

    def _move(self, place: int, why: str, *, is_same: bool) -> None:
        """Go on with the server at `place`: slots end where they are, and others begin there."""
        if self._phase is not Phase.RUNNING or place == self.servers.place:
            return
        left = self.servers.current
        self.servers.move(place, is_same=is_same)
        here = self.servers.current
        _logger.warning(
            "%s goes on with the broker %s, instead of %s: %s",
            self._plan.node,
            here.url,
            left.url,
            why,
        )
        self._connected = False
        self._away_since = None
        for follower in self.followers:
            follower.move()
        for index in self._alive:
            self._leaving.add(index)
            self._table.row(index).stop = LEAVE
            self._pool.wake(index)
        if self._lanes is not None and not self._orders:
            free = [index for index in range(len(self._table)) if index not in self._alive]
            self._orders.update(dict.fromkeys(free[:1], 0.0))

    def _check_ready(self) -> None:
        if not self._connected or self._phase is not Phase.RUNNING:
            return
        held = (self._alive | self._orders.keys()) - self._leaving
        if not all(self._table.row(index).phase in (SlotPhase.IDLE, SlotPhase.BUSY) for index in held):
            return
        now = time.monotonic()
        self._working_since = self._working_since or now
        if self.mailbox is not None and not self.mailbox.has_listened:
            if now < self._working_since + MAILBOX_PATIENCE_S:
                return
            _logger.warning("%s works and hears no commands: its mailbox cannot be opened; trying on", self._plan.node)
        self._ready = True
        crashpoints.reach("supervisor.ready")
        self._hooks.ready()
        if self.notifier is not None:
            self.notifier.due_at = 0.0

    def _check_health(self, now: float) -> None:
        change = self._health.look(now, self._table, self.servers.current.keeper.renewed_at)
        if change is not None:
            _logger.log(logging.WARNING if self._health.is_good else logging.ERROR, "%s", change)
        if self._phase is not Phase.RUNNING or not self._pool.ends_calls:
            return
        for index in self._health.wedged(now, self._table):
            if index in self._alive and index not in self._executions:
                _logger.error("Slot %d is alive and has not asked for work for %g s: it is replaced", index, WEDGED_S)
                self._executions[index] = now
                self._wedged.add(index)

    def _note_tries(self, tries: int) -> None:
        now = time.monotonic()
        if self._away_since is None:
            self._away_since = now
        if self.scout is not None and tries:
            self.scout.search()
            if not self.scout.fruitless:
                return
        patience_s = self._plan.connect_patience_s
        wanted = self._plan.connect_again if self._connected else self._plan.connect_at_start
        if not tries or (wanted and (patience_s is None or now - self._away_since < patience_s)):
            return
        _logger.critical("%s gives up: its broker cannot be reached (%d tries)", self._plan.node, tries)
        self._exitcode = EX_FAILURE
        self._phase = Phase.HARD
        self._tell_slots_to_stop()  # one in this process would try to reach the broker for ever

    # -- the end ------------------------------------------------------------------------------------------------------

    def _stop(self, event: Event, name: str) -> None:
        taken = step(self._phase, event)
        if taken.exitcode is not None:
            self._exitcode = taken.exitcode
        if taken.message is not None:
            self._hooks.say(taken.message)
        if taken.action in (Action.DRAIN, Action.CANCEL):
            self._hooks.shutting_down(name, "Warm" if taken.action is Action.DRAIN else "Cold", self._exitcode)
        if self.notifier is not None and self._phase is Phase.RUNNING:
            self.notifier.stopping(to_start_again=self.wants_restart)
        self._phase = taken.phase
        self._orders.clear()
        if taken.action is Action.DRAIN:
            self._drain()
        elif taken.action is Action.CANCEL:
            self._cancel()

    def _check_drained(self, now: float) -> None:
        """All slots are gone; stop when what they left is settled, or cannot be for as long as others would wait."""
        if self._settle_until is None:
            self._settle_until = now + self._plan.slot.lease_s
        if not self.servers.idle and now < self._settle_until:
            return
        for url in self.servers.unsettled:
            _logger.warning("%s does not answer: what the slots left is settled by other nodes, or at the next start", url)
        self._phase = step(self._phase, Event.DRAINED).phase

    def _drain(self) -> None:
        if self._plan.drain_s is not None:
            self._drain_until = time.monotonic() + self._plan.drain_s
        self._tell_slots_to_stop()

    def _tell_slots_to_stop(self) -> None:
        self._stop_slots(self._alive)

    def _cancel(self) -> None:
        self._drain_until = None
        for index in sorted(self._alive):
            row = self._table.row(index)
            running = row.running()
            if running is not None:
                row.condemn(running[0], running[1], Cause.COLD_STOP)
            self._pool.signal(index, signal.SIGKILL)


def _signal_of(exitcode: int | None) -> signal.Signals | None:
    """The signal that ended a process."""
    with contextlib.suppress(ValueError):
        return signal.Signals(-exitcode) if exitcode is not None and exitcode < 0 else None
    return None
