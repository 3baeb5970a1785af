"""What the cluster has agreed on, for a broker that does not know it: the revoke revision and the paused queues.

They are kept by another store (`Stores.open_coordination`). Whoever takes calls needs them as they are now: a pause holds from
the return of `pause()`. To ask that store in each turn would make its time ours, and its trouble, too. So a thread asks it;
a turn that reserves or begins waits for the answer when the last one is older than `fresh_s`, but never longer than
`PATIENCE_S`, and not again before that store answers. Without turns nobody asks, unless something is paused: then the thread
looks every `LOOK_S` whether it was resumed.

So a pause holds `fresh_s` after its return, on every node whose coordination store answers; on one that is cut off from that
store, when it answers again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from sedano.contracts import Coordination
from sedano.exceptions import OperationalError

_logger = logging.getLogger("celery.worker")

FRESH_S = 0.02
PATIENCE_S = 0.25
LOOK_S = 0.2
AFTER_ERROR_S = 1.0


class Agreement(NamedTuple):
    """`paused` are queues of which nothing may be taken."""

    revision: int = 0
    paused: frozenset[str] = frozenset()


class Watch:
    """`open_coordination` is called in the thread. `now` and `known` belong to one other thread; `changed` is called in the
    watch's own when it has found something new."""

    def __init__(
        self,
        open_coordination: Callable[[], Coordination],
        changed: Callable[[], None] = lambda: None,
        *,
        fresh_s: float = FRESH_S,
    ) -> None:
        self._open, self._fresh_s = open_coordination, fresh_s
        self.changed = changed
        self.known = Agreement()
        self._coordination: Coordination | None = None
        self._asked, self._answered = threading.Event(), threading.Event()
        self._since = float("-inf")  # when the last answer was asked for
        self._ended = threading.Event()
        self._is_silent = False
        self._thread = threading.Thread(target=self._run, name="sedano-agreements", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._asked.set()

    def join(self, timeout_s: float) -> None:
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def hint(self) -> None:
        """A turn is likely to come soon: have the answer ready."""
        if time.monotonic() - self._since > self._fresh_s:
            self._asked.set()

    def now(self) -> Agreement:
        """What holds, as far as can be known in `PATIENCE_S`."""
        oldest = time.monotonic() - self._fresh_s  # an answer on its way may have been asked for before that
        until = time.monotonic() + PATIENCE_S
        while self._since < oldest and not self._ended.is_set():
            self._answered.clear()
            self._asked.set()
            if self._is_silent or (self._since < oldest and not self._answered.wait(until - time.monotonic())):
                self._is_silent = True
                break
        return self.known

    # -- the thread ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        retry_at = 0.0
        while not self._ended.is_set():
            if self._asked.wait(LOOK_S if self.known.paused else None):
                self._asked.clear()
            pause_s = retry_at - time.monotonic()
            if pause_s > 0:
                self._ended.wait(pause_s)
            try:
                self._look()
            except OperationalError as exc:
                _logger.debug("revokes and pauses cannot be read now: %s", exc)
            except Exception:
                _logger.critical("revokes and pauses cannot be read", exc_info=True)
            else:
                continue
            self._close()
            self._is_silent = True
            self._answered.set()
            retry_at = time.monotonic() + AFTER_ERROR_S
        self._close()

    def _look(self) -> None:
        if self._ended.is_set():
            return
        began = time.monotonic()
        if self._coordination is None:
            self._coordination = self._open()
        revision = self._coordination.revision()
        found = Agreement(revision, frozenset(pause.queue for pause in self._coordination.pauses()))
        is_news = found != self.known
        self.known, self._since, self._is_silent = found, began, False
        self._answered.set()
        if is_news:
            self.changed()

    def _close(self) -> None:
        if self._coordination is not None:
            self._coordination.close()
            self._coordination = None
