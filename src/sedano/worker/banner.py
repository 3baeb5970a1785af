"""What a worker says of itself when it starts."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from sedano import __version__
from sedano.worker.httpport import shown
from sedano.worker.plan import NodePlan

if TYPE_CHECKING:
    from sedano.app.base import Celery

POOL_UNITS = {
    "processes": ("prefork", "process", "processes"),
    "solo": ("solo", "slot, in this process", ""),
    "threads": ("threads", "thread", "threads"),
    "asyncio": ("asyncio", "call at once", "calls at once"),
    "gevent": ("gevent", "greenlet", "greenlets"),
    "eventlet": ("eventlet", "greenlet", "greenlets"),
}
_RULE = "-" * 64


def banner(app: Celery, plan: NodePlan) -> str:
    """The node in a dozen lines: where it takes work from, where results go, how it runs and when it acknowledges."""
    rows = _rows(app, plan)
    width = max(len(name) for name, _ in rows)
    head = f"-- sedano v{__version__} {_RULE}"[:68]
    lines = [head, *(f" {name:<{width}}  {value}" for name, value in rows), "", " [queues]"]
    lines.extend(f"  {line}" for line in app.amqp.queues.format().splitlines())
    return "\n".join(["", *lines, ""])


def task_list(app: Celery, *, builtin: bool) -> str:
    """The tasks that this node can run; Celery's own ones (`celery.*`) only if asked for."""
    names = sorted(name for name in app.tasks if builtin or not name.startswith("celery."))
    return "\n".join([" [tasks]", *(f"  . {name}" for name in names), ""])


def _rows(app: Celery, plan: NodePlan) -> list[tuple[str, str]]:
    pool, one, many = POOL_UNITS.get(plan.pool, (plan.pool, "call at once", "calls at once"))
    unit = one if plan.concurrency == 1 else many
    stores = app.stores
    rows = [
        ("node", f"{plan.node}  (pid {os.getpid()})"),
        ("system", f"{platform.platform(terse=True)}, Python {platform.python_version()}"),
        ("app", str(app.main or "no name")),
        ("broker", plan.url),
        ("results", plan.results_url or "disabled (set result_backend to keep them)"),
    ]
    if stores.embedded is not None:
        rows.append(("store", f"{stores.embedded}  (embedded: no broker is configured)"))
    if stores.agreed:
        rows.append(("orders", f"{stores.agreed}: revokes, pauses, locks, schedules"))
    rows += [("pool", f"{pool}, {_size(plan)} {unit}"), ("acks", _acks(app.conf)), ("lease", _seconds(plan.slot.lease_s))]
    if plan.http is not None:
        rows.append(("http", f"{shown(plan.http)}  (/livez, /readyz, /metrics)"))
    limits = _limits(app.conf)
    if limits:
        rows.append(("limits", limits))
    return rows


def _size(plan: NodePlan) -> str:
    return str(plan.concurrency) if plan.scaling is None else f"{plan.scaling[1]} to {plan.scaling[0]}"


def _acks(conf: Any) -> str:
    if conf.typed("task_acks_late"):
        return "late: a call whose process dies runs again"
    return "early: a call whose process dies has failed (task_acks_late to run it again)"


def _limits(conf: Any) -> str:
    named = (("soft", conf.typed("task_soft_time_limit")), ("hard", conf.typed("task_time_limit")))
    return ", ".join(f"{name} {_seconds(value)}" for name, value in named if value)


def _seconds(seconds: float) -> str:
    return f"{seconds:g} s"


def root_warnings(accept: Iterable[str], *, uid: int, forced: bool) -> tuple[Sequence[str], bool]:
    """(lines to show, whether to refuse to start) for a worker that runs as `uid`. Pickle as root hands the machine to
    whoever can write to the broker."""
    if uid != 0:
        return (), False
    if any("pickle" in name for name in accept) and not forced:
        return (
            "This worker runs as root and accepts pickle: whoever can write to its broker can do anything on this machine.",
            "Run it as another user, take pickle out of accept_content, or set C_FORCE_ROOT=1 if you must.",
        ), True
    return (
        "SecurityWarning: this worker runs as root: every task can do anything on this machine. Run it as another user.",
    ), False
