"""A call that a slot has in its hands, and the request that its task sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from sedano.app.context import Context, context_of
from sedano.contracts import Delivery, Outgoing
from sedano.protocol import envelope
from sedano.protocol.call import Body, Call, Embed
from sedano.protocol.message import Message
from sedano.worker.rowview import CallNote
from sedano.worker.terms import TaskTerms

_JSON = "application/json"
NO_BODY = Body(cast("Any", None), cast("Any", None), Embed())


@dataclass(slots=True)
class Held:
    """A reserved delivery that may run: known, readable, not expired, not revoked, due.

    `body` None is not decoded yet: it is done once the call is begun, so that a body which kills the process is counted.
    """

    delivery: Delivery
    call: Call
    terms: TaskTerms
    body: Body | None

    @property
    def tag(self) -> str:
        return self.delivery.tag

    @property
    def name(self) -> str:
        """What log lines call it."""
        return self.call.shadow or self.call.task

    def note(self) -> CallNote:
        call, terms = self.call, self.terms
        hard_s, soft_s = call.timelimit
        return CallNote(
            self.delivery.tag,
            self.delivery.queue,
            call.id,
            call.task,
            terms.early,
            self.delivery.deliveries,
            call.retries,
            _limit(soft_s, terms.soft_s),
            _limit(hard_s, terms.hard_s),
        )


def _limit(asked: float | None, own: float | None) -> float | None:
    """A message may ask for anything, NaN and less than nothing included: what is no length of time is not asked for."""
    return asked if asked is not None and asked > 0 else own


def is_harmless(message: Message) -> bool:
    """Whether reading the body runs nobody's code: it is plain JSON."""
    return message.content_type == _JSON


def request_of(call: Call, delivery: Delivery, hostname: str, body: Body | None) -> Context:
    """The request of `call` as its task sees it.

    Without a body (a call that never ran, or whose body cannot be read) arguments are None and nothing follows.
    """
    return context_of(call, NO_BODY if body is None else body, hostname=hostname, redelivered=delivery.redelivered)


def again(delivery: Delivery) -> Outgoing:
    """The same message, to the tail of its queue, marked as redelivered but not counted as lost."""
    message = delivery.message
    assert message is not None
    message = envelope.redelivered(message, envelope.deliveries_of(message))
    return Outgoing(message, delivery.queue, priority=delivery.priority)
