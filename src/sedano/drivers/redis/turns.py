"""A turn as the arguments of `lua/turn.lua`, and its answer as a `TurnReply`."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Iterable, Sequence

import msgspec

from sedano.contracts import (
    Begin,
    BeginRule,
    ChordPart,
    ChordReady,
    ChordStart,
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
    pending_of,
)
from sedano.drivers.redis import wire
from sedano.drivers.redis.deliveries import new_delivery
from sedano.drivers.redis.keys import Keys, ResultKeys
from sedano.drivers.redis.wire import Argument, Reply
from sedano.exceptions import MessageTooLarge
from sedano.protocol import envelope

CHORD_REMEMBERED_S = 300
"""As Celery: late duplicates of a part find the chord done."""

CLAIM_S = 60
"""How long a chord's body may take to be published before somebody else may claim it (Celery: twice the join timeout)."""

_EARLY = ord("e")

KEY_BYTES = 150
"""What a key takes besides its value."""

Requeue = Callable[[Lease, str], bytes]
"""The bytes with which the delivery of a tag goes back to its queue."""

_note_encoder = msgspec.msgpack.Encoder()
_names_decoder = msgspec.json.Decoder(list[str])
_NONE: frozenset[str] = frozenset()


@functools.lru_cache(maxsize=1024)
def sources(keys: Keys, queues: tuple[str, ...]) -> tuple[list[Argument], list[Argument]]:
    """The ready lists of `queues` in the order of looking, and what the script must know about each."""
    lists: list[Argument] = []
    facts: list[Argument] = []
    for step in keys.steps:
        for queue in queues:
            lists.append(keys.ready(queue, step))
            facts += (f"{step}:{queue}", f',"",{json.dumps(queue)}]')
    return lists, facts


@functools.lru_cache(maxsize=1024)
def places(keys: Keys, queues: tuple[str, ...]) -> list[tuple[str, int]]:
    """Queue and step of each list of `sources`."""
    return [(queue, step) for step in keys.steps for queue in queues]


class ResultWriter:
    """Records and chord parts as arguments of scripts."""

    def __init__(self, keys: ResultKeys, *, is_ordered: bool) -> None:
        self._keys = keys
        self._ordered = "1" if is_ordered else "0"

    def record(self, write: ResultWrite) -> tuple[Argument, Argument, Argument]:
        if len(write.payload) >= wire.MAX_ARGUMENT_BYTES:
            raise MessageTooLarge(f"the result of {write.task_id} has {len(write.payload)} bytes, too many for Redis")
        return self._keys.record(write.task_id), write.payload, "" if write.ttl_s is None else milliseconds(write.ttl_s)

    def start(self, start: ChordStart) -> tuple[Argument, ...]:
        return self._keys.group(start.group_id), start.size, milliseconds(start.ttl_s)

    def end(self, group_id: str) -> tuple[Argument, ...]:
        return self._keys.group(group_id), CHORD_REMEMBERED_S

    def chord(self, part: ChordPart) -> tuple[Argument, ...]:
        """What all parts of a chord have in common."""
        return self._keys.group(part.group_id), milliseconds(part.ttl_s), self._ordered, CLAIM_S

    def ready(self, group_keys: Sequence[bytes], parts: Iterable[ChordPart]) -> list[ChordReady]:
        """The chords of these keys, each with what its part says is to be done."""
        names = [key.decode().removeprefix(self._keys.group("")) for key in group_keys]
        claims = {part.group_id: part.claim for part in parts} if names else {}
        return [ChordReady(name, claims.get(name, b"")) for name in names]


def part_of(part: ChordPart) -> tuple[Argument, ...]:
    """What is its own."""
    return f"{part.task_id}:{part.group_index}", part.group_index, part.payload


def claim_of(part: ChordPart) -> tuple[Argument, Argument]:
    """Key and value of the pending that the step which completes the chord keeps."""
    if not part.claim:
        return "", ""
    pending = claimed(part)
    return pending.key, encode_pending(pending)


def settle_arguments(
    settle: Sequence[Settlement],
    sendings: Sequence[Sequence[Argument]],
    writer: ResultWriter | None,
    requeued: dict[str, bytes],
    now: float,
) -> list[Argument]:
    """The settle sections. `sendings` are the messages out of each settlement, `requeued` the bytes of each requeued tag;
    without a `writer` results and parts become pendings."""
    arguments: list[Argument] = [len(settle)]
    if not settle:
        return arguments
    outgoing: list[Argument] = []
    pendings: list[Argument] = []
    results: list[Argument] = []
    starts: list[Argument] = []
    chords: dict[str, ChordPart] = {}
    numbers: dict[str, int] = {}
    parts: list[Argument] = []
    ends: list[Argument] = []
    fates: list[Argument] = []
    for number, settlement in enumerate(settle, 1):
        arguments.append(settlement.tag)
        sending = sendings[number - 1] if sendings else ()
        for i in range(0, len(sending), 4):
            outgoing += (number, *sending[i : i + 4])
        if writer is None:
            pending = pending_of(settlement)
            if pending is not None:
                pendings += (number, pending.key, encode_pending(pending))
        else:
            for write in settlement.writes:
                results += (number, *writer.record(write))
            for start in settlement.chord_starts:
                starts += (number, *writer.start(start))
            for part in settlement.parts:
                if part.claim or part.group_id not in chords:
                    chords[part.group_id] = part
                parts += (number, numbers.setdefault(part.group_id, len(numbers) + 1), *part_of(part))
            if settlement.ends_chord:
                ends += (number, *writer.end(settlement.ends_chord))
        if settlement.fate is not Fate.ACK:
            fates += (number, *_fate(settlement, requeued, now))
    counted: list[Argument] = []
    if writer is not None:
        for last in chords.values():
            counted += (*writer.chord(last), *claim_of(last))
    sections = (
        (outgoing, 5), (pendings, 3), (results, 4), (starts, 4), (counted, 6), (parts, 5), (ends, 3), (fates, 6),
    )  # fmt: skip
    for section, size in sections:
        arguments.append(len(section) // size)
        arguments += section
    return arguments


def bytes_needed(settle: Sequence[Settlement]) -> int | None:
    """What these settlements add to the server, roughly; None when they keep their messages there."""
    if not settle or any(settlement.fate is not Fate.ACK for settlement in settle):
        return None
    results = [write for settlement in settle for write in settlement.writes]
    parts = [part for settlement in settle for part in settlement.parts]
    messages = [outgoing.message for settlement in settle for outgoing in settlement.messages_out]
    return (
        sum(len(result.payload) + KEY_BYTES for result in results)
        + sum(len(part.payload) + len(part.claim) + 2 * KEY_BYTES for part in parts)
        + sum(KEY_BYTES for settlement in settle for _ in settlement.chord_starts)
        + sum(len(envelope.encode(message)) for message in messages)
    )


def other_arguments(delay: Sequence[Delay], begin: Sequence[Begin]) -> list[Argument]:
    """The sections between settling and reserving."""
    arguments: list[Argument] = [len(delay)]
    for order in delay:
        arguments += (order.tag, repr(float(order.due)))
    arguments.append(len(begin))
    if begin:
        arguments += [one.tag for one in begin]
        arguments.append("".join("e" if one.early else "l" for one in begin))
    return arguments


def reserve_arguments(reserve: int, facts: Sequence[Argument], rule: BeginRule | None) -> list[Argument]:
    arguments: list[Argument] = [""]
    if rule is not None and reserve:
        arguments = ["e" if rule.early else "l", len(rule.exceptions), *rule.exceptions, rule.budget_us, rule.most]
        arguments.append(len(rule.costs))
        for task, cost_us in rule.costs.items():
            arguments += (task, cost_us)
    arguments.append(reserve)
    if reserve:
        arguments += facts
    return arguments


def read_turn(
    reply: Reply,
    owner: str,
    lists: Sequence[tuple[str, int]],
    writer: ResultWriter | None,
    settle: Sequence[Settlement],
) -> TurnReply:
    """The answer; new deliveries are decoded here."""
    revision, more, begun, refused, chords, first, taken, marks, paused = reply
    reserved: list[Delivery] = []
    for position in range(0, len(taken), 2):
        queue, step = lists[abs(taken[position]) - 1]
        reserved.append(new_delivery(f"{owner}:{first + position // 2}", queue, step, taken[position + 1]))
    for position, mark in enumerate(marks):
        reserved[position].standing = Standing.BEGUN_EARLY if mark == _EARLY else Standing.BEGUN_LATE
    return TurnReply(
        begun=[tag.decode() for tag in begun],
        reserved=reserved,
        refused=[tag.decode() for tag in refused],
        chords=writer.ready(chords, (part for each in settle for part in each.parts)) if chords and writer is not None else [],
        more=more == b"1",
        revision=revision,
        paused=names_of(paused) if paused else _NONE,
    )


@functools.lru_cache(maxsize=64)
def names_of(paused: bytes) -> frozenset[str]:
    """The queues that the text `paused` names."""
    return frozenset(_names_decoder.decode(paused))


def milliseconds(seconds: float) -> int:
    """Whole milliseconds, at least one: Redis takes no zero."""
    return max(1, math.ceil(seconds * 1000))


def _fate(settlement: Settlement, requeued: dict[str, bytes], now: float) -> tuple[Argument, ...]:
    if settlement.fate is Fate.REQUEUE:
        return "Q", requeued.get(settlement.tag, b""), 0, 0, 0
    note = settlement.dead
    assert note is not None
    return "D", _note_encoder.encode(note), note.max_bytes, repr(note.died_at + note.keep_s), repr(now)
