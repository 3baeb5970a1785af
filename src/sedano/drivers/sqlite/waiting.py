"""A slot's sleep: idle in the store's books while it waits for work, so that whoever brings some wakes it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

from sedano.drivers.sqlite.listening import Listener
from sedano.drivers.sqlite.queries import load
from sedano.drivers.sqlite.store import Step, Store, as_json
from sedano.exceptions import CeleryError, StoreFull

_LISTENERS, _QUEUES = load("listeners"), load("backlog")
_MARK_IDLE, _UNMARK_IDLE = _LISTENERS["mark-idle"], _LISTENERS["unmark-idle"]
_FORGET_QUEUES, _LISTEN_TO_QUEUE = _LISTENERS["forget-queues"], _LISTENERS["listen-to-queue"]
_QUEUES_WITH_WORK, _READY_NAMED = _LISTENERS["queues-with-work"], _QUEUES["ready-named"]


class Waiter:
    """Of one broker connection.

    `is_asleep`: marked idle, and nothing was heard since; the store has nothing for the queues, or a ring is on its way.
    `may_be_marked`: our row may say that we are idle, which must not stand while we work.
    """

    def __init__(self, store: Store, *, polls: bool) -> None:
        self._store = store
        self._polls = polls
        self._listener = Listener(store, "work", polls=polls)
        self._queues: frozenset[str] = frozenset()
        self.is_asleep = False
        self.may_be_marked = False

    def wait(self, queues: Sequence[str], timeout_s: float, fds: Sequence[int]) -> None:
        """See `Broker.wait`."""
        if self._listener.is_inherited:
            self._listen_anew(self._polls)
        deadline = time.monotonic() + max(0.0, timeout_s)
        if not (self.is_asleep and self._queues == frozenset(queues)) and not self._fall_asleep(queues):
            return
        while True:
            heard = self._listener.sleep(deadline, fds)
            if heard.rung:
                self.is_asleep = False
            if heard.rung or heard.over or self._has_work(queues):
                return

    def looked(self) -> None:
        """We are asleep, and have just looked by ourselves: there is nothing."""
        self._listener.looked()

    def leave(self, step: Step) -> bool:
        """Be busy, from this step on; whether somebody has woken us for work that we may not take."""
        self.is_asleep = False
        if not self.may_be_marked or self._listener.is_inherited:
            return False
        self.may_be_marked = False
        return step.db.execute(_UNMARK_IDLE, (self._listener.id,)).fetchone() is None

    def pass_on(self, step: Step) -> None:
        """Wake somebody else for the work that is there."""
        for (queue,) in step.db.execute(_QUEUES_WITH_WORK, (as_json([self._listener.id]),)).fetchall():
            step.readied(queue)

    def close(self) -> None:
        if self.may_be_marked and not self._listener.is_inherited:
            with contextlib.suppress(CeleryError), self._store.step() as step:
                if self.leave(step):
                    self.pass_on(step)
        self._listener.close()

    def _fall_asleep(self, queues: Sequence[str]) -> bool:
        """Mark ourselves idle unless there is work; False when there is."""
        if self._listener.polls or not queues:
            return not self._has_ready(queues)
        try:
            with self._store.step() as step:
                if step.db.execute(_READY_NAMED, (as_json(queues),)).fetchone() is not None:
                    return False
                if self._listener.enlist(step) or self._queues != frozenset(queues):
                    self._list_queues(step, frozenset(queues))
                marked = step.db.execute(_MARK_IDLE, (self._listener.id,)).fetchone() is not None
        except StoreFull:
            marked = False
        if not marked:  # struck off, or no room for the mark: nobody will wake us
            self._listen_anew(polls=True)
            return not self._has_ready(queues)
        self._queues = frozenset(queues)
        self.is_asleep = self.may_be_marked = True
        return True

    def _list_queues(self, step: Step, queues: frozenset[str]) -> None:
        mine = self._listener.id
        step.db.execute(_FORGET_QUEUES, (mine,))
        step.db.executemany(_LISTEN_TO_QUEUE, [(mine, queue) for queue in sorted(queues)])
        self._queues = frozenset()  # until the step is committed, nobody can say which

    def _has_work(self, queues: Sequence[str]) -> bool:
        """The look of a sleeper that was not rung."""
        if not queues:
            return False
        if not self._listener.polls and not self._listener.is_enlisted():
            self._listen_anew(polls=True)
        return self._has_ready(queues)

    def _has_ready(self, queues: Sequence[str]) -> bool:
        return bool(queues) and bool(self._store.query(_READY_NAMED, (as_json(queues),)))

    def _listen_anew(self, polls: bool) -> None:
        self._listener.close()
        self._listener = Listener(self._store, "work", polls=polls)
        self._queues = frozenset()
        self.is_asleep = self.may_be_marked = False
