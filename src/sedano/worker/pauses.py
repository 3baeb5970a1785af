"""Says which of a node's queues are paused: at its start, and when that changes.

Slots need nobody to tell them: the store gives them nothing of a paused queue, and each turn names those that are paused.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable

from sedano.app.queuestates import describe
from sedano.contracts import Pause
from sedano.worker.lines import one_line

_logger = logging.getLogger("celery.worker")


class PauseWatch:
    """What one node knows of the pauses of its `queues`."""

    def __init__(self, queues: Collection[str]) -> None:
        self._queues = frozenset(queues)
        self._known: dict[str, Pause] = {}

    def look(self, pauses: Iterable[Pause]) -> None:
        """Log what differs from the last look; `pauses` are those that hold now."""
        now = {pause.queue: pause for pause in pauses if pause.queue in self._queues}
        for queue in self._known.keys() - now.keys():
            _logger.warning("queue %s is not paused any more", one_line(queue))
        for queue, pause in now.items():
            if self._known.get(queue) != pause:
                _logger.warning(
                    "queue %s is paused since %s: nothing is taken from it until `sedano queues resume %s`",
                    one_line(queue), one_line(describe(pause)), one_line(queue),
                )  # fmt: skip
        self._known = now
