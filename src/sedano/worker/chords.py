"""Finishing chords: from a claim and the parts to what goes out and what is stored.

Whoever counts the last part of a chord has the claim to it. It stands in the store as a pending of its lease, in the same step,
until a settlement ends it; when the claimer dies, a reaper finds it there. What the claim holds is everything that is needed
beside the parts.

    shared store     the turn that counted the last part says so; the next settles the claim: body, records, end, in one step
    separate stores  the pending that brought the last part stays until the body is published, in the step that ends it; what
                     goes to the result store goes there before, and may be written again by a reaper
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import msgspec

from sedano import states
from sedano.app.attempt import traceback_text
from sedano.app.context import Context
from sedano.app.followups import call_errbacks, messages_of
from sedano.canvas import shapes
from sedano.canvas.plan import Planner, after_failure, after_header, doomed, errbacks_of
from sedano.canvas.shapes import Map
from sedano.contracts import (
    ChordPart,
    ChordReady,
    ChordStart,
    Outcome,
    Outgoing,
    Results,
    ResultWrite,
    Settlement,
    claim_key,
    pending_tag,
)
from sedano.exceptions import ChordError, ContentDisallowed, DecodeError, OperationalError, TaskRevokedError
from sedano.protocol import results, serializers
from sedano.protocol.call import WORKFLOW_HEADER
from sedano.protocol.ids import new_id
from sedano.worker.cancelled import REASON, cancelled_ids
from sedano.worker.claims import Claim, decode_claim
from sedano.worker.lines import one_line
from sedano.worker.records import Records

if TYPE_CHECKING:
    from sedano.app.base import Celery

_logger = logging.getLogger("celery.app.trace")
_REVOKED = states.REVOKED.encode()


class Finish(msgspec.Struct):
    """What the end of a chord brings."""

    messages_out: Sequence[Outgoing] = ()
    writes: Sequence[ResultWrite] = ()
    parts: Sequence[ChordPart] = ()
    starts: Sequence[ChordStart] = ()


class ChordFinisher:
    """Of one node. `accept` are the content types that a claim may have."""

    def __init__(self, app: Celery, records: Records, node: str, accept: Collection[str]) -> None:
        self._app, self._records, self._node, self._accept = app, records, node, accept

    def settlement(self, ready: ChordReady, store: Results) -> Settlement:
        """Shared store: what ends the claim to a chord. Raises OperationalError when the parts cannot be read now."""
        finish = self.finish(ready, store.chord_parts(ready.group_id), store.fetch_group(ready.group_id))
        return Settlement(
            pending_tag(claim_key(ready.group_id)),
            Outcome.SUCCESS,
            task_id=ready.group_id,
            messages_out=tuple(finish.messages_out),
            more_results=tuple(finish.writes),
            more_parts=tuple(finish.parts),
            chord_starts=tuple(finish.starts),
            ends_chord=ready.group_id,
        )

    def elsewhere(self, key: str, chords: Sequence[ChordReady], store: Results) -> tuple[Settlement, list[str]]:
        """Separate stores: what ends the pending `key`, whose parts completed `chords`, and the chords that are over then.

        Writes what belongs to the result store. Raises OperationalError; repeating it is harmless.
        """
        waiting, ended = list(chords), list[str]()
        messages: list[Outgoing] = []
        for ready in waiting:
            finish = self.finish(ready, store.chord_parts(ready.group_id), store.fetch_group(ready.group_id))
            messages += finish.messages_out
            ended.append(ready.group_id)
            waiting += store.store(finish.writes, finish.parts, finish.starts, repeated=True)
        return Settlement(pending_tag(key), Outcome.SUCCESS, task_id=key, messages_out=tuple(messages)), ended

    def finish(self, ready: ChordReady, payloads: list[bytes], saved: bytes | None = None) -> Finish:
        """The body goes out with the results of the header; or fails with `ChordError`, when one of them did. Never raises
        for anything that a chord can hold. `saved` is what a Celery that started it says of the header's members.

        Empties `payloads`, so that the results of a huge header are not held as parts and as values at once.
        """
        try:
            claim = decode_claim(ready.claim)
            body = serializers.loads(claim.body, claim.content_type, claim.content_encoding, self._accept)
        except Exception:
            _logger.exception("chord %s is complete, and its body cannot be read: nothing can be sent", ready.group_id)
            return Finish()
        try:
            return self._succeed(body, claim, self._values(ready.group_id, payloads, saved))
        except Exception as exc:
            if not isinstance(exc, ChordError):
                _logger.exception("Chord %r raised: %r", ready.group_id, exc)
                exc = ChordError(f"Callback error: {exc!r}")
            elif any(_REVOKED in payload for payload in payloads) and self._is_cancelled(claim):
                return self._cancel(body, claim)
            return self._fail(body, claim, exc)

    def _is_cancelled(self, claim: Claim) -> bool:
        """Whether an operator has cancelled the workflow. Asks the store: a call of the header was revoked, which is rare."""
        try:
            with closing(self._app.stores.open_coordination()) as coordination:
                _, orders = coordination.revokes()
        except OperationalError as exc:
            _logger.warning("whether the workflow of call %s was cancelled cannot be read now: %s", claim.task_id, exc)
            return False
        cancelled = cancelled_ids(order.task_id for order in orders)
        return claim.workflow_id in cancelled or claim.root_id in cancelled

    def _cancel(self, body: Any, claim: Claim) -> Finish:
        """REVOKED for the body and all that comes after it; nothing goes out."""
        request = Context(root_id=claim.root_id, sedano_workflow=claim.workflow_id)
        exc = TaskRevokedError(REASON)
        writes, parts = self._records.of_doomed(doomed([body]), exc, state=states.REVOKED, request=request)
        return Finish((), writes, parts)

    def _values(self, group_id: str, payloads: list[bytes], saved: bytes | None) -> list[Any]:
        """The header's results. Raises ChordError for the first that is none, and leaves that one in `payloads`."""
        if not payloads:
            raise ChordError(f"GroupResult {group_id} no longer exists")
        values: list[Any] = []
        by_id: dict[str, Any] = {}
        payloads.reverse()
        while payloads:
            task_id, state, value = results.read_chord_part(payloads[-1], self._records.how.serializer, self._accept)
            if state in states.PROPAGATE_STATES:
                raise ChordError(f"Dependency {task_id} raised {value!r}")
            payloads.pop()
            values.append(value)
            by_id[task_id] = value
        return values if saved is None else self._nested(saved, by_id) or values

    def _nested(self, saved: bytes, by_id: Mapping[str, Any]) -> list[Any] | None:
        """The values as `saved` nests them: a member of the header that ended in a group has a list of its own. None when it
        does not say where each of them belongs."""
        placed: list[str] = []

        def value_of(node: Any) -> Any:
            (task_id, _), members = node
            if members is not None:
                return [value_of(member) for member in members]
            placed.append(task_id)
            return by_id[task_id]

        try:
            meta = results.decode_meta(saved, self._records.how.serializer, self._accept, exceptions=False)
            values: list[Any] = value_of(meta["result"])
        except (LookupError, TypeError, ValueError, DecodeError, ContentDisallowed):
            return None
        return values if len(placed) == len(by_id) else None

    def _succeed(self, body: Any, claim: Claim, values: list[Any]) -> Finish:
        planner = Planner(new_id, self._app.thread_oid)
        after_header(planner, body, values, task_id=claim.task_id, root_id=claim.root_id)
        return Finish(_marked(messages_of(self._app, planner), claim), starts=self._starts(planner))

    def _fail(self, body: Any, claim: Claim, exc: ChordError) -> Finish:
        """FAILURE for the body and all that comes after it; its errbacks."""
        lost = doomed([body])
        planner = Planner(new_id, self._app.thread_oid)
        messages: list[Outgoing] = []
        children: list[Any] = []
        try:
            for call, errbacks in errbacks_of(body):
                request = self._request(call, errbacks, claim)
                to_send = call_errbacks(self._app, request, exc, None)
                after_failure(planner, to_send, task_id=request.id or "", root_id=request.root_id)
            messages = _marked(messages_of(self._app, planner), claim)
            children = [self._app.result_of(child).as_tuple() for child in planner.plan.children]
        except Exception as failed:  # the chord has failed already
            failing = shapes.options_of(body).get("task_id")
            _logger.exception("the errbacks of chord body %s cannot be sent: %r", one_line(str(failing)), failed)
        request = Context(root_id=claim.root_id, sedano_workflow=claim.workflow_id)
        text = traceback_text(exc)
        writes, parts = self._records.of_doomed(lost, exc, traceback=text, request=request, children=children)
        return Finish(messages, writes, parts, self._starts(planner))

    def _request(self, call: Map, errbacks: list[Any], claim: Claim) -> Context:
        """As if `call`, which never ran, had failed."""
        own = shapes.options_of(call)
        return Context(
            id=own.get("task_id"),
            task=call.get("task"),
            errbacks=errbacks,
            root_id=own.get("root_id") or claim.root_id,
            parent_id=claim.task_id,
            hostname=self._node,
            args=call.get("args"),
            kwargs=call.get("kwargs"),
        )

    def _starts(self, planner: Planner) -> tuple[ChordStart, ...]:
        return tuple(ChordStart(start.group_id, start.size, self._records.how.chord_ttl_s) for start in planner.plan.chords)


def _marked(messages: list[Outgoing], claim: Claim) -> list[Outgoing]:
    """They are a part of the workflow that the header was a part of."""
    if claim.workflow_id is not None:
        for outgoing in messages:
            outgoing.message.headers[WORKFLOW_HEADER] = claim.workflow_id
    return messages
