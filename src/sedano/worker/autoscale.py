"""Grows and shrinks a node's pool of processes: looks at its rows, asks the store what waits, and says which rows change.

The store is asked only while no slot is free, at most once a second, by a thread with a connection of its own. A slot
that goes is one that waits for work: it is told to stop, and if a call comes to it at this very moment, that call is finished.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Sequence

from sedano.exceptions import OperationalError
from sedano.rules.scaling import Scaling
from sedano.worker.link import StoreLink
from sedano.worker.rounds import Rounds
from sedano.worker.table import Phase, SharedTable

_logger = logging.getLogger("celery.worker.autoscale")
LOOK_EVERY_S = 1.0


class DepthProbe:
    """The thread that counts what waits in `queues`. `tell` is called there with each answer."""

    def __init__(self, link: StoreLink, queues: Sequence[str], tell: Callable[[int], None]) -> None:
        self._link, self._queues, self._tell = link, queues, tell
        self._asked = self._moves = False
        self.rounds = Rounds("sedano-autoscale", self._round, link.close)

    def move(self) -> None:
        """Count on the server that the node uses now. From any thread."""
        self._moves = True

    def consume(self, queues: Sequence[str]) -> None:
        """Count these from now on. From any thread."""
        self._queues = queues

    def ask(self) -> None:
        self._asked = True
        self.rounds.wake()

    def _round(self) -> float | None:
        if not self._asked:
            return None
        if self._moves:
            self._moves = False
            self._link.close()
        try:
            ready = sum(depth.ready for depth in self._link.broker().depth(self._queues) if not depth.paused)
            self._link.worked()
        except OperationalError as exc:
            return self._link.broke(exc)
        self._asked = False
        self._tell(ready)
        return None


class Autoscale:
    """Used by the supervisor's thread alone. `look_at` is when it wants to look again; sooner does no harm."""

    def __init__(self, table: SharedTable, scaling: Scaling, ask: Callable[[], None]) -> None:
        self._table, self._scaling, self._ask = table, scaling, ask
        self._waiting = 0
        self._retiring: set[int] = set()
        self._asked_at = -math.inf
        self.look_at = 0.0

    @property
    def at_start(self) -> int:
        """How many slots a node begins with."""
        return self._scaling.least

    @property
    def is_resting(self) -> bool:
        """There is nothing to look at until a slot is busy."""
        return self.look_at == math.inf

    @property
    def bounds(self) -> tuple[int, int]:
        """(most, least)"""
        return self._scaling.most, self._scaling.least

    def update(self, most: int | None, least: int | None) -> tuple[int, int]:
        """Other bounds from now on, None for as before; (most, least) that hold. Raises ValueError."""
        new_most, new_least = self._scaling.most if most is None else most, self._scaling.least if least is None else least
        if new_most > len(self._table):
            raise ValueError(f"this node has room for {len(self._table)} processes: start it with a larger --autoscale")
        if not 0 <= new_least <= new_most or new_most < 1:
            raise ValueError(f"an autoscale of {new_most},{new_least} cannot be: give MAX from 1 on, and MIN up to MAX")
        self._scaling.most, self._scaling.least = new_most, new_least
        self.look_at = 0.0
        return self.bounds

    def heard(self, waiting: int) -> None:
        """What the store has answered."""
        self._waiting = waiting
        self.look_at = 0.0

    def is_retired(self, index: int) -> bool:
        """Whether the slot of this row, which has died, had been told to go: no other one follows. Asked once a death."""
        if index not in self._retiring:
            return False
        self._retiring.discard(index)
        return True

    def look(self, now: float, held: Collection[int]) -> tuple[list[int], list[int]]:
        """(rows that are to get a slot, rows whose slot is to stop). `held` are those that have a slot, or are to get one."""
        staying = [index for index in held if index not in self._retiring]
        phases = {index: self._table.row(index).phase for index in staying}
        busy = sum(phase is Phase.BUSY for phase in phases.values())
        slots, waiting, self._waiting = len(staying), self._waiting, 0
        wanted = self._scaling.wanted(now, slots=slots, busy=busy, waiting=waiting if busy == slots else 0)
        is_small = slots <= self._scaling.least
        self.look_at = math.inf if is_small and not busy and slots else now + LOOK_EVERY_S
        if wanted > slots:
            free = [index for index in range(len(self._table)) if index not in held]
            grown = free[: wanted - slots]
            if grown:
                _logger.info("Scaling up %s processes.", len(grown))
            return grown, []
        if wanted < slots:
            idle = [index for index in sorted(phases, reverse=True) if phases[index] is Phase.IDLE]
            gone = idle[: slots - wanted]
            if gone:
                _logger.info("Scaling down %s processes.", len(gone))
            self._retiring.update(gone)
            return [], gone
        if busy == slots < self._scaling.most and now - self._asked_at >= LOOK_EVERY_S:
            self._asked_at = now
            self._ask()
        return [], []
