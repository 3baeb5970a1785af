"""One node from its options to its exit code: what `sedano worker`, `app.Worker` and `app.worker_main` start.

The order matters: the app is loaded and the user's hooks have run before the template is forked, and the template is forked
before this process has a thread or a connection.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sedano import crashpoints, signals
from sedano.app.connect import Stores
from sedano.contracts import Broker
from sedano.exceptions import ImproperlyConfigured, OperationalError
from sedano.log import redact_url
from sedano.rules.failover import Rotation
from sedano.rules.scaling import Scaling
from sedano.rules.shutdown import Event
from sedano.settings.validation import Finding, require_valid
from sedano.worker.advice import advise
from sedano.worker.answers import NodeAnswers
from sedano.worker.autoscale import Autoscale, DepthProbe
from sedano.worker.banner import banner, root_warnings, say, task_list
from sedano.worker.brisk import brisk
from sedano.worker.keeper import Keeper, KeeperEars, KeeperTerms
from sedano.worker.leasebook import LeaseBook
from sedano.worker.link import StoreLink
from sedano.worker.logs import LogPlan, prepare_slot_logs, setup_logs
from sedano.worker.mailbox import NodeHands, NodeMailbox
from sedano.worker.neighbours import Neighbours
from sedano.worker.nodenames import node_name
from sedano.worker.pidfile import Pidfile, PidfileInUse
from sedano.worker.plan import NodePlan, WorkerOptions, plan_node
from sedano.worker.pools.events import PoolBroken
from sedano.worker.pools.processes import ProcessPool
from sedano.worker.pools.solo import SoloPool
from sedano.worker.reaper import Reaper
from sedano.worker.respawn import RespawnOrder
from sedano.worker.scout import LOOKS_PER_LEASE, Scout, ScoutEars
from sedano.worker.servers import Server, Servers
from sedano.worker.settle import Settler
from sedano.worker.slotprocess import SlotMaker
from sedano.worker.stopsignals import SignalPipe
from sedano.worker.supervisor import EX_FAILURE, EX_UNAVAILABLE, NodeHooks, Supervisor
from sedano.worker.table import SharedTable

if TYPE_CHECKING:
    from sedano.app.base import Celery

_logger = logging.getLogger("celery.apps.worker")
EX_CANTCREAT = 73
_GOODBYE_S = 15.0  # how long the threads may take to end their last round


def start_worker(app: Celery, options: WorkerOptions, *, settled: Callable[[], None] | None = None) -> int:
    """Run a node in this process until it is stopped; the exit code. To be called in the main thread.

    `settled` is called once everything that can be wrong with settings, files and rights is known to be right, before the
    first process of the pool starts. Raises ImproperlyConfigured for settings and options that cannot be.
    """
    return Worker(app, options, settled=settled).start()


class Worker:
    """A node. Hooks get it as `sender` or `instance`: `app`, `hostname`, `pid`, `options`, `stop()` are for them.

    `embedded` runs it inside somebody else's process: in threads, without touching signals, logging or streams.
    """

    def __init__(
        self, app: Celery, options: WorkerOptions, *, embedded: bool = False, settled: Callable[[], None] | None = None
    ) -> None:
        self.app, self.options, self.embedded, self.settled = app, options, embedded, settled
        self.hostname = node_name(options.hostname)
        self.pid = os.getpid()
        self.controller = self.consumer = self  # what Celery's hooks look for on their senders
        self.ready = threading.Event()
        self.exitcode: int | None = None
        self.plan: NodePlan | None = None
        self.wants_restart = False
        self.supervisor: Supervisor | None = None
        self._findings: list[Finding] = []

    # -- for others ---------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Begin a warm stop. From any thread; safe twice."""
        if self.supervisor is not None:
            self.supervisor.stop(Event.SHUTDOWN)

    def terminate(self) -> None:
        """Begin a cold stop."""
        if self.supervisor is not None:
            self.supervisor.stop(Event.QUIT)

    def speak(self, text: str, *, error: bool = True) -> None:
        """Say something to whoever started the node: past the log's level and format, where there is a person to read it."""
        if self.embedded or (self.plan is not None and self.plan.log.is_json):
            _logger.warning("%s", text.strip())
        else:
            say(text, error=error)

    def is_ready(self) -> bool:
        return self.supervisor is not None and self.supervisor.is_ready

    # -- start --------------------------------------------------------------------------------------------------------

    def start(self) -> int:
        """Run until stopped; the exit code."""
        self._load()
        plan = self.plan = self._announce(plan_node(self.app, self.options, self.hostname))
        pidfile = Pidfile(plan.pidfile) if plan.pidfile else None
        try:
            if pidfile is not None:
                pidfile.acquire()
        except PidfileInUse as exc:
            self.speak(f"ERROR: {exc}")
            return EX_CANTCREAT
        try:
            if not self.embedded and self._refused_as_root():
                return EX_FAILURE
            self.exitcode = _Run(self, plan).run()
        finally:
            if pidfile is not None:
                pidfile.release()
        if self.wants_restart:
            _logger.warning("Restarting celery worker (%s)", " ".join(sys.orig_argv))
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - the program that runs now
        return self.exitcode

    def _load(self) -> None:
        """Settings, modules, tasks, queues: everything that slots inherit."""
        app, options = self.app, self.options
        app.set_current()
        told = {**asdict(options), **options.user_options}
        app.loader.import_default_modules()  # where receivers of the hook may be
        signals.celeryd_init.send(self.hostname, instance=self, conf=app.conf, options=told)
        app.conf.update(options.setting_changes())
        self._findings = require_valid(app.conf)
        if options.queues:
            app.amqp.queues.select(options.queues)
        if options.exclude_queues:
            app.amqp.queues.deselect(options.exclude_queues)
        if options.include:
            app.conf.include = [*app.conf.typed("include"), *options.include]
            for module in options.include:
                _import_included(app, module)
        app.finalize()

    def _announce(self, plan: NodePlan) -> NodePlan:
        """Logging, hooks, banner. Hooks may still add queues: the plan is made again after them."""
        app = self.app
        if not self.embedded:
            self._setup_logs(plan.log)
        advise(app, self._findings)
        signals.worker_init.send(self)
        signals.celeryd_after_setup.send(self.hostname, instance=self, conf=app.conf)
        plan = plan_node(app, self.options, self.hostname)
        if not (self.embedded or self.options.quiet or plan.log.is_json):
            say(banner(app, plan))
            if plan.log.level <= logging.INFO:
                say(task_list(app, builtin=plan.log.level <= logging.DEBUG))
        return plan

    def _setup_logs(self, log: LogPlan) -> None:
        if self.app.given["log"] is None:
            setup_logs(log)
        else:  # a class of the user's own
            self.app.log.setup(log.level, log.file, log.redirect, log.redirect_level, log.color, self.hostname)

    def _refused_as_root(self) -> bool:
        uid = os.getuid() if hasattr(os, "getuid") else -1
        accept = self.app.conf.typed("accept_content")
        lines, refused = root_warnings(map(str, accept), uid=uid, forced=bool(os.environ.get("C_FORCE_ROOT")))
        for line in lines:
            self.speak(line)
        return refused


def _import_included(app: Celery, module: str) -> None:
    """What the module itself raises comes through."""
    try:
        app.loader.import_task_module(module)
    except ModuleNotFoundError as exc:
        if exc.name is None or not f"{module}.".startswith(f"{exc.name}."):
            raise
        raise ImproperlyConfigured(f"-I {module}: there is no module {exc.name!r}") from exc


class _Run:
    """Everything that exists from the fork of the template to the exit: made in the order in which it starts."""

    def __init__(self, worker: Worker, plan: NodePlan) -> None:
        self._worker, self._plan, self._app = worker, plan, worker.app
        several = len(self._app.stores.broker_urls) > 1
        self._table = SharedTable.create(1 + several, lanes=plan.lanes) if plan.lanes else SharedTable.create(plan.concurrency)
        self._notify = os.pipe()
        for fd in self._notify:
            os.set_blocking(fd, False)
        self._stores = brisk(self._app.stores, plan.slot.lease_s)
        self._settler = Settler(self._app, plan.node, plan.slot)

    def run(self) -> int:
        plan = self._plan
        maker = SlotMaker(
            app=self._app,
            node=plan.node,
            options=plan.slot,
            table=self._table,
            prepare_logs=lambda index: prepare_slot_logs(plan.log, index),
            alive_s=plan.alive_s,
            pool=plan.pool if plan.lanes else None,
        )
        crashpoints.reach("supervisor.started")
        self._check_stores()
        if ":" in plan.pool:
            importlib.import_module("sedano.worker.pools.custom").find_pool(plan.pool)  # wrong ones are better found here
        if self._worker.settled is not None:
            self._worker.settled()
        if plan.pool == "solo":
            return self._run_solo(SoloPool(maker, self._notify[1], self._stop))
        name = "prefork" if maker.pool is None else plan.pool
        pool = ProcessPool(maker, self._notify[1], self._respawn_order, name=name, spawns=plan.spawns)
        try:
            pool.start()
        except PoolBroken as exc:
            _logger.critical("%s", exc)
            return EX_UNAVAILABLE
        return self._run_here(pool)

    def _check_stores(self) -> None:
        """Raise ImproperlyConfigured for stores that no second try will open. One that is only away comes back by itself."""
        for place in range(len(self._stores.broker_urls)):
            stores = self._stores.at(place)
            with contextlib.suppress(OperationalError), contextlib.closing(stores.open_broker()) as broker:
                if self._plan.pool != "solo" and not broker.capabilities.many_processes:
                    raise ImproperlyConfigured(
                        f"{redact_url(stores.broker_url)} lives in one process: its worker must be the pool solo (-P solo), "
                        "beside the sender"
                    )
                broker.leases()
        with contextlib.suppress(OperationalError):
            results = self._stores.open_results_if_on()
            if results is not None:
                with contextlib.closing(results):
                    results.fetch(["none"])

    def _run_here(self, pool: ProcessPool) -> int:
        """The supervisor in this thread, the slots elsewhere."""
        pipe = SignalPipe()
        try:
            supervisor = self._supervisor(pool, pipe)
            code = supervisor.run()
            self._goodbye(supervisor)
            pool.close()
            self._worker.wants_restart = supervisor.wants_restart
            return code
        finally:
            pipe.close()

    def _run_solo(self, pool: SoloPool) -> int:
        """The slot in this thread, the supervisor in another."""
        pipe = None if self._worker.embedded else SignalPipe()
        codes: list[int] = []
        supervisor = self._supervisor(pool, pipe)

        def supervise() -> None:
            try:
                codes.append(supervisor.run())
                self._goodbye(supervisor)
                if pool.given_up and not self._worker.embedded:
                    os._exit(codes[0])  # a call that nobody waits for still runs in the main thread
            finally:
                pool.close()

        thread = threading.Thread(target=supervise, name="sedano-supervisor", daemon=True)
        thread.start()
        pool.serve()
        thread.join()
        pool.close_pipes()
        if pipe is not None:
            pipe.close()
        threads = [rounds for server in supervisor.servers.all() for rounds in (server.keeper.rounds, server.reaper.rounds)]
        threads += [helper.rounds for helper in (self._mailbox, self._neighbours, self._scout) if helper]
        if not any(rounds.alive for rounds in threads):
            supervisor.close()
            self._table.close()
        return codes[0] if codes else EX_FAILURE

    # -- parts --------------------------------------------------------------------------------------------------------

    def _stop(self, event: Event) -> None:
        if self._worker.supervisor is not None:
            self._worker.supervisor.stop(event)

    def _respawn_order(self) -> RespawnOrder | None:
        options = self._worker.options
        if options.app_name is None and getattr(sys.modules.get("__main__"), "__file__", None) is None:
            return None
        return RespawnOrder(options.app_name, options.setting_changes(), self._plan.log)

    def _here(self) -> Stores:
        """The stores with the server that the node uses now."""
        return self._stores.at(self._table.server)

    def _link(self, open_broker: Callable[[], Broker], url: str, *, loud: bool) -> StoreLink:
        settler = self._settler
        return StoreLink(
            open_broker,
            self._stores.open_results_if_on,
            settler.unstorable_pending,
            settler.finisher,
            url=url,
            loud=loud,
        )

    def _server(self, place: int, supervisor: Supervisor) -> Server:
        """What a node needs on one of its broker's servers; not started."""
        plan, stores = self._plan, self._stores.at(place)
        url = redact_url(stores.broker_url)
        book = LeaseBook(self._table, place)
        reaper = Reaper(self._link(stores.open_broker, url, loud=False), book, self._settler, plan.node, plan.slot.lease_s)
        ears = KeeperEars(supervisor.connected, supervisor.follow_revokes, reaper.inherit, supervisor.tried)
        terms = KeeperTerms(plan.node, plan.slot.queues, plan.specs, plan.slot.lease_s, url, frozenset(self._app.tasks))
        link = self._link(stores.open_broker, url, loud=True)
        keeper = Keeper(terms, book, link, stores.open_results_if_on, stores.open_coordination, ears)
        return Server(place, url, book, keeper, reaper, hands_back=stores.speaks_celery)

    def _supervisor(self, pool: Any, pipe: SignalPipe | None) -> Supervisor:
        """The supervisor with its threads, which run from here on."""
        plan, worker = self._plan, self._worker
        supervisor = Supervisor(plan, self._table, pool, self._hooks(), self._notify, pipe)
        servers = supervisor.servers = Servers(self._table, lambda place: self._server(place, supervisor))
        self._probe = self._scale(supervisor) if plan.scaling is not None else None
        self._mailbox: NodeMailbox | None = None
        if plan.remote_control:
            hands = NodeHands(supervisor.terminate, lambda: supervisor.stop(Event.SHUTDOWN))
            accept, serializer = self._settler.message_terms.accept, self._app.conf.typed("task_serializer")
            self._mailbox = NodeMailbox(
                plan.node,
                lambda: self._here().open_bus(),
                lambda: self._here().open_coordination(),
                hands,
                accept=accept,
                serializer=serializer,
                state=worker,
                answers=NodeAnswers(self._app, plan, self._table, worker.pid, self._paused).commands,
                clock=self._app.clock,
            )
            supervisor.mailbox = self._mailbox
            self._mailbox.rounds.start()
        self._neighbours: Neighbours | None = None
        if plan.remote_control and plan.hand_back:
            self._neighbours = Neighbours(
                lambda: self._here().open_broker(), self._app.control.broadcast, plan.slot.queues, self._app.tasks
            )
            self._neighbours.rounds.start()
        if worker.options.purge:
            self._purge()
        servers.start()
        self._scout = self._look_for_others(supervisor) if len(self._stores.broker_urls) > 1 else None
        supervisor.followers = [helper for helper in (self._mailbox, self._neighbours, self._probe) if helper is not None]
        worker.supervisor = supervisor
        return supervisor

    def _paused(self) -> set[str]:
        with contextlib.closing(self._stores.open_coordination()) as coordination:
            return {pause.queue for pause in coordination.pauses()}

    def _scale(self, supervisor: Supervisor) -> DepthProbe:
        """Let the supervisor grow and shrink its pool; the thread that counts for it, started."""
        assert self._plan.scaling is not None
        most, least, keepalive_s = self._plan.scaling

        def tell(waiting: int) -> None:
            supervisor.post(lambda: autoscale.heard(waiting))

        link = self._link(lambda: self._here().open_broker(), self._plan.url, loud=False)
        probe = DepthProbe(link, self._plan.slot.queues, tell)
        autoscale = supervisor.autoscale = Autoscale(self._table, Scaling(most, least, keepalive_s), probe.ask)
        probe.rounds.start()
        return probe

    def _look_for_others(self, supervisor: Supervisor) -> Scout:
        """The thread that finds another server, started."""
        stores, servers = self._stores, supervisor.servers
        rotation = Rotation(stores.broker_urls, stores.strategy)
        ears = ScoutEars(lambda: servers.place, servers.owners, supervisor.found_server)
        everywhere = [stores.at(place) for place in range(len(stores.broker_urls))]
        every_s = self._plan.slot.lease_s / LOOKS_PER_LEASE
        scout = supervisor.scout = Scout(everywhere, rotation, self._plan.specs, ears, every_s=every_s)
        scout.rounds.start()
        return scout

    def _hooks(self) -> NodeHooks:
        worker, plan = self._worker, self._plan

        def ready() -> None:
            signals.worker_ready.send(worker)
            _logger.info("%s ready.", plan.node)
            worker.ready.set()

        def shutting_down(sig: str, how: str, exitcode: int) -> None:
            signals.worker_shutting_down.send(plan.node, sig=sig, how=how, exitcode=exitcode)

        return NodeHooks(ready, shutting_down, lambda text: worker.speak(f"\n{text}"))

    def _purge(self) -> None:
        broker = self._app.stores.open_broker()
        try:
            broker.declare(self._plan.specs)
            count = sum(broker.purge(name) for name in self._plan.slot.queues)
        finally:
            broker.close()
        if count:
            self._worker.speak(
                f"purge: Erased {count} {'message' if count == 1 else 'messages'} from the queue.\n", error=False
            )

    def _goodbye(self, supervisor: Supervisor) -> None:
        """End the threads, the one that others need last, and tell the hooks."""
        helpers = (self._mailbox, self._neighbours, self._probe, self._scout)
        for helper in helpers:
            if helper is not None:
                helper.rounds.stop()
        servers = supervisor.servers.all()
        for server in servers:
            server.reaper.rounds.stop()
        for server in servers:
            server.reaper.rounds.join(_GOODBYE_S)
        for server in servers:
            server.keeper.finish(hand_back=server.hands_back and server is supervisor.servers.current)
        for server in servers:
            server.keeper.rounds.join(_GOODBYE_S)
        for helper in helpers:
            if helper is not None:
                helper.rounds.join(_GOODBYE_S)
        signals.worker_shutdown.send(self._worker)
