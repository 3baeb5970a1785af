"""Everything of a node that exists from the fork of its template to its exit: made in the order in which it starts."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sedano import crashpoints, signals
from sedano.app import late
from sedano.app.connect import Stores
from sedano.app.schedulers import chosen_scheduler
from sedano.clock import SYSTEM_CLOCK
from sedano.contracts import Broker, Source
from sedano.exceptions import ImproperlyConfigured, OperationalError
from sedano.log import redact_url
from sedano.rules.failover import Rotation
from sedano.rules.scaling import Scaling
from sedano.rules.shutdown import Event
from sedano.worker.autoscale import Autoscale, DepthProbe
from sedano.worker.brisk import brisk
from sedano.worker.consumption import Consumption
from sedano.worker.control.statedb import adopt_state_db
from sedano.worker.control.stores import ControlStores
from sedano.worker.control.switchboard import NodeParts, commands_of
from sedano.worker.depths import DepthWatch
from sedano.worker.desk import DeskHands, OrderDesk
from sedano.worker.exposition import CONTENT_TYPE
from sedano.worker.gossip import act
from sedano.worker.herald import Herald, HeraldTerms
from sedano.worker.httpport import HttpPort, bound_to, listen
from sedano.worker.keeper import Keeper, KeeperEars, KeeperTerms
from sedano.worker.leasebook import LeaseBook
from sedano.worker.link import StoreLink
from sedano.worker.logs import prepare_slot_logs
from sedano.worker.mailbox import NodeHands, NodeMailbox
from sedano.worker.metrics import NodeMetrics, answers
from sedano.worker.mingle import mingle
from sedano.worker.neighbours import Neighbours
from sedano.worker.notify import Notifier
from sedano.worker.plan import NodePlan
from sedano.worker.pools.events import PoolBroken
from sedano.worker.pools.processes import ProcessPool
from sedano.worker.pools.solo import SoloPool
from sedano.worker.reaper import Reaper
from sedano.worker.records import Records
from sedano.worker.relay.doors import Doors, open_at
from sedano.worker.relay.server import Relay
from sedano.worker.relay.watch import Watch
from sedano.worker.respawn import RespawnOrder
from sedano.worker.scout import LOOKS_PER_LEASE, Scout, ScoutEars
from sedano.worker.servers import Server, Servers
from sedano.worker.settle import Settler
from sedano.worker.slotprocess import SlotMaker
from sedano.worker.steps import Steps
from sedano.worker.stopsignals import SignalPipe
from sedano.worker.supervisor import EX_FAILURE, EX_UNAVAILABLE, NodeHooks, Supervisor
from sedano.worker.table import SharedTable
from sedano.worker.teller import Teller, tell_pair

if TYPE_CHECKING:
    from sedano.worker.node import Worker

_logger = logging.getLogger("celery.apps.worker")
_GOODBYE_S = 15.0  # how long the threads may take to end their last round


class NodeRun:
    """One run of `worker`, as `plan` says."""

    def __init__(self, worker: Worker, plan: NodePlan) -> None:
        self._worker, self._plan, self._app = worker, plan, worker.app
        self._steps = Steps(worker, worker.consumer, worker.told)
        self._is_cold = self._has_failed = False
        several = len(self._app.stores.broker_urls) > 1
        rows, lanes = (1 + several, plan.most) if plan.lanes else (plan.most, 0)
        self._table = worker.table = SharedTable.create(rows, lanes=lanes, tasks=sorted(self._app.tasks))
        self._consumption = Consumption(plan.slot.queues, plan.specs, frozenset(self._app.tasks))
        self._slots_end, self._tell_end = tell_pair()
        self._notify = os.pipe()
        for fd in self._notify:
            os.set_blocking(fd, False)
        self._stores = brisk(self._app.stores, plan.slot.lease_s)
        self._settler = Settler(self._app, plan.node, plan.slot)
        self._listener: socket.socket | None = None
        self._port: HttpPort | None = None
        self._depths: DepthWatch | None = None
        self._beat: Any = None
        self._doors = Doors(())

    def run(self) -> int:
        """Raises ImproperlyConfigured for what keeps the node from starting."""
        try:
            self._check()
        except BaseException:
            self._close_memory()
            for fd in self._notify:
                os.close(fd)
            raise
        try:
            return self._run()
        finally:
            self._doors.close()

    def _run(self) -> int:
        plan = self._plan
        maker = SlotMaker(
            app=self._app,
            node=plan.node,
            options=plan.slot,
            table=self._table,
            prepare_logs=lambda index: prepare_slot_logs(plan.log, index),
            alive_s=plan.alive_s,
            pool=plan.pool if plan.lanes else None,
            tell_fd=self._tell_end.fileno(),
            relays=self._doors.paths,
        )
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

    def _check(self) -> None:
        """Find out what would keep the node from starting."""
        plan = self._plan
        crashpoints.reach("supervisor.started")
        self._check_stores()
        if ":" in plan.pool:
            importlib.import_module("sedano.worker.pools.custom").find_pool(plan.pool)  # wrong ones are better found here
        if plan.http is not None:
            self._listener = listen(plan.http)
            for tallies in self._table.tallies:
                tallies.turn_on()
        if self._worker.options.beat:
            self._beat = self._make_beat()

    def _check_stores(self) -> None:
        """Raise ImproperlyConfigured for stores that no second try will open. One that is only away comes back by itself."""
        supervised = [False] * len(self._stores.broker_urls)
        for place in range(len(supervised)):
            stores = self._stores.at(place)
            with contextlib.suppress(OperationalError), contextlib.closing(stores.open_broker()) as broker:
                supervised[place] = broker.capabilities.source is Source.SUPERVISOR
                if self._plan.pool != "solo" and not broker.capabilities.many_processes:
                    raise ImproperlyConfigured(
                        f"{redact_url(stores.broker_url)} lives in one process: its worker must be the pool solo (-P solo), "
                        "beside the sender"
                    )
                if supervised[place]:
                    broker.reconnect()  # its leases are in this process: asking for them reaches no server
                else:
                    broker.leases()
        self._doors = Doors(supervised)
        with contextlib.suppress(OperationalError):
            results = self._stores.open_results_if_on()
            if results is not None:
                with contextlib.closing(results):
                    results.fetch(["none"])
        if self._stores.agrees_elsewhere:
            with contextlib.suppress(OperationalError), contextlib.closing(self._stores.open_coordination()) as coordination:
                coordination.revision()
        if self._stores.agrees_on_host and self._plan.slot.cluster_rates:
            _logger.warning(
                "rate limits of the whole cluster hold on this host only: they are counted in %s", self._stores.agreed
            )

    def _run_here(self, pool: ProcessPool) -> int:
        """The supervisor in this thread, the slots elsewhere."""
        pipe = SignalPipe()
        try:
            supervisor = self._supervisor(pool, pipe)
            code = supervisor.run() or (EX_FAILURE if self._has_failed else 0)
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
                codes.append(supervisor.run() or (EX_FAILURE if self._has_failed else 0))
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
        helpers = (self._herald, self._mailbox, self._neighbours, self._scout, self._depths)
        threads += [helper.rounds for helper in helpers if helper]
        if not any(rounds.alive for rounds in threads):
            supervisor.close()
            self._close_memory()
        return codes[0] if codes else EX_FAILURE

    def _close_memory(self) -> None:
        """The table, and the way on which slots tell of their calls."""
        self._worker.table = None
        self._table.close()
        self._slots_end.close()
        self._tell_end.close()

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

    def _open_here(self) -> Broker:
        """A connection to the server that the node uses now."""
        place = self._table.server
        return open_at(self._stores.at(place), self._doors.paths, place)

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
        url, paths = redact_url(stores.broker_url), self._doors.paths
        relay = None
        if place < len(paths) and paths[place]:
            watch = Watch(stores.open_coordination) if stores.agrees_elsewhere else None
            relay = Relay(paths[place], stores.open_node_broker, watch)

        def open_broker() -> Broker:
            return open_at(stores, paths, place)

        book = LeaseBook(self._table, place)
        teller = Teller(self._table, plan.node, self._herald.told.send, SYSTEM_CLOCK)
        link = self._link(open_broker, url, loud=False)
        reaper = Reaper(link, book, self._settler, plan.node, plan.slot.lease_s, teller)
        ears = KeeperEars(supervisor.connected, supervisor.follow_revokes, reaper.inherit, supervisor.tried)
        now = self._consumption
        terms = KeeperTerms(plan.node, now.queues, now.specs, plan.slot.lease_s, url, now.tasks)
        link = self._link(open_broker, url, loud=True)
        keeper = Keeper(terms, book, link, stores.open_results_if_on, stores.open_coordination, ears)
        self._consumption.follow(keeper.consume, keeper.know)
        return Server(place, url, book, keeper, reaper, hands_back=stores.speaks_celery, relay=relay)

    def _supervisor(self, pool: Any, pipe: SignalPipe | None) -> Supervisor:
        """The supervisor with its threads, which run from here on."""
        plan, worker = self._plan, self._worker
        self._steps.start_of_worker()
        supervisor = Supervisor(plan, self._table, pool, self._hooks(), self._notify, pipe)
        self._herald = self._announce()
        servers = supervisor.servers = Servers(self._table, lambda place: self._server(place, supervisor))
        self._desk = OrderDesk(self._table, plan.rates, plan.lanes, DeskHands(supervisor.wake_slots, servers.hasten))
        self._consumption.follow(lambda queues, _specs: self._desk.consume(queues))
        self._probe = self._scale(supervisor) if plan.scaling is not None else None
        self._mailbox: NodeMailbox | None = None
        self._neighbours: Neighbours | None = None
        self._scout: Scout | None = None
        adopt_state_db(self._app.conf.typed("worker_state_db"), lambda: self._here().open_coordination())
        if plan.remote_control:
            hands = NodeHands(lambda: supervisor.stop(Event.SHUTDOWN))
            accept, serializer = self._settler.message_terms.accept, self._app.conf.typed("task_serializer")
            stores = ControlStores(
                self._open_here,
                lambda: self._here().open_coordination(),
                lambda: self._here().open_results_if_on(),
            )
            worker.commands = commands_of(self._parts(supervisor, pool, stores))
            self._mailbox = NodeMailbox(
                plan.node,
                lambda: self._here().open_bus(),
                hands,
                accept=accept,
                serializer=serializer,
                state=worker,
                answers=worker.commands,
                stores=stores,
                clock=self._app.clock,
            )
            supervisor.mailbox = self._mailbox
            self._mailbox.rounds.start()
        if plan.remote_control and plan.hand_back:
            self._neighbours = Neighbours(
                self._open_here, self._app.control.broadcast, self._consumption.queues, self._app.tasks
            )
            neighbours = self._neighbours
            self._consumption.follow(lambda queues, _specs: neighbours.consume(queues))
            self._neighbours.rounds.start()
        if worker.options.purge:
            self._purge()
        servers.start()
        self._herald.rounds.start()
        self._scout = self._look_for_others(supervisor) if len(self._stores.broker_urls) > 1 else None
        if self._listener is not None:
            self._open_port(supervisor, self._listener)
        if not worker.embedded:
            supervisor.notifier = Notifier.from_environment(os.environ)
        followers = (self._herald, self._mailbox, self._neighbours, self._probe, self._depths)
        supervisor.followers = [helper for helper in followers if helper is not None]
        worker.supervisor = supervisor
        if self._beat is not None:
            self._beat.start()
        return supervisor

    def _make_beat(self) -> Any:
        """A beat in a thread of this process; not started."""
        options = self._worker.options
        scheduler = chosen_scheduler(self._app, options.scheduler)
        return late.embedded_beat(self._app, scheduler_cls=scheduler, schedule_filename=options.schedule_filename)

    def _announce(self) -> Herald:
        """The thread that tells the cluster of this node and its calls; not started."""
        plan, app = self._plan, self._app
        self._table.tells = plan.events
        terms = HeraldTerms(
            plan.node,
            plan.heartbeat_s,
            plan.gossips,
            app.conf.typed("event_exchange"),
            app.conf.typed("event_queue_prefix"),
        )

        def greet() -> None:
            if plan.mingles:
                mingle(app, plan.node, self._here().open_coordination)

        def after_orders(do: Callable[[], None]) -> None:
            if self._mailbox is None:
                do()
            else:
                self._mailbox.after_orders(do)

        return Herald(
            terms, self._table, self._slots_end, lambda: self._here().open_bus(), app.clock,
            self._table.running, greet, lambda topic, action: act(app, topic, action), after_orders,
        )  # fmt: skip

    def _parts(self, supervisor: Supervisor, pool: Any, stores: ControlStores) -> NodeParts:
        """What commands reach."""
        plan, settler = self._plan, self._settler
        return NodeParts(
            app=self._app,
            plan=plan,
            table=self._table,
            supervisor=supervisor,
            herald=self._herald,
            desk=self._desk,
            consumption=self._consumption,
            stores=stores,
            records=Records(settler.records.how, plan.node, settler.message_terms.tz, plan.slot.clock),
            loader=pool if isinstance(pool, ProcessPool) and self._respawn_order() is not None else None,
            open_coordination=lambda: self._here().open_coordination(),
        )

    def _scale(self, supervisor: Supervisor) -> DepthProbe:
        """Let the supervisor grow and shrink its pool; the thread that counts for it, started."""
        assert self._plan.scaling is not None
        most, least, keepalive_s = self._plan.scaling

        def tell(waiting: int) -> None:
            supervisor.post(lambda: autoscale.heard(waiting))

        link = self._link(self._open_here, self._plan.url, loud=False)
        probe = DepthProbe(link, self._consumption.queues, tell)
        self._consumption.follow(lambda queues, _specs: probe.consume(queues))
        autoscale = supervisor.autoscale = Autoscale(self._table, Scaling(most, least, keepalive_s), probe.ask)
        probe.rounds.start()
        return probe

    def _open_port(self, supervisor: Supervisor, listener: socket.socket) -> None:
        """Answer probes and scrapers from here on."""
        depths = self._depths = DepthWatch(
            self._link(self._open_here, self._plan.url, loud=False), lambda: self._consumption.queues
        )
        depths.want()
        depths.rounds.start()
        metrics = NodeMetrics(self._plan, self._table, supervisor, depths, lambda: self._desk.orders.lanes)
        self._port = HttpPort(listener, answers(supervisor, lambda: (CONTENT_TYPE, metrics.page())))
        self._port.start()
        _logger.info("answering /livez, /readyz and /metrics at %s", bound_to(listener))

    def _look_for_others(self, supervisor: Supervisor) -> Scout:
        """The thread that finds another server, started."""
        stores, servers = self._stores, supervisor.servers
        rotation = Rotation(stores.broker_urls, stores.strategy)
        ears = ScoutEars(lambda: servers.place, servers.owners, supervisor.found_server)
        everywhere = [stores.at(place) for place in range(len(stores.broker_urls))]
        every_s = self._plan.slot.lease_s / LOOKS_PER_LEASE
        scout = supervisor.scout = Scout(everywhere, rotation, self._consumption.specs, ears, every_s=every_s)
        self._consumption.follow(lambda _queues, specs: scout.consume(specs))
        scout.rounds.start()
        return scout

    def _hooks(self) -> NodeHooks:
        worker, plan = self._worker, self._plan

        def ready() -> None:
            if not self._steps.start_of_consumer():
                self._has_failed = True
                worker.stop()
                return
            signals.worker_ready.send(worker.consumer)
            worker.on_consumer_ready(worker.consumer)
            _logger.info("%s ready.", plan.node)
            worker.ready.set()

        def shutting_down(sig: str, how: str, exitcode: int) -> None:
            signals.worker_shutting_down.send(plan.node, sig=sig, how=how, exitcode=exitcode)
            self._is_cold = how != "Warm"
            if self._beat is not None:
                self._beat.begin_to_stop()
            worker.on_close()
            self._steps.begin_to_stop(cold=self._is_cold)

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
        if self._beat is not None:
            self._beat.stop(_GOODBYE_S)
        self._steps.stop_of_worker(cold=self._is_cold)
        helpers = (self._mailbox, self._neighbours, self._probe, self._scout, self._depths)
        if self._port is not None:
            self._port.stop(_GOODBYE_S)
        for helper in helpers:
            if helper is not None:
                helper.rounds.stop()
        servers = supervisor.servers.all()
        for server in servers:
            server.reaper.rounds.stop()
        for server in servers:
            server.reaper.rounds.join(_GOODBYE_S)
        self._herald.rounds.stop()  # it has told what the reapers settled
        self._herald.rounds.join(_GOODBYE_S)
        for server in servers:
            server.keeper.finish(hand_back=server.hands_back and server is supervisor.servers.current)
        for server in servers:
            server.keeper.rounds.join(_GOODBYE_S)
        for helper in helpers:
            if helper is not None:
                helper.rounds.join(_GOODBYE_S)
        relays = [server.relay for server in servers if server.relay is not None]
        for relay in relays:  # nobody needs them any more
            relay.stop()
        for relay in relays:
            relay.join(_GOODBYE_S)
        self._doors.close()
        signals.worker_shutdown.send(self._worker)
