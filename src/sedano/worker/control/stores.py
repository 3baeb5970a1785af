"""The connections of the thread that answers commands: opened when the first command needs one, apart from everybody else's."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TypeVar

from sedano.contracts import Broker, Coordination, Results
from sedano.exceptions import OperationalError

T = TypeVar("T")


class ControlStores:
    """Used by one thread. `close` forgets the connections; the next command opens others, on the server the node uses then."""

    def __init__(
        self,
        open_broker: Callable[[], Broker],
        open_coordination: Callable[[], Coordination],
        open_results: Callable[[], Results | None],
    ) -> None:
        self._open_broker, self._open_coordination, self._open_results = open_broker, open_coordination, open_results
        self._broker: Broker | None = None
        self._coordination: Coordination | None = None
        self._results: Results | None = None

    def broker(self) -> Broker:
        if self._broker is None:
            self._broker = self._open_broker()
        return self._broker

    def coordination(self) -> Coordination:
        if self._coordination is None:
            self._coordination = self._open_coordination()
        return self._coordination

    def results(self) -> Results | None:
        """None where results are off."""
        if self._results is None:
            self._results = self._open_results()
        return self._results

    def asking(self, ask: Callable[[], T]) -> T:
        """What `ask` returns. A connection that broke while nobody used it is not the asker's trouble: it is tried twice."""
        try:
            return ask()
        except OperationalError:
            self.close()
            return ask()

    def close(self) -> None:
        for store in (self._broker, self._coordination, self._results):
            if store is not None:
                with contextlib.suppress(OperationalError):
                    store.close()
        self._broker = self._coordination = self._results = None
