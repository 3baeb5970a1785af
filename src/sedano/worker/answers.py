"""What a node says when it is asked about itself, with Celery's keys (wire-protocol 4). Read by the mailbox's thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from sedano.worker.table import Phase, SharedTable

if TYPE_CHECKING:
    from sedano.app.base import Celery
    from sedano.worker.control.pool import PoolCommands
    from sedano.worker.plan import NodePlan

SHOWN_ATTRIBUTES = ("exchange", "routing_key", "rate_limit")
"""Attributes of tasks that are shown when nobody says which, as far as a task has them."""
_USAGE = (
    "utime", "stime", "maxrss", "ixrss", "idrss", "isrss", "minflt", "majflt",
    "nswap", "inblock", "oublock", "msgsnd", "msgrcv", "nsignals", "nvcsw", "nivcsw",
)  # fmt: skip


class NodeAnswers:
    """Questions by name in `commands`; each takes the arguments of the message by name and returns the answer. `paused` tells
    which queues of the store are paused."""

    def __init__(
        self,
        app: Celery,
        plan: NodePlan,
        table: SharedTable,
        pid: int,
        pool: PoolCommands,
        paused: Callable[[], Collection[str]] = frozenset,
    ) -> None:
        self._app, self._plan, self._table, self._pid, self._pool = app, plan, table, pid, pool
        self._paused = paused
        self._began = time.monotonic()
        self.commands: Mapping[str, Callable[..., Any]] = {
            "active_queues": self.active_queues,
            "conf": self.conf,
            "dump_conf": self.conf,
            "dump_tasks": self.registered,
            "registered": self.registered,
            "report": self.report,
            "stats": self.stats,
        }

    def active_queues(self) -> list[dict[str, Any]]:
        paused = self._paused()
        return [
            {**queue.as_dict(recurse=True), "paused": name in paused}
            for name, queue in self._app.amqp.queues.consume_from.items()
        ]

    def conf(self, with_defaults: bool = False) -> dict[str, Any]:
        """Only what JSON can say; secrets are masked. `include` names the modules of all tasks, as Celery's workers have it."""
        conf = self._app.conf
        table = conf.table(with_defaults=with_defaults)
        modules = {*conf.typed("include"), *(task.__module__ for task in self._app.tasks.values())}
        return {name: _plain(value) for name, value in table.items()} | {
            "deprecated_settings": sorted(conf.deprecated_settings) or None,
            "include": sorted(modules),
            "worker_disable_prefetch": conf.typed("worker_disable_prefetch"),
        }

    def registered(self, taskinfoitems: Sequence[str] | None = None, builtins: bool = False) -> list[str]:
        shown = list(taskinfoitems or SHOWN_ATTRIBUTES)
        names = sorted(name for name in self._app.tasks if builtins or not name.startswith("celery."))
        return [_with_attributes(self._app.tasks[name], name, shown) for name in names]

    def report(self) -> dict[str, str]:
        return {"ok": self._app.bugreport()}

    def stats(self) -> dict[str, Any]:
        plan, concurrency = self._plan, self._pool.concurrency
        more: dict[str, Any] = {}
        if (scaling := self._pool.scaling) is not None:
            more["autoscaler"] = scaling
        return {
            "total": self._table.counts.totals(),
            "pid": self._pid,
            "uptime": round(time.monotonic() - self._began),
            "clock": str(self._app.clock.value),
            "pool": {
                "implementation": f"sedano.worker.pools:{plan.pool}",
                "max-concurrency": concurrency,
                "processes": [row.pid for row in self._table if row.phase not in (Phase.EMPTY, Phase.GONE)],
                "max-tasks-per-child": plan.slot.max_tasks or "N/A",
                "put-guarded-by-semaphore": False,
                "timeouts": [self._app.conf.task_soft_time_limit or 0, self._app.conf.task_time_limit or 0],
                "writes": _shares([row.processed for row in self._table if row.pid or row.processed]),
            },
            "broker": _broker(plan.url, self._app.conf),
            "prefetch_count": (plan.slot.prefetch_cap or 0) * concurrency,
            "rusage": usage(),
            **more,
        }


def _shares(counts: Sequence[int]) -> dict[str, Any]:
    """How many calls each slot has run, as Celery shows how many it wrote to each process."""
    total = sum(counts)
    shares = [count / total if total else 0.0 for count in counts]
    mean = 1.0 / len(counts) if counts and total else 0.0
    return {
        "total": total,
        "avg": f"{mean:.2f}",
        "all": ", ".join(f"{share:.2f}" for share in shares),
        "raw": ", ".join(map(str, counts)),
        "strategy": "fair",
        "inqueues": {"total": len(counts), "active": 0},
    }


def _with_attributes(task: Any, name: str, shown: Sequence[str]) -> str:
    said = [f"{attribute}={value}" for attribute in shown if (value := getattr(task, attribute, None)) is not None]
    return f"{name} [{' '.join(said)}]" if said else name


def _broker(url: str, conf: Any) -> dict[str, Any]:
    """As Kombu's `Connection.info()`; `url` has no password in it."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    return {
        "hostname": parts.hostname,
        "userid": unquote(parts.username) if parts.username else None,
        "virtual_host": parts.path.lstrip("/") or "/",
        "port": port,
        "insist": False,
        "ssl": bool(conf.broker_use_ssl) or parts.scheme in ("rediss", "valkeys", "amqps"),
        "transport": parts.scheme,
        "connect_timeout": conf.broker_connection_timeout,
        "transport_options": _plain(dict(conf.broker_transport_options or {})),
        "login_method": conf.broker_login_method,
        "uri_prefix": None,
        "heartbeat": None if conf.broker_heartbeat is None else float(conf.broker_heartbeat),
        "failover_strategy": _plain(conf.broker_failover_strategy) or "round-robin",
        "alternates": [],
        "credential_provider": None,
    }


def usage() -> dict[str, float] | str:
    """What this process has used, by Celery's names; "N/A" where the platform does not tell."""
    try:
        import resource  # noqa: PLC0415 - there is none on Windows
    except ImportError:
        return "N/A"
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {name: getattr(used, f"ru_{name}") for name in _USAGE}


def _plain(value: Any) -> Any:
    """`value` as JSON can say it; anything else as text."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return repr(value)
