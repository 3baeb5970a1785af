"""Send a call and give its result: what `apply_async` and `send_task` share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sedano.app.context import worker_call
from sedano.app.drafts import Draft
from sedano.app.messages import announce, announced, draft
from sedano.result import AsyncResult

if TYPE_CHECKING:
    from sedano.app.base import Celery


@dataclass(slots=True)
class CallToSend:
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
    """Returns when the broker has accepted the call; see `Sender.publish` for what is raised."""
    made = call.draft(app)
    app.sender.publish((made.outgoing(),), declare=made.address.declare, retry=made.retry, policy=made.retry_policy)
    announced(made)
    return result_of(app, call, made)


def result_of(app: Celery, call: CallToSend, made: Draft) -> Any:
    """The result of a call that was sent; a running call keeps it as a child."""
    kind = call.options.get("result_cls")
    if kind is not None:
        result = kind(made.task_id)
    elif call.task is not None:
        result = call.task.AsyncResult(made.task_id)
    else:
        result = AsyncResult(made.task_id, app=app, task_name=made.task)
    result.ignored = bool(made.ignore_result)
    if call.options.get("add_to_parent", True):
        running = worker_call()
        if running is not None:
            running[0].add_trail(result)
    return result
