"""Send a call and give its result: what `apply_async` and `send_task` share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from sedano.app import late
from sedano.app.batches import Collected, add_to_parent, open_batch
from sedano.app.drafts import Draft
from sedano.app.messages import announce, announced, draft
from sedano.result import AsyncResult

if TYPE_CHECKING:
    from sedano.app.base import Celery


class CallToSend(msgspec.Struct):
    """A call whose options are merged: `name`, its arguments, and the options of `apply_async`."""

    name: str
    args: Sequence[Any] | None
    kwargs: Mapping[str, Any] | None
    task_id: str | None
    options: dict[str, Any]
    task: Any = None

    def draft(self, app: Celery) -> Draft:
        made = draft(app, self.name, self.args, self.kwargs, self.options, task=self.task, task_id=self.task_id)
        announce(made)
        return made


def publish(app: Celery, call: CallToSend) -> Any:
    """Returns when the broker has accepted the call, or at once inside of `with app.batch()`; see `Sender.publish` for
    what is raised."""
    batch = open_batch(app)
    if batch is not None:
        return batch.add(prepared(app, call))
    made = call.draft(app)
    app.sender.publish((made.outgoing(),), declare=made.address.declare, retry=made.retry, policy=made.retry_policy)
    if app.terms.sent_event:
        app.events.tell_sent((made,))
    return _sent(app, call, made)


async def publish_async(app: Celery, call: CallToSend) -> Any:
    """As `publish`, without blocking the event loop."""
    batch = open_batch(app)
    if batch is not None:
        return batch.add(prepared(app, call))
    made = call.draft(app)
    message, declare = (made.outgoing(),), made.address.declare
    await late.publish_async(app, message, declare, retry=made.retry, policy=made.retry_policy)
    if app.terms.sent_event:
        await late.in_thread(app.events.tell_sent, (made,))
    return _sent(app, call, made)


def prepared(app: Celery, call: CallToSend) -> Collected:
    """A call that is to be sent later, with others."""
    made = call.draft(app)
    return Collected(made, result_of(app, call, made), bool(call.options.get("add_to_parent", True)))


def _sent(app: Celery, call: CallToSend, made: Draft) -> Any:
    announced(made)
    result = result_of(app, call, made)
    if call.options.get("add_to_parent", True):
        add_to_parent(result)
    return result


def result_of(app: Celery, call: CallToSend, made: Draft) -> Any:
    """The result that the call will have."""
    kind = call.options.get("result_cls")
    if kind is not None:
        result = kind(made.task_id)
    elif call.task is not None:
        result = call.task.AsyncResult(made.task_id)
    else:
        result = AsyncResult(made.task_id, app=app, task_name=made.task)
    result.ignored = bool(made.ignore_result)
    return result
