"""What a node has in hand, and what waits for its time: `active`, `reserved`, `scheduled`, `query_task`.

Messages are read from the store, on a connection of the mailbox's own: what a slot runs it cannot be asked while it runs it.
Which calls run, and since when, stands in the shared table.

Calls that wait for their time are nobody's: they stand in the store's schedule, which all nodes of a queue share. So that not
each of them answers with the same list, one does for each queue: whoever has the lock of that name, which the first to be
asked takes, and keeps while it is asked again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sedano.contracts import Delivery, Standing
from sedano.worker.control.requests import call_of, noted_map, request_map
from sedano.worker.control.running import look
from sedano.worker.control.stores import ControlStores
from sedano.worker.table import SharedTable

_logger = logging.getLogger("celery.worker.control")
MOST_RESERVED = 10_000
MOST_SCHEDULED = 1_000
MOST_LOOKED_AT = 10_000
ANSWERS_FOR_S = 5.0
"""How long a node that was asked for the schedule of a queue is the one that answers. Longer than anybody waits for answers."""
_PRIORITY = 6  # what Celery's timer says of every call


class HeldAnswers:
    """Questions by name in `commands`, each takes the arguments of the message by name. `queues` tells what the node reads."""

    def __init__(self, node: str, table: SharedTable, stores: ControlStores, queues: Callable[[], Sequence[str]]) -> None:
        self._node, self._table, self._stores, self._queues = node, table, stores, queues
        self.commands: Mapping[str, Callable[..., Any]] = {
            "active": self.active,
            "dump_active": self.active,
            "dump_reserved": self.reserved,
            "dump_schedule": self.scheduled,
            "query_task": self.query_task,
            "reserved": self.reserved,
            "scheduled": self.scheduled,
        }

    def active(self, safe: bool | None = None, **_: Any) -> list[dict[str, Any]]:
        """What runs now; `safe` shows arguments as text."""
        return [request for _, request in self._active(safe=bool(safe))]

    def reserved(self, safe: bool | None = None, **_: Any) -> list[dict[str, Any]]:
        """What the slots have taken and do not run yet, in the order in which they took it."""
        return [
            request_map(self._node, delivery, call, safe=bool(safe))
            for delivery in self._reserved()
            if (call := call_of(delivery)) is not None
        ]

    def scheduled(self, safe: bool | None = None, **_: Any) -> list[dict[str, Any]]:
        """What waits for its time in the queues that this node answers for: the first thousand of them. Where there are more,
        the last row has a field `total`, how many they are in all."""
        queues, (count, entries) = self._schedule(MOST_SCHEDULED)
        rows = [self._scheduled_row(due, delivery, safe=bool(safe)) for due, delivery in entries]
        shown = [row for row in rows if row is not None]
        if count > len(entries):
            _logger.info(
                "%d calls wait for their time in %s: the first %d of them are shown", count, ", ".join(queues), len(shown)
            )
            shown[-1:] = [{**row, "total": count} for row in shown[-1:]]
        return shown

    def query_task(self, ids: Any = None, **_: Any) -> dict[str, list[Any]]:
        """{id: [state, request]} of those of `ids` that this node has: active, reserved, or scheduled in its queues."""
        wanted = frozenset(str(one) for one in _listed(ids))
        found: dict[str, list[Any]] = {}
        if not wanted:
            return found
        for task_id, request in self._active(wanted=wanted):
            found[task_id] = ["active", request]
        for delivery in self._reserved() if wanted - found.keys() else ():
            call = call_of(delivery)
            if call is not None and call.id in wanted:
                found.setdefault(call.id, ["reserved", request_map(self._node, delivery, call)])
        if wanted - found.keys():
            for due, delivery in self._schedule(MOST_LOOKED_AT)[1][1]:
                call = call_of(delivery)
                if call is not None and call.id in wanted and call.id not in found:
                    row = self._scheduled_row(due, delivery, safe=False)
                    assert row is not None
                    found[call.id] = ["scheduled", row["request"]]
        return found

    # -- looking ------------------------------------------------------------------------------------------------------

    def _active(self, *, safe: bool = False, wanted: Collection[str] | None = None) -> list[tuple[str, dict[str, Any]]]:
        view = look(self._table)
        running = [one for one in view.running if wanted is None or one.note.task_id in wanted]
        if not running:
            return []
        tags = [one.note.tag for one in running]
        stores = self._stores
        held = stores.asking(lambda: stores.broker().held(view.owners, limit=len(tags), tags=tags))
        deliveries = {delivery.tag: delivery for delivery in held}
        found: list[tuple[str, dict[str, Any]]] = []
        for one in running:
            delivery = deliveries.get(one.note.tag)
            call = None if delivery is None else call_of(delivery)
            if delivery is None or call is None:
                request = noted_map(self._node, one.note, time_start=one.started, worker_pid=one.pid)
            else:
                request = request_map(
                    self._node, delivery, call, safe=safe,
                    time_start=one.started, acknowledged=one.note.early, worker_pid=one.pid,
                )  # fmt: skip
            found.append((request["id"], request))
        return found

    def _reserved(self) -> list[Delivery]:
        view, stores = look(self._table), self._stores
        if not view.owners:
            return []
        held = stores.asking(lambda: stores.broker().held(view.owners, limit=MOST_RESERVED))
        if self._table.boards:  # whatever was begun there runs, or has just ended
            return [delivery for delivery in held if delivery.standing is Standing.RESERVED]
        return [delivery for delivery in held if delivery.tag not in view.started]

    def _schedule(self, limit: int) -> tuple[list[str], tuple[int, list[tuple[float, Delivery]]]]:
        """The queues that this node answers for, how many calls wait for their time there, and the first of them."""
        stores = self._stores

        def ask() -> tuple[list[str], tuple[int, list[tuple[float, Delivery]]]]:
            if not stores.broker().capabilities.schedule:
                return [], (0, [])
            locks = stores.coordination()
            mine = [
                queue
                for queue in dict.fromkeys(self._queues())
                if locks.acquire(f"inspect.schedule.{queue}", self._node, ttl_s=ANSWERS_FOR_S) is not None
            ]
            return mine, stores.broker().delayed(mine, limit=limit)

        return stores.asking(ask)

    def _scheduled_row(self, due: float, delivery: Delivery, *, safe: bool) -> dict[str, Any] | None:
        call = call_of(delivery)
        if call is None:
            return None
        return {
            "eta": datetime.fromtimestamp(due, UTC).isoformat(),
            "priority": _PRIORITY,
            "request": request_map(self._node, delivery, call, safe=safe),
        }


def _listed(value: Any) -> Sequence[Any]:
    if value is None:
        return ()
    return list(value) if isinstance(value, list | tuple | set | frozenset) else [value]
