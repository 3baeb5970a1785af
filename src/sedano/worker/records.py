"""Result records and chord parts: what of a call's end is stored where its caller looks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, tzinfo
from typing import Any

import msgspec

from sedano import states
from sedano.app.attempt import Attempt
from sedano.app.context import Context, children_of
from sedano.canvas.plan import Doomed
from sedano.clock import Clock
from sedano.contracts import ChordPart, Outcome, ResultWrite
from sedano.exceptions import Retry
from sedano.protocol import results
from sedano.protocol.call import Call
from sedano.worker.claims import encode_claim
from sedano.worker.terms import ResultTerms, TaskTerms

_DATE_LENGTH = len("2026-01-01T00:00:00")


class Records:
    """Writes records as `how` says, for the node `node`; dates are in the zone `tz`."""

    def __init__(self, how: ResultTerms, node: str, tz: tzinfo, clock: Clock) -> None:
        self.how = how
        self._node = node
        self._tz = tz
        self._clock = clock
        self._is_plain = how.serializer == "json" and not how.compression and not how.extended and results.writes_own_json()
        self._second = -1.0
        self._second_text = ("", "")

    def of_attempt(
        self, call: Call, terms: TaskTerms, request: Context, attempt: Attempt, children: Sequence[Any] | None
    ) -> tuple[ResultWrite | None, ChordPart | None]:
        """The record and the chord part of an attempt. Raises EncodeError when the result cannot be written."""
        outcome = attempt.outcome
        if outcome is Outcome.SUCCESS:
            part = self.part(call, request, states.SUCCESS, attempt.value) if request.chord else None
            if not self.how.stored or ignores_result(call, terms):
                return None, part
            return self.write(call, request, states.SUCCESS, attempt.value, children=children), part
        if outcome is Outcome.IGNORED or (outcome is Outcome.REJECTED and attempt.requeue):
            return None, None
        state, error = (states.RETRY, _cause(attempt.exc)) if outcome is Outcome.RETRY else (states.FAILURE, attempt.exc)
        part = self.part(call, request, state, attempt.exc) if request.chord and state == states.FAILURE else None
        if not self.stores_errors(call, terms):
            return None, part
        return self.write(call, request, state, error, traceback=attempt.traceback, children=children), part

    def stores_errors(self, call: Call, terms: TaskTerms) -> bool:
        """Whether the failure of a call is stored: also of one without a result, if its task asks for that."""
        return self.how.stored and (terms.store_errors or not ignores_result(call, terms))

    def write(
        self,
        call: Call,
        request: Context | None,
        state: str,
        value: Any,
        *,
        traceback: str | None = None,
        children: Sequence[Any] | None = None,
    ) -> ResultWrite:
        """The record of `state`. Raises EncodeError when `value` cannot be written."""
        how = self.how
        if self._is_plain and state == states.SUCCESS and not children and (request is None or not children_of(request)):
            payload = results.encode_success(
                call.id, value, date_done=self._now(), group_id=call.group, parent_id=call.parent_id
            )
            return ResultWrite(call.id, payload, how.ttl_s, True, (call.reply_to or "") if how.replies else "")
        ready = state in states.READY_STATES
        if children is None and request is not None and (sent := children_of(request)):
            children = [child.as_tuple() for child in sent]
        meta = results.state(
            call.id,
            state,
            value,
            traceback=traceback,
            children=children or (),
            date_done=self._now() if ready else None,
            group_id=call.group,
            parent_id=call.parent_id,
            extended=self._extended(call, request) if how.extended and request is not None else None,
        )
        ttl_s = how.failure_ttl_s if state == states.FAILURE else how.ttl_s
        reply_to = (call.reply_to or "") if how.replies else ""
        return ResultWrite(call.id, results.encode_meta(meta, how.serializer, how.compression), ttl_s, ready, reply_to)

    def _extended(self, call: Call, request: Context) -> dict[str, Any]:
        return results.extended_fields(
            name=call.task,
            args=request.args,
            kwargs=request.kwargs,
            worker=self._node,
            retries=call.retries,
            queue=call.delivery_info.get("routing_key"),
            stamped_headers=call.stamped_headers,
            stamps=call.stamps,
        )

    def part(self, call: Call, request: Context, state: str, value: Any) -> ChordPart | None:
        """This call's part of the chord that it is a header task of."""
        group_id = call.group
        if group_id is None:
            return None
        payload = results.chord_part_payload(call.id, state, value, self.how.serializer)
        index = request.group_index if isinstance(request.group_index, int) else 0
        claim = encode_claim(request.chord, call.id, request.root_id, request.sedano_workflow)
        return ChordPart(group_id, call.id, index, payload, self.how.chord_ttl_s, claim)

    def failed_part(self, part: ChordPart, exc: BaseException) -> ChordPart:
        """`part` with a FAILURE instead of what the store refuses."""
        payload = results.chord_part_payload(part.task_id, states.FAILURE, exc, self.how.serializer)
        return msgspec.structs.replace(part, payload=payload)

    def of_doomed(
        self,
        lost: Doomed,
        exc: BaseException | None,
        *,
        state: str = states.FAILURE,
        traceback: str | None = None,
        request: Context | None = None,
        children: Sequence[Any] = (),
    ) -> tuple[tuple[ResultWrite, ...], tuple[ChordPart, ...]]:
        """`state` for calls that will never run because of what became of `request`, and their parts of chords. `children` are
        of the first call."""
        how = self.how
        root_id, workflow_id = (None, None) if request is None else (request.root_id, request.sedano_workflow)
        reply_to = None if request is None else request.reply_to  # a chain's steps all answer to whoever sent the chain
        writes: tuple[ResultWrite, ...] = ()
        if how.stored:
            writes = tuple(
                self.write(
                    Call("", task_id, reply_to=reply_to),
                    None,
                    state,
                    exc,
                    traceback=traceback,
                    children=() if position else children,
                )
                for position, task_id in enumerate(lost.ids)
            )
        parts = (
            ChordPart(
                part.group_id,
                part.task_id,
                part.group_index,
                results.chord_part_payload(part.task_id, state, exc, how.serializer),
                how.chord_ttl_s,
                encode_claim(part.body, part.task_id, root_id, workflow_id),
            )
            for part in lost.parts
        )
        return writes, tuple(parts)

    def _now(self) -> str:
        """As `datetime.isoformat` writes it. All but the fraction is the same for a second."""
        fraction, second = math.modf(self._clock.wall())
        micros = round(fraction * 1e6)
        if micros == 1_000_000:
            micros, second = 0, second + 1
        if second != self._second:
            text = datetime.fromtimestamp(second, self._tz).isoformat()
            self._second, self._second_text = second, (text[:_DATE_LENGTH], text[_DATE_LENGTH:])
        before, after = self._second_text
        return f"{before}.{micros:06d}{after}" if micros else before + after


def ignores_result(call: Call, terms: TaskTerms) -> bool:
    """The call's own word, else the task's."""
    return terms.ignore_result if call.ignore_result is None else call.ignore_result


def _cause(exc: BaseException | None) -> BaseException | None:
    """What is stored of a retry: the exception that caused it."""
    return exc.exc if isinstance(exc, Retry) else exc
