"""What waits in the node's queues, asked at most every few seconds, and only while somebody wants to know."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sedano.contracts import Depth
from sedano.exceptions import OperationalError
from sedano.worker.link import StoreLink
from sedano.worker.rounds import Rounds

ASK_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """The store's last answer, given at `at` (monotonic); `is_away`: it could not be asked since."""

    depths: tuple[Depth, ...] = ()
    at: float | None = None
    is_away: bool = False


class DepthWatch:
    """A thread with its own connection. `latest` and `want` from any thread. `queues` tells what the node consumes now."""

    def __init__(self, link: StoreLink, queues: Callable[[], Sequence[str]]) -> None:
        self._link, self._queues = link, queues
        self._wanted = self._moves = False
        self._ask_at = 0.0
        self.latest = Waiting()
        self.rounds = Rounds("sedano-depths", self._round, link.close)

    def want(self) -> None:
        """Somebody looks at `latest`: have it fresh for the next time."""
        if not self._wanted:
            self._wanted = True
            self.rounds.wake()

    def move(self) -> None:
        """Ask the server that the node uses now."""
        self._moves = True
        self.rounds.wake()

    def _round(self) -> float | None:
        if self._moves:
            self._moves = False
            self._link.close()
            self._ask_at = 0.0
        if not self._wanted:
            return None
        wait = self._ask_at - time.monotonic()
        if wait > 0:
            return wait
        self._wanted = False
        self._ask_at = time.monotonic() + ASK_EVERY_S
        try:
            depths = tuple(self._link.broker().depth(self._queues()))
            self._link.worked()
        except OperationalError as exc:
            self._link.broke(exc)
            self.latest = Waiting(self.latest.depths, self.latest.at, is_away=True)
            return None
        self.latest = Waiting(depths, time.monotonic())
        return None
