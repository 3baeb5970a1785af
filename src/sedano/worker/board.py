"""The lanes of one pool process, in memory that it shares with its supervisor: what each lane runs, and how it ended.

A pool that runs many calls in one process (threads, asyncio, gevent, eventlet, custom) has one row in the shared table and,
behind the rows, this board with one entry for each lane. A lane is FREE, STARTED or FINISHED:

    FREE --start--> STARTED --finish--> FINISHED --free, or the next start--> FREE

`start` comes right before the task's own code, `free` only when the store has the settlement. So the board of a dead process
is exact: a begun delivery that stands in no lane did not start, one that is FINISHED has its outcome here.

No lock: the status is written last, and readers that do not know whether the process lives ask for a call by its serial, which
changes before anything else does. Times are monotonic seconds; every number is one aligned word.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from sedano.worker.rowview import CallNote, CallStatus, Cause

LANE_BYTES = 32 * 1024  # the note and the settlement of one call; only what is written takes memory
_HEADER_BYTES = 64
_WORDS = 7  # per lane: serial, status, started_at, kill_at, order, cause, sizes
_SHORT = 200
_ORDER_BITS = 9  # of an order and a signal's number, below the serial

_note_encoder = msgspec.msgpack.Encoder()
_note_decoder = msgspec.msgpack.Decoder(CallNote)


class LaneStatus(enum.IntEnum):
    FREE = 0
    STARTED = 1
    FINISHED = 2


class Order(enum.IntEnum):
    """What a supervisor wants to be done with a running call."""

    NONE = 0
    SOFT = 1  # raise SoftTimeLimitExceeded in it
    END = 2  # end it: an operator has terminated it


@dataclass(frozen=True, slots=True)
class Entry:
    """What stands in one lane of a process that is dead."""

    note: CallNote
    status: CallStatus
    cause: Cause
    settlement: bytes | None


class LaneBoard:
    """`region` is the shared memory, `board_bytes(lanes)` long."""

    def __init__(self, region: memoryview, lanes: int) -> None:
        self.lanes = lanes
        self._region = region
        self._head = region[:_HEADER_BYTES].cast("q")

        def column(number: int) -> memoryview:
            at = _HEADER_BYTES + number * lanes * 8
            return region[at : at + lanes * 8]

        self._serials, self._statuses = column(0).cast("q"), column(1).cast("q")
        self._started, self._kill_at = column(2).cast("d"), column(3).cast("d")
        self._orders, self._causes, self._sizes = column(4).cast("q"), column(5).cast("q"), column(6).cast("q")
        self._data_at = _HEADER_BYTES + _WORDS * lanes * 8

    # -- the pool process ---------------------------------------------------------------------------------------------

    def start(self, k: int, note: CallNote, now: float) -> int:
        """Lane `k` runs the call of `note` from `now` on; the call's serial. What stood there is forgotten."""
        self._statuses[k] = LaneStatus.FREE
        serial = self._serials[k] + 1
        self._serials[k] = serial
        data = _note_encoder.encode(note)
        if len(data) > LANE_BYTES // 2:  # names of any length may come in a message; the store has the whole of it
            data = _note_encoder.encode(_shortened(note))
        at = self._data_at + k * LANE_BYTES
        self._region[at : at + len(data)] = data
        self._sizes[k] = len(data)
        self._started[k] = now
        self._kill_at[k] = now + note.hard_s if note.hard_s else math.inf
        self._statuses[k] = LaneStatus.STARTED
        return serial

    def finish(self, k: int, settlement: bytes) -> bool:
        """Keep the encoded settlement of lane `k`'s call; False when there is no room: settle it at once."""
        used, size = self._sizes[k], len(settlement)
        if used + size > LANE_BYTES:
            return False
        at = self._data_at + k * LANE_BYTES + used
        self._region[at : at + size] = settlement
        self._sizes[k] = used | size << 32
        self._kill_at[k] = math.inf
        self._statuses[k] = LaneStatus.FINISHED
        return True

    def free(self, k: int) -> None:
        self._kill_at[k] = math.inf
        self._statuses[k] = LaneStatus.FREE

    def started_at(self, k: int) -> float:
        """When the call of lane `k` began, or the last one there."""
        return self._started[k]

    @property
    def orders_given(self) -> int:
        """Another number when there are new orders."""
        return self._head[0]

    def orders(self) -> Iterator[tuple[int, int, Order, int]]:
        """(lane, serial, order, signal number) of all that were given and are not taken; taking them."""
        for k, word in enumerate(self._orders.tolist()):
            if word:
                self._orders[k] = 0
                yield k, word >> _ORDER_BITS, Order(word & 3), word >> 2 & 0x7F

    # -- the supervisor -----------------------------------------------------------------------------------------------

    def running(self) -> list[tuple[int, int, float]]:
        """(lane, serial, started_at) of what runs now."""
        return [
            (k, self._serials[k], self._started[k])
            for k, status in enumerate(self._statuses.tolist())
            if status == LaneStatus.STARTED
        ]

    def overdue(self, now: float) -> list[tuple[int, int]]:
        """(lane, serial) of what should have ended by its hard limit before `now`."""
        if min(self._kill_at) > now:
            return []
        return [(k, serial) for k, serial, _ in self.running() if self._kill_at[k] <= now]

    def note(self, k: int, serial: int) -> CallNote | None:
        """The note of the call `serial`, None when lane `k` does not run it any more."""
        at = self._data_at + k * LANE_BYTES
        data = bytes(self._region[at : at + (self._sizes[k] & 0xFFFFFFFF)])
        if self._serials[k] != serial or self._statuses[k] != LaneStatus.STARTED:
            return None
        return _note_decoder.decode(data)

    def order(self, k: int, serial: int, order: Order, signum: int = 0) -> None:
        """Tell the pool process, which must be woken besides. An order for a call that is over is ignored there. `signum` is
        the signal that the operator named: no process gets it, but it is told to those who listen."""
        self._orders[k] = serial << _ORDER_BITS | (signum & 0x7F) << 2 | order
        self._head[0] += 1

    def condemn(self, k: int, serial: int, cause: Cause) -> None:
        """Write down that the process is killed because of this call."""
        self._causes[k] = serial << 3 | cause

    def entries(self) -> list[Entry]:
        """What a dead process left."""
        found: list[Entry] = []
        for k, status in enumerate(self._statuses.tolist()):
            if status == LaneStatus.FREE:
                continue
            at, sizes = self._data_at + k * LANE_BYTES, self._sizes[k]
            noted, settled = sizes & 0xFFFFFFFF, sizes >> 32
            note = _note_decoder.decode(self._region[at : at + noted])
            cause = self._causes[k]
            because = Cause(cause & 7) if cause >> 3 == self._serials[k] else Cause.NONE
            if status == LaneStatus.FINISHED:
                settlement = bytes(self._region[at + noted : at + noted + settled])
                found.append(Entry(note, CallStatus.FINISHED, because, settlement))
            else:
                found.append(Entry(note, CallStatus.STARTED, because, None))
        return found

    def reset(self) -> None:
        """Free every lane, for the next process. Serials go on."""
        for k in range(self.lanes):
            self._statuses[k] = LaneStatus.FREE
            self._kill_at[k] = math.inf
            self._orders[k] = self._causes[k] = 0

    def release_memory(self) -> None:
        for view in (self._head, self._serials, self._statuses, self._orders, self._causes, self._sizes):
            view.release()
        self._started.release()
        self._kill_at.release()
        self._region.release()


def board_bytes(lanes: int) -> int:
    return _HEADER_BYTES + lanes * (_WORDS * 8 + LANE_BYTES)


def _shortened(note: CallNote) -> CallNote:
    """The note with names cut that only logs show: the store has the whole message."""
    return msgspec.structs.replace(note, task_id=note.task_id[:_SHORT], task=note.task[:_SHORT], queue=note.queue[:_SHORT])
