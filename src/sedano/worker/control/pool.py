"""The commands that change a node's pool: `pool_grow`, `pool_shrink`, `pool_restart`, `autoscale`."""

from __future__ import annotations

import importlib
import logging
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sedano.worker.desk import OrderDesk
from sedano.worker.plan import NodePlan
from sedano.worker.pools.processes import ProcessPool
from sedano.worker.supervisor import Supervisor

if TYPE_CHECKING:
    from sedano.app.base import Celery

_logger = logging.getLogger("celery.worker.control")
PATIENCE_S = 0.7
"""So long an answer waits for what comes of loading the app: who asks waits for a second, if nobody says otherwise."""


class PoolCommands:
    """`commands` by name. `loader` is what loads the app anew for the processes that come, None where that cannot be done;
    `know(tasks)` is told what they can run then."""

    def __init__(
        self,
        app: Celery,
        plan: NodePlan,
        supervisor: Supervisor,
        desk: OrderDesk,
        loader: ProcessPool | None,
        know: Callable[[frozenset[str]], None],
    ) -> None:
        self._know = know
        self._app, self._plan, self._supervisor, self._desk, self._loader = app, plan, supervisor, desk, loader
        self._trial: threading.Thread | None = None
        self.commands: Mapping[str, Callable[..., Any]] = {
            "autoscale": self.autoscale,
            "pool_grow": self.pool_grow,
            "pool_restart": self.pool_restart,
            "pool_shrink": self.pool_shrink,
        }

    @property
    def concurrency(self) -> int:
        """How many calls the node may run at once now."""
        return self._desk.orders.lanes or self._supervisor.size.wanted

    @property
    def scaling(self) -> dict[str, int] | None:
        """Bounds and size of a pool that scales itself, as `inspect stats` shows them."""
        if self._supervisor.autoscale is None:
            return None
        most, least = self._supervisor.autoscale.bounds
        count = self._supervisor.slots
        return {"max": most, "min": least, "current": count, "qty": 0}

    def pool_grow(self, n: int = 1, **_more: Any) -> dict[str, str]:
        if self._supervisor.autoscale is not None:
            return {"error": "pool_grow is not supported with autoscale. Adjust autoscale range instead."}
        self._resize(_count(n))
        return {"ok": "pool will grow"}

    def pool_shrink(self, n: int = 1, **_more: Any) -> dict[str, str]:
        if self._supervisor.autoscale is not None:
            return {"error": "pool_shrink is not supported with autoscale. Adjust autoscale range instead."}
        self._resize(-_count(n))
        return {"ok": "pool will shrink"}

    def autoscale(self, max: Any = None, min: Any = None, **_more: Any) -> dict[str, str]:  # noqa: A002 - names on the wire
        if self._supervisor.autoscale is None:
            raise ValueError("Autoscale not enabled")
        most, least = self._supervisor.rescale(_bound("max", max), _bound("min", min))
        return {"ok": f"autoscale now max={most} min={least}"}

    def pool_restart(
        self, modules: Sequence[str] | None = None, reload: bool = False, reloader: Any = None, **_more: Any
    ) -> dict[str, str]:
        del reloader  # a function cannot come in a message
        if not self._app.conf.typed("worker_pool_restarts"):
            raise ValueError("Pool restarts not enabled")
        wanted = [str(module) for module in modules or ()]
        if not (wanted or reload):
            self._supervisor.restart_pool(None)
            return {"ok": "reload started"}
        if self._loader is None:
            raise ValueError("this node cannot load its app again: start it with `sedano -A module:app worker`")
        if self._trial is not None and self._trial.is_alive():
            raise ValueError("the app is being loaded already, for another pool_restart: try again when that is over")
        said: list[str] = []
        trial = self._trial = threading.Thread(target=self._reload, args=(self._loader, wanted, said), daemon=True)
        trial.start()
        trial.join(PATIENCE_S)
        if said and said[0]:
            raise ValueError(f"the app cannot be loaded again, the pool stays as it is: {said[0].splitlines()[-1]}")
        return {"ok": "reload started"}

    def _reload(self, loader: ProcessPool, modules: Sequence[str], said: list[str]) -> None:
        """Load the app in a process besides; only when that works, the pool's are replaced."""
        tasks, wrong = loader.try_to_load(modules)
        if wrong:
            _logger.error("pool_restart: the app cannot be loaded again, the pool stays as it is: %s", wrong)
        else:
            try:
                for module in modules:
                    if module not in sys.modules:  # its tasks are to be known to the commands too
                        importlib.import_module(module)
                self._supervisor.restart_pool(lambda: self._renew(loader, modules, tasks))
            except Exception as exc:  # of the modules too
                wrong = repr(exc)
                _logger.error("pool_restart: %s", wrong)
        said.append(wrong)

    def _renew(self, loader: ProcessPool, modules: Sequence[str], tasks: frozenset[str]) -> None:
        loader.renew(modules)
        self._know(tasks)

    def _resize(self, change: int) -> None:
        if not self._plan.lanes:
            self._supervisor.grow(change) if change > 0 else self._supervisor.shrink(-change)
            return
        lanes = self.concurrency + change
        if not 1 <= lanes <= self._plan.most:
            raise ValueError(f"this node can run 1 to {self._plan.most} calls at once, not {lanes}")
        self._desk.resize(lanes)


def _count(n: Any) -> int:
    if isinstance(n, bool) or not isinstance(n, int) or n < 0:
        raise ValueError(f"{n!r} is no number of processes: give one from 0 on")
    return n


def _bound(which: str, value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"autoscale {which}={value!r}: give a number of processes")
    return value
