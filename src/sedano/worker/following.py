"""How one slot follows what an operator has changed on its node while it runs."""

from __future__ import annotations

from collections.abc import Callable

from sedano.worker.gate import Gate
from sedano.worker.orders import OrderBook, StandingOrders
from sedano.worker.stash import Stash
from sedano.worker.terms import TermsBook
from sedano.worker.turns import Turns


class Following:
    """`look` costs one comparison while nothing was changed. `resize(n)` is told how many calls may run at once."""

    def __init__(
        self,
        orders: OrderBook,
        turns: Turns,
        stash: Stash,
        book: TermsBook,
        gate: Gate,
        resize: Callable[[int], None] | None = None,
    ) -> None:
        self._orders, self._turns, self._stash, self._book, self._gate = orders, turns, stash, book, gate
        self._resize = resize
        self._revision = 0
        self._now = StandingOrders()

    def look(self) -> bool:
        """Whether something is new."""
        if self._orders.revision == self._revision:
            return False
        self._revision, new = self._orders.read()
        old, self._now = self._now, new
        if new.limits != old.limits:
            self._book.limit(new.limits)
        if new.rates != old.rates:
            self._gate.rates = new.rates
            self._stash.hasten()
            self._turns.order.let_all_go()
        if new.queues != old.queues and new.queues is not None:
            self._turns.consume(new.queues)
        if self._resize is not None and new.lanes and new.lanes != old.lanes:
            self._resize(new.lanes)
        return True
