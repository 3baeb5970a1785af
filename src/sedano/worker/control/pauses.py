"""The commands `pause_queue` and `resume_queue`, for clusters whose hosts have a store each: RabbitMQ without `schedule_store`.

Every node writes down in its own what elsewhere is written once, by whoever gives the order.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from sedano.contracts import Pause
from sedano.worker.control.stores import ControlStores
from sedano.worker.lines import one_line

_logger = logging.getLogger("celery.worker.control")
_LONGEST = 4096  # characters


class PauseCommands:
    """Commands by name in `commands`."""

    def __init__(self, stores: ControlStores) -> None:
        self._stores = stores
        self.commands: Mapping[str, Callable[..., Any]] = {
            "pause_queue": self.pause_queue,
            "resume_queue": self.resume_queue,
        }

    def pause_queue(self, queue: Any = None, since: Any = 0.0, reason: Any = "", by: Any = "", **_more: Any) -> dict[str, str]:
        pause = Pause(_text("queue", queue), float(since), _text("reason", reason), _text("by", by))
        if not pause.queue:
            raise ValueError("pause_queue: no queue is named")
        self._stores.asking(lambda: self._stores.coordination().pause([pause]))
        _logger.info("Paused queue %s, as this host was told", one_line(pause.queue))
        return {"ok": f"paused {pause.queue}"}

    def resume_queue(self, queue: Any = None, **_more: Any) -> dict[str, str]:
        name = _text("queue", queue)
        self._stores.asking(lambda: self._stores.coordination().resume([name]))
        _logger.info("Resumed queue %s, as this host was told", one_line(name))
        return {"ok": f"resumed {name}"}


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST:
        raise ValueError(f"{name} is to be a text of {_LONGEST} characters at most, not {one_line(repr(value)[:100])}")
    return value
