"""What goes out when an attempt is over: callbacks, the next step of a chain, errbacks, the retry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from sedano import states
from sedano.app import late
from sedano.app.attempt import Attempt, fail_attempt, rejected_attempt, traceback_text
from sedano.app.context import Context, running
from sedano.app.drafts import Draft
from sedano.app.messages import announce, announced, draft_signature
from sedano.canvas.plan import ChordStart, Doomed, Planner, after_failure, after_success, doomed
from sedano.canvas.signature import Signature
from sedano.contracts.settlement import Outgoing
from sedano.exceptions import Reject
from sedano.log import get_logger
from sedano.protocol.ids import new_id

logger = get_logger("celery.app.trace")


class Followups(msgspec.Struct):
    """`attempt` is the one given, or what it became because something that had to go out cannot be sent: a SUCCESS then is a
    FAILURE, as is a call that was to be replaced, and a RETRY a REJECTED.

    `messages_out` belong into the settlement, in this order, with the `chords` that start with them, and `children` (result
    tuples) into the stored record. What is `doomed`, the later steps of a chain whose step failed, gets the same FAILURE.
    """

    attempt: Attempt
    messages_out: tuple[Outgoing, ...] = ()
    children: list[Any] | None = None
    chords: tuple[ChordStart, ...] = ()
    doomed: Doomed = Doomed()


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
    if attempt.state == states.SUCCESS or (attempt.state == states.IGNORED and request.replacement is not None):
        request.replacement = None
        return fail_attempt(task, request, exc, traceback_text(exc))
    if attempt.state == states.RETRY:
        return rejected_attempt(Reject(exc, requeue=False), attempt.runtime_s)
    logger.exception("Cannot send what follows from %s[%s] %s: %r", task.name, request.id, attempt.state, exc)
    request.errbacks = None
    return attempt


def build_followups(task: Any, request: Context, attempt: Attempt) -> Followups:
    """As `followups`, inside the request and raising what makes a message impossible: EncodeError, QueueNotFound, TypeError;
    NotImplementedError where results are kept nowhere, so that nobody would count a chord."""
    out = [_retry(task, signature) for signature in request.pending_retries or ()]
    planner, failed = Planner(new_id, task.app.thread_oid), Doomed()
    if attempt.state == states.SUCCESS:
        if request.callbacks or request.chain:
            _success(planner, task, request, attempt)
    elif attempt.state == states.RETRY:
        if attempt.retry is not None:
            out.append(_retry(task, attempt.retry))
    elif attempt.state == states.IGNORED:
        if request.replacement is not None:
            _replace(planner, request)
    elif attempt.state == states.FAILURE or (attempt.state == states.REJECTED and not attempt.requeue):
        failed = doomed(request.chain)
        if request.errbacks and attempt.state == states.FAILURE:
            to_send = call_errbacks(task.app, request, attempt.exc, attempt.traceback)
            after_failure(planner, to_send, task_id=request.id or "", root_id=request.root_id)
    if planner.plan.chords and task.app.backend.is_enabled:
        task.app.backend.ensure_chords_allowed()
    out += messages_of(task.app, planner)
    for child in planner.plan.children:
        task.add_trail(child)
    return Followups(attempt, tuple(out), _children(request), tuple(planner.plan.chords), failed)


def _children(request: Context) -> list[Any] | None:
    children = request.__dict__.get("_children")
    return [child.as_tuple() for child in children] if children else None


def _success(planner: Planner, task: Any, request: Context, attempt: Attempt) -> None:
    inherits = task.app.terms.inherit_priority
    after_success(
        planner,
        attempt.value,
        task_id=request.id or "",
        root_id=request.root_id,
        callbacks=request.callbacks,
        chain=request.chain,
        priority=(request.delivery_info or {}).get("priority") if inherits else None,
    )


def _replace(planner: Planner, request: Context) -> None:
    """What stands in the place of the call is its child's equal, not its child."""
    options = {"parent_id": request.id, "root_id": request.root_id or request.id}
    planner.start(request.replacement, options=options)
    planner.plan.children.clear()


def messages_of(app: Any, planner: Planner) -> list[Outgoing]:
    """The messages for what `planner` has planned."""
    drafts = [
        draft_signature(app, send.signature, args=send.args, kwargs=send.kwargs, **send.options) for send in planner.plan.sends
    ]
    messages = [_outgoing(made) for made in drafts]
    if drafts and app.terms.sent_event:
        app.events.tell_sent(drafts)
    return messages


def _outgoing(made: Draft, *, due: float | None = None) -> Outgoing:
    announce(made)
    out = made.outgoing(due=due)
    announced(made)
    return out


def _retry(task: Any, signature: Mapping[str, Any]) -> Outgoing:
    made = draft_signature(task.app, signature)
    out = _outgoing(made, due=made.eta_s)
    if task.app.terms.sent_event:
        task.app.events.tell_sent((made,))
    return out


def call_errbacks(app: Any, request: Context, exc: BaseException | None, traceback: str | None) -> list[Any]:
    """Call the errbacks that take (request, exc, traceback) and are registered here; the others, which are to be sent."""
    to_send: list[Any] = []
    for errback in request.errbacks or ():
        known = app.tasks.get(errback["task"])
        if known is None or not _is_called_here(known, errback):
            to_send.append(errback)
            continue
        try:
            Signature.from_dict(errback, app=app)(request, exc, traceback)
        except Exception as failed:  # the call has failed already; an errback that fails too only has itself to report
            logger.exception("Failed to call errback %s of %s[%s]: %r", errback["task"], request.task, request.id, failed)
    return to_send


def _is_called_here(task: Any, errback: Mapping[str, Any]) -> bool:
    """Celery's rule: a function with the decorator, not bound, that takes more than one argument beside those that it has."""
    if not hasattr(task, "__header__") or task.takes_self:
        return False
    if errback.get("immutable"):
        return late.takes_more_than_one(task.run)
    return late.takes_more_than_one(task.run, errback.get("args") or (), errback.get("kwargs"))
