"""Being somebody who can be woken: a row among the listeners, an ear, and a look at the store now and then."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence

import msgspec

from sedano.drivers.sqlite.queries import load
from sedano.drivers.sqlite.store import Step, Store, as_json
from sedano.drivers.sqlite.wakeup import Bell, open_ear
from sedano.exceptions import CeleryError, StoreFull
from sedano.polling import POLLIN, new_poll

LOOK_S = 8.0  # a ring is lost only when somebody is killed between commit and ring
MAIL_LOOK_S = 30.0  # nobody waits any more for the answer to a request whose sender was killed
POLL_S = 0.5  # where nobody can ring
UNSEEN_S = 60.0  # a listener without an ear shows itself more often than this

_SQL = load("listeners")
_ENLIST, _IS_ENLISTED, _SEEN = _SQL["enlist"], _SQL["is-enlisted"], _SQL["seen"]
_ADDRESSES, _STRIKE_OFF_UNSEEN = _SQL["addresses"], _SQL["strike-off-unseen"]


class Heard(msgspec.Struct):
    """Why a sleep ended. `rung` are datagrams; `look`: the store has changed since the last look; `over`: a descriptor
    of the caller is readable, or the time is up."""

    rung: list[bytes] = msgspec.field(default_factory=list)
    look: bool = False
    over: bool = False


class Listener:
    """`kind` is work, results, mailbox, replies (see the schema) or events, whose `name` is a pattern of routing keys.
    Without an ear, `polls` is True from the start; it becomes so when somebody who could not reach us has struck us off
    (another container, another user).

    `missed` is the row's count as it was last seen.
    """

    def __init__(self, store: Store, kind: str, *, exchange: str = "", name: str = "", polls: bool = False) -> None:
        self._store = store
        self._kind, self._exchange, self._name = kind, exchange, name
        self._gets_mail = kind in ("mailbox", "replies", "events")
        self._ear = None if polls else open_ear()
        self._pid = os.getpid()
        self.polls = self._ear is None
        self.id: int | None = None
        self.missed = 0
        self._openings = 0
        self._version: tuple[int, int] | None = None
        self._next_look = 0.0
        self._shown_at = 0.0

    @property
    def is_inherited(self) -> bool:
        """Made before a fork: the ear is the parent's."""
        return self._pid != os.getpid()

    @property
    def _look_s(self) -> float:
        return POLL_S if self.polls else MAIL_LOOK_S if self._gets_mail else LOOK_S

    @property
    def address(self) -> str:
        return "" if self._ear is None else self._ear.address

    # -- the row ------------------------------------------------------------------------------------------------------

    def enlist(self, step: Step) -> bool:
        """Have a row, from this step on; whether it is a new one."""
        if self.id is not None and self._openings == self._store.connection.openings:
            return False
        if self.id is not None and self._row(step) is not None:
            self._openings = self._store.connection.openings
            return False
        if self.id is None:
            _strike_off_dead(step, self._store.clock.wall())
        given = (self._kind, self._exchange, self._name, self.address, self._store.clock.wall())
        (self.id,) = step.db.execute(_ENLIST, given).fetchone()
        self.missed = 0
        self._openings = self._store.connection.openings
        return True

    def is_enlisted(self) -> bool:
        """Look whether the row is still there, and how much was missed. When it is not, nobody can reach us: poll."""
        if self.id is None:
            return False
        rows = self._store.query(_IS_ENLISTED, (self.id, self.address))
        if rows:
            self.missed = rows[0][0]
            return True
        self.stop_listening()
        return False

    def stop_listening(self) -> None:
        """From now on only look; the row has to be made anew."""
        self.id = None
        self.polls = True
        if self._ear is not None:
            self._ear.close()
            self._ear = None

    def close(self) -> None:
        """Strike ourselves off."""
        if self._ear is not None:
            self._ear.close()
            self._ear = None
        mine, self.id = self.id, None
        if mine is not None and not self.is_inherited:
            with contextlib.suppress(CeleryError):  # whoever rings in vain will do it
                self._store.strike_off([mine])

    def looked(self) -> None:
        """The owner has just seen that there is nothing: the next look may wait."""
        self._next_look = time.monotonic() + self._look_s

    # -- sleeping -----------------------------------------------------------------------------------------------------

    def sleep(self, deadline: float, fds: Sequence[int] = ()) -> Heard:
        """Until something is rung, a descriptor of `fds` is readable, the store may have changed unheard, or `deadline`."""
        self._next_look = self._next_look or time.monotonic() + (0.0 if self.polls else self._look_s)
        while True:
            now = time.monotonic()
            readable = _poll([*fds] if self._ear is None else [self._ear.fileno(), *fds], min(deadline, self._next_look) - now)
            rung = self._ear.drain() if self._ear is not None and self._ear.fileno() in readable else []
            over = any(fd in readable for fd in fds)
            now = time.monotonic()
            if rung or over:
                return Heard(rung, over=over)
            if now >= self._next_look and self._has_changed(now):
                return Heard(look=True, over=now >= deadline)
            if now >= deadline:
                return Heard(over=True)

    def _has_changed(self, now: float) -> bool:
        self._next_look = now + self._look_s
        if self.polls and self.id is not None and now - self._shown_at > UNSEEN_S / 3:
            self._shown_at = now
            with contextlib.suppress(StoreFull), self._store.step() as step:
                step.db.execute(_SEEN, (self.id, self._store.clock.wall()))
        before, self._version = self._version, self._store.connection.version()
        return before != self._version

    def _row(self, step: Step) -> tuple[int] | None:
        row: tuple[int] | None = step.db.execute(_IS_ENLISTED, (self.id, self.address)).fetchone()
        return row


def _poll(fds: Sequence[int], timeout_s: float) -> set[int]:
    poll = new_poll()
    for fd in fds:
        poll.register(fd, POLLIN)
    return {fd for fd, _ in poll.poll(max(0.0, timeout_s * 1000))}


def _strike_off_dead(step: Step, now: float) -> None:
    """Listeners that were killed would be found by those who ring them; nobody may ever ring some. Done when one comes new."""
    step.db.execute(_STRIKE_OFF_UNSEEN, (now - UNSEEN_S,))
    addresses = step.db.execute(_ADDRESSES).fetchall()
    dead = [listener for listener, address in addresses if Bell.is_gone(address)]
    if dead:
        step.db.execute(_SQL["strike-off"], (as_json(dead),))
