"""Hears commands to this node and answers them, in Celery's form (wire-protocol 4): a thread with connections of its own.
What this node does not understand is answered with the error that Celery gives.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sedano.app.lamport import LamportClock
from sedano.app.panel import Panel
from sedano.contracts import Bus, Mailbox
from sedano.exceptions import MailboxInUse, OperationalError, UnreadableMessage
from sedano.protocol import control
from sedano.protocol.control import ControlRequest
from sedano.protocol.message import Message
from sedano.worker.control.stores import ControlStores
from sedano.worker.lines import one_line
from sedano.worker.reconnect import backoff
from sedano.worker.rounds import Rounds

_logger = logging.getLogger("celery.worker.control")
_pidbox = logging.getLogger("celery.pidbox")
_LISTEN_S = 60.0
MOST_SHOWN = 1000  # of what anybody can send, in lines of the log and in answers
SILENCE = object()
"""For a command that is not answered: whoever tells a Celery worker to stop hears nothing of it either."""


@dataclass(frozen=True, slots=True)
class NodeHands:
    """What a command may do to the node; called in the mailbox's thread, answered within a second or two.

    `shut_down()` begins a warm stop.
    """

    shut_down: Callable[[], None]


class NodeMailbox:
    """`start` it through `rounds`. `state` is what the user's commands are given, `answers` the questions about the node and
    `stores` the connections that these use."""

    def __init__(
        self,
        node: str,
        open_bus: Callable[[], Bus],
        hands: NodeHands,
        *,
        accept: Collection[str] | None,
        serializer: str = "json",
        state: Any = None,
        answers: Mapping[str, Callable[..., Any]] | None = None,
        clock: LamportClock | None = None,
        stores: ControlStores | None = None,
    ) -> None:
        self._clock = clock or LamportClock()
        self._state = state
        self._answers = answers or {}
        self._stores = stores
        self._node, self._hands, self._accept, self._serializer = node, hands, accept, serializer
        self._open_bus = open_bus
        self._bus: Bus | None = None
        self._mailbox: Mailbox | None = None
        self._waits = backoff()
        self._behind: deque[Callable[[], None]] = deque()
        self._has_listened = threading.Event()
        self._moves = self._has_complained = False
        self._commands: dict[str, Callable[[dict[str, Any]], Any]] = {
            "clock": lambda _: {"clock": self._clock.value},
            "ping": self._ping,
            "shutdown": self._shutdown,
        }
        self.rounds = Rounds("sedano-mailbox", self._round, self._end)

    @property
    def has_listened(self) -> bool:
        """Whether it was open at least once: from then on what is sent to this node is heard, or its connection broke."""
        return self._has_listened.is_set()

    def move(self) -> None:
        """Listen on the server that the node uses now. From any thread."""
        self._moves = True
        self.rounds.wake()

    def after_orders(self, do: Callable[[], None]) -> None:
        """Have `do` called in the mailbox's thread when the commands that have arrived by now are done. From any thread."""
        self._behind.append(do)
        self.rounds.wake()

    def _round(self) -> float:
        behind = len(self._behind)
        try:
            if self._moves:
                self._moves = False
                self._close_stores()
                self._waits = backoff()
            if self._bus is None:
                self._bus = self._open_bus()
            if self._mailbox is None:
                self._mailbox = self._bus.open_mailbox(self._node)
                self._has_listened.set()
                self._has_complained = False
            messages = self._mailbox.receive(0.0 if behind else _LISTEN_S, [self.rounds.fileno()])
            for message in messages:
                self._hear(message)
            if not messages:
                self._do(behind)
            self._waits = backoff()
        except OperationalError as exc:
            if isinstance(exc, MailboxInUse) and not self._has_complained:
                self._has_complained = True
                _pidbox.warning("%s This node hears no commands until then.", exc)
            _logger.debug("the mailbox has lost its connection: %s", exc)
            self._close_stores()
            self._do(behind)  # nothing more comes on this connection
            return next(self._waits)
        return 0.0

    def _do(self, count: int) -> None:
        for _ in range(count):
            self._behind.popleft()()

    # -- one command --------------------------------------------------------------------------------------------------

    def _hear(self, message: Message) -> None:
        try:
            asked = control.read_request(message, self._accept)
        except UnreadableMessage as exc:
            _pidbox.error("a command that cannot be read: %s", exc)
            return
        if not asked.concerns(self._node):
            return  # its `expires` is not looked at: the clocks of two machines cannot be compared
        self._clock.forward()
        self._clock.adjust(asked.clock)
        try:
            value = self._execute(asked)
        except OperationalError:
            raise
        except Exception as exc:  # the one who asked hears of it; the node goes on
            if not isinstance(exc, KeyError):
                _pidbox.error("control command %s failed", _shown(asked.method), exc_info=True)
            value = {"error": self._told(exc, asked.method)}
        if asked.reply_to is not None and self._bus is not None and value is not SILENCE:
            answer = self._answer(value, asked)
            try:
                self._bus.reply(asked.reply_to.exchange, asked.reply_to.routing_key, answer)
            except OperationalError:  # it may have broken while nobody used it: whoever has asked still waits
                self._bus.reconnect()
                self._bus.reply(asked.reply_to.exchange, asked.reply_to.routing_key, answer)
            except Exception as exc:  # an address that no store takes: others are waiting
                _pidbox.error("the answer to %s cannot be sent to where it is wanted: %r", _shown(asked.method), exc)

    def _answer(self, value: Any, asked: ControlRequest) -> Message:
        terms: Any = {"clock": self._clock.forward(), "serializer": self._serializer}
        try:
            return control.reply(self._node, value, asked, **terms)
        except Exception as exc:  # of somebody's own command: there is no form for it
            _pidbox.error("what the control command %s returned cannot be sent: %r", _shown(asked.method), exc)
            return control.reply(self._node, {"error": repr(exc)}, asked, **terms)

    def _told(self, exc: Exception, method: str) -> str:
        """What whoever asked reads: of wrong arguments, the command's name and not that of our function."""
        about = self._answers.get(method)
        if about is not None and isinstance(exc, TypeError) and str(exc).startswith(f"{about.__qualname__}()"):
            exc = TypeError(str(exc).replace(about.__qualname__, method, 1))
        return repr(exc)

    def _execute(self, asked: ControlRequest) -> Any:
        command = self._commands.get(asked.method)
        users = Panel.data.get(asked.method)
        about = self._answers.get(asked.method)
        if command is None and users is None and about is None:
            _pidbox.error("No such control command: %s", _shown(asked.method))
            raise KeyError(asked.method[:MOST_SHOWN])
        if _logger.isEnabledFor(logging.DEBUG):
            given = ", ".join(f"{k}={v!r}" for k, v in asked.arguments.items())
            _logger.debug("pidbox received method %s(%s)", asked.method, _shown(given))
        if users is not None:
            return users(self._state, **asked.arguments)
        if about is not None:
            return about(**asked.arguments)
        assert command is not None
        return command(asked.arguments)

    def _ping(self, _arguments: dict[str, Any]) -> Any:
        return {"ok": "pong"}

    def _shutdown(self, _arguments: dict[str, Any]) -> Any:
        _logger.warning("Got shutdown from remote")
        self._hands.shut_down()
        return SILENCE

    # -- the end ------------------------------------------------------------------------------------------------------

    def _close_stores(self) -> None:
        for store in (self._mailbox, self._bus):
            if store is not None:
                store.close()
        self._bus = self._mailbox = None
        if self._stores is not None:
            self._stores.close()

    def _end(self) -> None:
        self._close_stores()


def _shown(text: str) -> str:
    return one_line(text[:MOST_SHOWN])
