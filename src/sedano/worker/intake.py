"""What to do with a delivery that was just reserved: hold it to run it, settle it unrun, or delay it.

Only what will run is begun: known here, readable, not expired, not revoked, due. The rest is settled or delayed straight from
its reservation, so that nothing a producer can send makes a window.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from datetime import datetime

from sedano import signals
from sedano.contracts import Delay, Delivery, Settlement
from sedano.contracts.coordination import revoking_stamp
from sedano.exceptions import NotRegistered, UnreadableMessage
from sedano.protocol.call import Body, Call, read, read_body
from sedano.protocol.envelope import parked_until
from sedano.protocol.message import Message
from sedano.protocol.saferepr import saferepr
from sedano.rules.parking import park_until
from sedano.worker import lines
from sedano.worker.announced import Announced
from sedano.worker.cancelled import is_part
from sedano.worker.consumer import Consumer
from sedano.worker.context import SlotOptions
from sedano.worker.held import Held, is_harmless, request_of
from sedano.worker.request import Request
from sedano.worker.settle import Settler
from sedano.worker.teller import Teller
from sedano.worker.terms import TaskTerms

_logger = logging.getLogger("celery.worker.strategy")

Decision = Held | Settlement | Delay

DECODED_AT_ONCE = 64 * 1024
"""Bodies up to this many bytes are decoded before the call is begun, so that what cannot be read never is. A bigger one, or
one whose reading runs code, might kill the process: that has to be counted, so it is decoded inside the window."""


class Intake:
    """Decides about deliveries. `revoked` is asked for membership only, `stamps` are what `revoked_stamps` gives; both may be
    replaced at any time.

    `was_successful(task_id)` looks into the result store; it is asked about redeliveries of tasks that want it.
    """

    def __init__(
        self,
        settler: Settler,
        node: str,
        options: SlotOptions,
        was_successful: Callable[[str], bool],
        teller: Teller | None = None,
        announced: Announced | None = None,
    ) -> None:
        self.teller = teller  # what is received, refused and given up is told there
        self.revoked: Collection[str] = frozenset()
        self.stamps: Mapping[str, frozenset[str]] = {}
        self._settler = settler
        self._announced = Announced() if announced is None else announced
        self._node = node
        self._consumer = Consumer(settler.app, node)
        self._most = options.max_deliveries
        self._unknown_timeout_s = options.unknown_timeout_s
        self._clock = options.clock
        self._was_successful = was_successful
        self._accept, self._tz = settler.message_terms.accept, settler.message_terms.tz

    def decide(self, delivery: Delivery, now: float) -> Decision:
        """`now` is wall seconds. Never raises for anything that a message can hold; writes the log line that belongs to it."""
        message = delivery.message
        if message is None:
            return self._unreadable(delivery, UnreadableMessage(delivery.unreadable))
        try:
            call = read(message, tz=self._tz, accept=self._accept)
        except UnreadableMessage as exc:
            return self._unreadable(delivery, exc)
        terms = self._settler.book.find(call.task)
        if terms is None:
            return self._unknown(delivery, call, message, now)
        if 0 < self._most <= delivery.deliveries:
            _logger.error(
                "Task %s[%s] was lost %s times, as often as is allowed: kept as a dead letter",
                lines.one_line(call.shadow or call.task), lines.one_line(call.id), delivery.deliveries,
            )  # fmt: skip
            return self._settler.poison(delivery)
        refused = self._refused(delivery, call, now)
        if refused is not None:
            return refused
        if call.eta is not None and call.eta > now:
            self._receive(delivery, call, terms, None)
            self._announced.note(call.id)
            return Delay(delivery.tag, call.eta)
        if terms.skip_successful and delivery.redelivered and self._was_successful(call.id):
            lines.ignored(task_id=call.id, name=call.shadow or call.task, description="Task already completed successfully.")
            return self._settler.done_before(delivery, call)
        risky = len(message.body) > DECODED_AT_ONCE or not is_harmless(message) or "compression" in message.headers
        if risky and message.content_type in self._accept:  # what is not accepted is refused without being opened
            return Held(delivery, call, terms, None)
        try:
            return Held(delivery, call, terms, read_body(message, self._accept))
        except UnreadableMessage as exc:
            return self._unreadable(delivery, exc)

    def again(self, held: Held, now: float) -> Settlement | None:
        """Look once more at a call that has waited in hand: its time may be over, or somebody has revoked it."""
        call = held.call
        if call.expires is None and call.id not in self.revoked and not self._settler.cancelled and not self.stamps:
            return None
        return self._refused(held.delivery, held.call, now)

    def begun(self, held: Held) -> None:
        """The call is about to run: write its `received` line, and tell the receivers of `task_received`."""
        self._receive(held.delivery, held.call, held.terms, held.body)

    def unreadable(self, held: Held, exc: UnreadableMessage) -> Settlement:
        """The body of a begun call turned out to be unreadable."""
        return self._unreadable(held.delivery, exc)

    # -- refusals -----------------------------------------------------------------------------------------------------

    def _refused(self, delivery: Delivery, call: Call, now: float) -> Settlement | None:
        expired = call.expires is not None and now > call.expires
        cancelled = self._settler.cancelled
        is_cancelled = bool(cancelled) and is_part(call, cancelled)
        is_revoked = call.id in self.revoked
        stamp = revoking_stamp(call, self.stamps) if self.stamps and not is_revoked else None
        if not expired and not is_cancelled and not is_revoked and stamp is None:
            return None
        terms = self._settler.book.find(call.task)
        if not self._was_announced(call):
            self._say_received(call, terms)
        lines.discarded(task_id=call.id, name=call.shadow or call.task, stamp=stamp)
        if self._tells(terms):
            assert self.teller is not None
            self.teller.revoked(call.id, terminated=False, signum=None, expired=expired)
        if signals.task_revoked.receivers:
            request = request_of(call, delivery, self._node, None)
            signals.task_revoked.send(
                sender=terms.task if terms is not None else None,
                request=request,
                terminated=False,
                signum=None,
                expired=expired,
            )
        if is_cancelled:
            return self._settler.cancelled_call(delivery)
        return self._settler.expired(delivery) if expired else self._settler.revoked(delivery)

    def _unknown(self, delivery: Delivery, call: Call, message: Message, now: float) -> Settlement:
        before = parked_until(message)
        until = park_until(before, now, self._unknown_timeout_s, call.eta)
        if before is None:
            self._say_unknown(call, message)
        elif (refused := self._refused(delivery, call, now)) is not None:  # while it was parked
            return refused
        if until is None:
            if before is not None:
                _logger.error(
                    "Task %s[%s] was parked, and no worker came that knows it: kept as a dead letter",
                    lines.one_line(call.shadow or call.task), lines.one_line(call.id),
                )  # fmt: skip
            if self.teller is not None and self.teller.on:
                self.teller.failed(call.id, f"NotRegistered({call.task!r})", None)
            return self._settler.unknown(delivery, call)
        if before is None:
            _logger.info(
                "Task %s[%s] is parked for %g s: a worker that knows it may still come",
                lines.one_line(call.shadow or call.task), lines.one_line(call.id), self._unknown_timeout_s,
            )  # fmt: skip
        return self._settler.parked(delivery, message, call, until)

    def _say_unknown(self, call: Call, message: Message) -> None:
        lines.unknown(
            name=call.task, body=_shown(message.body), headers=message.headers, delivery_info=call.delivery_info
        )  # fmt: skip
        if signals.task_unknown.receivers:
            exc = NotRegistered(call.task)
            signals.task_unknown.send(sender=self._consumer, message=message, exc=exc, name=call.task, id=call.id)

    def _unreadable(self, delivery: Delivery, exc: UnreadableMessage) -> Settlement:
        body = delivery.message.body if delivery.message is not None else delivery.raw
        lines.unreadable(reason=str(exc), queue=delivery.queue, body=_shown(body))
        if signals.task_rejected.receivers:
            signals.task_rejected.send(sender=self._consumer, message=delivery.message, exc=exc)
        return self._settler.unreadable(delivery, exc)

    def _receive(self, delivery: Delivery, call: Call, terms: TaskTerms, body: Body | None) -> None:
        """Once for each call: not again for one that this node has delayed."""
        if self._was_announced(call):
            return
        self._say_received(call, terms)
        if signals.task_received.receivers:
            signals.task_received.send(sender=self._consumer, request=Request(delivery, call, terms, self._node, body))

    def _was_announced(self, call: Call) -> bool:
        return call.eta is not None and self._announced.forget(call.id)

    def _say_received(self, call: Call, terms: TaskTerms | None) -> None:
        name = call.shadow or call.task
        eta = None if call.eta is None else datetime.fromtimestamp(call.eta, self._tz)
        lines.received(task_id=call.id, name=name, args=call.argsrepr or "", kwargs=call.kwargsrepr or "", eta=eta)
        if self._tells(terms):
            assert self.teller is not None
            self.teller.received(call)

    def _tells(self, terms: TaskTerms | None) -> bool:
        return self.teller is not None and self.teller.on and (terms is None or terms.tells)


def _shown(body: bytes) -> str:
    return f"{saferepr(body[:2048], 1024)} ({len(body)}b)"
