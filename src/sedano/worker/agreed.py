"""What the cluster has agreed on, as one slot asks the store: revokes, and rate limits of the whole cluster."""

from __future__ import annotations

import logging
from collections.abc import Callable

from sedano.contracts import Coordination, Revoke, Throttled
from sedano.exceptions import OperationalError

_logger = logging.getLogger("celery.worker.consumer.consumer")
ASK_AGAIN_S = 1.0


class Agreed:
    """A connection of its own, opened when it is first needed. Not thread-safe."""

    def __init__(self, open_coordination: Callable[[], Coordination]) -> None:
        self._open = open_coordination
        self._coordination: Coordination | None = None

    def revokes(self) -> tuple[int, list[Revoke]]:
        """(revision, all orders). Raises OperationalError: ask again on another connection."""
        try:
            return self._connected().revokes()
        except OperationalError:
            self.close()
            raise

    def throttle(self, task: str, per_s: float, returns: bool) -> Throttled:
        """`Coordination.throttle`; with the store away the call waits."""
        try:
            return self._connected().throttle(task, per_s, returns=returns)
        except OperationalError as exc:
            self.close()
            _logger.warning("the rate limit of %s cannot be asked for now, trying again: %s", task, exc)
            return Throttled(ASK_AGAIN_S)

    def close(self) -> None:
        if self._coordination is not None:
            self._coordination.close()
            self._coordination = None

    def _connected(self) -> Coordination:
        if self._coordination is None:
            self._coordination = self._open()
        return self._coordination
