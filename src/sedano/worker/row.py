"""One slot's row of the shared table (`table.py` says what holds between its two writers)."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Generator, Sequence

import msgspec

from sedano.contracts import Outcome
from sedano.worker.bytelock import lock_byte, lock_byte_within, unlock_byte
from sedano.worker.rowfields import FlagField, FloatField, IntField
from sedano.worker.rowview import CallNote, CallStatus, Cause, Phase, RowView

ROW_BYTES = 256 * 1024
MAX_WINDOW = 1024  # calls of one window: one status byte and one index entry each
_OWNER_AT, _OWNER_BYTES = 256, 510
_STATUS_AT = 1024
_INDEX_AT = _STATUS_AT + MAX_WINDOW
_DATA_AT = _INDEX_AT + 8 * MAX_WINDOW
_LOCK_PATIENCE_S = 0.1  # a stopped (SIGSTOP) slot may hold its lock for ever: the supervisor must not wait for it
_SHORT = 200
LEAVE = 2  # `stop`: the node goes on with another server

# What is on the way of every call reads the words of the header by their places: a descriptor costs as much as the rest.
_PROCESSED, _LOST, _STOP, _CURRENT, _STARTED_AT, _USED, _CONDEMNED, _WISH, _INTENT = 3, 9, 10, 18, 19, 21, 22, 24, 25
_COUNTERS = {Outcome.SUCCESS: 4, Outcome.FAILURE: 5, Outcome.RETRY: 6}
_STARTED, _FINISHED = int(CallStatus.STARTED), int(CallStatus.FINISHED)

# Whether stores and loads of one process are seen by another in their order, but for a load that overtakes a store: x86. There
# a call starts without a lock of the kernel (docs/decisions/0003-starting-a-call-without-a-system-call.md).
_IS_ORDERED = sys.platform == "win32" or os.uname().machine in ("x86_64", "amd64", "i386", "i686")

_notes_encoder = msgspec.msgpack.Encoder()
_notes_decoder = msgspec.msgpack.Decoder(tuple[CallNote, ...])


class Row:
    """One slot's row. Every process has its own `Row` object on the same memory; get it from `SharedTable.row`."""

    # written by the slot
    pid = IntField(0)
    fence = IntField(1)
    next_due = FloatField(2)  # Unix seconds of the earliest call this slot has delayed since the keeper looked; 0 = none
    processed = IntField(_PROCESSED)
    succeeded = IntField(4)
    failed = IntField(5)
    retried = IntField(6)
    turned_at = FloatField(12)  # when the store last answered a turn or a probe: monotonic, 0 = never
    stash = IntField(13)  # how many deliveries the slot holds reserved besides its window
    server = IntField(14)  # which of several broker servers the slot works on, for as long as it lives
    # written by the supervisor and its keeper
    renewed_at = FloatField(8)  # the slot writes it too, when it registers
    lost = FlagField(_LOST)  # a renew was refused: the lease is somebody else's
    stop = IntField(_STOP)  # 1: finish the running call, hand back the rest, exit 0; LEAVE: and wait for no broker to do so
    terminate = FlagField(11)  # the next SIGTERM is meant for the running call: die of it
    # the window; read through `snapshot` and `running`
    window = IntField(16)
    started_at = FloatField(_STARTED_AT)
    _phase = IntField(7)
    _count = IntField(17)
    _current = IntField(_CURRENT)
    _notes_bytes = IntField(20)
    _used = IntField(_USED)
    _condemned = IntField(_CONDEMNED)
    _soft = IntField(23)
    _wish = IntField(_WISH)  # the slot's: the last call of the window that it started or is about to start
    _intent = IntField(_INTENT)  # the supervisor's: it decides about this row right now, under the lock

    def __init__(self, region: memoryview, index: int, fd: int, lock_at: int) -> None:
        self.index = index
        self.ints = region[:_OWNER_AT].cast("q")
        self.floats = region[:_OWNER_AT].cast("d")
        self._region = region
        self._entries = region[_INDEX_AT:_DATA_AT].cast("I")
        self._fd, self._lock_at = fd, lock_at
        self._thread_lock = threading.Lock()
        self._barrier = threading.Lock()

    # -- the slot's side ----------------------------------------------------------------------------------------------

    @property
    def phase(self) -> Phase:
        return Phase(self._phase)

    @phase.setter
    def phase(self, phase: Phase) -> None:
        self._phase = phase

    @property
    def owner(self) -> str:
        """The name of the slot's lease, "" when it has none."""
        size = int.from_bytes(self._region[_OWNER_AT : _OWNER_AT + 2], "little")
        return str(self._region[_OWNER_AT + 2 : _OWNER_AT + 2 + size], "utf-8")

    @owner.setter
    def owner(self, owner: str) -> None:
        data = owner.encode()
        if len(data) > _OWNER_BYTES:
            raise ValueError(f"the lease name {owner!r} is longer than {_OWNER_BYTES} bytes: give the node a shorter name (-n)")
        self._region[_OWNER_AT : _OWNER_AT + 2] = b"\0\0"
        self._region[_OWNER_AT + 2 : _OWNER_AT + 2 + len(data)] = data
        self._region[_OWNER_AT : _OWNER_AT + 2] = len(data).to_bytes(2, "little")

    def hold(self, owner: str, fence: int, now: float) -> None:
        """Write down a lease that was just taken. Readers never see the name of one lease with the fence of another."""
        self.owner = ""
        self.fence = fence
        self.renewed_at = now
        self.lost = False
        self.owner = owner

    def open_window(self, notes: Sequence[CallNote]) -> None:
        """Write down the calls that were begun; all are BEGUN. Replaces the window before it, with its settlements.

        Raises ValueError for more than MAX_WINDOW calls, or when the names of tags and queues alone do not fit.
        """
        count = len(notes)
        if count > MAX_WINDOW:
            raise ValueError(f"a window of {count} calls: at most {MAX_WINDOW} fit")
        room = len(self._region) - _DATA_AT
        blob = _notes_encoder.encode(notes)
        if len(blob) > room // 2:
            blob = _notes_encoder.encode([_shortened(note) for note in notes])
            if len(blob) > room:
                raise ValueError(f"the notes of {count} calls take {len(blob)} bytes: a row has room for {room}")
        with self._locked():
            self._count = 0
            self._region[_DATA_AT : _DATA_AT + len(blob)] = blob
            self._region[_STATUS_AT : _STATUS_AT + count] = bytes(count)
            self._notes_bytes = self._used = len(blob)
            self._current = self._wish = -1
            self.window += 1
            self._count = count

    def start(self, k: int, now: float) -> bool:
        """Mark call `k` as running since `now`; False when the supervisor has taken it back: do not run it.

        Does not return when the supervisor has condemned this slot: the signal is on its way.

        Without the row's lock as long as the supervisor has no intent: the wish is written before the intent is read, and
        the supervisor writes its intent before it reads the wish, so that at least one of the two gives way.
        """
        ints, region = self.ints, self._region
        ints[_WISH] = k
        with self._barrier:  # the load below must not overtake the store above
            pass
        if not _IS_ORDERED or ints[_INTENT] or ints[_CONDEMNED] or region[_STATUS_AT + k]:
            return self._start_in_turn(k, now)
        self.floats[_STARTED_AT] = now
        ints[_CURRENT] = k
        region[_STATUS_AT + k] = _STARTED
        return True

    def _start_in_turn(self, k: int, now: float) -> bool:
        """`start`, after whatever the supervisor is deciding."""
        with self._locked():
            if not self._condemned:
                if self._region[_STATUS_AT + k] != CallStatus.BEGUN:
                    return False
                self.started_at = now
                self._current = k
                self._region[_STATUS_AT + k] = CallStatus.STARTED
                return True
        while True:  # condemned
            time.sleep(1.0)

    def is_called_off(self) -> bool:
        """Whether the supervisor wants nothing more to be started: the slot is to stop, or its lease is lost."""
        ints = self.ints
        return ints[_STOP] != 0 or ints[_LOST] != 0

    def count(self, outcome: Outcome) -> None:
        """One more call that ran to its end."""
        ints = self.ints
        ints[_PROCESSED] += 1
        counter = _COUNTERS.get(outcome)
        if counter is not None:
            ints[counter] += 1

    def finish(self, k: int, settlement: bytes) -> bool:
        """Keep the encoded settlement of call `k` and mark it finished; False: no room, settle it at once."""
        ints, region = self.ints, self._region
        used, size = ints[_USED], len(settlement)
        at = _DATA_AT + used
        if at + size > ROW_BYTES:
            return False
        region[at : at + size] = settlement
        self._entries[2 * k] = used
        self._entries[2 * k + 1] = size
        ints[_USED] = used + size
        region[_STATUS_AT + k] = _FINISHED
        return True

    def close_window(self) -> list[int]:
        """Forget the window: what ran in it is settled in the store. Returns the calls that are left to the slot: those
        that it has not started and nobody has taken back."""
        with self._locked():
            left = [k for k in range(self._count) if self._region[_STATUS_AT + k] == CallStatus.BEGUN]
            self._count = 0
            self._current = -1
        return left

    def soft_limit_due(self) -> bool:
        """Whether the soft time limit of the call that runs now is over. For the slot's SIGUSR1 handler: a signal that
        comes late, when the next call runs already, is to be ignored. Asking takes the mark away."""
        marked = self._soft
        if marked == 0:
            return False
        self._soft = 0
        return marked == self._call_key(self._current)

    # -- the supervisor's side ----------------------------------------------------------------------------------------

    @property
    def condemned(self) -> Cause:
        return Cause(self._condemned)

    def running(self) -> tuple[int, int, float] | None:
        """(window, index, started_at) of the call that runs now, without decoding anything; None when none does."""
        window, k, started_at = self.window, self._current, self.started_at
        if k < 0 or k >= self._count or self._region[_STATUS_AT + k] != CallStatus.STARTED or window != self.window:
            return None
        return window, k, started_at

    def waiting(self) -> int:
        """How many calls of the window are begun and not started."""
        return bytes(self._region[_STATUS_AT : _STATUS_AT + self._count]).count(CallStatus.BEGUN)

    def snapshot(self) -> RowView:
        """The row at one moment. Of a slot that was stopped (SIGSTOP) inside its lock, the best that can be read."""
        with self._locked(_LOCK_PATIENCE_S):
            notes = self._notes()
            statuses = tuple(CallStatus(s) for s in self._region[_STATUS_AT : _STATUS_AT + len(notes)])
            settlements = {note.tag: self._settlement(k) for k, note in enumerate(notes) if statuses[k] is CallStatus.FINISHED}
            current = self._current if self._current < len(notes) else -1
            return RowView(
                self.index, self.owner, self.fence, self.pid, self.phase, self.window, notes, statuses, current,
                self.started_at, settlements, self.condemned, server=self.server,
            )  # fmt: skip

    def take_back(self, window: int | None = None) -> list[CallNote]:
        """Mark every call that is not started TAKEN and return them: the slot will not run them.

        [] when there is none, when the slot has another window than `window` by now, or when the lock is not to be had:
        ask again later.
        """
        with self._locked(_LOCK_PATIENCE_S) as held:
            if not held or not self.waiting() or window not in (None, self.window):
                return []
            notes = self._notes()
            taken: list[CallNote] = []
            with self._intending():
                for k in range(self._wish + 1, len(notes)):
                    if self._region[_STATUS_AT + k] == CallStatus.BEGUN:
                        self._region[_STATUS_AT + k] = CallStatus.TAKEN
                        taken.append(notes[k])
            return taken

    def condemn(self, window: int, k: int, cause: Cause) -> bool:
        """Decide to end the slot because of call `k` of `window`, before the signal is sent.

        False when that call does not run any more, or the lock is not to be had: send nothing. After True the slot starts
        no other call; if `k` still finishes, its settlement counts.
        """
        with self._locked(_LOCK_PATIENCE_S) as held:
            if not held:
                return False
            with self._intending():
                running = self.running()
                if running is None or running[:2] != (window, k) or self._wish != k:
                    return False
                self._condemned = cause
                return True

    def mark_soft(self, window: int, k: int) -> bool:
        """Say that the soft limit of call `k` is over, before SIGUSR1 is sent; False when it does not run any more."""
        with self._locked(_LOCK_PATIENCE_S) as held:
            running = self.running()
            if not held or running is None or running[:2] != (window, k):
                return False
            self._soft = self._call_key(k)
            return True

    def note(self, window: int, k: int) -> CallNote | None:
        """The note of call `k`, None when the window is another one by now."""
        with self._locked(_LOCK_PATIENCE_S) as held:
            if not held or self.window != window or k >= self._count:
                return None
            return self._notes()[k]

    def reset(self) -> None:
        """Make the row empty, for the next slot. The counters and the number of windows stay."""
        kept = (self.processed, self.succeeded, self.failed, self.retried, self.window)
        with self._locked(_LOCK_PATIENCE_S):
            self._region[:_STATUS_AT] = bytes(_STATUS_AT)
            self.processed, self.succeeded, self.failed, self.retried, self.window = kept
            self._current = self._wish = -1

    # -- inside -------------------------------------------------------------------------------------------------------

    def _notes(self) -> tuple[CallNote, ...]:
        if not self._count:
            return ()
        return _notes_decoder.decode(self._region[_DATA_AT : _DATA_AT + self._notes_bytes])

    def _settlement(self, k: int) -> bytes:
        at = _DATA_AT + self._entries[2 * k]
        return bytes(self._region[at : at + self._entries[2 * k + 1]])

    def _call_key(self, k: int) -> int:
        return self.window * MAX_WINDOW + k + 1

    @contextlib.contextmanager
    def _intending(self) -> Generator[None]:
        """Inside of the lock: from here on the slot starts nothing that `_wish` does not name yet, but waits for the lock."""
        self._intent = 1
        try:
            with self._barrier:
                pass
            yield
        finally:
            self._intent = 0

    @contextlib.contextmanager
    def _locked(self, patience_s: float | None = None) -> Generator[bool]:
        """Hold the row's lock; with `patience_s`, yields False when it was not to be had in that time."""
        # Locking stands inside the try: a signal handler may raise right after it, and unlocking what is free is harmless.
        with self._thread_lock:
            try:
                if patience_s is None:
                    lock_byte(self._fd, self._lock_at)
                    yield True
                else:
                    yield lock_byte_within(self._fd, self._lock_at, patience_s)
            finally:
                unlock_byte(self._fd, self._lock_at)

    def release_memory(self) -> None:
        """Let go of the memory; the row cannot be used any more."""
        for view in (self.ints, self.floats, self._entries, self._region):
            view.release()


def _shortened(note: CallNote) -> CallNote:
    """The note with names cut that only logs show: the store has the whole message."""
    return msgspec.structs.replace(note, task_id=note.task_id[:_SHORT], task=note.task[:_SHORT])
