"""The chords whose claim one slot holds, from the moment it is told of one until the store has its end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

from sedano.contracts import ChordReady, Pending, Settlement, claim_key
from sedano.crashpoints import reach
from sedano.exceptions import OperationalError
from sedano.worker.chords import ChordFinisher
from sedano.worker.separate import SeparateResults
from sedano.worker.turns import Turns

_logger = logging.getLogger("celery.worker.job")


class OpenChords:
    """Keys are those of the pendings that hold the claims."""

    def __init__(self, finisher: ChordFinisher, results: SeparateResults, *, is_shared: bool) -> None:
        self._finisher, self._results, self._is_shared = finisher, results, is_shared
        self._open: dict[str, list[ChordReady]] = {}
        self._ended: list[str] = []

    def __bool__(self) -> bool:
        return bool(self._open)

    def add(self, chords: Iterable[ChordReady]) -> None:
        """Shared store: a turn has completed these. Without a claim somebody else has to finish them."""
        self._open |= {claim_key(chord.group_id): [chord] for chord in chords if chord.claim}

    def add_of_pendings(self, chords: Mapping[str, Sequence[ChordReady]]) -> None:
        """Separate stores: storing these pendings has completed chords."""
        self._open |= {key: [chord for chord in found if chord.claim] for key, found in chords.items()}

    def finish(self, turns: Turns, chords: Sequence[ChordReady]) -> None:
        """Finish what is open and `chords`, which a turn has completed: at once, whole workflows wait for it."""
        self.add(chords)
        if turns.unsure:
            turns.unsure = False
            self.recall(turns.pendings)
        while self._open:
            settlements = self.settlements()
            if not settlements:
                return
            for settlement in settlements:
                turns.settle(settlement)
            self.add(turns.take((), 0).chords)
            turns.applied.clear()
            self.settled()

    def recall(self, pendings: Callable[[], list[Pending]]) -> None:
        """An answer was lost: what of this the lease holds is known to the store."""
        for pending in pendings():
            if pending.claim:
                group_id = pending.key.removeprefix(claim_key(""))
                self._open[pending.key] = [ChordReady(group_id, pending.claim)]

    def settlements(self) -> list[Settlement]:
        """What ends the claims; those whose parts cannot be read now stay open."""
        found: list[Settlement] = []
        for key, chords in list(self._open.items()):
            reach("slot.chord.claimed")
            try:
                if self._is_shared:
                    found.append(self._finisher.settlement(chords[0], self._results.connected()))
                else:
                    settlement, ended = self._finisher.elsewhere(key, chords, self._results.connected())
                    found.append(settlement)
                    self._ended += ended
            except OperationalError as exc:
                _logger.error("the parts of chord %s cannot be read now, it is tried again: %s", key, exc)
                self._results.reconnect()
                break
            del self._open[key]
        return found

    def settled(self) -> None:
        """The settlements given before are in the broker: separate results may forget the chords."""
        reach("slot.chord.sent")
        ended, self._ended = self._ended, []
        try:
            for group_id in ended:
                self._results.connected().end_chord(group_id)
        except OperationalError as exc:
            _logger.debug("the bookkeeping of finished chords is left to expire: %s", exc)
