"""The commands about events: `enable_events`, `disable_events`, `heartbeat`, `election`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from sedano.contracts import Coordination
from sedano.worker.herald import Herald
from sedano.worker.table import SharedTable

_logger = logging.getLogger("celery.worker.control")
_DECIDED_S = 3600.0


class EventCommands:
    """`commands` by name. `always`: the node was started with `-E`, and cannot be told otherwise, as in Celery. `vote` opens
    the store's locks, which decide elections where nodes do not hear each other; None where they do."""

    def __init__(
        self,
        node: str,
        table: SharedTable,
        herald: Herald,
        elected: Callable[[str, Any], None],
        *,
        always: bool,
        vote: Callable[[], Coordination] | None,
    ) -> None:
        self._node, self._table, self._herald, self._elected = node, table, herald, elected
        self._always, self._vote = always, vote
        self.commands: Mapping[str, Callable[..., Any]] = {
            "disable_events": self.disable_events,
            "election": self.election,
            "enable_events": self.enable_events,
            "heartbeat": self.heartbeat,
        }

    def enable_events(self, **_more: Any) -> dict[str, str]:
        if self._table.tells:
            return {"ok": "task events already enabled"}
        self._table.tells = True
        _logger.info("Events of group {task} enabled by remote.")
        return {"ok": "task events enabled"}

    def disable_events(self, **_more: Any) -> dict[str, str]:
        if self._always or not self._table.tells:
            return {"ok": "task events already disabled"}
        self._table.tells = False
        _logger.info("Events of group {task} disabled by remote.")
        return {"ok": "task events disabled"}

    def heartbeat(self, **_more: Any) -> None:
        _logger.debug("Heartbeat requested by remote.")
        self._herald.beat()

    def election(self, id: str, topic: str, action: Any = None, **_more: Any) -> None:  # noqa: A002 - name on the wire
        if not (isinstance(id, str) and isinstance(topic, str)):
            raise ValueError(f"election: id {id!r} and topic {topic!r} are to be texts")
        if self._vote is None:
            self._herald.elect(id, topic, action)
            return
        store = self._vote()
        try:
            if store.acquire(f"election.{id}", self._node, ttl_s=_DECIDED_S) is not None:
                _logger.info("I won the election %r", id)
                self._elected(topic, action)
        finally:
            store.close()
