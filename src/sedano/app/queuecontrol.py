"""The part of `app.control` that is about queues: what they hold, who consumes them, pause and resume. Not in Celery."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from typing import Any

import msgspec

from sedano.app.queuestates import Consumers, QueueState, consumers_of, state_of
from sedano.clock import SYSTEM_CLOCK
from sedano.contracts.queues import Pause

_ANSWER_S = 1.0


class QueueControl:
    """What `Control` inherits."""

    app: Any
    broadcast: Any

    def queues(
        self, names: Iterable[str] | None = None, *, timeout: float | None = _ANSWER_S, consumers: Consumers | None = None
    ) -> list[QueueState]:
        """What these queues hold, by default all that the app or the store knows, in the order of their names.

        The nodes are asked who consumes them, for `timeout` seconds at most; None does not ask. `consumers` is an answer that
        one has already. Raises OperationalError.
        """
        if consumers is None and timeout is not None:
            consumers = self.consumers(timeout)
        with closing(self.app.stores.open_broker()) as broker, closing(self.app.stores.open_coordination()) as coordination:
            pauses = {pause.queue: pause for pause in coordination.pauses()}
            wanted = list(names) if names is not None else sorted({*self.app.amqp.queues, *broker.queues(), *pauses})
            depths = broker.depth(wanted)
        return [state_of(depth, pauses, consumers, SYSTEM_CLOCK.wall()) for depth in depths]

    def consumers(self, timeout: float = _ANSWER_S) -> Consumers:
        """Which nodes take from which queues, Celery's among them, as far as they answer within `timeout` seconds; no longer
        than until all have answered that heard the question."""
        answers = self.broadcast("active_queues", reply=True, timeout=timeout) or []
        with closing(self.app.stores.open_broker()) as broker:
            return consumers_of(answers, broker.leases())

    def pause_queue(self, queue: str, reason: str = "", *, by: str = "") -> None:
        """Have no Sedano node take anything from `queue` until it is resumed; kept in the store.

        What is begun finishes, what was reserved goes back, producers publish on. Celery's workers know no pauses.
        """
        self.pause_queues([Pause(queue, SYSTEM_CLOCK.wall(), reason, by)])

    def resume_queue(self, queue: str) -> bool:
        """End the pause of `queue`; whether it had one."""
        return bool(self.resume_queues([queue]))

    def pause_queues(self, pauses: Sequence[Pause]) -> None:
        """As `pause_queue`. Where each host has a store of its own, the nodes that listen write it into theirs."""
        with closing(self.app.stores.open_coordination()) as coordination:
            coordination.pause(pauses)
        for pause in pauses:
            self._tell_hosts("pause_queue", msgspec.structs.asdict(pause))

    def resume_queues(self, names: Sequence[str]) -> list[str]:
        """End the pauses of these queues; returns those that had one, as far as this host knows."""
        with closing(self.app.stores.open_coordination()) as coordination:
            resumed: list[str] = coordination.resume(names)
        for name in names:
            self._tell_hosts("resume_queue", {"queue": name})
        return resumed

    def _tell_hosts(self, command: str, arguments: dict[str, Any]) -> None:
        """To our nodes alone, and wait for their answers: Celery's workers would complain."""
        if self.app.stores.agrees_on_host and (ours := self.consumers().ours):
            self.broadcast(command, arguments, reply=True, destination=sorted(ours), timeout=_ANSWER_S)
