"""The commands `rate_limit` and `time_limit`: what an operator allows a task on this node, until it stops."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from sedano.rules.rates import read_rate
from sedano.worker.desk import OrderDesk
from sedano.worker.lines import one_line

if TYPE_CHECKING:
    from sedano.app.base import Celery

_logger = logging.getLogger("celery.worker.control")


class LimitCommands:
    """`commands` by name; each takes the arguments of the message by name."""

    def __init__(self, app: Celery, desk: OrderDesk) -> None:
        self._app, self._desk = app, desk
        self.commands: Mapping[str, Callable[..., Any]] = {"rate_limit": self.rate_limit, "time_limit": self.time_limit}

    def rate_limit(self, task_name: str, rate_limit: Any, **_more: Any) -> dict[str, str]:
        try:
            per_s = read_rate(rate_limit)
        except ValueError as exc:
            return {"error": f"Invalid rate limit string: {exc!r}"}
        task = self._find(task_name)
        if task is None:
            _logger.error("Rate limit attempt for unknown task %s", one_line(str(task_name)))
            return {"error": "unknown task"}
        if not self._app.conf.typed("worker_disable_rate_limits"):
            self._desk.rate(task_name, per_s)
        task.rate_limit = rate_limit
        if not rate_limit:
            _logger.info("Rate limits disabled for tasks of type %s", task_name)
            return {"ok": "rate limit disabled successfully"}
        _logger.info("New rate limit for tasks of type %s: %s.", task_name, rate_limit)
        return {"ok": "new rate limit set successfully"}

    def time_limit(self, task_name: str | None = None, hard: Any = None, soft: Any = None, **_more: Any) -> dict[str, str]:
        task = self._find(task_name)
        if task is None or task_name is None:
            _logger.error("Change time limit attempt for unknown task %s", one_line(str(task_name)))
            return {"error": "unknown task"}
        soft_s, hard_s = _seconds("soft", soft), _seconds("hard", hard)
        read = self._app.conf.typed
        self._desk.limit(
            task_name,
            read("task_soft_time_limit") if soft_s is None else soft_s,
            read("task_time_limit") if hard_s is None else hard_s,
        )
        task.soft_time_limit, task.time_limit = soft_s, hard_s
        _logger.info("New time limits for tasks of type %s: soft=%s hard=%s", task_name, soft, hard)
        return {"ok": "time limits set successfully"}

    def _find(self, name: Any) -> Any:
        return self._app.tasks.get(name) if isinstance(name, str) else None


def _seconds(which: str, value: Any) -> float | None:
    """Raises ValueError for what is no length of time; 0 is none, as in a task's own option."""
    if value is None:
        return None
    try:
        seconds = float("nan") if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        seconds = float("nan")
    if not 0.0 <= seconds < float("inf"):
        raise ValueError(f"{which} time limit {value!r}: give a number of seconds, 0 for no limit")
    return seconds
