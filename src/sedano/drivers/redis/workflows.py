"""Records of workflows, and where calls are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence

import msgspec

from sedano.contracts import Found, Outgoing, Place, Where
from sedano.drivers.redis import operators
from sedano.drivers.redis.connection import Connection
from sedano.drivers.redis.keys import Keys
from sedano.drivers.redis.scripts import load
from sedano.drivers.redis.wire import Argument, Reply
from sedano.protocol.peek import task_id_of

_PAGE = 500
_KEEP = load("keep_workflow")
_WHERE = {"r": Where.RESERVED, "q": Where.RESERVED, "l": Where.BEGUN, "e": Where.BEGUN}
_entry = msgspec.json.Decoder(tuple[msgspec.Raw, str | None, str | None])

Held = tuple[bytes, Place]


def publish(connection: Connection, keys: Keys, messages: Sequence[Outgoing], sendings: Sequence[Argument], now: float) -> None:
    """Messages with the records that they bring, in one step."""
    records = records_of(messages)
    arguments: list[Argument] = [repr(now), len(records) // 4, *records, *sendings]
    connection.run(_KEEP, (keys.own("sequence"), *keys_of(keys)), arguments)


def records_of(messages: Sequence[Outgoing]) -> list[Argument]:
    """The records that `messages` bring, four arguments each, as scripts take them."""
    arguments: list[Argument] = []
    for outgoing in messages:
        note = outgoing.workflow
        if note is not None:
            arguments += (note.id, repr(note.ends_at), note.max_bytes, note.record)
    return arguments


def keys_of(keys: Keys) -> tuple[str, str, str]:
    """(records, ends, bytes)"""
    return (*_keys(keys), keys.own("workflow_bytes"))


def read(connection: Connection, keys: Keys, workflow_id: str, now: float) -> bytes | None:
    records, ends = _keys(keys)
    record, ends_at = connection.pipeline([("HGET", records, workflow_id), ("ZSCORE", ends, workflow_id)])
    return record if record is not None and ends_at is not None and float(ends_at) > now else None


def page(connection: Connection, keys: Keys, limit: int, skip: int, now: float) -> list[tuple[str, bytes]]:
    records, ends = _keys(keys)
    ids = connection.command("ZRANGE", ends, "+inf", f"({now!r}", "BYSCORE", "REV", "LIMIT", skip, limit)
    if not ids:
        return []
    found = connection.command("HMGET", records, *ids)
    return [(id_.decode(), record) for id_, record in zip(ids, found, strict=True) if record is not None]


def locate(
    connection: Connection, keys: Keys, task_ids: Collection[str], queues: Sequence[str], most: int, now: float
) -> tuple[dict[str, Place], bool]:
    wanted, places, is_whole = set(task_ids) - {""}, dict[str, Place](), True
    for kind in _kinds(connection, keys, queues, most, now):
        for looked, (raw, place) in enumerate(kind):
            if looked >= most:
                is_whole = False
                break
            task_id = task_id_of(raw)
            if task_id in wanted:
                places[task_id] = place
    return places, is_whole


def find(
    connection: Connection, keys: Keys, task_id: str, queues: Sequence[str], most: int, now: float
) -> tuple[Found | None, bool]:
    found, is_whole = None, True
    for kind in _kinds(connection, keys, queues, most, now):
        before: Counter[str] = Counter()
        for looked, (raw, place) in enumerate(kind):
            if looked >= most:
                is_whole = False
                break
            is_ready = place.where is Where.READY
            if task_id_of(raw) == task_id:
                found = Found(place, raw, before[place.queue] if is_ready else None)
            before[place.queue] += is_ready
    return found, is_whole


def _kinds(connection: Connection, keys: Keys, queues: Sequence[str], most: int, now: float) -> tuple[Iterator[Held], ...]:
    """Everything that is kept, by kinds; what is moved while this looks is seen where it comes last."""
    return (_dead(connection, keys, most + 1, now), _parked(connection, keys, queues, most + 1),
            _delayed(connection, keys, queues, most + 1), _ready(connection, keys, queues, most + 1),
            _taken(connection, keys), _held(connection, keys))  # fmt: skip


def _keys(keys: Keys) -> tuple[str, str]:
    return keys.own("workflows"), keys.own("workflow_ends")


def _ready(connection: Connection, keys: Keys, queues: Iterable[str], most: int) -> Iterator[Held]:
    """From the end that is next, so that what is taken meanwhile moves nothing past us."""
    for queue in queues:
        for name in keys.ready_of_all_steps(queue):
            if connection.command("TYPE", name) != b"list":
                continue
            for start in range(0, most, _PAGE):
                raws = connection.command("LRANGE", name, -start - _PAGE, -start - 1)
                for raw in reversed(raws):
                    yield raw, Place(Where.READY, queue)
                if len(raws) < _PAGE:
                    break


def _delayed(connection: Connection, keys: Keys, queues: Iterable[str], most: int) -> Iterator[Held]:
    for queue in queues:
        for raw, due in _scheduled(connection, keys.own("delayed." + queue), most):
            yield raw, Place(Where.DELAYED, queue, due=due)


def _parked(connection: Connection, keys: Keys, queues: Iterable[str], most: int) -> Iterator[Held]:
    for queue in queues:
        for task in connection.command("SMEMBERS", keys.parked_tasks(queue)):
            for raw, due in _scheduled(connection, keys.parked(queue, task.decode()), most):
                yield raw, Place(Where.PARKED, queue, due=due)


def _scheduled(connection: Connection, schedule: str, most: int) -> Iterator[tuple[bytes, float]]:
    """(envelope, due) of what stands in a schedule as `<arrival>:<step>:<envelope>`."""
    for start in range(0, most, _PAGE):
        reply = connection.command("ZRANGE", schedule, start, start + _PAGE - 1, "WITHSCORES")
        pairs = reply if reply and isinstance(reply[0], list) else list(zip(reply[::2], reply[1::2], strict=True))
        for member, due in pairs:
            yield member.split(b":", 2)[2], float(due)
        if len(pairs) < _PAGE:
            return


def _held(connection: Connection, keys: Keys) -> Iterator[Held]:
    for owner in map(bytes.decode, connection.command("SMEMBERS", keys.own("owners"))):
        held, kept, node = connection.pipeline(
            [
                ("HGETALL", keys.own("held." + owner)),
                ("HGETALL", keys.own("kept." + owner)),
                ("HGET", keys.own("lease." + owner), "node"),
            ]
        )
        raws = _map(kept)
        for tag, record in _map(held).items():
            text = record.decode()
            if tag in raws:
                yield raws[tag], Place(_WHERE[text[0]], text.partition(":")[2], (node or b"").decode())


def _taken(connection: Connection, keys: Keys) -> Iterator[Held]:
    """What stands in `unacked` for somebody else than us: ours is found again by `_held`, which comes later."""
    for entry in _map(connection.command("HGETALL", keys.unacked)).values():
        try:
            raw, _, routing_key = _entry.decode(entry)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        yield bytes(raw), Place(Where.TAKEN, routing_key or "")


def _dead(connection: Connection, keys: Keys, most: int, now: float) -> Iterator[Held]:
    for letter in reversed(operators.dead_letters(connection, keys, None, most, None, now)):
        yield letter.raw, Place(Where.DEAD, letter.queue, detail=f"{letter.note.cause}: {letter.note.detail}")


def _map(reply: Reply) -> dict[bytes, bytes]:
    """What HGETALL gives, by the version of the protocol."""
    return reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))
