"""From what became of a call to the settlement that the store applies: result record, messages, dead letter, fate.

`Settler.settle` is for attempts; the other builders are for calls that ended without one. Slots use them for what they refuse
to run, the supervisor for what a dead slot left (`slotdeath.py`), the reaper for what a dead node left (`keeper.py`).
They do no I/O, except that errbacks which take (request, exc, traceback) are called on the spot, as in Celery.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from sedano import states
from sedano.app.attempt import Attempt, fail_attempt
from sedano.app.context import Context
from sedano.app.followups import Followups, build_followups, followups
from sedano.canvas.plan import Doomed, doomed
from sedano.contracts import (
    ChordPart,
    ChordStart,
    DeadNote,
    Delivery,
    Fate,
    Outcome,
    Outgoing,
    Pending,
    ResultWrite,
    Settlement,
    pending_key,
)
from sedano.exceptions import (
    BackendStoreError,
    ChordError,
    NotRegistered,
    TaskRevokedError,
    TimeLimitExceeded,
    UnreadableMessage,
    WorkerLostError,
)
from sedano.protocol import envelope
from sedano.protocol.call import Body, Call, read, read_body
from sedano.protocol.message import Message
from sedano.protocol.saferepr import saferepr
from sedano.rules.loss import LossVerdict, judge
from sedano.worker.cancelled import REASON, cut, is_part
from sedano.worker.chords import ChordFinisher
from sedano.worker.context import SlotOptions
from sedano.worker.held import Held, again, is_harmless, request_of
from sedano.worker.lines import whole
from sedano.worker.records import Records, ignores_result
from sedano.worker.terms import MessageTerms, TermsBook, message_terms, result_terms

if TYPE_CHECKING:
    from sedano.app.base import Celery

_DETAIL_LENGTH = 300
_SUCCESS, _ACK = Outcome.SUCCESS, Fate.ACK  # looking them up on their class costs ten times as much


class Settler:
    """Builds settlements for one node. Cheap to make; one per process. Not bound to a thread."""

    def __init__(self, app: Celery, node: str, options: SlotOptions) -> None:
        self.app = app
        self.book = TermsBook(app)
        self.message_terms: MessageTerms = message_terms(app)
        how = result_terms(app.conf, stored=app.stores.results_url is not None, replies=app.stores.results_are_replies)
        self.records = Records(how, node, app.timezone, options.clock)
        self.finisher = ChordFinisher(app, self.records, node, self.message_terms.accept)
        self._node = node
        self._options = options
        self._clock = options.clock
        self.cancelled: frozenset[str] = frozenset()  # workflows, as far as is known here
        self.unheard: dict[str, Call] = {}  # calls whose end may have been decided before a cancel was known, by tag

    # -- attempts -----------------------------------------------------------------------------------------------------

    def settle(self, held: Held, request: Context, attempt: Attempt) -> Settlement:
        """The settlement of `attempt`, with the records of other calls that end with it: the later steps of its chain.

        Made to be called inside the request, as `prepare` of `run_attempt`. Raises what makes it impossible: EncodeError for
        a result, what `build_followups` raises for a message.
        """
        call, terms, outcome = held.call, held.terms, attempt.outcome
        if outcome is _SUCCESS and not (request.callbacks or request.chain or request.pending_retries):  # nearly every call
            write, part = self.records.of_attempt(call, terms, request, attempt, None)
            return Settlement(held.delivery.tag, outcome, _ACK, call.id, call.retries, write, (), part)
        if self.cancelled and is_part(call, self.cancelled):
            return cut(self, held, request, attempt)
        after = build_followups(terms.task, request, attempt)
        write, part = self.records.of_attempt(call, terms, request, attempt, after.children)
        fate, dead = self.fate(held, attempt)
        messages_out = self._as_sent(after.messages_out)
        if outcome is Outcome.REJECTED and attempt.requeue and fate is Fate.ACK:
            messages_out = (*messages_out, again(held.delivery))
        steps, parts = self._failed_steps(after, attempt, request)
        if steps or outcome is Outcome.RETRY:
            self.unheard[held.delivery.tag] = call
        return Settlement(
            held.delivery.tag, outcome, fate, call.id, call.retries, write, messages_out, part, dead, steps, parts,
            self._starts(after),
        )  # fmt: skip

    def started(self, held: Held, request: Context, pid: int) -> ResultWrite | None:
        """The record of STARTED, None when this call does not ask for one."""
        if not held.terms.track_started or not self.records.how.stored or ignores_result(held.call, held.terms):
            return None
        return self.records.write(held.call, request, states.STARTED, {"pid": pid, "hostname": self._node})

    def fate(self, held: Held, attempt: Attempt) -> tuple[Fate, DeadNote | None]:
        if attempt.outcome is Outcome.REJECTED and attempt.requeue:
            # With late ack as often as the task likes, as in Celery, so not counted towards the cap; Celery loses an
            # early-acked call here: ours goes back, counted, because nobody expects it to come back for ever.
            return (Fate.REQUEUE if held.terms.early else Fate.ACK), None
        if attempt.outcome is Outcome.FAILURE or attempt.outcome is Outcome.REJECTED:
            detail = saferepr(attempt.exc, _DETAIL_LENGTH)
            return self._dead(attempt.outcome, detail, held.call.id, held.call.task)
        return Fate.ACK, None

    # -- calls that ended without an attempt --------------------------------------------------------------------------

    def judge(self, delivery: Delivery, *, begun: bool, early: bool, started: bool | None) -> LossVerdict:
        """What is to become of a dead owner's `delivery`; `started` None when nobody knows."""
        call, body = self._look(delivery)
        terms = self.book.find(call.task) if call is not None else None
        # As in Celery, a retry wins over giving the message again; only a call that surely ran costs one of its retries.
        retries = started is True and body is not None and terms is not None and terms.retry_on_worker_lost
        rejects = terms.reject_on_worker_lost if terms is not None else None
        return judge(
            begun=begun,
            early=early,
            started=started,
            deliveries=delivery.deliveries,
            max_deliveries=self._options.max_deliveries,
            reject_on_worker_lost=False if retries else rejects,
        )

    def redeliver(self, delivery: Delivery) -> Settlement:
        """Back to the tail of its queue, counted."""
        call, _ = self._look(delivery)
        task_id, retries = (call.id, call.retries) if call is not None else ("", 0)
        return Settlement(delivery.tag, Outcome.LOST, Fate.REQUEUE, task_id, retries)

    def lost(self, delivery: Delivery, detail: str) -> Settlement:
        """Its process died while it ran: FAILURE / WorkerLostError(detail) and a dead letter, errbacks and hooks as for any
        failure; or, with `retry_on_worker_lost` and retries left, a RETRY."""
        exc = WorkerLostError(detail)
        return self._retried(delivery, exc) or self._failed(delivery, exc, Outcome.LOST)

    def poison(self, delivery: Delivery, detail: str = "") -> Settlement:
        """Lost as often as is allowed; `detail` says how it was lost last."""
        most = self._options.max_deliveries
        exc = WorkerLostError(
            f"{delivery.deliveries + 1} processes ended while they ran this call (task_max_deliveries is {most}): "
            "it is kept as a dead letter" + (f". The last time: {detail}" if detail else "")
        )
        return self._failed(delivery, exc, Outcome.POISON)

    def hard_limit(self, delivery: Delivery, seconds: float) -> Settlement:
        """Killed at its hard time limit: FAILURE / TimeLimitExceeded; a late-ack call goes back if `acks_on_timeout` is off."""
        settlement = self._failed(delivery, TimeLimitExceeded(whole(seconds)), Outcome.FAILURE)
        call, _ = self._look(delivery)
        terms = self.book.find(call.task) if call is not None else None
        if terms is None or terms.early or terms.acks_on_timeout:
            return settlement
        return Settlement(
            delivery.tag, Outcome.FAILURE, Fate.REQUEUE, settlement.task_id, settlement.retries, settlement.result,
            settlement.messages_out, settlement.chord_part, None, settlement.more_results, settlement.more_parts,
            settlement.chord_starts,
        )  # fmt: skip

    def terminated(self, delivery: Delivery) -> Settlement:
        """Ended by an operator while it ran: REVOKED / "terminated"."""
        return self._revoked(delivery, "terminated", Outcome.REVOKED)

    def revoked(self, delivery: Delivery) -> Settlement:
        return self._revoked(delivery, "revoked", Outcome.REVOKED)

    def cancelled_call(self, delivery: Delivery) -> Settlement:
        """Of a workflow that was cancelled."""
        return self._revoked(delivery, REASON, Outcome.REVOKED)

    def expired(self, delivery: Delivery) -> Settlement:
        return self._revoked(delivery, "expired", Outcome.EXPIRED)

    def done_before(self, delivery: Delivery, call: Call) -> Settlement:
        """A redelivery whose SUCCESS is stored already (`worker_deduplicate_successful_tasks`)."""
        return Settlement(delivery.tag, Outcome.IGNORED, Fate.ACK, call.id, call.retries)

    def unknown(self, delivery: Delivery, call: Call) -> Settlement:
        """No such task here: FAILURE / NotRegistered and a dead letter."""
        exc = NotRegistered(call.task)
        write = self.records.write(call, None, states.FAILURE, exc) if self.records.how.stored else None
        fate, dead = self._dead(Outcome.UNKNOWN, repr(exc), call.id, call.task)
        _, body = self._look(delivery)
        part, steps, parts = self._never(call, request_of(call, delivery, self._node, body), states.FAILURE, exc)
        return Settlement(delivery.tag, Outcome.UNKNOWN, fate, call.id, call.retries, write, (), part, dead, steps, parts)

    def parked(self, delivery: Delivery, message: Message, call: Call, until: float) -> Settlement:
        """No such task here, perhaps with the next deploy: kept by its name until then. Its state stays PENDING."""
        kept = envelope.parked(message, until)
        out = Outgoing(kept, delivery.queue, priority=delivery.priority, due=until, parked=call.task)
        return Settlement(delivery.tag, Outcome.UNKNOWN, Fate.ACK, call.id, call.retries, None, (out,))

    def unreadable(self, delivery: Delivery, exc: BaseException | str) -> Settlement:
        """No message, or one whose body cannot be read or is not accepted: a dead letter with the reason.

        When at least an id can be read, its caller gets a FAILURE instead of waiting for ever.
        """
        headers = delivery.message.headers if delivery.message is not None else {}
        task_id, task = headers.get("id"), headers.get("task")
        task_id = task_id if isinstance(task_id, str) and _is_text(task_id) else ""
        error = exc if isinstance(exc, BaseException) else UnreadableMessage(exc)
        write = None
        if task_id and self.records.how.stored:
            call = Call(str(task), task_id, reply_to=_reply_to(delivery))
            write = self.records.write(call, None, states.FAILURE, error)
        fate, dead = self._dead(Outcome.UNREADABLE, str(error), task_id, task if isinstance(task, str) else "", always=True)
        return Settlement(delivery.tag, Outcome.UNREADABLE, fate, task_id, 0, write, dead=dead)

    def broken(self, held: Held, exc: Exception) -> Settlement:
        """The call ran, and its end could not be worked out: FAILURE with the reason, nothing sent, the message kept."""
        call = held.call
        write = None
        if self.records.how.stored:
            write = self.records.write(call, None, states.FAILURE, exc)
        fate, dead = self._dead(Outcome.FAILURE, saferepr(exc, _DETAIL_LENGTH), call.id, call.task, always=True)
        return Settlement(held.delivery.tag, Outcome.FAILURE, fate, call.id, call.retries, write, dead=dead)

    def unstorable(self, settlement: Settlement, exc: Exception) -> Settlement:
        """`settlement` in a form that the store has to take: it refused the first one, alone, with `exc`.

        The result is replaced by a short FAILURE, what was to be sent is not sent, and the message is kept.
        """
        if pending_key(settlement.tag) is not None:
            return self._unsendable_bodies(settlement, exc)
        write, steps = self._refused_writes(settlement, exc)
        part, *parts = self._refused_parts(settlement, exc) or (None,)
        fate, dead = self._dead(Outcome.FAILURE, saferepr(exc, _DETAIL_LENGTH), settlement.task_id, "", always=True)
        if settlement.fate is Fate.REQUEUE:
            fate, dead = settlement.fate, None
        return Settlement(
            settlement.tag, Outcome.FAILURE, fate, settlement.task_id, settlement.retries, write, (), part, dead, steps,
            tuple(parts),
        )  # fmt: skip

    def _unsendable_bodies(self, settlement: Settlement, exc: Exception) -> Settlement:
        """The end of a chord's claim that the store refuses: what was to be sent has failed."""
        error = ChordError(f"Callback error: {saferepr(exc, _DETAIL_LENGTH)}")
        ids = dict.fromkeys(str(out.message.headers.get("id")) for out in settlement.messages_out)
        writes, _ = self.records.of_doomed(Doomed(tuple(ids)), error)
        _, steps = self._refused_writes(settlement, exc)
        return Settlement(
            settlement.tag, Outcome.FAILURE, task_id=settlement.task_id, more_results=(*writes, *steps),
            more_parts=tuple(self._refused_parts(settlement, exc)), ends_chord=settlement.ends_chord,
        )  # fmt: skip

    def _refused_parts(self, refused: Settlement | Pending, exc: Exception) -> list[ChordPart]:
        """Its parts of chords, which have failed: the chords must not wait for them."""
        reason = BackendStoreError(saferepr(exc, _DETAIL_LENGTH))
        return [self.records.failed_part(part, reason) for part in refused.parts]

    def unstorable_pending(self, pending: Pending, exc: Exception) -> Pending:
        """The same for what goes to another store than the broker's, when that store refuses it."""
        write, steps = self._refused_writes(pending, exc)
        part, *parts = self._refused_parts(pending, exc) or (None,)
        return Pending(pending.key, write, part, steps, tuple(parts))

    def _refused_writes(
        self, refused: Settlement | Pending, exc: Exception
    ) -> tuple[ResultWrite | None, tuple[ResultWrite, ...]]:
        reason = BackendStoreError(saferepr(exc, _DETAIL_LENGTH))

        def failure(write: ResultWrite) -> ResultWrite:
            return self.records.write(Call("", write.task_id, reply_to=write.reply_to), None, states.FAILURE, reason)

        write = failure(refused.result) if refused.result is not None else None
        return write, tuple(map(failure, refused.more_results))

    def _failed(self, delivery: Delivery, exc: BaseException, outcome: Outcome) -> Settlement:
        call, body = self._look(delivery)
        if call is None:
            return self.unreadable(delivery, exc)
        terms = self.book.find(call.task)
        fate, dead = self._dead(outcome, saferepr(exc, _DETAIL_LENGTH), call.id, call.task, always=outcome is Outcome.POISON)
        if terms is None:
            write = self.records.write(call, None, states.FAILURE, exc) if self.records.how.stored else None
            return Settlement(delivery.tag, outcome, fate, call.id, call.retries, write, dead=dead)
        request = request_of(call, delivery, self._node, body)
        after = followups(terms.task, request, fail_attempt(terms.task, request, exc))
        write, part = self.records.of_attempt(call, terms, request, after.attempt, after.children)
        messages_out = self._as_sent(after.messages_out)
        steps, parts = self._failed_steps(after, after.attempt, request)
        starts = self._starts(after)
        return Settlement(
            delivery.tag, outcome, fate, call.id, call.retries, write, messages_out, part, dead, steps, parts, starts
        )

    def _retried(self, delivery: Delivery, exc: WorkerLostError) -> Settlement | None:
        """The settlement that sends a lost call once more, None when its task does not ask for it."""
        call, body = self._look(delivery)
        terms = self.book.find(call.task) if call is not None else None
        if call is None or body is None or terms is None or not terms.retry_on_worker_lost:
            return None
        task = terms.task
        if task.max_retries is not None and call.retries >= task.max_retries:
            return None
        request = request_of(call, delivery, self._node, body)
        retry = task.signature_from_request(request, countdown=task.default_retry_delay, retries=call.retries + 1)
        after = followups(task, request, Attempt(Outcome.RETRY, states.RETRY, exc=exc, retry=retry))
        if after.attempt.outcome is not Outcome.RETRY:
            return None  # it cannot be sent: a failure then
        write, _ = self.records.of_attempt(call, terms, request, after.attempt, after.children)
        messages_out = self._as_sent(after.messages_out)
        return Settlement(delivery.tag, Outcome.RETRY, Fate.ACK, call.id, call.retries, write, messages_out)

    def _revoked(self, delivery: Delivery, reason: str, outcome: Outcome) -> Settlement:
        call, body = self._look(delivery)
        if call is None:
            return self.unreadable(delivery, reason)
        terms = self.book.find(call.task)
        request = request_of(call, delivery, self._node, body)
        exc = TaskRevokedError(reason)
        write = None
        if self.records.how.stored and (terms is None or self.records.stores_errors(call, terms)):
            write = self.records.write(call, request, states.REVOKED, exc)
        part, steps, parts = self._never(call, request, states.REVOKED, exc)
        return Settlement(delivery.tag, outcome, Fate.ACK, call.id, call.retries, write, (), part, None, steps, parts)

    def _never(
        self, call: Call, request: Context, state: str, exc: BaseException
    ) -> tuple[ChordPart | None, tuple[ResultWrite, ...], tuple[ChordPart, ...]]:
        """Of a call that will not run: its part of a chord, and what fails along with it."""
        part = self.records.part(call, request, state, exc) if request.chord else None
        return part, *self.records.of_doomed(doomed(request.chain), exc, state=state, request=request)

    def _failed_steps(
        self, after: Followups, attempt: Attempt, request: Context
    ) -> tuple[tuple[ResultWrite, ...], tuple[ChordPart, ...]]:
        """What fails along with the call: the later steps of its chain, and their parts of a chord."""
        if not after.doomed.ids:
            return (), ()
        return self.records.of_doomed(after.doomed, attempt.exc, traceback=attempt.traceback, request=request)

    def _starts(self, after: Followups) -> tuple[ChordStart, ...]:
        ttl_s = self.records.how.chord_ttl_s
        return tuple(ChordStart(start.group_id, start.size, ttl_s) for start in after.chords)

    # -- pieces -------------------------------------------------------------------------------------------------------

    def _as_sent(self, messages: tuple[Outgoing, ...]) -> tuple[Outgoing, ...]:
        """Only what this node reads itself goes into the schedule at once. The rest goes out as a producer sends it: whoever
        reads that queue delays it, and it may be a Celery worker, which does not know the schedule."""
        if all(out.due is None for out in messages):
            return messages
        ours = self._options.queues
        return tuple(
            out if out.due is None or (not out.exchange and out.routing_key in ours) else msgspec.structs.replace(out, due=None)
            for out in messages
        )

    def _look(self, delivery: Delivery) -> tuple[Call | None, Body | None]:
        """What can be read of the delivery, here in a process that must not die of it.

        A pickled body is not opened: it runs code, and it may be what ended the process before this one. Its errbacks and
        its part of a chord are lost with it.
        """
        message = delivery.message
        if message is None:
            return None, None
        accept = self.message_terms.accept
        call = None
        try:
            call = read(message, tz=self.message_terms.tz, accept=accept)
            return call, read_body(message, accept) if is_harmless(message) else None
        except UnreadableMessage:
            return call, None

    def _dead(
        self, cause: Outcome, detail: str, task_id: str, task: str, *, always: bool = False
    ) -> tuple[Fate, DeadNote | None]:
        """Keep the message. With `task_dead_retention` 0 failures are not kept; what nobody can run (`always`) is."""
        keep_s = self._options.dead_keep_s
        if keep_s <= 0:
            if not always:
                return Fate.ACK, None
            keep_s = SlotOptions(()).dead_keep_s
        line = _text(" ".join(detail.split())[:_DETAIL_LENGTH])
        note = DeadNote(cause.value, line, task_id, _text(task), self._clock.wall(), keep_s, self._options.dead_max_bytes)
        return Fate.DEAD, note


def _is_text(text: str) -> bool:
    """Whether every store can write it: JSON can spell half characters."""
    return text.isascii() or _text(text) == text


def _reply_to(delivery: Delivery) -> str | None:
    where = delivery.message.properties.get("reply_to") if delivery.message is not None else None
    return where if isinstance(where, str) and _is_text(where) else None


def _text(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
