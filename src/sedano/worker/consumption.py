"""What a node takes from and what it can run, as it is now: an operator may change both while it is up."""

from __future__ import annotations

from collections.abc import Callable

from sedano.contracts import QueueSpec

FollowQueues = Callable[[tuple[str, ...], tuple[QueueSpec, ...]], None]
FollowTasks = Callable[[frozenset[str]], None]


class Consumption:
    """`queues` are names, `specs` their declarations, `tasks` names. Changed by one thread, read by any; those that follow are
    told in the order in which they came."""

    def __init__(self, queues: tuple[str, ...], specs: tuple[QueueSpec, ...], tasks: frozenset[str]) -> None:
        self.queues, self.specs, self.tasks = queues, specs, tasks
        self._of_queues: list[FollowQueues] = []
        self._of_tasks: list[FollowTasks] = []

    def follow(self, queues: FollowQueues, tasks: FollowTasks | None = None) -> None:
        """Be told of every change from now on. To be thread-safe is the follower's affair."""
        self._of_queues.append(queues)
        if tasks is not None:
            self._of_tasks.append(tasks)

    def consume(self, queues: tuple[str, ...], specs: tuple[QueueSpec, ...]) -> None:
        """An operator has changed what the node takes from."""
        self.queues, self.specs = queues, specs
        for tell in self._of_queues:
            tell(queues, specs)

    def know(self, tasks: frozenset[str]) -> None:
        """The pool has loaded the app anew."""
        self.tasks = tasks
        for tell in self._of_tasks:
            tell(tasks)
