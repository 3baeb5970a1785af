"""The cluster as its events tell it: workers, calls, and who runs what. Events may come late, twice or not at all.

`State` is fed by `event`, mostly as a handler of a receiver, and read by anybody. It is made for one process's memory: it keeps
so many workers and calls, and forgets the oldest.
"""

from __future__ import annotations

import bisect
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, TypeAlias
from weakref import WeakSet, ref

from sedano.events.lru import LRUCache
from sedano.events.taskstate import TASK_EVENT_TO_STATE, Task
from sedano.events.workerstate import (
    HEARTBEAT_DRIFT_MAX,
    HEARTBEAT_EXPIRE_WINDOW,
    Worker,
    heartbeat_expires,
)

__all__ = [
    "HEARTBEAT_DRIFT_MAX",
    "HEARTBEAT_EXPIRE_WINDOW",
    "TASK_EVENT_TO_STATE",
    "LRUCache",
    "State",
    "Task",
    "Worker",
    "heartbeat_expires",
]


Node: TypeAlias = Worker
Call: TypeAlias = Task
# `State` has attributes of these classes' names.


class Moment:
    """When something was said of a call: ordered by logical clock where both have one, else by time."""

    __slots__ = ("clock", "origin", "task", "timestamp")

    def __init__(self, clock: int | None, timestamp: float | None, origin: str | None, task: Task) -> None:
        self.clock, self.timestamp, self.origin = clock, timestamp or 0.0, origin or ""
        self.task = ref(task)

    def __lt__(self, other: Moment) -> bool:
        if self.clock and other.clock:
            return self.origin < other.origin if self.clock == other.clock else self.clock < other.clock
        return self.timestamp < other.timestamp


class Index(defaultdict[str, "WeakSet[Task]"]):
    """key -> tasks, in no order; called with a key: (uuid, task) pairs ordered by time, the newest first."""

    def __init__(self, ordered: Callable[..., Iterator[tuple[str, Task]]]) -> None:
        super().__init__(WeakSet)
        self._ordered = ordered

    def __call__(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, Task]]:
        return self._ordered(*args, **kwargs)


class State:
    """`callback(state, event)` is called for each event before it is noted; `on_node_join(worker)` and `on_node_leave(worker)`
    when a node comes and goes (with the latter, nodes that went are forgotten).

    `handlers` maps a group ("custom" of "custom-x") to `handler(subject, event)`, which takes the place of ours.
    """

    Worker: type[Node] = Worker
    Task: type[Call] = Task
    event_count = 0
    task_count = 0
    heap_multiplier = 4

    def __init__(
        self,
        callback: Callable[[State, dict[str, Any]], Any] | None = None,
        workers: LRUCache[str, Node] | None = None,
        tasks: LRUCache[str, Call] | None = None,
        taskheap: list[Any] | None = None,
        max_workers_in_memory: int = 5000,
        max_tasks_in_memory: int = 10000,
        on_node_join: Callable[[Node], Any] | None = None,
        on_node_leave: Callable[[Node], Any] | None = None,
        tasks_by_type: Mapping[str, Iterable[str]] | None = None,
        tasks_by_worker: Mapping[str, Iterable[str]] | None = None,
    ) -> None:
        self.event_callback = callback
        self.max_workers_in_memory = max_workers_in_memory
        self.max_tasks_in_memory = max_tasks_in_memory
        self.workers: LRUCache[str, Node] = LRUCache(max_workers_in_memory) if workers is None else workers
        self.tasks: LRUCache[str, Call] = LRUCache(max_tasks_in_memory) if tasks is None else tasks
        self.on_node_join = on_node_join
        self.on_node_leave = on_node_leave
        self.handlers: dict[str, Callable[[str, dict[str, Any]], Any]] = {}
        self.tasks_by_type = Index(self._ordered_by_type)
        self.tasks_by_worker = Index(self._ordered_by_worker)
        self._mutex = threading.RLock()
        self._seen_types: set[str] = set()
        self._waiting_children: LRUCache[str, WeakSet[Call]] = LRUCache(max_tasks_in_memory)
        self._taskheap: list[Moment] = []
        del taskheap  # made of the tasks
        self._adopt(tasks_by_type or {}, tasks_by_worker or {})

    # -- what happens -----------------------------------------------------------------------------------------------------

    def event(self, event: dict[str, Any]) -> Any:
        """Take note of an event; ((worker or task, whether it is new), subject) when it is about one, else None.

        What lacks the fields that an event of its group has is left out: anybody can publish.
        """
        with self._mutex:
            self.event_count += 1
            if self.event_callback is not None:
                self.event_callback(self, event)
            group, _, subject = str(event.get("type", "")).partition("-")
            handler = self.handlers.get(group)
            if handler is not None:
                return handler(subject, event), subject
            if group == "worker":
                return self._of_worker(subject, event)
            return self._of_task(subject, event) if group == "task" else None

    def task_event(self, type_: str, fields: Mapping[str, Any]) -> Any:
        """As `event` for task-<type_>; the older way."""
        noted = self.event({**fields, "type": f"task-{type_}"})
        return None if noted is None else noted[0]

    def worker_event(self, type_: str, fields: Mapping[str, Any]) -> Any:
        """As `event` for worker-<type_>; the older way."""
        noted = self.event({**fields, "type": f"worker-{type_}"})
        return None if noted is None else noted[0]

    def _of_worker(self, subject: str, event: dict[str, Any]) -> Any:
        hostname = event.get("hostname")
        if not isinstance(hostname, str) or "timestamp" not in event or "local_received" not in event:
            return None
        is_offline = subject == "offline"
        worker = self.workers.data.get(hostname)
        created = worker is None and not is_offline
        if worker is None:
            worker = self.Worker(hostname)
            if not is_offline:
                self.workers[hostname] = worker
        worker.event(subject, event["timestamp"], event["local_received"], event)
        if self.on_node_join is not None and (created or subject == "online"):
            self.on_node_join(worker)
        if self.on_node_leave is not None and is_offline:
            self.on_node_leave(worker)
            self.workers.pop(hostname, None)
        return (worker, created), subject

    def _of_task(self, subject: str, event: dict[str, Any]) -> Any:
        uuid, hostname = event.get("uuid"), event.get("hostname")
        if (
            not isinstance(uuid, str)
            or not isinstance(hostname, str)
            or not {"timestamp", "local_received", "clock"} <= event.keys()
        ):
            return None
        timestamp, received = event["timestamp"], event["local_received"]
        task = self.tasks.data.get(uuid)
        created = task is None
        if task is None:
            task = self.tasks[uuid] = self.Task(uuid, cluster_state=self)
        if subject == "sent":  # by a client, which is no worker
            task.client = hostname
            origin: str | None = hostname
        else:
            origin = self._give_to(hostname, task, timestamp, received)
        self._remember(Moment(event["clock"], timestamp, origin, task))
        if subject == "received":
            self.task_count += 1
        task.event(subject, timestamp, received, event)
        self._index(task)
        self._find_relatives(uuid, task)
        return (task, created), subject

    def _give_to(self, hostname: str, task: Call, timestamp: float | None, received: float | None) -> str:
        worker = self.workers.data.get(hostname)
        if worker is None:
            worker = self.workers[hostname] = self.Worker(hostname)
        before, task.worker = task.worker, worker
        if before is not None and before.hostname is not None and before.hostname != hostname:
            self.tasks_by_worker[before.hostname].discard(task)
        self.tasks_by_worker[hostname].add(task)
        if received and timestamp:
            # It was alive when it said this; a message that waited long says nothing of now.
            worker.event(None, received, timestamp)
        return worker.id

    def _remember(self, moment: Moment) -> None:
        heap = self._taskheap
        newest = heap[-1] if heap else None
        if len(heap) >= self.max_tasks_in_memory * self.heap_multiplier:
            del heap[0]
        if newest is not None and newest < moment:
            heap.append(moment)
        else:
            bisect.insort(heap, moment)

    def _index(self, task: Call) -> None:
        if isinstance(task.name, str):
            self._seen_types.add(task.name)
            self.tasks_by_type[task.name].add(task)

    def _find_relatives(self, uuid: str, task: Call) -> None:
        """Parents know their children, whoever is heard of first."""
        if task.parent_id:
            parent = self.tasks.get(task.parent_id)
            if parent is not None:
                parent.children.add(task)
            else:
                waiting = self._waiting_children.get(task.parent_id)
                if waiting is None:
                    waiting = self._waiting_children[task.parent_id] = WeakSet()
                waiting.add(task)
        task.children.update(self._waiting_children.pop(uuid, ()))

    # -- what is known ----------------------------------------------------------------------------------------------------

    def get_or_create_worker(self, hostname: str, **kwargs: Any) -> tuple[Node, bool]:
        """(the worker, whether it was unknown); `kwargs` are fields of it."""
        worker = self.workers.get(hostname)
        if worker is not None:
            worker.update(kwargs)
            return worker, False
        worker = self.workers[hostname] = self.Worker(hostname, **kwargs)
        return worker, True

    def get_or_create_task(self, uuid: str) -> tuple[Call, bool]:
        """(the task, whether it was unknown)."""
        task = self.tasks.get(uuid)
        if task is not None:
            return task, False
        task = self.tasks[uuid] = self.Task(uuid, cluster_state=self)
        return task, True

    def itertasks(self, limit: int | None = None) -> Iterator[tuple[str, Call]]:
        return islice(iter(self.tasks.items()), limit or None)

    def tasks_by_time(self, limit: int | None = None, reverse: bool = True) -> Iterator[tuple[str, Call]]:
        """(uuid, task) by the time of what was last heard of each, the newest first; at most `limit`."""
        with self._mutex:
            moments = list(self._taskheap)
        return islice(_tasks_of(reversed(moments) if reverse else moments), limit)

    tasks_by_timestamp = tasks_by_time

    def task_types(self) -> list[str]:
        """The names of all tasks that were seen, sorted."""
        return sorted(self._seen_types)

    def see_types(self, names: Iterable[str]) -> None:
        self._seen_types.update(names)

    def alive_workers(self) -> Iterator[Node]:
        """Those that were heard of lately."""
        return (worker for worker in self.workers.values() if worker.alive)

    def _ordered_by_type(self, name: str, limit: int | None = None, reverse: bool = True) -> Iterator[tuple[str, Call]]:
        return islice(((uuid, task) for uuid, task in self.tasks_by_time(reverse=reverse) if task.name == name), limit)

    def _ordered_by_worker(self, hostname: str, limit: int | None = None, reverse: bool = True) -> Iterator[tuple[str, Call]]:
        found = self.tasks_by_time(reverse=reverse)
        return islice(((uuid, task) for uuid, task in found if task.worker and task.worker.hostname == hostname), limit)

    # -- the whole of it --------------------------------------------------------------------------------------------------

    def freeze_while(self, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call `fun` while nothing is noted; with `clear_after=True` forget afterwards as `clear` does."""
        clear_after = kwargs.pop("clear_after", False)
        with self._mutex:
            try:
                return fun(*args, **kwargs)
            finally:
                if clear_after:
                    self.clear()

    def clear(self, ready: bool = True) -> None:
        """Forget workers, counts and tasks: with `ready` those only that are finished."""
        with self._mutex:
            self.workers.clear()
            self.clear_tasks(ready)
            self.event_count = 0
            self.task_count = 0

    def clear_tasks(self, ready: bool = True) -> None:
        with self._mutex:
            kept = [(uuid, task) for uuid, task in self.tasks.items() if ready and not task.ready]
            self.tasks.clear()
            self.tasks.update(kept)
            self.rebuild_taskheap()

    def rebuild_taskheap(self) -> None:
        """One entry for each task, in order."""
        with self._mutex:
            self._taskheap = sorted(Moment(task.clock, task.timestamp, task.origin, task) for task in self.tasks.values())

    def _adopt(self, by_type: Mapping[str, Iterable[str]], by_worker: Mapping[str, Iterable[str]]) -> None:
        """Tasks that were given, or come out of a pickle: they know this state, and their relatives."""
        known = self.tasks.data
        for task in self.tasks.values():
            task.cluster_state = self
            if task.parent_id and task.parent_id in known:
                known[task.parent_id].children.add(task)
            self._index(task)
        for index, given in ((self.tasks_by_type, by_type), (self.tasks_by_worker, by_worker)):
            for key, uuids in given.items():
                index[key].update(known[uuid] for uuid in uuids if uuid in known)
        self.rebuild_taskheap()

    def __repr__(self) -> str:
        return f"<State: events={self.event_count} tasks={self.task_count}>"

    def __reduce__(self) -> Any:
        with self._mutex:
            return _rebuilt, (
                _importable(type(self)),
                {
                    "callback": self.event_callback,
                    "workers": self.workers,
                    "tasks": self.tasks,
                    "max_workers_in_memory": self.max_workers_in_memory,
                    "max_tasks_in_memory": self.max_tasks_in_memory,
                    "on_node_join": self.on_node_join,
                    "on_node_leave": self.on_node_leave,
                    "tasks_by_type": {name: [task.id for task in tasks] for name, tasks in self.tasks_by_type.items()},
                    "tasks_by_worker": {name: [task.id for task in tasks] for name, tasks in self.tasks_by_worker.items()},
                },
                self.event_count,
                self.task_count,
                sorted(self._seen_types),
            )


def _tasks_of(moments: Iterable[Moment]) -> Iterator[tuple[str, Task]]:
    seen: set[str] = set()
    for moment in moments:
        task = moment.task()
        if task is not None and task.uuid is not None and task.uuid not in seen:
            seen.add(task.uuid)
            yield task.uuid, task


def _importable(kind: type[State]) -> Any:
    """The class by which a pickle finds it: `app.events.State` is a class of its app, which no module holds."""
    for found in kind.__mro__:
        if issubclass(found, State) and getattr(sys.modules.get(found.__module__), found.__qualname__, None) is found:
            return found
    return State


def _rebuilt(kind: type[State], arguments: dict[str, Any], events: int, tasks: int, types: list[str]) -> State:
    state = kind(**arguments)
    state.event_count, state.task_count = events, tasks
    state.see_types(types)
    return state
