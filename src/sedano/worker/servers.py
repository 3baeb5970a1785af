"""The servers of a node whose broker has several URLs: which one it uses, and what becomes of those that it has left.

Each server that was ever used has a keeper and a reaper. On the node's own they do all that there is to do; on one that it has
left they wait for it to come back, keep the leases under which slots still run calls of it, settle what the node knows of the
rest, and then let go of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from sedano.worker.keeper import Keeper
from sedano.worker.leasebook import LeaseBook
from sedano.worker.reaper import Reaper
from sedano.worker.relay.server import Relay
from sedano.worker.table import SharedTable


@dataclass(frozen=True, slots=True)
class Server:
    """`place` among the URLs; `url` is redacted; `hands_back`: Celery workers read there, too. `relay` is what keeper, reaper
    and slots reach it by, None where each has a connection of its own."""

    place: int
    url: str
    book: LeaseBook
    keeper: Keeper
    reaper: Reaper
    hands_back: bool = False
    relay: Relay | None = None

    def start(self) -> None:
        """Start its threads that do not run yet, the one first that the others need."""
        if self.relay is not None:
            self.relay.start()
        for rounds in (self.keeper.rounds, self.reaper.rounds):
            if not rounds.alive:
                rounds.start()


class Servers:
    """Belongs to the supervisor's thread, but for `place` and `owners`. `make` makes the server of a place, not started."""

    def __init__(self, table: SharedTable, make: Callable[[int], Server]) -> None:
        self._table, self._make = table, make
        self._known: dict[int, Server] = {}
        self._settles: dict[int, int] = {}  # place -> the place at whose server its leases are settled
        self.current = self._get(0)

    def start(self) -> None:
        self.current.start()

    @property
    def place(self) -> int:
        return self.current.place

    def owners(self) -> set[str]:
        """The leases that this node has on its server."""
        return self.current.book.ours() - {""}

    def of(self, place: int) -> Server:
        """The server to settle at what was left at `place`."""
        return self._get(self._settles.get(place, place))

    def move(self, place: int, *, is_same: bool) -> None:
        """Use the server at `place`. `is_same`: it is the store of now under another URL, so what was left can be settled
        there at once."""
        left, here = self.current, self._get(place)
        self._settles[place] = place
        if is_same:
            self._settles = {known: place if of in (left.place, place) else of for known, of in self._settles.items()}
        self._table.server = place
        self.current = here
        here.reaper.rests = False
        for server in self._known.values():
            server.book.servers = frozenset(known for known, of in self._settles.items() if of == server.place)
        if is_same:
            left.reaper.hand_over(here.reaper)
        else:
            left.reaper.rests = True
            left.reaper.rounds.wake()
        left.keeper.leave(lambda: not left.reaper.idle)
        here.start()
        here.keeper.serve()

    def hasten(self, until: float) -> None:
        """Bring calls back to their queues that stand in the schedule with a time before `until` (monotonic)."""
        margin_s = 1.0  # two clocks are read, one after the other
        self.current.keeper.hasten(time.time() + until - time.monotonic() + margin_s)

    @property
    def idle(self) -> bool:
        """Nothing is left to settle where somebody answers."""
        return all(server.reaper.idle or not (server is self.current or server.reaper.works) for server in self._known.values())

    @property
    def unsettled(self) -> list[str]:
        """URLs (redacted) of servers at which something is left to settle."""
        return [server.url for server in self._known.values() if not server.reaper.idle]

    def all(self) -> list[Server]:
        """All that have been used, the current one last."""
        return [*(server for server in self._known.values() if server is not self.current), self.current]

    def _get(self, place: int) -> Server:
        if place not in self._known:
            self._known[place] = self._make(place)
            self._settles[place] = place
        return self._known[place]
