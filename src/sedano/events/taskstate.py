"""What is known of one call, by its events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakSet

from sedano import states
from sedano.events.workerstate import Worker

if TYPE_CHECKING:
    from sedano.events.state import State

TASK_EVENT_TO_STATE: Mapping[str, str] = {
    "sent": states.PENDING,
    "received": states.RECEIVED,
    "started": states.STARTED,
    "failed": states.FAILURE,
    "retried": states.RETRY,
    "succeeded": states.SUCCESS,
    "revoked": states.REVOKED,
    "rejected": states.REJECTED,
}
"""Of task-<name>; any other name is a state of its own in capitals: task-progress is PROGRESS."""

_OURS = frozenset({"cluster_state", "children", "worker", "client"})


class Task:
    """A call. Equal to another of the same uuid. Every field of its events is an attribute; None where nothing was heard.

    `sent`, `received`, `started`, ... are the times (Unix seconds) of these events, `timestamp` that of the newest.
    """

    uuid: str | None
    name: str | None = None
    state: str = states.PENDING
    received: float | None = None
    sent: float | None = None
    started: float | None = None
    rejected: float | None = None
    succeeded: float | None = None
    failed: float | None = None
    retried: float | None = None
    revoked: float | None = None
    args: str | None = None
    kwargs: str | None = None
    eta: str | None = None
    expires: str | None = None
    retries: int | None = None
    worker: Worker | None = None
    result: str | None = None
    exception: str | None = None
    timestamp: float | None = None
    runtime: float | None = None
    traceback: str | None = None
    exchange: str | None = None
    routing_key: str | None = None
    clock: int | None = 0
    client: str | None = None
    root_id: str | None = None
    parent_id: str | None = None

    _fields = (
        "uuid", "name", "state", "received", "sent", "started", "rejected", "succeeded", "failed", "retried", "revoked", "args",
        "kwargs", "eta", "expires", "retries", "worker", "result", "exception", "timestamp", "runtime", "traceback", "exchange",
        "routing_key", "clock", "client", "root", "root_id", "parent", "parent_id", "children",
    )  # fmt: skip
    _info_fields = (
        "args", "kwargs", "retries", "result", "eta", "runtime", "expires", "exception", "exchange", "routing_key", "root_id",
        "parent_id",
    )  # fmt: skip

    merge_rules: ClassVar[Mapping[str, Sequence[str]]] = {
        states.RECEIVED: ("name", "args", "kwargs", "parent_id", "root_id", "retries", "eta", "expires"),
    }
    """state -> the fields that are taken from its event when it comes after that of a later state; a state that is not
    listed gives all."""

    def __init__(
        self, uuid: str | None = None, cluster_state: State | None = None, children: Iterable[str] | None = None, **kwargs: Any
    ) -> None:
        self.uuid = uuid
        self.cluster_state = cluster_state
        self.children: WeakSet[Task] = WeakSet()
        if cluster_state is not None:
            known = cluster_state.tasks.data
            self.children.update(known[task_id] for task_id in children or () if task_id in known)
        vars(self).update(
            {name: value for name, value in kwargs.items() if not isinstance(getattr(Task, name, None), property)}
        )

    def event(
        self,
        type_: str,
        timestamp: float | None = None,
        local_received: float | None = None,
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        """Take note of an event `task-<type_>`. One that comes late adds what it knows and does not lower the state."""
        del local_received
        state = TASK_EVENT_TO_STATE.get(type_)
        if state is None:
            state = type_.upper()
        else:
            setattr(self, type_, timestamp)
        news = dict(fields or {})
        if self._is_late(state):
            kept = self.merge_rules.get(state)
            if kept is not None:
                news = {name: value for name, value in news.items() if name in kept}
        else:
            news.update(state=state, timestamp=timestamp)
        # What comes over the wire must not replace what this class does.
        vars(self).update({name: value for name, value in news.items() if name not in _OURS and name not in _METHODS})

    def _is_late(self, state: str) -> bool:
        """A retry begins anew, and so does whatever comes after one."""
        if states.RETRY in (state, self.state):
            return False
        return states.precedence(state) > states.precedence(self.state)

    def info(self, fields: Iterable[str] | None = None, extra: Iterable[str] | None = None) -> dict[str, Any]:
        """What is known of these fields: for a screen."""
        names = [*(self._info_fields if fields is None else fields), *(extra or ())]
        found = {name: getattr(self, name, None) for name in names}
        return {name: value for name, value in found.items() if value is not None}

    def as_dict(self) -> dict[str, Any]:
        """All fields; tasks among them as their ids."""
        special: dict[str, Callable[[], Any]] = {
            "children": lambda: [task.id for task in self.children],
            "root": lambda: self.root_id,
            "parent": lambda: self.parent_id,
        }
        return {name: special[name]() if name in special else getattr(self, name) for name in self._fields}

    @property
    def id(self) -> str | None:
        return self.uuid

    @property
    def origin(self) -> str | None:
        """The client that sent it, until a worker has it."""
        return self.client if self.worker is None else self.worker.id

    @property
    def ready(self) -> bool:
        return self.state in states.READY_STATES

    @property
    def parent(self) -> Task | None:
        return self._relative(self.parent_id)

    @property
    def root(self) -> Task | None:
        return self._relative(self.root_id)

    def _relative(self, uuid: str | None) -> Task | None:
        if uuid is None or self.cluster_state is None:
            return None
        return self.cluster_state.tasks.data.get(uuid)

    def __eq__(self, other: object) -> bool:
        return self.uuid == other.uuid if isinstance(other, Task) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.uuid)

    def __repr__(self) -> str:
        return f"<Task: {self.name}({self.uuid}) {self.state} clock:{self.clock}>"

    def __reduce__(self) -> Any:
        return _rebuilt, (type(self), self.as_dict())


_METHODS = frozenset(
    name
    for name in dir(Task)
    if name.startswith("_") or isinstance(getattr(Task, name), property) or callable(getattr(Task, name))
)


def _rebuilt(kind: type[Task], fields: dict[str, Any]) -> Task:
    return kind(**fields)
