"""The turn: settle, delay, begin, reserve, inside one step. Few statements, each for the whole batch: what counts on this path
is how long the lock is held and how many pages are touched."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

import msgspec

from sedano.contracts import (
    Begin,
    BeginRule,
    Delay,
    Delivery,
    Fate,
    Lease,
    ResultWrite,
    Settlement,
    Standing,
    TurnReply,
    claimed,
    encode_pending,
    pending_key,
    pending_of,
)
from sedano.drivers.sqlite import backlog, deadletters, records
from sedano.drivers.sqlite.backlog import BEGUN_EARLY, BEGUN_LATE, RESERVED, Entry, Row
from sedano.drivers.sqlite.deliveries import counted_once_more, head_of, message_ids, tag_of
from sedano.drivers.sqlite.queries import load
from sedano.drivers.sqlite.store import Step, as_json, storable

_SQL, _QUEUES = load("turn"), load("backlog")
_HELD, _HELD_ALL, _BEGIN, _DELAY = _SQL["held"], _SQL["held-all"], _SQL["begin"], _SQL["delay"]
_LAST_SERIAL, _RESERVE, _RESERVE_LISTED, _LINE = _SQL["last-serial"], _SQL["reserve"], _SQL["reserve-listed"], _SQL["line"]
_PAUSED = _SQL["paused"]
_BODY, _READY = _QUEUES["body"], _QUEUES["ready"]

_RANDOM_BITS = 16
_STATES = {Standing.RESERVED: RESERVED, Standing.BEGUN_EARLY: BEGUN_EARLY, Standing.BEGUN_LATE: BEGUN_LATE}


class Held(msgspec.Struct, frozen=True):
    """A message in the hands of a lease."""

    id: int
    serial: int
    state: int
    queue: int
    priority: int
    place: int

    def row(self) -> Row:
        """To be put back where it was: what was reserved earlier is to be taken first."""
        return Row((self.serial >> _RANDOM_BITS, self.place, self.id), self.id, self.queue, self.priority)


def held(step: Step, lease: Lease, tags: Iterable[str]) -> dict[str, Held]:
    """Those of `tags` that the lease holds."""
    ids = message_ids(tags)
    rows = step.db.execute(_HELD, (as_json(ids), lease.fence)).fetchall() if ids else []
    return {tag_of(row[0], row[1]): Held(*row) for row in rows}


def held_all(step: Step, lease: Lease) -> dict[str, Held]:
    return {tag_of(row[0], row[1]): Held(*row) for row in step.db.execute(_HELD_ALL, (lease.fence,)).fetchall()}


def give_back(step: Step, found: Iterable[Held], *states: int) -> int:
    """Put those of `found` that stand so to the heads of their queues; how many."""
    rows = [each.row() for each in found if each.state in states]
    backlog.put_first(step, rows)
    return len(rows)


class Turn(msgspec.Struct):
    """One turn of `lease`; its parts are to be called in the order of the contract. `entries`: the messages that each
    settlement sends out, ready to be stored. `writes_results`: results and chord parts go into this store."""

    step: Step
    lease: Lease
    now: float
    writes_results: bool
    reply: TurnReply
    _hands: dict[str, Held] = msgspec.field(default_factory=dict)
    _paused: frozenset[int] = frozenset()

    def heed_pauses(self) -> None:
        """Some queue is paused: see which."""
        rows = self.step.db.execute(_PAUSED).fetchall()
        self._paused = frozenset(row[0] for row in rows)
        self.reply.paused = frozenset(row[1] for row in rows)

    def open(self, settle: Sequence[Settlement], delay: Sequence[Delay], begin: Sequence[Begin]) -> None:
        """See what of all this the lease holds."""
        if settle or delay or begin:
            self._hands = held(self.step, self.lease, (order.tag for orders in (settle, delay, begin) for order in orders))

    def settle(self, settlements: Sequence[Settlement], entries: Sequence[Sequence[Entry]]) -> None:
        accepted: list[Settlement] = []
        ended: list[int] = []
        outgoing: list[Entry] = []
        for settlement, sent in zip(settlements, entries, strict=True):
            found = self._hands.pop(settlement.tag, None)
            if found is None and not self._takes_pending(settlement.tag):
                self.reply.refused.append(settlement.tag)
                continue
            accepted.append(settlement)
            outgoing += sent
            if found is None:
                continue
            ended.append(found.id)
            if settlement.fate is not Fate.ACK or settlement.dead is not None:
                outgoing += self._unusual_fate(settlement, found)
        if not accepted:
            return
        if outgoing:
            backlog.put(self.step, outgoing, self.now)
        self._record(accepted)
        if ended:
            backlog.drop(self.step, ended)

    def delay(self, orders: Sequence[Delay]) -> None:
        moved: list[tuple[int, float]] = []
        for order in orders:
            found = self._hands.get(order.tag)
            if found is None:
                self.reply.refused.append(order.tag)
            else:
                moved.append((found.id, order.due))
                del self._hands[order.tag]
        if moved:
            self.step.db.executemany(_DELAY, moved)

    def begin(self, orders: Sequence[Begin]) -> None:
        early: list[int] = []
        late: list[int] = []
        for order in orders:
            found = self._hands.get(order.tag)
            if found is None:
                self.reply.refused.append(order.tag)
                continue
            if found.state == RESERVED:
                if found.queue in self._paused:
                    continue
                (early if order.early else late).append(found.id)
            self.reply.begun.append(order.tag)
        for state, ids in ((BEGUN_EARLY, early), (BEGUN_LATE, late)):
            if ids:
                self.step.db.execute(_BEGIN, (state, as_json(ids)))

    def reserve(self, limit: int, names: Sequence[str], rule: BeginRule | None) -> None:
        """What was reserved stands in `reply.reserved`, its bytes not read yet."""
        known = {queue: name for name in names if (queue := self.step.known_queue(name)) is not None}
        for queue in self._paused.intersection(known):
            del known[queue]
        if not known or limit <= 0:
            return
        db = self.step.db
        serial = self._new_serial()
        ranks = {queue: rank for rank, queue in enumerate(known)}
        # Most often all are begun in the one way: one statement then.
        state = RESERVED if rule is None else BEGUN_EARLY if rule.early else BEGUN_LATE
        if len(known) == 1:
            rows = db.execute(_RESERVE, (self.lease.fence, serial, next(iter(known)), limit, state)).fetchall()
        else:
            chosen = self._first_of(ranks, limit)
            rows = db.execute(_RESERVE_LISTED, (self.lease.fence, serial, as_json(chosen), state)).fetchall() if chosen else []
        rows.sort(key=lambda row: (row[2], ranks[row[1]], row[3], row[0]))
        self.reply.reserved = [
            Delivery(tag_of(id_, serial), known[queue], raw, None, priority=priority) for id_, queue, priority, _, raw in rows
        ]
        if rule is not None:
            self._begin_new(rule, state)
        if len(rows) >= limit:
            more = db.execute(_READY, (as_json(list(known)),)).fetchone()
            if more is not None:
                self.reply.more = True
                self.step.readied(more[0])

    def _begin_new(self, rule: BeginRule, taken_as: int) -> None:
        """Begin those of the reserved that `rule` means; all of them stand as `taken_as` in the store."""
        reserved = self.reply.reserved
        standings = rule.standings(map(head_of, reserved))
        for delivery, standing in zip(reserved, standings, strict=False):
            delivery.standing = standing
        others: dict[int, list[str]] = {}
        for delivery in reserved:
            state = _STATES[delivery.standing]
            if state != taken_as:
                others.setdefault(state, []).append(delivery.tag)
        for state, tags in others.items():
            self.step.db.execute(_BEGIN, (state, as_json(message_ids(tags))))

    # -- parts --------------------------------------------------------------------------------------------------------

    def _unusual_fate(self, settlement: Settlement, found: Held) -> list[Entry]:
        if (settlement.fate is Fate.DEAD) != (settlement.dead is not None):
            raise ValueError(f"settlement of {settlement.tag}: a dead note belongs to the fate DEAD, and only to it")
        if settlement.dead is not None:
            deadletters.keep(self.step, found.id, found.queue, settlement.dead, self.now)
            return []
        (raw,) = self.step.db.execute(_BODY, (found.id,)).fetchone()
        return [Entry(counted_once_more(raw), found.priority, "", "", None, found.queue)]

    def _record(self, settlements: Sequence[Settlement]) -> None:
        """Results and chord parts: here, or as pendings for another store."""
        if not self.writes_results:
            pendings = [pending for pending in map(pending_of, settlements) if pending is not None]
            rows = [(self.lease.fence, storable(pending.key), encode_pending(pending)) for pending in pendings]
            if rows:
                self.step.db.executemany(_SQL["keep-pending"], rows)
            return
        writes: list[ResultWrite] = [write for each in settlements for write in each.writes]
        if writes:
            records.write(self.step, writes, self.now)
        for each in settlements:
            if each.parts or each.chord_starts or each.ends_chord:
                self._count(each)

    def _count(self, settlement: Settlement) -> None:
        for start in settlement.chord_starts:
            records.start_chord(self.step, start.group_id, start.size, start.ttl_s, self.now)
        for part in settlement.parts:
            ready = records.count_part(self.step, part, self.now)
            if ready is not None:
                self.reply.chords.append(ready)
                if part.claim:
                    pending = claimed(part)
                    row = (self.lease.fence, storable(pending.key), encode_pending(pending))
                    self.step.db.execute(_SQL["keep-pending"], row)
        if settlement.ends_chord:
            records.end_chord(self.step, settlement.ends_chord, self.now)

    def _takes_pending(self, tag: str) -> bool:
        key = pending_key(tag)
        if key is None:
            return False
        return self.step.db.execute(_SQL["take-pending"], (self.lease.fence, storable(key))).fetchone() is not None

    def _new_serial(self) -> int:
        (last,) = self.step.db.execute(_LAST_SERIAL).fetchone()
        order = ((last or 0) >> _RANDOM_BITS) + 1
        return (order << _RANDOM_BITS) | random.getrandbits(_RANDOM_BITS)

    def _first_of(self, ranks: dict[int, int], limit: int) -> list[int]:
        """The ids of the next messages of several queues: by step, then by the order of the queues, then by age."""
        lines = [
            (priority, rank, place, id_)
            for queue, rank in ranks.items()
            for priority, place, id_ in self.step.db.execute(_LINE, (queue, limit)).fetchall()
        ]
        return [id_ for _, _, _, id_ in sorted(lines)[:limit]]
