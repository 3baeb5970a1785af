"""Commands that revoke calls, and what is asked about them.

An order is kept in the store, where every slot of every node reads it; the nodes that hear the command end what runs. Those
calls that are not begun anywhere get the state REVOKED at once, as with Celery 5.7, not only when a worker comes upon them.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from sedano import states
from sedano.contracts import Lease, Results, Revoke, Source, Standing
from sedano.contracts.coordination import revoked_calls, revoked_stamps, stamp_orders, stamps_of
from sedano.exceptions import DecodeError, LeaseLost, OperationalError, TaskRevokedError
from sedano.protocol.call import Call
from sedano.protocol.results import decode_meta
from sedano.worker.control.held import MOST_LOOKED_AT
from sedano.worker.control.requests import call_of
from sedano.worker.control.running import bearers
from sedano.worker.control.statedb import REVOKES_KEPT_S
from sedano.worker.control.stores import ControlStores
from sedano.worker.lines import one_line
from sedano.worker.records import Records
from sedano.worker.stopsignals import signal_number
from sedano.worker.table import SharedTable

_logger = logging.getLogger("celery.worker.control")
LONGEST_ID = 64 * 1024
"""Every slot reads all ids that were revoked: what is longer is no id."""
LONGEST_SHOWN = 256
_AT_ONCE = 1000
_TRIES = 5
_WAITING = frozenset({states.PENDING, states.RECEIVED, states.RETRY, states.REJECTED})


class Revokes:
    """Commands by name in `commands`, each takes the arguments of the message by name. `terminate(ids, signum)` ends the calls
    among `ids` that run and returns their ids; `tick` counts the node's logical clock on and tells it."""

    def __init__(
        self,
        node: str,
        table: SharedTable,
        stores: ControlStores,
        terminate: Callable[[Collection[str], int], list[str]],
        records: Records,
        tick: Callable[[], int],
    ) -> None:
        self._node, self._table, self._stores, self._end = node, table, stores, terminate
        self._records, self._tick = records, tick
        self.commands: Mapping[str, Callable[..., Any]] = {
            "dump_revoked": self.revoked,
            "hello": self.hello,
            "revoke": self.revoke,
            "revoke_by_stamped_headers": self.revoke_by_stamped_headers,
            "revoked": self.revoked,
            "terminate": self.terminate,
        }

    def revoke(self, task_id: Any = None, terminate: Any = False, signal: Any = None, **_: Any) -> dict[str, str]:
        ids, number = _ids(task_id), signal_number(signal or "SIGTERM")
        self._keep([Revoke(id_, bool(terminate), number.name) for id_ in ids])
        self._mark(ids)
        if terminate:
            ended = self._end(set(ids), number)
            return {"ok": f"terminate: {', '.join(ended)}" if ended else "terminate: tasks unknown"}
        _logger.info("Tasks flagged as revoked: %s", one_line(", ".join(ids)))
        return {"ok": f"tasks {set(ids)} flagged as revoked"}

    def terminate(self, task_id: Any = None, signal: Any = None, **_: Any) -> dict[str, str]:
        return self.revoke(task_id, terminate=True, signal=signal)

    def revoke_by_stamped_headers(
        self, headers: Any = None, terminate: Any = False, signal: Any = None, **_: Any
    ) -> dict[str, str]:
        given, number = stamps_of(headers), signal_number(signal or "SIGTERM")
        orders = stamp_orders(given)
        if any(len(order) > LONGEST_ID for order in orders):
            raise ValueError(f"a stamp is longer than {LONGEST_ID} characters")
        self._keep([Revoke(order, bool(terminate), number.name) for order in orders])
        if not terminate:
            return {"ok": f"headers {given} flagged as revoked, but not terminated"}
        stores = self._stores
        stamps = revoked_stamps(orders)
        found = stores.asking(lambda: bearers(self._table, stores.broker(), stamps))
        ended = set(self._end(set(found), number)) if found else set[str]()
        told: defaultdict[str, set[Any]] = defaultdict(set)
        for id_, stamp in found.items():
            for header, value in stamp.items() if id_ in ended else ():
                told[header].add(value)
        return {"ok": f"headers {told} revoked" if told else f"headers {given} were not terminated"}

    def revoked(self, **_: Any) -> list[str]:
        stores = self._stores
        return revoked_calls(stores.asking(lambda: stores.coordination().revokes())[1])

    def hello(self, from_node: Any = None, revoked: Any = None, **_: Any) -> dict[str, Any] | None:
        """A node that starts asks what was revoked, and tells what it knows: a list of ids, or a map from them."""
        if from_node == self._node:
            return None
        _logger.info("sync with %s", one_line(str(from_node)[:LONGEST_SHOWN]))
        known = self.revoked()
        old = frozenset(known)
        self._keep([Revoke(id_) for id_ in _ids(revoked) if id_ not in old])
        return {"revoked": known, "clock": self._tick()}

    # -- the store ----------------------------------------------------------------------------------------------------

    def _keep(self, orders: Sequence[Revoke]) -> None:
        stores = self._stores
        if orders:
            stores.asking(lambda: stores.coordination().revoke(orders, keep_s=REVOKES_KEPT_S))

    def _mark(self, ids: Sequence[str]) -> None:
        """Store REVOKED for those that wait. The order is in the store before this looks at what runs: what is begun later is
        refused, so that no call is told revoked which runs.

        Where deliveries belong to connections, nobody can look at those of all nodes: whoever comes upon a call marks it.
        """
        if not self._records.how.stored or not ids:
            return
        stores = self._stores
        try:
            stores.asking(lambda: self._mark_in_store(ids))
        except OperationalError as exc:
            _logger.warning("Failed to mark tasks as revoked in the result backend: %s", exc)

    def _mark_in_store(self, ids: Sequence[str]) -> None:
        if self._stores.broker().capabilities.source is Source.SUPERVISOR:
            return
        results = self._stores.results()
        if results is None:
            return
        taken: frozenset[str] | None = None
        for start in range(0, len(ids), _AT_ONCE):
            waiting = _waiting(results, ids[start : start + _AT_ONCE])
            if waiting and taken is None:
                taken = self._taken()
                waiting = _waiting(results, waiting)  # a call may have ended between the two looks
            writes = [
                self._records.write(Call("", id_), None, states.REVOKED, TaskRevokedError("revoked"))
                for id_ in waiting
                if taken is not None and id_ not in taken
            ]
            if writes:
                results.store(writes)

    def _taken(self) -> frozenset[str] | None:
        """The calls that somebody has begun, on whichever node, and those whose outcome is on its way to the result store. None
        when that cannot be told: leases change hands all the time.

        A call goes from begun to pending to stored, and is looked for in this order: it cannot slip through.
        """
        broker = self._stores.broker()
        for _ in range(_TRIES):
            records = broker.leases()
            held = broker.held([record.owner for record in records if record.held], limit=MOST_LOOKED_AT)
            calls = [call_of(delivery) for delivery in held if delivery.standing is not Standing.RESERVED]
            begun = {call.id for call in calls if call is not None}
            if broker.capabilities.shared_results:
                return frozenset(begun)
            try:
                pendings = [one for record in records for one in broker.pendings(Lease(record.owner, record.fence))]
            except LeaseLost:
                continue
            return frozenset(begun.union(write.task_id for one in pendings for write in one.writes))
        return None


def _waiting(results: Results, ids: Sequence[str]) -> list[str]:
    """Those of whose calls no record says that they have begun."""
    return [id_ for id_, payload in zip(ids, results.fetch(ids), strict=True) if _waits(payload)]


def _ids(given: Any) -> list[str]:
    """Ids out of one or several, each once. Raises TypeError and ValueError for what cannot be one."""
    found = list(given) if isinstance(given, list | tuple | set | frozenset | dict) else [] if given is None else [given]
    for id_ in found:
        if not isinstance(id_, str):
            raise TypeError(f"a task id is text, not {type(id_).__name__}: {one_line(repr(id_)[:200])}")
        if len(id_) > LONGEST_ID:
            raise ValueError(f"{id_[:40]!r}... is no task id: it has {len(id_)} characters")
    return [id_ for id_ in dict.fromkeys(found) if id_]


def _waits(payload: bytes | None) -> bool:
    """Whether a record says that its call has not begun. One that cannot be read says nothing."""
    if payload is None:
        return True
    try:
        return decode_meta(payload).get("status") in _WAITING
    except DecodeError:
        return False
