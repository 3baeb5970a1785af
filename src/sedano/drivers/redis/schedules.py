"""Schedules on Redis, under fences by the server's clock. Keeps the promises of `contracts/schedules.py`.

A script holds up the whole server, so much is written in several: each tick and each entry whole. What cannot be written when
other ticks of the same list were written before is answered as not written; whoever looks again meets it again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from sedano.clock import Clock
from sedano.contracts import Change, Entry, Fence, Look, Outgoing, Run, Tick
from sedano.crashpoints import reach
from sedano.drivers.redis import workflows
from sedano.drivers.redis.connection import Connection
from sedano.drivers.redis.keys import Keys, ScheduleKeys, storable
from sedano.drivers.redis.routing import Router
from sedano.drivers.redis.runs import all_runs, pack_run, runs_of
from sedano.drivers.redis.scripts import load
from sedano.drivers.redis.wire import Argument, Reply
from sedano.exceptions import BrokerUnavailable, CeleryError, LeadershipLost

T = TypeVar("T")

ENTRIES_AT_ONCE = 500
TICKS_AT_ONCE = 250
BYTES_AT_ONCE = 4 << 20

_LIST, _LOOK, _PUT = load("schedules_list"), load("schedules_look"), load("schedules_put")
_REMOVE, _FIRE = load("schedules_remove"), load("schedules_fire")


class RedisSchedules:
    def __init__(self, connection: Connection, keys: Keys, clock: Clock, space: str) -> None:
        self._connection = connection
        self._all_keys = keys
        self._clock = clock
        self._keys = ScheduleKeys(keys.own("schedule"), storable(space))
        self._router = Router(connection, keys)

    # -- entries ------------------------------------------------------------------------------------------------------

    def put(self, changes: Sequence[Change]) -> list[int | None]:
        keys = (*self._entry_keys(), self._keys.counters)
        answers: list[int | None] = []
        for some in _pages([_change(change) for change in changes], ENTRIES_AT_ONCE):
            answers += self._connection.run(_PUT, keys, [part for change in some for part in change])
        return answers

    def remove(self, names: Sequence[str]) -> list[str]:
        keys = (*self._entry_keys(), self._keys.counters, self._keys.ran, self._keys.runs)
        removed: list[str] = []
        for some in _pages(names, ENTRIES_AT_ONCE):
            found = self._connection.run(_REMOVE, keys, [storable(name) for name in some])
            removed += [name for name, is_there in zip(some, found, strict=True) if is_there]
        return removed

    def entry(self, name: str) -> Entry | None:
        field = storable(name)
        definition, mark, due = self._connection.transaction(
            [("HGET", self._keys.definitions, field), ("HGET", self._keys.states, field), ("ZSCORE", self._keys.due, field)]
        )
        return None if mark is None else _entry(field.encode(), b"" if due is None else due, definition, mark)

    def entries(self, *, after: str = "", limit: int = 1000) -> list[Entry]:
        return _entries(self._connection.run(_LIST, self._entry_keys(), ("(" + storable(after), limit)))

    def revision(self) -> int:
        return int(self._connection.command("HGET", self._keys.counters, "revision") or 0)

    # -- ticks --------------------------------------------------------------------------------------------------------

    def look(self, until: float, *, limit: int = 1000) -> Look:
        keys = (self._keys.definitions, self._keys.states, self._keys.due, self._keys.counters)
        revision, first, *flat = self._connection.run(_LOOK, keys, (_exact(until), limit))
        return Look(tuple(_entries(flat)), float(first) if first else None, int(revision))

    def fire(self, ticks: Sequence[Tick], fence: Fence | None, *, keep: int = 100) -> list[bool]:
        written: list[bool] = []
        for some in _parts(self._arguments(ticks)):
            reach("schedules.fire.before")
            try:
                written += self._write(some, fence, keep)
            except CeleryError as error:
                if not written or isinstance(error, BrokerUnavailable):
                    raise
                break
            reach("schedules.fire.after")
        return written + [False] * (len(ticks) - len(written))

    def note(self, run: Run, messages: Sequence[Outgoing] = (), *, keep: int = 100) -> bool:
        (asked,) = self._arguments([Tick(run.name, 0, run.due, None, b"", (run,), tuple(messages))])
        asked[2] = ""
        return self._write([asked], None, keep) == [True]

    def runs(self, name: str | None = None, *, limit: int = 100) -> list[Run]:
        if name is None:
            return all_runs(self._connection, self._keys, limit)
        return runs_of(self._connection, self._keys, storable(name), limit)

    # -- connection ---------------------------------------------------------------------------------------------------

    def reconnect(self) -> None:
        self._connection.close()
        self._connection.connect()

    def close(self) -> None:
        self._connection.close()

    # -- inside -------------------------------------------------------------------------------------------------------

    def _entry_keys(self) -> tuple[str, str, str, str]:
        return self._keys.definitions, self._keys.states, self._keys.due, self._keys.names

    def _arguments(self, ticks: Sequence[Tick]) -> list[list[Argument]]:
        """What is to be said of each tick. Raises what `Router.sendings` raises."""
        messages = [message for tick in ticks for message in tick.messages]
        sendings = iter(self._router.sendings(messages))
        unnoted = self._router.unnoted(messages)
        if unnoted:
            self._connection.command("SADD", self._all_keys.own("queues"), *unnoted)
            self._router.note(unnoted)
        return [_tick(tick, [next(sendings) for _ in tick.messages]) for tick in ticks]

    def _write(self, ticks: Sequence[Sequence[Argument]], fence: Fence | None, keep: int) -> list[bool]:
        own, names = self._all_keys.own, self._keys
        keys = [
            names.states,
            names.due,
            names.counters,
            names.ran,
            names.runs,
            own("sequence"),
            *workflows.keys_of(self._all_keys),
        ]
        whose: tuple[Argument, Argument] = ("", "")
        if fence is not None:
            keys.append(own("lock." + fence.lock))
            whose = (fence.owner, fence.term)
        said = [part for tick in ticks for part in tick]
        reply: Reply = self._connection.run(_FIRE, keys, [*whose, keep, repr(self._clock.wall()), *said])
        if reply is None:
            assert fence is not None
            raise LeadershipLost(fence.owner, fence.term)
        return [letter == ord("y") for letter in reply]


def _exact(seconds: float | None) -> str:
    """A time as the server is told it, to the last bit; '' for None."""
    if seconds is None:
        return ""
    if seconds != seconds:
        raise ValueError("a moment of a schedule is no number")
    return repr(float(seconds))


def _change(change: Change) -> list[Argument]:
    state = b"" if change.state is None else b"=" + change.state
    return [
        storable(change.name),
        change.definition,
        _exact(change.due),
        state,
        "" if change.expects is None else change.expects,
    ]


def _tick(tick: Tick, sendings: Sequence[Sequence[Argument]]) -> list[Argument]:
    """As `schedules_fire.lua` reads it."""
    arguments: list[Argument] = [storable(tick.name), tick.revision, _exact(tick.due), _exact(tick.next_due), tick.state]
    arguments += [len(tick.runs), *map(pack_run, tick.runs)]
    records = workflows.records_of(tick.messages)
    sent = [part for sending in sendings for part in sending]
    return [*arguments, len(records) // 4, *records, len(sent) // 4, *sent]


def _entries(flat: Sequence[bytes]) -> list[Entry]:
    return [_entry(*flat[i : i + 4]) for i in range(0, len(flat), 4)]


def _entry(name: bytes, due: bytes | float, definition: bytes, mark: bytes) -> Entry:
    revision, _, state = mark.partition(b":")
    return Entry(name.decode(), definition, state, None if due == b"" else float(due), int(revision))


def _pages(items: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    return (items[i : i + most] for i in range(0, len(items), most))


def _parts(ticks: Sequence[Sequence[Argument]]) -> Iterator[list[Sequence[Argument]]]:
    """As many at once as a server may be kept busy with; one empty part when there are none."""
    part: list[Sequence[Argument]] = []
    size = 0
    for tick in ticks:
        weight = sum(len(argument) for argument in tick if isinstance(argument, bytes))
        if part and (len(part) == TICKS_AT_ONCE or size + weight > BYTES_AT_ONCE):
            yield part
            part, size = [], 0
        part.append(tick)
        size += weight
    yield part
