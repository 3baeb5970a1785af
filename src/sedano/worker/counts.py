"""How many calls of each task a node has begun to run, in memory that its slots share: `inspect stats` shows the sums.

The names stand in the memory itself, so that a slot which has loaded the app anew counts under the same places. A task that was
registered later has no place; its calls are counted in the row's own numbers only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

MOST_TASKS = 4096
_HEAD_BYTES = 16


def counts_bytes(slots: int, names: Sequence[str]) -> int:
    """How much memory `slots` rows of counters of the tasks `names` take; a multiple of 8."""
    return _HEAD_BYTES + -(-len(_encoded(names)) // 8) * 8 + 8 * slots * min(len(names), MOST_TASKS)


class TaskCounts:
    """`region` is the shared memory, `counts_bytes` long. Each row is written by its own slot only."""

    def __init__(self, region: memoryview, slots: int, names: Iterable[str] | None = None) -> None:
        """With `names` the memory is made ready; without, somebody has done so."""
        self._region, self._slots = region, slots
        self._lent: list[memoryview[int]] = []
        with region[:_HEAD_BYTES].cast("q") as head:
            if names is not None:
                data = _encoded(list(names))
                head[0] = len(data)
                region[_HEAD_BYTES : _HEAD_BYTES + len(data)] = data
            size = head[0]
        self.names: list[str] = msgspec.msgpack.decode(region[_HEAD_BYTES : _HEAD_BYTES + size], type=list[str])
        self._words = region[_HEAD_BYTES + -(-size // 8) * 8 :][: 8 * slots * len(self.names)].cast("q")

    def counter(self, index: int) -> tuple[memoryview[int], dict[str, int]]:
        """(the words of row `index`, the word of each task in them): what a slot adds to."""
        width = len(self.names)
        words = self._words[index * width : (index + 1) * width]
        self._lent.append(words)
        return words, {name: k for k, name in enumerate(self.names)}

    def totals(self) -> dict[str, int]:
        """Calls begun by task, since the node started; only tasks that had any."""
        width, words = len(self.names), self._words.tolist()
        sums = {name: sum(words[k::width]) for k, name in enumerate(self.names)}
        return {name: count for name, count in sums.items() if count}

    def release_memory(self) -> None:
        for words in self._lent:
            words.release()
        self._words.release()
        self._region.release()


def _encoded(names: Sequence[str]) -> bytes:
    return msgspec.msgpack.encode(list(names[:MOST_TASKS]))
