"""Which of several servers this process publishes to: the first, and while that is away the next one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

from sedano.app.connect import Stores
from sedano.contracts.broker import Broker
from sedano.contracts.queues import QueueSpec
from sedano.exceptions import BrokerUnavailable, CeleryError
from sedano.log import get_logger, redact_url
from sedano.result.forking import on_fork
from sedano.rules.failover import Rotation

logger = get_logger(__name__)

LOOK_BACK_S = 30.0


class Detour:
    """One per sender, used under its lock. A process that left the first server looks for it again every `LOOK_BACK_S`, in a
    thread beside those that publish, because every process that starts begins there."""

    def __init__(self, stores: Callable[[], Stores], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._stores, self._monotonic = stores, monotonic
        self._urls: tuple[str, ...] = ()
        self._rotation: Rotation | None = None
        self._place = 0
        self._look_at = 0.0
        self._home_answers = False
        self.is_looking = False
        self.is_away = False
        on_fork(self, Detour._forget)

    def open(self) -> Broker:
        """A connection to the server of now, which is not connected yet."""
        stores = self._stores()
        if stores.write_urls != self._urls:
            self._urls, self._place, self.is_away = stores.write_urls, 0, False
            self._rotation = Rotation(self._urls, stores.strategy) if len(self._urls) > 1 else None
        return stores.writing_at(self._place).open_broker(write=True)

    @property
    def place(self) -> int:
        """Of `write_urls`: the server of now."""
        return self._place

    @property
    def others(self) -> int:
        """How many more servers there are to try."""
        return max(0, len(self._urls) - 1)

    def move(self, error: BrokerUnavailable) -> None:
        """The server of now is away: the next one is to be opened."""
        assert self._rotation is not None
        left, self._place = self._place, self._rotation.after(self._place)
        # Results that are replies to calls under way come to where we are: nobody goes home while there may be some.
        self.is_away = self._place != 0 and self._rotation.has_home and not self._stores().results_are_replies
        self._look_at = self._monotonic() + LOOK_BACK_S
        self._home_answers = False
        logger.warning(
            "The broker %s cannot be reached: %s. Publishing to %s",
            redact_url(self._urls[left]),
            error,
            redact_url(self._urls[self._place]),
        )

    def is_over(self, known: Sequence[QueueSpec]) -> bool:
        """Whether the first server is back: then it is to be opened. Asked before each publish while `is_away`; `known` are
        queues that have been declared."""
        if self._home_answers:
            self._place, self.is_away, self._home_answers = 0, False, False
            logger.warning("The broker %s is back: publishing to it again", redact_url(self._urls[0]))
            return True
        now = self._monotonic()
        if now >= self._look_at and not self.is_looking:
            self._look_at, self.is_looking = now + LOOK_BACK_S, True
            stores = self._stores().writing_at(0)
            threading.Thread(target=self._look, args=(stores, list(known)), name="sedano-detour", daemon=True).start()
        return False

    def _look(self, stores: Stores, known: Sequence[QueueSpec]) -> None:
        try:
            with closing(stores.open_broker(write=True)) as broker:
                broker.declare(known)  # a server that can be read and not written is no server to publish to
                broker.leases()
            self._home_answers = True
        except CeleryError as exc:
            logger.debug("%s is still away: %s", redact_url(stores.write_url), exc)
        finally:
            self.is_looking = False

    def _forget(self) -> Any:
        self.is_looking = False
