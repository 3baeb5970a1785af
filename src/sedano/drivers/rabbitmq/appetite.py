"""How many messages a node asks its server for: what its slots are about to take, and nothing for slots that are busy.

The server pushes as many messages as a consumer's limit allows beside those that are not acknowledged yet. What it has pushed
waits for a slot of this node, and nobody else can have it. So the limit follows the slots: what each takes in a turn, as long
as it comes back for more within moments. A slot that runs something long, or something of which nobody knows how long it
takes, counts for nothing; when that is all of them, the consumers are cancelled in the very step that acknowledges.
"""

from __future__ import annotations

from dataclasses import dataclass

LONG_S = 0.05
"""A slot that is away for longer, as a rule, is not one that comes back in a moment (as in rules/window.py)."""
PATIENCE_S = 0.25
"""So long a slot is expected that comes back in moments as a rule. A busy machine stretches what is short: giving its messages
back and asking for them anew costs more than running them does, and makes it busier."""
MOST = 2048
WIDE = 256
"""Whoever takes so many in a turn would take more, if a turn had more (`rules/window.py`); a user's own limit is smaller."""
_MOST_TURNS = 2
HIGHEST = 1 << 15  # AMQP has 16 bits for a limit; so much can be in slots' hands
_EXACT = 4  # up to here a limit is not rounded: it may be the user's own
_SMOOTHING = 0.3


@dataclass(slots=True)
class _Slot:
    wanted: int = 0
    away_s: float | None = None  # how long it is away between two turns, smoothed
    left_at: float | None = None  # when it went to work; None: it waits, or has nothing


class Appetite:
    """Pure: `now` is given, monotonic seconds."""

    def __init__(self) -> None:
        self._slots: dict[str, _Slot] = {}

    def came(self, owner: str, wanted: int, now: float) -> None:
        """`owner` has come for a turn, and wants that many."""
        slot = self._slots.setdefault(owner, _Slot())
        if slot.left_at is not None:
            away = now - slot.left_at
            slot.away_s = away if slot.away_s is None else slot.away_s + _SMOOTHING * (away - slot.away_s)
            slot.left_at = None
        if wanted:
            slot.wanted = wanted

    def went(self, owner: str, now: float) -> None:
        """`owner` goes to work on what it has begun."""
        slot = self._slots.get(owner)
        if slot is not None:
            slot.left_at = now

    def gone(self, owner: str) -> None:
        self._slots.pop(owner, None)

    def satisfied(self, owner: str) -> None:
        """`owner` takes nothing more, though it is there."""
        slot = self._slots.get(owner)
        if slot is not None:
            slot.wanted = 0

    def total(self, now: float) -> int:
        """How many messages the slots will take within moments."""
        return min(MOST, sum(_takes(slot) for slot in self._slots.values() if _is_near(slot, now)))


def _is_near(slot: _Slot, now: float) -> bool:
    if slot.left_at is None:
        return True
    return slot.away_s is not None and slot.away_s <= LONG_S and now - slot.left_at <= PATIENCE_S


def _takes(slot: _Slot) -> int:
    """What the slot takes next; of the shortest calls two turns in `LONG_S`: a server that writes to its disk meanwhile has
    pushed what the slots run then. (Four make a quorum queue half as fast.)"""
    if slot.wanted < WIDE or not slot.away_s:
        return slot.wanted
    return slot.wanted * min(_MOST_TURNS, max(1, int(LONG_S / slot.away_s)))


def limit_for(current: int, held: int, wanted: int) -> int:
    """The limit of a consumer with `current` (0: none), when `held` of its messages are in slots' hands unacknowledged and
    `wanted` more are. Changing it costs frames, so it is rounded up, and lowered late."""
    if wanted == 0:
        return 0
    needed = held + wanted
    rounded = needed if needed <= _EXACT else 1 << (needed - 1).bit_length()
    if current >= needed and (current <= rounded * 2 and needed > _EXACT):
        return current
    return min(rounded, HIGHEST)
