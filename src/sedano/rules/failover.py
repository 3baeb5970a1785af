"""Which of several broker servers is used next: after one that is away, and when calls wait on another one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from sedano.exceptions import ImproperlyConfigured
from sedano.log import redact_url

ROUND_ROBIN, SHUFFLE = "round-robin", "shuffle"
Strategy = str | Callable[[Sequence[str]], Iterable[str]]
"""`broker_failover_strategy`: one of the two names, or a function from the URLs to the URLs in the order of trying them."""


class Rotation:
    """The order in which servers are tried. A server is known by its place in `urls`; the first is where everybody begins."""

    def __init__(self, urls: Sequence[str], strategy: Strategy | None, shuffle: Callable[[list[int]], None] | None = None):
        self._urls = list(urls)
        self._strategy = strategy or ROUND_ROBIN
        self._shuffle = shuffle
        if isinstance(self._strategy, str) and self._strategy not in (ROUND_ROBIN, SHUFFLE):
            raise ImproperlyConfigured(
                f"broker_failover_strategy={strategy!r} is not known: give 'round-robin', 'shuffle', or a function that gets "
                "the list of URLs and returns them in the order in which they are to be tried"
            )
        self._drawn: Iterator[int] = self._draw()

    @property
    def has_home(self) -> bool:
        """Whether the first server is to be preferred once it is back: not when the user has chosen another order."""
        return self._strategy == ROUND_ROBIN

    def after(self, index: int) -> int:
        """The server to try when the one at `index` is away; another one if there is any. Raises ImproperlyConfigured when a
        strategy of the user's names a URL that was not given to it."""
        if self._strategy == ROUND_ROBIN:
            return (index + 1) % len(self._urls)
        for _ in range(2 * len(self._urls)):
            found = next(self._drawn)
            if found != index:
                return found
        return (index + 1) % len(self._urls)

    def _draw(self) -> Iterator[int]:
        places = list(range(len(self._urls)))
        while True:
            if callable(self._strategy):
                yield from self._asked(self._strategy(list(self._urls)))
            else:
                (self._shuffle or _shuffle)(places)
                yield places[0]

    def _asked(self, chosen: Iterable[str]) -> Iterator[int]:
        is_empty = True
        for url in chosen:
            is_empty = False
            if url not in self._urls:
                raise ImproperlyConfigured(
                    f"broker_failover_strategy gave {redact_url(str(url))!r}, which is none of the broker's URLs"
                )
            yield self._urls.index(url)
        if is_empty:
            raise ImproperlyConfigured("broker_failover_strategy gave no URL at all")


class Sight(msgspec.Struct, frozen=True):
    """A server as a node saw it: does it answer, is it the node's own store under another URL, how many calls wait there."""

    answers: bool
    is_same: bool = False
    ready: int = 0


AWAY = Sight(answers=False)


def better_place(current: int, sights: Sequence[Sight], *, has_home: bool, is_patient: bool) -> int | None:
    """Where a node whose own server answers should go, None to stay.

    It goes where calls wait when its own server has none for it. While both have some it stays, unless it is no longer
    `is_patient`: it has left others waiting for long. With nothing to do anywhere it goes home, to the first server, where
    every process begins.
    """
    own = sights[current]
    others = [index for index, sight in enumerate(sights) if index != current and sight.answers and not sight.is_same]
    waiting = [index for index in others if sights[index].ready]
    if waiting and (not own.ready or not is_patient):
        return waiting[0]
    if not own.ready and has_home and 0 in others:
        return 0
    return None


def _shuffle(places: list[int]) -> None:
    import random  # noqa: PLC0415 - wanted by this one strategy, and no plain import of Sedano has to pay for it

    random.shuffle(places)
