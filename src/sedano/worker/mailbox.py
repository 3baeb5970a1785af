"""Hears commands to this node and answers them, in Celery's form (wire-protocol 4): a thread with connections of its own.
What this node does not understand is answered with the error that Celery gives.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sedano.app.lamport import LamportClock
from sedano.app.panel import Panel
from sedano.contracts import Bus, Coordination, Mailbox, Revoke
from sedano.exceptions import OperationalError, UnreadableMessage
from sedano.protocol import control
from sedano.protocol.control import ControlRequest
from sedano.protocol.message import Message
from sedano.worker.lines import one_line
from sedano.worker.reconnect import backoff
from sedano.worker.rounds import Rounds
from sedano.worker.stopsignals import signal_number

_logger = logging.getLogger("celery.worker.control")
_pidbox = logging.getLogger("celery.pidbox")
REVOKES_KEPT_S = 10800.0  # as long as Celery keeps a revoke
_LISTEN_S = 60.0


@dataclass(frozen=True, slots=True)
class NodeHands:
    """What a command may do to the node; called in the mailbox's thread, answered within a second or two.

    `terminate(ids, signum)` ends the running calls among `ids` and returns their ids. `shut_down()` begins a warm stop.
    """

    terminate: Callable[[Collection[str], int], list[str]]
    shut_down: Callable[[], None]


class NodeMailbox:
    """`start` it through `rounds`. `state` is what the user's commands are given, `answers` the questions about the node."""

    def __init__(
        self,
        node: str,
        open_bus: Callable[[], Bus],
        open_coordination: Callable[[], Coordination],
        hands: NodeHands,
        *,
        accept: Collection[str] | None,
        serializer: str = "json",
        state: Any = None,
        answers: Mapping[str, Callable[..., Any]] | None = None,
        clock: LamportClock | None = None,
    ) -> None:
        self._clock = clock or LamportClock()
        self._state = state
        self._answers = answers or {}
        self._node, self._hands, self._accept, self._serializer = node, hands, accept, serializer
        self._open_bus, self._open_coordination = open_bus, open_coordination
        self._bus: Bus | None = None
        self._mailbox: Mailbox | None = None
        self._coordination: Coordination | None = None
        self._waits = backoff()
        self._has_listened = threading.Event()
        self._moves = False
        self._commands: dict[str, Callable[[dict[str, Any]], Any]] = {
            "clock": lambda _: {"clock": self._clock.value},
            "dump_revoked": self._revoked,
            "hello": self._hello,
            "ping": self._ping,
            "revoke": self._revoke,
            "revoked": self._revoked,
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

    def _round(self) -> float:
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
            for message in self._mailbox.receive(_LISTEN_S, [self.rounds.fileno()]):
                self._hear(message)
            self._waits = backoff()
        except OperationalError as exc:
            _logger.debug("the mailbox has lost its connection: %s", exc)
            self._close_stores()
            return next(self._waits)
        return 0.0

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
                _pidbox.error("control command %r failed", asked.method, exc_info=True)
            value = {"error": repr(exc)}
        if asked.reply_to is not None and self._bus is not None:
            answer = control.reply(self._node, value, asked, clock=self._clock.forward(), serializer=self._serializer)
            self._bus.reply(asked.reply_to.exchange, asked.reply_to.routing_key, answer)

    def _execute(self, asked: ControlRequest) -> Any:
        command = self._commands.get(asked.method)
        users = Panel.data.get(asked.method)
        about = self._answers.get(asked.method)
        if command is None and users is None and about is None:
            _pidbox.error("No such control command: %s", asked.method)
            raise KeyError(asked.method)
        _logger.debug(
            "pidbox received method %s(%s)", asked.method, ", ".join(f"{k}={v!r}" for k, v in asked.arguments.items())
        )
        if users is not None:
            return users(self._state, **asked.arguments)
        if about is not None:
            return about(**asked.arguments)
        assert command is not None
        return command(asked.arguments)

    def _ping(self, _arguments: dict[str, Any]) -> Any:
        return {"ok": "pong"}

    def _hello(self, arguments: dict[str, Any]) -> Any:
        """A node that starts asks what was revoked, and tells what it knows."""
        if arguments.get("from_node") == self._node:
            return None
        _logger.info("sync with %s", arguments.get("from_node"))
        told = [str(task_id) for task_id in arguments.get("revoked") or ()]  # a list of ids, or a map from them
        _, known = self._revokes().revokes()
        ids = [order.task_id for order in known]
        news = [Revoke(task_id) for task_id in told if task_id not in set(ids)]
        if news:
            self._revokes().revoke(news, keep_s=REVOKES_KEPT_S)
        return {"revoked": ids, "clock": self._clock.value}

    def _revoke(self, arguments: dict[str, Any]) -> Any:
        given = arguments.get("task_id")
        ids = [str(task_id) for task_id in (given if isinstance(given, list | tuple | set) else [given]) if task_id]
        terminate = bool(arguments.get("terminate"))
        number = signal_number(arguments.get("signal") or "SIGTERM")
        orders = [Revoke(task_id, terminate, number.name) for task_id in dict.fromkeys(ids)]
        if orders:
            self._revokes().revoke(orders, keep_s=REVOKES_KEPT_S)
        if terminate:
            ended = self._hands.terminate(set(ids), number)
            return {"ok": f"terminate: {', '.join(ended)}" if ended else "terminate: tasks unknown"}
        _logger.info("Tasks flagged as revoked: %s", one_line(", ".join(ids)))
        return {"ok": f"tasks {set(ids)} flagged as revoked"}

    def _revoked(self, _arguments: dict[str, Any]) -> list[str]:
        return [order.task_id for order in self._revokes().revokes()[1]]

    def _shutdown(self, _arguments: dict[str, Any]) -> Any:
        _logger.warning("Got shutdown from remote")
        self._hands.shut_down()

    def _revokes(self) -> Coordination:
        if self._coordination is None:
            self._coordination = self._open_coordination()
        return self._coordination

    # -- the end ------------------------------------------------------------------------------------------------------

    def _close_stores(self) -> None:
        for store in (self._mailbox, self._coordination, self._bus):
            if store is not None:
                store.close()
        self._bus = self._mailbox = self._coordination = None

    def _end(self) -> None:
        self._close_stores()
