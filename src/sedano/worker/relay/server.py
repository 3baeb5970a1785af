"""The relay's thread: owns the broker, and serves it to whoever connects.

    wait in the broker (it answers its server's heartbeats there) ──► until a client asks, or there may be work
      ▲                                                                  │
      └── one was told of the work ◄── serve all that have asked ◄───────┘

Requests that have come together are served in one go; if the broker can do several turns with one flush (`TurnsAtOnce`), all
their turns are one call.

When the broker becomes unavailable, everybody who waits is told so. The first that asks to reconnect makes it so for all.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, runtime_checkable

import msgspec

from sedano.contracts import Broker, Delivery, Depth, Lease, Standing, TurnOrder, TurnReply
from sedano.exceptions import BrokerUnavailable, OperationalError, ResultsUnavailable
from sedano.worker.relay.clients import Client, Clients
from sedano.worker.relay.protocol import (
    AHEAD,
    ANSWER,
    BY_CODE,
    ERROR,
    QUEUES,
    TROUBLE,
    VALID,
    WAIT,
    WORK,
    Method,
    note,
    pack,
    trouble_of,
)
from sedano.worker.relay.waiters import Waiters
from sedano.worker.relay.watch import Agreement, Watch

_logger = logging.getLogger("celery.worker")

IDLE_S = 5.0
PUMP_S = 0.005  # under load the broker is given the word at least so often
DOUBT_S = 0.02  # so long nobody has looked for work besides serving: have the next one look
RETRY_S = 0.5
_work = note(WORK)
_valid = note(VALID)
_relays: weakref.WeakSet[Relay] = weakref.WeakSet()


@runtime_checkable
class TurnsAtOnce(Protocol):
    """A broker that can do the turns of several slots with one flush."""

    def turn_all(self, orders: Sequence[TurnOrder]) -> list[TurnReply | Exception]:
        """What `turn` would return or raise for each of `orders`, done in this order. Raises BrokerUnavailable for all."""
        ...


@runtime_checkable
class TurnsAhead(Protocol):
    """A broker that need not wait for its server before it takes the next turn."""

    def turn_ahead(self, order: TurnOrder) -> tuple[TurnReply, int]:
        """What `turn` returns, and a mark: the reply is for nobody before it is `reached`; 0: it may go out at once."""
        ...

    def reached(self, mark: int) -> bool:
        """Whether it is. Raises BrokerUnavailable when that will never be known. `wait` returns when one is."""
        ...


class Relay:
    """Serves what `open_broker` opens (in the relay's thread) at `path`. `watch` is started and stopped with it.

    `start` before the first client; `stop` lets the clients finish for `grace_s`, and `join` waits for the end: by then all
    leases that were taken here are retired, so that what was reserved has gone back, and the broker is closed.
    """

    def __init__(self, path: str, open_broker: Callable[[], Broker], watch: Watch | None = None) -> None:
        self.path = path
        self._open, self._watch = open_broker, watch
        self._broker: Broker | None = None
        self._at_once: TurnsAtOnce | None = None
        self._ahead: TurnsAhead | None = None
        self._kept: deque[tuple[int, Client]] = deque()  # whose replies are not valid before a mark is reached
        self._leases: dict[str, Lease] = {}
        self._waiters: Waiters[Client] = Waiters()
        self._clients = Clients(path, gone=self._waiters.forget)
        self._trouble: Exception | None = None
        self._retry_at = 0.0
        self._pumped_at = self._looked_at = 0.0
        self._ends_at: float | None = None
        self._bell = os.pipe()
        for fd in self._bell:
            os.set_blocking(fd, False)
        self._bell_lock = threading.Lock()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="sedano-relay", daemon=True)
        if watch is not None:
            watch.changed = self._ring
        _relays.add(self)

    # -- from other threads -------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Clients can connect when this returns. Safe twice. Raises OSError when the socket cannot be made."""
        if self._thread.ident is not None:
            return
        self._clients.listen()
        if self._watch is not None:
            self._watch.start()
        self._thread.start()

    def stop(self, grace_s: float = 1.0) -> None:
        """End when all clients have left, at latest after `grace_s`."""
        if self._ends_at is None:
            self._ends_at = time.monotonic() + grace_s
        self._ring()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end; False when it did not come in time."""
        if self._thread.ident is None:
            self._close()
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _ring(self) -> None:
        with self._bell_lock, contextlib.suppress(BlockingIOError):
            if not self._is_closed:
                os.write(self._bell[1], b"r")

    # -- the loop -----------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        self._clients.watch(self._bell[0], self._hear_bell)
        try:
            while not self._is_over():
                try:
                    self._step()
                except Exception:  # a node without its broker is of no use: go on, whatever it was
                    _logger.critical("the relay: an error that nobody expected; going on", exc_info=True)
                    time.sleep(0.1)
        finally:
            self._leave()

    def _is_over(self) -> bool:
        return self._ends_at is not None and (not self._clients or time.monotonic() >= self._ends_at)

    def _step(self) -> None:
        now = time.monotonic()
        events = self._clients.ready(0)
        if not events or self._kept or now - self._pumped_at > PUMP_S:
            self._wait(now, is_idle=not events)
            events = events or self._clients.ready(0)
        asked: list[tuple[Client, Method, Any]] = []
        for client, code, said in self._clients.hear(events):
            self._take(client, code, said, asked)
        if asked:
            self._serve(asked)
        if events and len(self._waiters) and time.monotonic() - self._looked_at > DOUBT_S:
            self._wake_one()

    def _wait(self, now: float, *, is_idle: bool) -> None:
        """Give the broker the word: until somebody asks, or there may be work, which one of those who wait is told."""
        queues = self._waiters.queues(now, self._paused)
        timeout_s = 0.0 if not is_idle else IDLE_S
        if (expected := self._waiters.expected_in(now)) is not None:
            timeout_s = min(timeout_s, expected)
        if self._ends_at is not None:
            timeout_s = min(timeout_s, max(0.0, self._ends_at - now))
        if self._broker is None or (self._trouble is not None and not self._kept):
            self._clients.ready(timeout_s)
            self._looked_at = time.monotonic()
            return
        try:
            self._broker.wait(sorted(queues), timeout_s, [self._clients.fileno()])
        except OperationalError as exc:
            self._break(exc)
        except Exception as exc:  # whoever asks must be served all the same: by a connection that was made anew
            _logger.critical("the broker has raised what nobody expected; its connection is given up", exc_info=True)
            self._break(BrokerUnavailable(f"its connection is given up: {exc!r}"))
        self._pumped_at = time.monotonic()
        if is_idle:
            self._looked_at = self._pumped_at  # it could sleep: there was nothing
        if self._give_out():
            return
        if is_idle and queues and self._trouble is None and self._pumped_at - now < timeout_s and not self._clients.ready(0):
            self._wake_one()

    def _wake_one(self) -> None:
        now = self._looked_at = time.monotonic()
        client = self._waiters.next(now, self._paused)
        if client is not None:
            if self._watch is not None:
                self._watch.hint()
            self._clients.send(client, _work)

    def _break(self, exc: Exception) -> None:
        """The broker is unavailable: all who wait hear of it, and reconnect."""
        if self._trouble is None:
            self._retry_at = 0.0
        self._trouble = exc
        kept, self._kept = self._kept, deque()
        for _, client in kept:
            self._answer(client, ERROR, trouble_of(exc))
        frame = note(TROUBLE, trouble_of(exc))
        for client in self._waiters.clear():
            self._clients.send(client, frame)

    @property
    def _paused(self) -> frozenset[str]:
        return self._watch.known.paused if self._watch is not None else frozenset()

    def _hear_bell(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._bell[0], 4096)

    def _take(self, client: Client, code: int, said: bytes, asked: list[tuple[Client, Method, Any]]) -> None:
        """What a client has said; requests go to `asked`."""
        self._waiters.forget(client)  # whatever it wants: it is awake
        try:
            if code == WAIT:
                self._add_waiter(client, QUEUES.decode(said))
            else:
                asked.append((client, BY_CODE[code], BY_CODE[code].asks.decode(said)))
        except msgspec.DecodeError as exc:
            self._answer(client, ERROR, trouble_of(ValueError(f"the relay cannot read a request: {exc}")))

    def _add_waiter(self, client: Client, queues: Sequence[str]) -> None:
        if self._trouble is not None:
            self._clients.send(client, note(TROUBLE, trouble_of(self._trouble)))
        else:
            self._waiters.add(client, queues)

    def _answer(self, client: Client, kind: int, value: Any) -> bool:
        """Whether it was that, and not an error instead."""
        try:
            self._clients.say(client, kind, value)
        except Exception as exc:  # a driver has read what has no form here
            if isinstance(value, TurnReply) and any(delivery.message is not None for delivery in value.reserved):
                for delivery in value.reserved:
                    _hide_if_formless(delivery)
                return self._answer(client, kind, value)
            _logger.error("an answer of the broker cannot be passed on: %r", exc)
            self._clients.say(client, ERROR, trouble_of(exc))
            return False
        return True

    # -- requests -----------------------------------------------------------------------------------------------------

    def _serve(self, asked: list[tuple[Client, Method, Any]]) -> None:
        turns = [(client, order) for client, method, order in asked if method.name == "turn"]
        together = self._at_once if len(turns) > 1 and self._trouble is None else None
        if together is not None:
            self._serve_together(together, turns)
        for client, method, arguments in asked:
            if method.name != "turn":
                self._answer(client, *self._done(partial(self._do, method, arguments)))
            elif together is None:
                kind, said = self._done(partial(self._turn, arguments))
                if kind != ANSWER:
                    self._answer(client, kind, said)
                    continue
                reply, mark = said
                if self._answer(client, AHEAD if mark else ANSWER, reply) and mark:
                    self._kept.append((mark, client))
                self._pass_on(arguments, reply)

    def _give_out(self) -> bool:
        """Tell those whose marks are reached; whether there was one."""
        gave = False
        while self._kept and self._ahead is not None:
            mark, client = self._kept[0]
            kind, is_reached = self._done(partial(self._ahead.reached, mark))
            if kind != ANSWER:
                return True  # everybody has been told
            if not is_reached:
                break
            self._kept.popleft()
            self._clients.send(client, _valid)
            gave = True
        return gave

    def _serve_together(self, broker: TurnsAtOnce, turns: Sequence[tuple[Client, TurnOrder]]) -> None:
        agreed = self._agreed(any(order.reserve or order.begin for _, order in turns))
        try:
            orders = [self._heeding(order, agreed) for _, order in turns]
            replies = broker.turn_all(orders)
        except Exception as exc:
            replies = [exc] * len(turns)
        for (client, order), reply in zip(turns, replies, strict=True):
            kind, said = self._done(partial(self._shown, reply, agreed))
            self._answer(client, kind, said)
            self._pass_on(order, said)

    def _done(self, action: Callable[[], Any]) -> tuple[int, Any]:
        """What to answer: what `action` returns, or raises."""
        try:
            return ANSWER, action()
        except (BrokerUnavailable, ResultsUnavailable) as exc:
            self._break(exc)
            return ERROR, trouble_of(exc)
        except Exception as exc:  # of whoever asked
            trouble = trouble_of(exc)
            if trouble.name == "RuntimeError":
                _logger.error("the broker has raised what nobody expected: %r", exc, exc_info=True)
            return ERROR, trouble

    def _do(self, method: Method, arguments: tuple[Any, ...]) -> Any:
        if method.name == "reconnect":
            return self._reconnect()
        broker = self._connected()
        if method.name == "capabilities":
            return msgspec.structs.replace(broker.capabilities, many_processes=True, wait_fds=True)
        split = len(arguments) - len(method.named)
        answer = getattr(broker, method.name)(*arguments[:split], **dict(zip(method.named, arguments[split:], strict=True)))
        if method.name in ("register", "refence"):
            self._leases[answer.owner] = answer
        elif method.name == "retire":
            self._leases.pop(arguments[0].owner, None)
        elif method.name == "leases":  # some were taken over
            alive = {record.owner for record in answer}
            self._leases = {owner: lease for owner, lease in self._leases.items() if owner in alive}
        elif method.name == "depth" and self._watch is not None:
            paused = self._watch.now().paused
            return [_paused(depth) if depth.queue in paused else depth for depth in answer]
        return answer

    def _connected(self) -> Broker:
        if self._broker is None:
            broker = self._broker = self._open()
            self._at_once = broker if isinstance(broker, TurnsAtOnce) else None
            self._ahead = broker if isinstance(broker, TurnsAhead) else None
        return self._broker

    def _reconnect(self) -> None:
        if self._broker is None:
            self._connected()
            self._trouble = None
            return
        if self._trouble is None:
            return
        if time.monotonic() < self._retry_at:
            raise self._trouble
        try:
            self._broker.reconnect()
        except Exception as exc:
            self._trouble, self._retry_at = exc, time.monotonic() + RETRY_S
            raise
        self._trouble = None

    # -- turns --------------------------------------------------------------------------------------------------------

    def _turn(self, order: TurnOrder) -> tuple[TurnReply, int]:
        """The reply, and the mark before which nobody may have it."""
        broker = self._connected()
        agreed = self._agreed(bool(order.reserve or order.begin))
        order = self._heeding(order, agreed)
        if self._ahead is not None:
            reply, mark = self._ahead.turn_ahead(order)
            return self._shown(reply, agreed), mark
        reply = broker.turn(
            order.lease, settle=order.settle, delay=order.delay, begin=order.begin, reserve=order.reserve,
            queues=order.queues, stored=order.stored, begin_new=order.begin_new,
        )  # fmt: skip
        return self._shown(reply, agreed), 0

    def _agreed(self, takes: bool) -> Agreement | None:
        """What the cluster has agreed on; as it is now for who `takes` something."""
        if self._watch is None:
            return None
        return self._watch.now() if takes else self._watch.known

    def _heeding(self, order: TurnOrder, agreed: Agreement | None) -> TurnOrder:
        """The same, but that nothing of a paused queue is reserved or begun."""
        if agreed is None or not agreed.paused:
            return order
        begin = order.begin
        if begin:
            held = self._connected().held([order.lease.owner], limit=len(begin), tags=[one.tag for one in begin])
            waiting = {
                delivery.tag for delivery in held if delivery.standing is Standing.RESERVED and delivery.queue in agreed.paused
            }
            begin = [one for one in begin if one.tag not in waiting] if waiting else begin
        queues = [name for name in order.queues if name not in agreed.paused]
        return msgspec.structs.replace(order, begin=begin, queues=queues, reserve=order.reserve if queues else 0)

    def _shown(self, reply: TurnReply | Exception, agreed: Agreement | None) -> TurnReply:
        if isinstance(reply, Exception):
            raise reply
        if agreed is not None:
            reply.revision = agreed.revision
            reply.paused |= agreed.paused
        return reply

    def _pass_on(self, order: TurnOrder, reply: Any) -> None:
        """Who has got all that it asked for leaves something to the next one."""
        if order.reserve and isinstance(reply, TurnReply) and (reply.more or len(reply.reserved) >= order.reserve):
            self._wake_one()

    # -- the end ------------------------------------------------------------------------------------------------------

    def _leave(self) -> None:
        """What the leases still hold goes back at once."""
        if self._broker is not None:
            try:
                for lease in list(self._leases.values()) if self._trouble is None else ():
                    with contextlib.suppress(Exception):  # lost, or retired by another way
                        self._broker.retire(lease)
                self._broker.close()
            except Exception:
                _logger.exception("the relay: an error at the end")
        if self._watch is not None:
            self._watch.stop()
            self._watch.join(PUMP_S)
        self._close()

    def _close(self) -> None:
        self._clients.close()
        with self._bell_lock:
            if not self._is_closed:
                self._is_closed = True
                for fd in self._bell:
                    os.close(fd)

    def forked(self) -> None:
        """In a child."""
        self._clients.leave_behind()


def _paused(depth: Depth) -> Depth:
    return msgspec.structs.replace(depth, paused=True)


def _hide_if_formless(delivery: Delivery) -> None:
    try:
        pack(ANSWER, delivery, bytearray())
    except Exception as exc:  # whatever a message can hold
        delivery.message, delivery.unreadable = None, f"it cannot be passed on to a process: {exc}"


def _leave_behind() -> None:
    for relay in list(_relays):
        relay.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_behind)
