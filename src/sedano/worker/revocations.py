"""What was revoked, as far as one slot knows: the store's set, read again when its revision changes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from sedano.contracts import Revoke, cancelled_ids
from sedano.contracts.coordination import revoked_stamps
from sedano.exceptions import OperationalError

_logger = logging.getLogger("celery.worker.state")

Read = Callable[[], tuple[int, list[Revoke]]]


class Revocations:
    """Ids that must not run. Every turn tells the store's revision; `follow` reads the set when that is another one.

    Revision 0 is a store in which nothing was ever revoked: it is never read. Orders whose time is over stay known here
    until the next reading, which harms nobody: an id is never used twice.
    """

    __slots__ = ("_read", "cancelled", "ids", "revision", "stamps")

    def __init__(self, read: Read) -> None:
        self._read = read
        self.revision = 0
        self.ids: frozenset[str] = frozenset()
        self.cancelled: frozenset[str] = frozenset()  # workflows
        self.stamps: Mapping[str, frozenset[str]] = {}

    def follow(self, revision: int) -> bool:
        """Read the set if `revision` is not the one known; tells whether it changed.

        A store that cannot be asked now is asked again at the next turn: until then what is known holds. The first try may only
        have found that the connection broke long ago.
        """
        if revision == self.revision:
            return False
        try:
            self.revision, orders = self._read()
        except OperationalError:
            try:
                self.revision, orders = self._read()
            except OperationalError as exc:
                _logger.warning("revoked ids cannot be read now, asking again at the next turn: %s", exc)
                return False
        self.ids = frozenset(order.task_id for order in orders)
        self.cancelled = cancelled_ids(self.ids)
        self.stamps = revoked_stamps(self.ids)
        return True
