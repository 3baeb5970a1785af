"""`celery.worker.state`: what the node of this process has in hand, in Celery's words.

The views look when they are asked. `active_requests`, `reserved_requests` (which holds the active ones too, as in Celery),
`requests` and `total_count` tell the truth in the process of the node (hooks, steps, commands of one's own, tests with a worker
in a thread), and are empty in the processes of its pool and where no node runs. Of what is reserved and does not run yet they
say nothing: it stands in the store, where `inspect reserved` reads it. `revoked` is the store's set, in any process with an
app. Setting `should_stop` or `should_terminate` to a number stops the nodes of this process.
"""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from sedano import current
from sedano.contracts import Revoke
from sedano.contracts.coordination import revoked_calls
from sedano.exceptions import WorkerShutdown, WorkerTerminate
from sedano.worker import here
from sedano.worker.control.running import look
from sedano.worker.control.statedb import REVOKES_KEPT_S

SOFTWARE_INFO = {"sw_ident": "sedano", "sw_ver": "5.7.0", "sw_sys": sys.platform}
REVOKES_MAX, REVOKE_EXPIRES = 50_000, REVOKES_KEPT_S
_flags: dict[str, Any] = {"should_stop": None, "should_terminate": None}


@dataclass(frozen=True, slots=True)
class RunningRequest:
    """A call that runs. `time_start` is in Unix seconds."""

    id: str
    name: str = field(compare=False)
    hostname: str = field(compare=False)
    worker_pid: int = field(compare=False)
    time_start: float = field(compare=False)

    @property
    def task_id(self) -> str:
        return self.id

    @property
    def task_name(self) -> str:
        return self.name


def _running() -> dict[str, RunningRequest]:
    found: dict[str, RunningRequest] = {}
    for node in here.nodes():
        table = node.table
        for one in look(table).running if table is not None else ():
            found[one.note.task_id] = RunningRequest(one.note.task_id, one.note.task, node.hostname, one.pid, one.started)
    return found


class _Requests(Set[RunningRequest]):
    """A set that looks each time."""

    def __contains__(self, request: object) -> bool:
        return request in set(_running().values())

    def __iter__(self) -> Iterator[RunningRequest]:
        return iter(_running().values())

    def __len__(self) -> int:
        return len(_running())

    @classmethod
    def _from_iterable(cls, it: Iterable[Any]) -> Any:
        return set(it)

    def __repr__(self) -> str:
        return repr(set(self))


class _ById(Mapping[str, RunningRequest]):
    def __getitem__(self, task_id: str) -> RunningRequest:
        return _running()[task_id]

    def __iter__(self) -> Iterator[str]:
        return iter(_running())

    def __len__(self) -> int:
        return len(_running())


class _Totals(Mapping[str, int]):
    """Calls begun by task's name."""

    def _count(self) -> Counter[str]:
        counted: Counter[str] = Counter()
        for node in here.nodes():
            if node.table is not None:
                counted.update(node.table.counts.totals())
        return counted

    def __getitem__(self, name: str) -> int:
        return self._count()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._count())

    def __len__(self) -> int:
        return len(self._count())


class _Revoked(Set[str]):
    """Ids that were revoked, in the store of the node's app or of the current one."""

    def __contains__(self, task_id: object) -> bool:
        return task_id in self._ids()

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids())

    def __len__(self) -> int:
        return len(self._ids())

    @classmethod
    def _from_iterable(cls, it: Iterable[Any]) -> Any:
        return set(it)

    def add(self, task_id: str) -> None:
        """Revoke it, for all workers."""
        self.update([task_id])

    def update(self, ids: Iterable[str]) -> None:
        app = _app()
        if app is None:
            raise RuntimeError("there is no app in this process whose store could keep what is revoked")
        with contextlib.closing(app.stores.open_coordination()) as coordination:
            coordination.revoke([Revoke(id_) for id_ in ids], keep_s=REVOKES_KEPT_S)

    def _ids(self) -> frozenset[str]:
        app = _app()
        if app is None:
            return frozenset()
        with contextlib.closing(app.stores.open_coordination()) as coordination:
            return frozenset(revoked_calls(coordination.revokes()[1]))


def _app() -> Any:
    nodes = here.nodes()
    return nodes[0].app if nodes else current.get_app()


active_requests = reserved_requests = _Requests()
scheduled_requests: frozenset[Any] = frozenset()  # they wait in the store
requests = _ById()
total_count = _Totals()
revoked = _Revoked()


def maybe_shutdown() -> None:
    """Raise WorkerTerminate or WorkerShutdown when one of the flags is set."""
    for name, error in (("should_terminate", WorkerTerminate), ("should_stop", WorkerShutdown)):
        if _flags[name] is not None and _flags[name] is not False:
            raise error(_flags[name])


class _State(ModuleType):
    """This module, with flags that do what they say."""

    @property
    def should_stop(self) -> Any:
        return _flags["should_stop"]

    @should_stop.setter
    def should_stop(self, value: Any) -> None:
        _flags["should_stop"] = value
        if value is not None and value is not False:
            for node in here.nodes():
                node.stop()

    @property
    def should_terminate(self) -> Any:
        return _flags["should_terminate"]

    @should_terminate.setter
    def should_terminate(self, value: Any) -> None:
        _flags["should_terminate"] = value
        if value is not None and value is not False:
            for node in here.nodes():
                node.terminate()

    @property
    def all_total_count(self) -> list[int]:
        """How many calls have begun, in a list of one number."""
        return [sum(total_count.values())]


sys.modules[__name__].__class__ = _State
