"""What one node is to be, resolved once from settings and command line: plain values for everything below."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sedano.app.amqp import specs_of
from sedano.app.nodenames import node_format, node_name, worker_direct
from sedano.contracts import QueueSpec
from sedano.exceptions import ImproperlyConfigured
from sedano.log import mlevel, redact_url
from sedano.rules.rates import read_rate
from sedano.rules.retry import reconnect_intervals
from sedano.rules.scaling import KEEPALIVE_S
from sedano.settings import OPTIONS
from sedano.worker import cpus
from sedano.worker.context import SlotOptions
from sedano.worker.herald import HEARTBEAT_S
from sedano.worker.logs import LogPlan
from sedano.worker.pools import PATCHES, pool_name

if TYPE_CHECKING:
    from sedano.app.base import Celery

FOR_EVER_S = 100 * 365 * 86400.0
NO_LIMIT = 1 << 62  # bytes
SPARE = 32  # so much may a node grow at least while it is up: rows of the table that take no memory until they are used


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """What the command line, or `app.Worker(...)`, says. None: not said, the settings decide.

    `app_name` is the word after `-A`, by which another process can find the app. `queues` None means all of `task_queues`.
    `user_options` are those that the app has added to the command (`app.user_options["worker"]`), for hooks.
    The last group is accepted as in Celery.
    """

    hostname: str | None = None
    app_name: str | None = None
    concurrency: int | str | None = None
    pool: str | None = None
    queues: tuple[str, ...] | None = None
    exclude_queues: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    purge: bool = False
    loglevel: int | str = "WARNING"
    logfile: str | None = None
    pidfile: str | None = None
    color: bool | None = None
    quiet: bool = False
    time_limit: float | None = None
    soft_time_limit: float | None = None
    max_tasks_per_child: int | None = None
    prefetch_multiplier: int | None = None
    disable_prefetch: bool | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    user_options: Mapping[str, Any] = field(default_factory=dict)
    without_gossip: bool = False
    without_mingle: bool = False
    without_heartbeat: bool = False
    task_events: bool | None = None
    heartbeat_interval: float | None = None
    optimization: str | None = None
    statedb: str | None = None
    autoscale: str | None = None
    max_memory_per_child: int | None = None
    beat: bool = False
    schedule_filename: str | None = None
    scheduler: Any = None

    def setting_changes(self) -> dict[str, Any]:
        """Settings that these options stand for: they win over the app's."""
        changes: dict[str, Any] = dict(self.settings)
        named = {
            "task_time_limit": self.time_limit,
            "task_soft_time_limit": self.soft_time_limit,
            "worker_max_tasks_per_child": self.max_tasks_per_child,
            "worker_max_memory_per_child": self.max_memory_per_child,
            "worker_prefetch_multiplier": self.prefetch_multiplier,
            "worker_disable_prefetch": self.disable_prefetch,
            "worker_concurrency": self.concurrency,
            "worker_pool": self.pool,
            "worker_send_task_events": self.task_events,
        }
        changes.update({name: value for name, value in named.items() if value is not None})
        return changes


@dataclass(frozen=True, slots=True)
class NodePlan:
    """One node. Times are seconds; `url` and `results_url` are redacted. `lanes` is how many calls one process runs at once, 0
    where each process (or this one) runs one; `most` how many the node may be told to run at once while it is up. `rates` are
    the limits of tasks, in calls a second, at its start."""

    node: str
    pool: str
    concurrency: int
    lanes: int
    most: int
    spawns: bool  # each pool process is a new interpreter
    scaling: tuple[int, int, float] | None  # most and fewest processes, how long (s) one without work stays; None: fixed
    slot: SlotOptions
    rates: Mapping[str, float]
    specs: tuple[QueueSpec, ...]
    log: LogPlan
    url: str
    results_url: str | None
    pidfile: str | None
    http: str | None  # where the port for probes and metrics listens; None: there is none
    drain_s: float | None
    alive_s: float
    remote_control: bool
    events: bool  # told from the start
    heartbeat_s: float | None
    gossips: bool  # hears the worker events of others
    mingles: bool  # asks the others at its start what was revoked
    hand_back: bool
    connect_patience_s: float | None  # how long to try to reach the broker, None for ever
    connect_at_start: bool  # whether to try again at all before the first connection stands
    connect_again: bool  # and after one was lost


def plan_node(app: Celery, options: WorkerOptions, node: str | None = None) -> NodePlan:
    """Resolve; settings must be loaded and queues selected. Raises ImproperlyConfigured."""
    read = app.conf.typed
    pool = pool_name(str(read("worker_pool")))
    stores = app.stores
    node = node or node_name(options.hostname)
    if read("worker_direct"):
        app.amqp.queues.select_add(worker_direct(node))
    consumed = dict(app.amqp.queues.consume_from)
    if not consumed:
        raise ImproperlyConfigured("there is no queue to consume from: check -Q, -X and task_queues")
    again, at_start = read("broker_connection_retry"), read("broker_connection_retry_on_startup")
    pidfile = options.pidfile or read("worker_pidfile")
    limits = read_autoscale(options.autoscale)
    http = read("worker_http")
    if pool == "solo":
        concurrency = 1
    elif limits is not None:
        concurrency = limits[0]
    else:
        concurrency = resolve_concurrency(read("worker_concurrency"), processes=pool == "processes")
    lanes = 0 if pool in ("solo", "processes") else concurrency
    return NodePlan(
        node=node,
        pool=pool,
        concurrency=concurrency,
        lanes=lanes,
        most=_most(pool, concurrency),
        scaling=(*limits, _keepalive_s()) if limits is not None and pool == "processes" else None,
        spawns=pool in PATCHES or read("worker_pool_start_method") == "spawn",
        slot=_slot_options(app, tuple(consumed), pool, lanes),
        rates=task_rates(app),
        specs=tuple(spec for queue in consumed.values() for spec in specs_of(queue)),
        log=log_plan(app, options, node),
        url=redact_url(stores.broker_url),
        results_url=redact_url(stores.results_url) if stores.results_url else None,
        pidfile=node_format(pidfile, node) if pidfile else None,
        http=node_format(http, node) if http else None,
        drain_s=read("worker_drain_timeout"),
        alive_s=_number(app.conf, "worker_proc_alive_timeout"),
        remote_control=read("worker_enable_remote_control"),
        events=bool(read("worker_send_task_events")),
        heartbeat_s=None if options.without_heartbeat else options.heartbeat_interval or HEARTBEAT_S,
        gossips=stores.speaks_celery and not options.without_gossip,
        mingles=stores.speaks_celery and not options.without_mingle,
        hand_back=stores.speaks_celery,
        connect_patience_s=_patience_s(read("broker_connection_max_retries")),
        connect_at_start=again if at_start is None else at_start,
        connect_again=again,
    )


def read_autoscale(text: str | None) -> tuple[int, int] | None:
    """(most, fewest) of `MAX,MIN` or `MAX`; None when nothing is said. Raises ImproperlyConfigured."""
    if not text:
        return None
    try:
        numbers = sorted((int(word) for word in text.split(",")), reverse=True)
        most, least = numbers if len(numbers) == 2 else (*numbers, 0)
    except ValueError:
        most = least = 0
    if most < 1 or least < 0:
        raise ImproperlyConfigured(f"an autoscale of {text!r} cannot be: give MAX,MIN, such as 10,2, with MAX from 1 on")
    return most, least


def _keepalive_s() -> float:
    """As in Celery, the environment says it."""
    text = os.environ.get("AUTOSCALE_KEEPALIVE")
    try:
        seconds = float(text) if text else KEEPALIVE_S
    except ValueError:
        seconds = 0.0
    if not 0.0 < seconds < FOR_EVER_S:
        raise ImproperlyConfigured(f"AUTOSCALE_KEEPALIVE={text!r} cannot be: give a number of seconds above 0")
    return seconds


def log_plan(app: Celery, options: WorkerOptions, node: str) -> LogPlan:
    read = app.conf.typed
    return LogPlan(
        node=node,
        level=mlevel(options.loglevel),
        file=options.logfile or read("worker_logfile"),
        format=read("worker_log_format"),
        task_format=read("worker_task_log_format"),
        date_format=read("worker_log_datefmt"),
        task_date_format=read("worker_task_log_datefmt"),
        color=read("worker_log_color") if options.color is None else options.color,
        hijack_root=read("worker_hijack_root_logger"),
        redirect=read("worker_redirect_stdouts"),
        redirect_level=read("worker_redirect_stdouts_level"),
    )


def resolve_concurrency(wanted: int | str | None, *, processes: bool = True) -> int:
    """A number; unset, how many processors this process may use; `auto`, for `processes`, no more than its container allows.

    Raises ImproperlyConfigured.
    """
    if wanted == "auto" and processes:
        return cpus.affordable_cpus()
    if wanted is None or wanted in ("", 0, "0", "auto"):
        return cpus.usable_cpus()
    try:
        number = int(wanted)
    except ValueError:
        number = 0
    if number < 1:
        raise ImproperlyConfigured(f"a concurrency of {wanted!r} cannot be: give a number from 1 on, or auto")
    return number


def _most(pool: str, concurrency: int) -> int:
    """Each process costs two file numbers, used or not; lanes cost nothing; a class of the user's own knows one number only."""
    if pool == "solo" or ":" in pool:
        return concurrency
    return concurrency + (SPARE if pool == "processes" else max(concurrency, SPARE))


def task_rates(app: Celery) -> dict[str, float]:
    """Calls a second by task, of those that have a limit. Raises ImproperlyConfigured."""
    if app.conf.typed("worker_disable_rate_limits"):
        return {}
    rates: dict[str, float] = {}
    for name, task in app.tasks.items():
        try:
            per_s = read_rate(task.rate_limit)
        except ValueError as exc:
            raise ImproperlyConfigured(f"task {name}: {exc}") from exc
        if per_s:
            rates[name] = per_s
    return rates


def _slot_options(app: Celery, queues: tuple[str, ...], pool: str, lanes: int) -> SlotOptions:
    read = app.conf.typed
    plain = SlotOptions(queues)
    transport = read("broker_transport_options")
    keep_s, keep_bytes = read("task_dead_retention"), read("task_dead_max_bytes")
    return SlotOptions(
        queues=queues,
        queue_order=str(transport.get("queue_order_strategy") or plain.queue_order),
        lease_s=_number(app.conf, "worker_lease_time"),
        window_s=_number(app.conf, "worker_window_time"),
        long_s=_number(app.conf, "worker_long_task_time"),
        prefetch_cap=_prefetch_cap(app.conf),
        max_tasks=read("worker_max_tasks_per_child") or None,
        max_memory_kib=(None if pool == "solo" else read("worker_max_memory_per_child")) or None,
        max_deliveries=read("task_max_deliveries") or 0,
        unknown_timeout_s=_number(app.conf, "task_unknown_timeout"),
        dead_keep_s=FOR_EVER_S if keep_s is None else keep_s,
        dead_max_bytes=NO_LIMIT if keep_bytes is None else keep_bytes,
        cluster_rates=read("task_rate_limit_scope") == "cluster",
        lanes=lanes,
    )


def _number(conf: Any, name: str) -> float:
    """A setting that None leaves at its default."""
    value = conf.typed(name)
    return float(OPTIONS[name].default if value is None else value)


def _patience_s(max_retries: int | None) -> float | None:
    """As long as Celery needs for so many tries: we try more often, and must not give up sooner for that."""
    return sum(itertools.islice(reconnect_intervals(), max_retries)) if max_retries else None


def _prefetch_cap(conf: Any) -> int | None:
    """How many deliveries a slot may hold: `worker_prefetch_multiplier` if it was set, 1 without prefetch, else no cap."""
    if conf.typed("worker_disable_prefetch"):
        return 1
    if not conf.value_set_for("worker_prefetch_multiplier"):
        return None
    return conf.typed("worker_prefetch_multiplier") or None
