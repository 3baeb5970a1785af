"""How many slots a pool has when an operator changes it (`pool_grow`, `pool_shrink`). Where it scales itself, `autoscale.py`
decides."""

from __future__ import annotations

from collections.abc import Collection

from sedano.worker.table import Phase, SharedTable


class PoolSize:
    """Used by the supervisor's thread alone. `wanted` is how many slots there are to be."""

    def __init__(self, table: SharedTable, wanted: int) -> None:
        self._table = table
        self.wanted = wanted
        self._retiring: set[int] = set()

    @property
    def room(self) -> int:
        """So many more may be asked for."""
        return len(self._table) - self.wanted

    def grow(self, count: int, held: Collection[int]) -> list[int]:
        """Rows that are to get a slot, after `room` was looked at. `held` are those that have one, or are to get one; of those
        that were told to go first as many are followed by another one after all."""
        self.wanted += count
        back = sorted(self._retiring)[:count]
        self._retiring.difference_update(back)
        count -= len(back)
        free = [index for index in range(len(self._table)) if index not in held]
        return free[:count]

    def shrink(self, count: int, held: Collection[int]) -> list[int]:
        """Rows whose slot is to stop when its call is over: first those that have none."""
        self.wanted -= count
        staying = sorted(set(held) - self._retiring, reverse=True)
        idle = [index for index in staying if self._table.row(index).phase is Phase.IDLE]
        gone = [*idle, *(index for index in staying if index not in idle)][:count]
        self._retiring.update(gone)
        return gone

    def is_retired(self, index: int) -> bool:
        """Whether the slot of this row, which has died, had been told to go: no other one follows. Asked once a death."""
        if index not in self._retiring:
            return False
        self._retiring.discard(index)
        return True
