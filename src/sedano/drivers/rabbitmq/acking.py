"""Which deliveries of a channel are still to be acknowledged, and the fewest frames that acknowledge some of them."""

from __future__ import annotations

from collections.abc import Collection


class Unacked:
    """Delivery tags of one channel, in the order in which they came."""

    def __init__(self) -> None:
        self._tags: dict[int, None] = {}

    def __len__(self) -> int:
        return len(self._tags)

    def __contains__(self, tag: int) -> bool:
        return tag in self._tags

    def add(self, tag: int) -> None:
        self._tags[tag] = None

    def take(self, tags: Collection[int]) -> tuple[int, list[int]]:
        """Forget `tags`: (the tag up to which all can be acknowledged at once, 0 for none; those to be acknowledged singly)."""
        wanted = set(tags).intersection(self._tags)
        upto, at_once = 0, 0
        for tag in self._tags:
            if tag not in wanted:
                break
            upto, at_once = tag, at_once + 1
        if at_once == 1:
            upto = 0
        for tag in wanted:
            del self._tags[tag]
        return upto, sorted(tag for tag in wanted if tag > upto)

    def drop(self, tag: int) -> None:
        self._tags.pop(tag, None)

    def clear(self) -> None:
        self._tags.clear()
