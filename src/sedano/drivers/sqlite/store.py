"""One open store: its connection, what it remembers of the file, and the steps that are taken on it.

A step is a write transaction that knows whom to wake: whoever puts work, results or mail into the store says so to the step;
the sleepers are chosen inside the transaction, so that each is chosen once, and rung after the commit.

One sleeping slot is claimed for each message that became ready, the longest idle first, and a slot that took its share and saw
more claims the next. A slot marks itself idle in a step that has found nothing ready; so work that comes later finds the mark,
and work that came before is found. What a claim cannot promise (a kill between commit and ring) a look now and then mends.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections import defaultdict
from collections.abc import Generator, Sequence

import msgspec

from sedano.clock import Clock
from sedano.drivers.sqlite.connection import Connection
from sedano.drivers.sqlite.location import Location
from sedano.drivers.sqlite.queries import load
from sedano.drivers.sqlite.wakeup import MOST_BYTES, Bell, Rung
from sedano.exceptions import CeleryError, OperationalError

ANYTHING = b"!"  # rung for work and mail: look
EVERYTHING = b"*"  # rung for results: something could not be told, look at all you watch

_QUEUES = load("backlog")
_LISTENERS = load("listeners")
_FIND_QUEUE, _MAKE_QUEUE = _QUEUES["find-queue"], _QUEUES["make-queue"]
_ANY_IDLE, _CLAIM = _LISTENERS["any-idle"], _LISTENERS["claim"]
_ANY_WATCH, _WATCHERS, _MISSED = _LISTENERS["any-watch"], _LISTENERS["watchers"], _LISTENERS["missed"]
_STRIKE_OFF, _QUEUES_WITH_WORK = _LISTENERS["strike-off"], _LISTENERS["queues-with-work"]

_to_json = msgspec.json.Encoder().encode
_to_msgpack = msgspec.msgpack.Encoder().encode


class Ring(msgspec.Struct, frozen=True):
    """To be rung after the commit. `ids`: these results, which are missed when it cannot be told."""

    listener: int
    address: str
    what: bytes
    ids: bool = False


class Step:
    """One write transaction. `db` is the open connection: use it inside the block only."""

    __slots__ = ("_fresh", "_queue_ids", "_readied", "_written", "db", "rings", "unheard")

    def __init__(self, db: sqlite3.Connection, queue_ids: dict[str, int]) -> None:
        self.db = db
        self.rings: list[Ring] = []
        self.unheard = 0  # after the commit: listeners that were to be rung and are gone
        self._queue_ids = queue_ids
        self._fresh: dict[str, int] = {}
        self._readied: dict[int, int] = {}
        self._written: list[str] = []

    def queue_id(self, name: str) -> int:
        """The number of the queue, which is known from now on."""
        known = self.known_queue(name)
        if known is None:
            (known,) = self.db.execute(_MAKE_QUEUE, (name,)).fetchone()
            self._fresh[name] = known
        return known

    def known_queue(self, name: str) -> int | None:
        """The number of the queue, None when nobody has declared it or sent to it."""
        known = self._queue_ids.get(name)
        if known is None and (known := self._fresh.get(name)) is None:
            row = self.db.execute(_FIND_QUEUE, (name,)).fetchone()
            if row is not None:
                known = self._fresh[name] = row[0]
        return known

    def readied(self, queue: int, count: int = 1) -> None:
        """`count` messages of the queue with this number can be taken now."""
        self._readied[queue] = self._readied.get(queue, 0) + count

    def written(self, task_ids: Sequence[str]) -> None:
        """These results were written."""
        self._written += task_ids

    def finish(self) -> None:
        """Choose whom to ring; the last thing before the commit."""
        if self._readied and self.db.execute(_ANY_IDLE).fetchone() is not None:
            for queue, count in self._readied.items():
                claimed = self.db.execute(_CLAIM, (queue, count)).fetchall()
                self.rings += [Ring(listener, address, ANYTHING) for listener, address in claimed]
        if self._written and self.db.execute(_ANY_WATCH).fetchone() is not None:
            self._tell_watchers()

    def commit_names(self) -> None:
        self._queue_ids.update(self._fresh)

    def _tell_watchers(self) -> None:
        told: defaultdict[tuple[int, str], list[str]] = defaultdict(list)
        for listener, address, task_id in self.db.execute(_WATCHERS, (as_json(self._written),)).fetchall():
            told[listener, address].append(task_id)
        cannot_be_told: list[int] = []
        for (listener, address), task_ids in told.items():
            said = datagrams(task_ids) if address else []
            if not address or EVERYTHING in said:
                cannot_be_told.append(listener)
            self.rings += [Ring(listener, address, what, ids=True) for what in said]
        if cannot_be_told:
            self.db.execute(_MISSED, (as_json(cannot_be_told),)).fetchall()


class Store:
    """Not thread-safe. `unavailable` is raised when the file cannot be used."""

    def __init__(self, location: Location, clock: Clock, unavailable: type[OperationalError]) -> None:
        self.location = location
        self.clock = clock
        self.connection = Connection(location, unavailable)
        self.query = self.connection.query
        self._unavailable = unavailable
        self._bell = Bell()
        self._queue_ids: dict[str, int] = {}
        self._openings = 0

    @contextlib.contextmanager
    def step(self) -> Generator[Step]:
        """One write transaction: applied whole when the block ends, not at all when it raises. Then sleepers are rung."""
        with self.connection.write() as db:
            if self._openings != self.connection.openings:
                self._openings = self.connection.openings
                self._queue_ids = {}
            step = Step(db, self._queue_ids)
            yield step
            step.finish()
        step.commit_names()
        if step.rings:
            step.unheard = self._ring(step.rings)

    def twin(self) -> Store:
        """The same store on a connection of its own."""
        return Store(self.location, self.clock, self._unavailable)

    def close(self) -> None:
        """Idempotent; the next step opens the file again."""
        self._bell.close()
        self.connection.close()

    # -- ringing ------------------------------------------------------------------------------------------------------

    def _ring(self, rings: Sequence[Ring]) -> int:
        """How many listeners are gone. Everything is committed: what goes wrong here must not look as if it were not."""
        rung = [(ring, self._bell.ring(ring.address, ring.what)) for ring in rings]
        gone = {ring.listener for ring, answer in rung if answer is Rung.GONE}
        missed = {ring.listener for ring, answer in rung if answer is Rung.FULL and ring.ids}
        with contextlib.suppress(CeleryError):
            if gone:
                self.strike_off(sorted(gone))
            if missed:
                self._say_missed(sorted(missed))
        return len(gone)

    def strike_off(self, listeners: Sequence[int]) -> None:
        """Remove listeners whom nobody can reach; whatever one of them was claimed for, another one is."""
        with self.step() as step:
            given = as_json(listeners)
            for (queue,) in step.db.execute(_QUEUES_WITH_WORK, (given,)).fetchall():
                step.readied(queue, len(listeners))
            step.db.execute(_STRIKE_OFF, (given,))

    def _say_missed(self, listeners: Sequence[int]) -> None:
        """Mark first, then ring: an ear that is full even now will be drained after the mark, and its owner looks then."""
        with self.step() as step:
            marked = step.db.execute(_MISSED, (as_json(listeners),)).fetchall()
        for _, address in marked:
            self._bell.ring(address, EVERYTHING)


def as_json(values: Sequence[object]) -> str:
    """A list for `json_each`."""
    return _to_json(values).decode()


def storable(text: str) -> str:
    """Text that comes out of messages may hold what is no Unicode (a lone surrogate); it is stored in an escaped form."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text


def datagrams(task_ids: Sequence[str]) -> list[bytes]:
    """The ids in as few datagrams as they need; an id that fits into none becomes `EVERYTHING`."""
    whole = _to_msgpack(task_ids)
    if len(whole) <= MOST_BYTES:
        return [whole]
    if len(task_ids) == 1:
        return [EVERYTHING]
    half = len(task_ids) // 2
    return datagrams(task_ids[:half]) + datagrams(task_ids[half:])
