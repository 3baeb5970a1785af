"""A supervisor thread's own connection to the stores: opened on first use, and again after it broke."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence

from sedano.contracts import Broker, ChordReady, Lease, Pending, Results, Settlement, claim_key, pending_of
from sedano.exceptions import OperationalError
from sedano.worker.chords import ChordFinisher
from sedano.worker.reconnect import CANNOT, LONGEST_S, LOST, backoff, humanize
from sedano.worker.separate import Unstorable, store_pendings

_logger = logging.getLogger("celery.worker.consumer.consumer")


class StoreLink:
    """Broker and, where results lie elsewhere, their store. Not thread-safe.

    `url` is shown in the log and must be redacted already. A `loud` link speaks for the whole node: it writes Celery's lines
    about a broker that cannot be reached; the others write theirs at DEBUG.
    """

    def __init__(
        self,
        open_broker: Callable[[], Broker],
        open_results: Callable[[], Results | None],
        unstorable: Unstorable,
        finisher: ChordFinisher,
        *,
        url: str,
        loud: bool,
    ) -> None:
        self._open_broker, self._open_results, self._unstorable = open_broker, open_results, unstorable
        self._finisher = finisher
        self._url = url
        self.loud = loud
        self._broker: Broker | None = None
        self._results: Results | None = None
        self._broken = False
        self._has_worked = False
        self._waits: Iterator[float] = backoff()
        self.tries = 0

    @property
    def works(self) -> bool:
        """Whether the last use succeeded, as far as is known."""
        return self._broker is not None and not self._broken

    def broker(self) -> Broker:
        """The connection, made again if it broke. Raises OperationalError: tell `broke` and come back later."""
        if self._broker is None:
            self._broker = self._open_broker()
        elif self._broken:
            self._broker.reconnect()
            if self._results is not None:
                self._results.reconnect()
        self._broken = False
        return self._broker

    def worked(self) -> None:
        """An operation was answered: the next trouble is a new one."""
        self._has_worked = True
        if self.tries:
            self.tries = 0
            self._waits = backoff()

    def broke(self, exc: OperationalError, *, longest_s: float = LONGEST_S) -> float:
        """Note and log that an operation failed; the seconds to wait before the next try, 0 when it just broke."""
        if self.works and self._has_worked:
            self._broken = True
            _logger.log(logging.WARNING if self.loud else logging.DEBUG, "%s (%r)", LOST, exc)
            return 0.0
        self._broken = True
        self.tries += 1
        wait = min(next(self._waits), longest_s)
        _logger.log(
            logging.ERROR if self.loud else logging.DEBUG,
            CANNOT,
            self._url,
            exc,
            f"Trying again {humanize(wait)}... ({self.tries})",
        )
        return wait

    def settle(self, lease: Lease, settlements: Sequence[Settlement]) -> None:
        """Settle, and where results lie in another store write them there. Refused settlements are gone already."""
        broker = self.broker()
        reply = broker.turn(lease, settle=settlements)
        if broker.capabilities.shared_results:
            self._finish(lease, reply.chords)
            return
        applied = [settlement for settlement in settlements if settlement.tag not in reply.refused]
        self.store_pendings(lease, [pending for pending in map(pending_of, applied) if pending is not None])

    def store_pendings(self, lease: Lease, pendings: Sequence[Pending]) -> None:
        """Write what the broker keeps for the result store, and have the broker forget it. Repeating it is harmless."""
        if not pendings:
            return
        if self.broker().capabilities.shared_results:
            chords = [ChordReady(each.key.removeprefix(claim_key("")), each.claim) for each in pendings if each.claim]
            self._finish(lease, chords)
            return
        results, chords_of = self._connected(), dict[str, list[ChordReady]]()
        if results is not None:
            chords_of = store_pendings(results, pendings, self._unstorable, repeated=True)
        self.broker().turn(lease, stored=[pending.key for pending in pendings if pending.key not in chords_of])
        for key, chords in chords_of.items():
            assert results is not None
            settlement, ended = self._finisher.elsewhere(key, [chord for chord in chords if chord.claim], results)
            self.broker().turn(lease, settle=[settlement])
            for group_id in ended:
                results.end_chord(group_id)

    def _finish(self, lease: Lease, chords: Sequence[ChordReady]) -> None:
        """Shared store: end the claims to these chords, and to those that are complete by that."""
        waiting = [chord for chord in chords if chord.claim]
        while waiting:
            results = self._connected()
            assert results is not None
            settlement = self._finisher.settlement(waiting.pop(), results)
            waiting += [chord for chord in self.broker().turn(lease, settle=[settlement]).chords if chord.claim]

    def _connected(self) -> Results | None:
        if self._results is None:
            self._results = self._open_results()
        return self._results

    def close(self) -> None:
        for store in (self._broker, self._results):
            if store is not None:
                store.close()
        self._broker = self._results = None
        self._broken = False
