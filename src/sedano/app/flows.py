"""`app.workflows`: look at workflows that were sent, and cancel them. See docs/how-to/workflows.md."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from sedano import states
from sedano.app.control import signal_name
from sedano.app.tracking import AT_ONCE, Known, Tracker, id_of, outline_of_child
from sedano.canvas.outline import Outline, WorkflowRecord, described, outline_of, read_record
from sedano.canvas.progress import RUNS, Part, Summary, drawn, progress_of, summary_of
from sedano.contracts import Place, ResultWrite, Revoke, Where, order_of
from sedano.exceptions import WorkflowNotFound
from sedano.protocol import results

if TYPE_CHECKING:
    from sedano.app.base import Celery

REASON = "cancelled"
_KEEP_CANCELS_S = 7 * 86400.0
_MOST_TOLD = 1000  # ids that the workers of Celery in the fleet are told
_MOST_CHILDREN = 1000
_NEVER_BEGUN = frozenset({Where.READY, Where.DELAYED, Where.PARKED, Where.RESERVED})


class Workflow(msgspec.Struct):
    """A workflow as it is now. `has_record` is False for one of which only the results tell, such as one sent by Celery;
    `children` are what its calls have sent besides, by id."""

    id: str
    sent_at: float | None
    what: str
    has_record: bool
    tree: Part
    children: dict[str, Part] = {}

    @property
    def summary(self) -> Summary:
        return summary_of([one.status if one.is_over or one.status in RUNS else states.PENDING for one in self.tree.calls()])

    def lines(self, *, everything: bool = False) -> list[str]:
        """The drawing, without its head."""
        return drawn(self.tree, everything=everything, child=self.children.get)


class Listed(msgspec.Struct, frozen=True):
    """A line of the list. `sent_at` is Unix seconds."""

    id: str
    what: str
    sent_at: float
    summary: Summary


class Cancelled(msgspec.Struct, frozen=True):
    """What a cancel did: ids of calls that will never run, of those that run or may run now, and how many were over."""

    id: str
    revoked: list[str]
    running: list[str]
    over: int


class Workflows:
    """Of one app. Each method opens connections and closes them."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def get(self, id: str) -> Workflow:  # noqa: A002 - as in AsyncResult(id)
        """How far a workflow is. `id` is that of its result, or of any call or group in it.

        Raises WorkflowNotFound when there is neither a record nor a result of that id.
        """
        with Tracker(self._app) as tracker:
            record = tracker.record(id)
            outline = self._derived(tracker, id) if record is None else outline_of(record)
            tree = progress_of(outline, tracker.facts(outline))
            children = _Children(tracker, outline).of(tree)
        if record is None:
            return Workflow(outline.id, None, "what its results tell", False, tree, children)
        return Workflow(record.id, record.sent_at, described(record.shape), True, tree, children)

    def show(self, id: str, *, everything: bool = False) -> str:  # noqa: A002
        """The tree as text, with states and times, and what each waiting part waits for."""
        found = self.get(id)
        if found.sent_at is None:
            head = f"{found.id}: no record is kept, so this is what its results tell, without what is still to come"
        else:
            sent = datetime.fromtimestamp(found.sent_at, self._app.timezone).isoformat(sep=" ", timespec="seconds")
            summary = found.summary
            head = f"{found.id}: {found.what}, sent {sent}, {summary.state}, {summary.done} of {summary.total} calls over"
        return "\n".join([head, *found.lines(everything=everything)])

    def recent(self, *, limit: int = 20, state: Collection[str] | None = None) -> list[Listed]:
        """The newest workflows, of `state` only: done, failed, cancelled, running, waiting."""
        return [*self._listed(limit, state)]

    def _listed(self, limit: int, state: Collection[str] | None) -> Iterator[Listed]:
        left = limit
        with Tracker(self._app) as tracker:
            for _, data in tracker.records(100_000 if state is not None else limit):
                record = read_record(data)
                ids = [call.id for call in outline_of(record).calls()]
                known = tracker.known(ids, errors=False)
                summary = summary_of([known[id_].state if id_ in known else states.PENDING for id_ in ids])
                if state is None or summary.state in state:
                    yield Listed(record.id, described(record.shape), record.sent_at, summary)
                    left -= 1
                    if left <= 0:
                        return

    def cancel(self, id: str, *, terminate: bool = False, signal: Any = None) -> Cancelled:  # noqa: A002
        """Nothing of the workflow begins from now on; `terminate` also ends what runs, with `signal`.

        What has not begun is REVOKED at once, so `get()` of any part ends with TaskRevokedError. What runs goes on to its end,
        if it is not terminated, and nothing comes after it. Repeating it is harmless. Raises WorkflowNotFound without a record.
        """
        name = signal_name(signal)
        with Tracker(self._app) as tracker:
            record = tracker.record(id)
            if record is None:
                raise WorkflowNotFound(
                    f"no record of a workflow {id!r} is kept, so its parts are not known:"
                    " revoke its calls with app.control.revoke(), or result.revoke()"
                )
            self._order(record)  # before anything is read: from now on nothing that was found waiting can begin
            cut = self._cut(tracker, outline_of(record))
            self._write(tracker, cut.revoked)
        told = [*cut.running, *cut.revoked] if len(cut.revoked) < _MOST_TOLD else cut.running
        for start in range(0, len(told), _MOST_TOLD):
            self._app.control.revoke(told[start : start + _MOST_TOLD], terminate=terminate, signal=name)
        return msgspec.structs.replace(cut, id=record.id)

    def _order(self, record: WorkflowRecord) -> None:
        names = dict.fromkeys(name for name in (record.id, record.root_id) if name)
        keep_s = max(self._app.terms.workflow_keep_s, _KEEP_CANCELS_S)
        with closing(self._app.stores.open_coordination()) as coordination:
            coordination.revoke([Revoke(order_of(name)) for name in names], keep_s=keep_s)

    def _cut(self, tracker: Tracker, outline: Outline) -> Cancelled:
        """What of the workflow has not begun, and what may be running."""
        ids = [call.id for call in outline.calls()]
        known = tracker.known(ids, errors=False)
        is_over = {id_: state.state for id_, state in known.items() if state.state in states.READY_STATES}
        is_over |= {id_: state for id_, state in tracker.counted(outline).items() if state in states.READY_STATES}
        places, _ = tracker.places([id_ for id_ in ids if id_ not in is_over])
        waiting = set(_not_sent(outline, is_over))
        revoked: list[str] = []
        running: list[str] = []
        for id_ in ids:
            if id_ in is_over:
                continue
            if _never_begun(places.get(id_), waits=id_ in waiting):
                revoked.append(id_)
            else:
                running.append(id_)
        return Cancelled("", revoked, running, len(is_over))

    def _write(self, tracker: Tracker, ids: list[str]) -> None:
        """REVOKED for what will never run."""
        if tracker.results is None:
            return
        conf, now = self._app.conf, datetime.fromtimestamp(time.time(), self._app.timezone).isoformat()
        ttl_s = conf.typed("result_expires") or None
        for start in range(0, len(ids), AT_ONCE):
            tracker.results.store(
                [
                    ResultWrite(
                        id_,
                        results.encode_meta(
                            results.revoked(id_, REASON, date_done=now),
                            conf.typed("result_serializer"),
                            conf.result_compression,
                        ),
                        ttl_s,
                        ready=True,
                    )
                    for id_ in ids[start : start + AT_ONCE]
                ]
            )

    # -- without a record ---------------------------------------------------------------------------------------------

    def _derived(self, tracker: Tracker, id_: str) -> Outline:
        """The first call of what `id_` belongs to, as far as results tell; what comes after it are its children."""
        names, seen = tracker.known([id_]), set[str]()
        if id_ not in names:
            raise WorkflowNotFound(
                f"there is neither a workflow nor a result {id_!r} in the stores of this app: it may have expired,"
                " have sent nothing back yet, or never existed"
            )
        while (parent := names[id_].parent_id) and parent not in seen:
            seen.add(parent)
            above = tracker.known([parent])
            if parent not in above:
                break
            names, id_ = above, parent
        return Outline("call", id_, names[id_].name or "call")


def _never_begun(place: Place | None, *, waits: bool) -> bool:
    """Whether a call that is not over can surely not run any more, now that the order is known to every turn."""
    return waits if place is None else place.where in _NEVER_BEGUN


def _not_sent(outline: Outline, is_over: Mapping[str, str]) -> Iterator[str]:
    """The calls that cannot have been sent, because something before them is not over, or has failed."""
    stack = [(outline, False)]
    while stack:
        one, waits = stack.pop()
        if one.kind == "call":
            if waits:
                yield one.id
            continue
        if one.kind == "group":
            stack += [(part, waits) for part in one.parts]
            continue
        for part in one.parts if one.kind == "chain" else [Outline("group", one.id, parts=one.header), one.body]:
            stack.append((part, waits))
            waits = waits or any(is_over.get(call.id) != states.SUCCESS for call in part.calls())


class _Children:
    """What the calls of a workflow have sent besides: found in their records, and in those of what they have sent."""

    def __init__(self, tracker: Tracker, outline: Outline) -> None:
        self._tracker = tracker
        self._seen = set(outline.ids())
        self._found: dict[str, Part] = {}

    def of(self, tree: Part) -> dict[str, Part]:
        parts = [tree]
        while parts and len(self._found) < _MOST_CHILDREN:
            senders = [call.id for part in parts for call in part.calls() if call.sent]
            parts = []
            for known in self._tracker.known(senders).values():
                parts += self._parts(known)
        return self._found

    def _parts(self, known: Known) -> list[Part]:
        parts: list[Part] = []
        for child in known.children:
            id_ = id_of(child)
            if not id_ or id_ in self._seen or len(self._seen) > 100 * _MOST_CHILDREN:
                continue
            bare = outline_of_child(child, {})
            self._seen.update(bare.ids())
            outline = outline_of_child(child, self._tracker.known(bare.ids()))
            part = self._found[id_] = progress_of(outline, self._tracker.facts(outline))
            parts.append(part)
        return parts
