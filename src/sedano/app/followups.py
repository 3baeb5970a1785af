"""What goes out when an attempt is over: callbacks, the next step of a chain, errbacks, the retry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from sedano import states
from sedano.app.arguments import takes_more_than_one
from sedano.app.attempt import Attempt, fail_attempt, rejected_attempt, traceback_text
from sedano.app.context import Context, running
from sedano.app.drafts import Draft
from sedano.app.messages import announce, announced, draft_signature
from sedano.canvas.plan import Send, after_failure, after_success, failed_with
from sedano.canvas.signature import Signature
from sedano.contracts.settlement import Outgoing
from sedano.exceptions import Reject
from sedano.log import get_logger
from sedano.protocol.ids import new_id

logger = get_logger("celery.app.trace")


class Followups(msgspec.Struct):
    """`attempt` is the one given, or what it became because something that had to go out cannot be sent: a SUCCESS then is a
    FAILURE, a RETRY a REJECTED.

    `messages_out` belong into the settlement, in this order, and `children` (result tuples) into the stored record.
    `failed_steps` are ids of the later steps of a chain whose step failed: they get the same FAILURE.
    """

    attempt: Attempt
    messages_out: tuple[Outgoing, ...] = ()
    children: list[Any] | None = None
    failed_steps: tuple[str, ...] = ()


def followups(task: Any, request: Context, attempt: Attempt) -> Followups:
    """Build every message that the outcome calls for (wire-protocol 1.1, 1.2). Publishes nothing, never raises.

    Errbacks that take (request, exc, traceback) and are registered here are called on the spot, as Celery does; their
    errors are logged. Retries carry `due`, so that a store with a schedule takes them there at once.
    """
    with running(task, request):
        try:
            return build_followups(task, request, attempt)
        except Exception as exc:  # nothing that goes wrong here may end the slot: it is the call's own failure
            changed = unsendable(task, request, attempt, exc)
        try:
            return build_followups(task, request, changed)
        except Exception as exc:  # the outcome stands; only what should have gone out with it is missing
            logger.exception("Cannot send what follows from %s[%s] %s: %r", task.name, request.id, changed.state, exc)
            return Followups(changed, children=_children(request))


def unsendable(task: Any, request: Context, attempt: Attempt, exc: Exception) -> Attempt:
    """What `attempt` becomes when what follows from it cannot be sent (or its result not be stored) because of `exc`."""
    if attempt.state == states.SUCCESS:
        return fail_attempt(task, request, exc, traceback_text(exc))
    if attempt.state == states.RETRY:
        return rejected_attempt(Reject(exc, requeue=False), attempt.runtime_s)
    logger.exception("Cannot send what follows from %s[%s] %s: %r", task.name, request.id, attempt.state, exc)
    request.errbacks = None
    return attempt


def build_followups(task: Any, request: Context, attempt: Attempt) -> Followups:
    """As `followups`, inside the request and raising what makes a message impossible: EncodeError, QueueNotFound, TypeError,
    NotImplementedError for a step that comes with canvas."""
    out = [_retry(task, signature) for signature in request.pending_retries or ()]
    failed: Sequence[str] = ()
    if attempt.state == states.SUCCESS:
        if request.callbacks or request.chain:
            out += _success(task, request, attempt)
    elif attempt.state == states.RETRY:
        if attempt.retry is not None:
            out.append(_retry(task, attempt.retry))
    elif attempt.state == states.FAILURE or (attempt.state == states.REJECTED and not attempt.requeue):
        failed = failed_with(request.chain)
        if request.errbacks and attempt.state == states.FAILURE:
            to_send = call_errbacks(task, request, attempt)
            sends = after_failure(to_send, task_id=request.id or "", root_id=request.root_id, new_id=new_id)
            out += _send(task, sends)
    return Followups(attempt, tuple(out), _children(request), tuple(failed))


def _children(request: Context) -> list[Any] | None:
    children = request.__dict__.get("_children")
    return [child.as_tuple() for child in children] if children else None


def _success(task: Any, request: Context, attempt: Attempt) -> list[Outgoing]:
    app = task.app
    inherits = app.terms.inherit_priority
    sends = after_success(
        attempt.value,
        task_id=request.id or "",
        root_id=request.root_id,
        callbacks=request.callbacks,
        chain=request.chain,
        priority=(request.delivery_info or {}).get("priority") if inherits else None,
        new_id=new_id,
    )
    return _send(task, sends)


def _send(task: Any, sends: Sequence[Send]) -> list[Outgoing]:
    """Messages for `sends`; their results become children of the running call, a group as one child."""
    out: list[Outgoing] = []
    groups: dict[str, list[Any]] = {}
    for send in sends:
        made = draft_signature(task.app, send.signature, args=send.args, **send.options)
        out.append(_outgoing(made))
        result = task.app.AsyncResult(made.task_id)
        if send.group_id is None:
            task.add_trail(result)
        else:
            if send.group_id not in groups:
                groups[send.group_id] = []
                task.add_trail(_GroupChild(send.group_id, groups[send.group_id]))
            groups[send.group_id].append(result)
    return out


def _outgoing(made: Draft, *, due: float | None = None) -> Outgoing:
    announce(made)
    out = made.outgoing(due=due)
    announced(made)
    return out


def _retry(task: Any, signature: Mapping[str, Any]) -> Outgoing:
    made = draft_signature(task.app, signature)
    return _outgoing(made, due=made.eta_s)


def call_errbacks(task: Any, request: Context, attempt: Attempt) -> list[Any]:
    """Call the errbacks that take (request, exc, traceback) and are registered here; the others, which are to be sent."""
    to_send: list[Any] = []
    for errback in request.errbacks or ():
        known = task.app.tasks.get(errback["task"])
        if known is None or not _is_called_here(known):
            to_send.append(errback)
            continue
        try:
            Signature.from_dict(errback, app=task.app)(request, attempt.exc, attempt.traceback)
        except Exception as exc:  # the call has failed already; an errback that fails too only has itself to report
            logger.exception("Failed to call errback %s of %s[%s]: %r", errback["task"], task.name, request.id, exc)
    return to_send


def _is_called_here(errback: Any) -> bool:
    """Celery's rule: a function with the decorator, not bound, that takes more than one argument."""
    return bool(hasattr(errback, "__header__") and not errback.takes_self and takes_more_than_one(errback.run))


class _GroupChild:
    """A group among the children of a call: only its result tuple is needed."""

    def __init__(self, group_id: str, results: list[Any]) -> None:
        self._group_id, self._results = group_id, results

    def as_tuple(self) -> tuple[Any, list[Any]]:
        return (self._group_id, None), [result.as_tuple() for result in self._results]
