"""Looks at the broker's other servers: finds the one to go on with when the node's own is away, and calls that wait elsewhere.

A thread with short connections of its own, on nodes that have several URLs. While the node's server answers it looks around
from time to time; `rules/failover.py` says what follows from what it sees.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

from sedano.app.connect import Stores
from sedano.clock import SYSTEM_CLOCK
from sedano.contracts import QueueSpec
from sedano.exceptions import CeleryError
from sedano.log import redact_url
from sedano.rules.failover import AWAY, Rotation, Sight, better_place
from sedano.worker.reconnect import backoff
from sedano.worker.rounds import Rounds

_logger = logging.getLogger("celery.worker.consumer.connection")
LOOKS_PER_LEASE = 2 / 3
LEFT = "what it holds of calls there is settled when that is back"
SAME = "that is the same store"
WORK = "calls wait there"
HOME = "that is the first, and it has nothing to do here"
PATIENCE = 2  # looks at which calls waited elsewhere while there was work here, too


@dataclass(frozen=True, slots=True)
class ScoutEars:
    """What the scout asks and tells, in its own thread. `place` is where the node is now, `owners` are the leases that it has
    there; `found(place, is_same, why)` says where it should go, whether that is the same store under another URL, and a
    text for the log."""

    place: Callable[[], int]
    owners: Callable[[], set[str]]
    found: Callable[[int, bool, str], None]


class Scout:
    """`start` it through `rounds`. `servers` are the stores with each of the URLs, `queues` the node's."""

    def __init__(
        self,
        servers: Sequence[Stores],
        rotation: Rotation,
        specs: Sequence[QueueSpec],
        ears: ScoutEars,
        *,
        every_s: float,
    ) -> None:
        self._servers, self._rotation, self._specs, self._ears, self._every_s = servers, rotation, specs, ears, every_s
        self._queues = [spec.name for spec in specs]
        self._searching = False
        self._waits = backoff()
        self._beats: dict[int, dict[str, int]] = {}
        self._left_waiting = 0
        self._has_looked = False
        self.fruitless = 0
        """How many times in a row all other servers were asked and none answered."""
        self.rounds = Rounds("sedano-scout", self._round, lambda: None)

    def consume(self, specs: Sequence[QueueSpec]) -> None:
        """The node consumes these queues from now on. From any thread."""
        self._specs, self._queues = specs, [spec.name for spec in specs]

    def search(self) -> None:
        """The node's server is away: find another one. From any thread; once is enough, and more does no harm."""
        if not self._searching:
            self._searching = True
            self.rounds.wake()

    def rest(self) -> None:
        """The node's server answers. From any thread."""
        self._searching = False
        self.fruitless = 0

    def _round(self) -> float:
        if self._searching:
            return self._search()
        self._waits = backoff()
        if self._has_looked:  # not in the very first moment of a node's life
            self._look_around()
        self._has_looked = True
        return self._every_s

    def _search(self) -> float:
        here = place = self._ears.place()
        for _ in range(len(self._servers) - 1):
            place = self._rotation.after(place)
            if place == here:
                place = self._rotation.after(place)
            sight = self._look_at(place)
            if sight.answers and self._searching:
                self.rest()
                self._ears.found(place, sight.is_same, SAME if sight.is_same else LEFT)
                return self._every_s
            if not self._searching or self.rounds.stopping:
                return self._every_s
        self.fruitless += 1
        return next(self._waits)

    def _look_around(self) -> None:
        here = self._ears.place()
        sights = [self._look_at(place) for place in range(len(self._servers))]
        if self._searching or here != self._ears.place():
            return
        if not sights[here].answers:  # its keeper knows more
            return
        waits_elsewhere = any(
            sight.ready and not sight.is_same for place, sight in enumerate(sights) if place != here and sight.answers
        )
        self._left_waiting = self._left_waiting + 1 if waits_elsewhere else 0
        is_patient = self._left_waiting < PATIENCE
        place = better_place(here, sights, has_home=self._rotation.has_home, is_patient=is_patient)
        if place is not None:
            self._left_waiting = 0
            self._ears.found(place, sights[place].is_same, WORK if sights[place].ready else HOME)

    def _look_at(self, place: int) -> Sight:
        """What there is at this server. It must take writes: a replica that only answers is of no use."""
        stores = self._servers[place]
        try:
            with closing(stores.open_broker()) as broker:
                broker.declare(self._specs)
                leases = broker.leases()
                is_same = not self._ears.owners().isdisjoint(lease.owner for lease in leases)
                if place != self._ears.place() and not is_same and broker.capabilities.schedule:
                    broker.promote(self._queues, SYSTEM_CLOCK.wall())
                ready = sum(depth.ready for depth in broker.depth(self._queues))
        except CeleryError as exc:
            _logger.debug("%s does not answer: %s", redact_url(stores.broker_url), exc)
            return AWAY
        beats = {lease.owner: lease.beats for lease in leases}
        before, self._beats[place] = self._beats.get(place), beats
        if place == self._ears.place():
            return Sight(answers=True, ready=ready)
        if before is None or any(before.get(owner) != count for owner, count in beats.items()):
            ready = ready if not beats else 0  # somebody lives there, or may: what waits there is not left alone
        elif beats:
            ready += 1  # all who worked there are gone, and left their leases: there is something to settle
        return Sight(answers=True, is_same=is_same, ready=ready)
