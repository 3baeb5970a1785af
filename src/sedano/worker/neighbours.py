"""Asks the Celery workers beside us which of the parked calls they could run: their queues, their tasks, by remote control.

A node of our own fetches what it knows itself (`Keeper`); a Celery worker does not know that anything is parked. It is asked
only while there is something parked that this node does not know, from a thread of its own: answers take their time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from sedano.contracts import Broker, Parked
from sedano.exceptions import OperationalError
from sedano.worker.rounds import Rounds

_logger = logging.getLogger("celery.worker")
ASK_EVERY_S = 15.0
AGAIN_S = 2.0  # while some are passed on: how long a call waits that a node of ours takes again
MOST_AT_ONCE = 200
BETWEEN_S = 0.02
ANSWER_S = 2.0

Ask = Callable[..., "list[dict[str, Any]] | None"]
"""`Control.broadcast`."""


class Neighbours:
    """`start` it through `rounds`. `queues` and `tasks` are this node's."""

    def __init__(self, open_broker: Callable[[], Broker], ask: Ask, queues: Collection[str], tasks: Collection[str]) -> None:
        self._open_broker, self._ask = open_broker, ask
        self._queues, self._tasks = list(queues), frozenset(tasks)
        self._broker: Broker | None = None
        self._moves = False
        self.rounds = Rounds("sedano-neighbours", self._round, self._close)

    def move(self) -> None:
        """Look at the server that the node uses now. From any thread."""
        self._moves = True
        self.rounds.wake()

    def consume(self, queues: Collection[str]) -> None:
        """The node consumes these queues from now on. From any thread."""
        self._queues = list(queues)

    def _round(self) -> float:
        try:
            if self._moves:
                self._moves = False
                self._close()
            if self._broker is None:
                self._broker = self._open_broker()
            return self._look(self._broker)
        except OperationalError:  # the keeper says so
            self._close()
            return ASK_EVERY_S

    def _look(self, broker: Broker) -> float:
        """Seconds until the next look."""
        parked = [one for one in broker.parked(self._queues) if one.task not in self._tasks]
        if not parked:
            return ASK_EVERY_S
        ours = {record.node for record in broker.leases()}
        others = [node for node in _answers(self._ask("ping", reply=True, timeout=ANSWER_S)) if node not in ours]
        if not others or self.rounds.stopping:
            return ASK_EVERY_S
        reads = _answers(self._ask("active_queues", destination=others, reply=True, timeout=ANSWER_S))
        knows = _answers(self._ask("registered", destination=others, reply=True, timeout=ANSWER_S))
        pause_s = ASK_EVERY_S
        for queue, tasks in wanted(parked, reads, knows).items():
            count = self._pass_on(broker, tasks, queue)
            _logger.info("%d parked calls that a Celery worker knows went back to queue %s", count, queue)
            pause_s = AGAIN_S
        return pause_s

    def _pass_on(self, broker: Broker, tasks: Collection[str], queue: str) -> int:
        """One at a time: it goes to the worker that has waited for it longest, where one of ours would take many at once."""
        for count in range(MOST_AT_ONCE):
            if self.rounds.stopping or not broker.unpark(tasks, [queue], limit=1):
                return count
            self.rounds.pause(BETWEEN_S)
        return MOST_AT_ONCE

    def _close(self) -> None:
        if self._broker is not None:
            self._broker.close()
            self._broker = None


def wanted(parked: Iterable[Parked], reads: Mapping[str, Any], knows: Mapping[str, Any]) -> dict[str, set[str]]:
    """Queue -> parked tasks that some node knows which reads this queue. `reads` and `knows` are answers by node, whatever
    these are: what has not the form that Celery's have is passed over."""
    found: dict[str, set[str]] = {}
    for one in parked:
        for node, queues in reads.items():
            names = {queue.get("name") for queue in queues if isinstance(queue, dict)} if isinstance(queues, list) else set()
            tasks = knows.get(node)
            known = {str(task).split(" [")[0] for task in tasks} if isinstance(tasks, list) else set()
            if one.queue in names and one.task in known:
                found.setdefault(one.queue, set()).add(one.task)
    return found


def _answers(replies: Iterable[Mapping[str, Any]] | None) -> dict[str, Any]:
    return {node: answer for reply in replies or () for node, answer in reply.items()}
