"""Publish from any thread, process and event loop.

Whoever gets the connection publishes for all that wait, in one round trip; alone, a caller publishes in its own thread.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sedano.contracts.broker import Broker
from sedano.contracts.queues import QueueSpec
from sedano.contracts.settlement import Outgoing
from sedano.crashpoints import reach
from sedano.exceptions import BrokerUnavailable, OperationalError, SoftTimeLimitExceeded
from sedano.log import get_logger
from sedano.result.forking import on_fork
from sedano.rules.retry import publish_intervals

if TYPE_CHECKING:
    from sedano.app.detour import Detour

logger = get_logger(__name__)

MOST_MESSAGES = 1000
MOST_BYTES = 4 << 20
"""How much is published in one step, unless one message is larger: enough that a round trip costs nothing by comparison,
and little enough that the server stays at everybody's service."""

INTERRUPTED = OperationalError("Publishing was interrupted; whether the broker has the call is not known.")


class Waiting:
    """What one caller wants published. `done` is set when it was tried; `error` tells what went wrong, None for nothing."""

    __slots__ = ("declare", "done", "error", "messages")

    @property
    def size(self) -> int:
        """Bytes of all bodies."""
        return sum(len(message.message.body) for message in self.messages)

    def __init__(self, messages: Sequence[Outgoing], declare: Sequence[QueueSpec]) -> None:
        self.messages, self.declare = messages, declare
        self.done = False
        self.error: Exception | None = INTERRUPTED


class Sender:
    """One connection for publishing per process, shared by all threads; opened on first use and again after a fork.

    `on_open` is called when a connection is opened; what it returns, if anything, before each publish on it. `detour` knows of
    other servers: what `open_broker` opens is its choice.
    """

    def __init__(
        self,
        open_broker: Callable[[], Broker],
        on_open: Callable[[], Callable[[], None] | None] | None = None,
        detour: Detour | None = None,
    ) -> None:
        self._open_broker = open_broker
        self._on_open = on_open
        self._detour = detour
        self._prepare: Callable[[], None] | None = None
        self._waiting: deque[Waiting] = deque()
        self._lock = threading.Lock()
        self._broker: Broker | None = None
        self._is_broken = False
        self._declared: set[tuple[str, str, str]] = set()
        self._declared_at_once: dict[int, Sequence[QueueSpec]] = {}  # the same, by the identity of a caller's list
        on_fork(self, Sender._forget)

    def publish(
        self,
        messages: Sequence[Outgoing],
        *,
        declare: Sequence[QueueSpec] = (),
        retry: bool = True,
        policy: Mapping[str, Any] | None = None,
    ) -> None:
        """Returns when the store has accepted all `messages`.

        Retries as `policy` (task_publish_retry_policy) says while the broker is away, then raises OperationalError with
        the cause. StoreFull, MessageTooLarge and an exchange that leads nowhere are raised at once.
        """
        error = self.attempt(messages, declare)
        if error is not None and retry:
            for wait_s in waits(policy or {}):
                if not is_worth_another_try(error, policy or {}):
                    break
                time.sleep(wait_s)
                error = self.attempt(messages, declare)
                if error is None:
                    break
        raise_publish_error(error)

    def attempt(self, messages: Sequence[Outgoing], declare: Sequence[QueueSpec] = ()) -> Exception | None:
        """Publish once, with what other threads wait for; returns what went wrong with `messages`, or None."""
        mine = Waiting(messages, declare)
        self.submit([mine])
        return mine.error

    def submit(self, items: Sequence[Waiting]) -> None:
        """Publish all `items`, and whatever waits by then, in as few steps as bounds allow; returns when each is `done`."""
        self._waiting.extend(items)
        last = items[-1]
        with self._lock:
            # Whoever had the lock before may have published these too. First come, first served: the last one is the last.
            while not last.done:
                self._publish(self._next_batch())

    def _next_batch(self) -> list[Waiting]:
        waiting = self._waiting
        batch = [waiting.popleft()]
        if not waiting:
            return batch
        count, size = len(batch[0].messages), batch[0].size
        while waiting:
            count += len(waiting[0].messages)
            size += waiting[0].size
            if count > MOST_MESSAGES or size > MOST_BYTES:
                break
            batch.append(waiting.popleft())
        return batch

    def _publish(self, batch: list[Waiting]) -> None:
        try:
            self._send(batch)
            for item in batch:
                item.error = None
        except SoftTimeLimitExceeded:  # it is this thread's own, and nobody knows what was published
            raise
        except Exception as exc:  # every caller is told its own error
            refused = exc.refused if isinstance(exc, OperationalError) else None
            if refused is not None:
                _tell_refused(batch, refused, exc)
                return
            if len(batch) > 1 and not isinstance(exc, BrokerUnavailable):
                # One message that the store refuses must not fail its neighbours: nothing was applied, so go singly.
                for item in batch:
                    self._publish([item])
                return
            for item in batch:
                item.error = exc
        finally:
            for item in batch:
                item.done = True

    def _send(self, batch: list[Waiting]) -> None:
        broker = self._ready(batch)
        messages = batch[0].messages if len(batch) == 1 else [message for item in batch for message in item.messages]
        try:
            reach("sender.publish.before")
            broker.publish(messages)
            reach("sender.publish.after")
        except BaseException as exc:
            self._note(exc)
            raise

    def _ready(self, batch: list[Waiting]) -> Broker:
        """A connection on which the batch's queues are declared: nothing is sent yet, so that another server may be taken."""
        detour = self._detour
        if detour is not None and detour.is_away and detour.is_over([spec for item in batch for spec in item.declare]):
            self._leave()
        moves = 0
        while True:
            try:
                broker = self._connection()
                self._declare(broker, batch)
                if self._prepare is not None:
                    self._prepare()
            except BaseException as exc:
                self._note(exc)
                if detour is None or moves >= detour.others or not isinstance(exc, BrokerUnavailable):
                    raise
                self._leave()
                detour.move(exc)
                moves += 1
            else:
                return broker

    def _note(self, exc: BaseException) -> None:
        if isinstance(exc, BrokerUnavailable | SoftTimeLimitExceeded) or not isinstance(exc, Exception):
            self._is_broken = True
            self._forget_declared()

    def _leave(self) -> None:
        """Let go of this server's connection; the next use opens another one."""
        broker, self._broker = self._broker, None
        self._is_broken = False
        self._forget_declared()
        if broker is not None:
            broker.close()

    def _connection(self) -> Broker:
        if self._broker is None:
            self._broker = self._open_broker()
            if self._on_open is not None:
                self._prepare = self._on_open()
        elif self._is_broken:
            self._broker.reconnect()
        self._is_broken = False
        return self._broker

    def _declare(self, broker: Broker, batch: list[Waiting]) -> None:
        new: list[QueueSpec] = []
        for item in batch:
            if id(item.declare) in self._declared_at_once:
                continue
            self._declared_at_once[id(item.declare)] = item.declare
            for spec in item.declare:
                key = (spec.name, spec.exchange, spec.routing_key)
                if key not in self._declared:
                    self._declared.add(key)
                    new.append(spec)
        if new:
            try:
                broker.declare(new)
            except BaseException:
                self._forget_declared()
                raise

    def _forget_declared(self) -> None:
        self._declared.clear()
        self._declared_at_once.clear()

    def close(self) -> None:
        """Close the connection; the next publish opens a new one."""
        with self._lock:
            self._leave()

    def _forget(self) -> Any:
        """In a forked child: the connection and the lock are the parent's."""
        left = (self._broker, self._lock, self._waiting)
        self._broker, self._lock, self._waiting = None, threading.Lock(), deque()
        self._is_broken = False
        self._declared, self._declared_at_once = set(), {}
        return left


def _tell_refused(batch: Sequence[Waiting], refused: frozenset[int], error: Exception) -> None:
    """The store has the messages of `batch`, but for those at the places `refused`."""
    place = 0
    for item in batch:
        end = place + len(item.messages)
        item.error = None if refused.isdisjoint(range(place, end)) else error
        place = end


def waits(policy: Mapping[str, Any]) -> Iterator[float]:
    """Seconds to wait before each further try, as long as the policy's `timeout` (seconds in all) allows."""
    timeout_s = policy.get("timeout")
    give_up = time.monotonic() + timeout_s if timeout_s else float("inf")
    for wait_s in publish_intervals(policy):
        if time.monotonic() + wait_s > give_up:
            return
        yield wait_s


def is_worth_another_try(error: Exception, policy: Mapping[str, Any]) -> bool:
    """Whether the broker was away, or the policy's `retry_errors` name the error."""
    return isinstance(error, (BrokerUnavailable, *(policy.get("retry_errors") or ())))


def raise_publish_error(error: Exception | None) -> None:
    """Raise `error` as callers know it: an unavailable broker is an OperationalError whose cause is the driver's error."""
    if error is None:
        return
    if isinstance(error, BrokerUnavailable):
        raise OperationalError(f"The broker cannot be reached, the call was not sent: {error}") from error
    raise error
