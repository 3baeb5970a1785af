"""Reading how far workflows are: records from the broker, results of their calls, places of their messages. Writes nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

import msgspec

from sedano import states
from sedano.canvas.outline import Outline, WorkflowRecord, holds, read_record
from sedano.canvas.progress import Fact
from sedano.contracts import Place, Where
from sedano.protocol import results
from sedano.protocol.saferepr import saferepr

if TYPE_CHECKING:
    from sedano.app.base import Celery

AT_ONCE = 500
_PAGE = 200
_MOST_RECORDS = 20_000  # that are looked through for an id which is not a workflow's own
_MOST_MESSAGES = 100_000  # of each kind that are looked at
_ERROR_LENGTH = 120


class _Meta(msgspec.Struct):
    status: str
    date_done: str | None = None
    children: Any = None
    parent_id: str | None = None
    name: str | None = None


_meta_decoder = msgspec.json.Decoder(_Meta)
_part_decoder = msgspec.json.Decoder(tuple[Any, str, str, msgspec.Raw])


class Known(msgspec.Struct, frozen=True):
    """What a record says of its call. `children` are result tuples."""

    state: str
    done: str = ""
    error: str = ""
    children: tuple[Any, ...] = ()
    parent_id: str = ""
    name: str = ""


class Tracker:
    """Connections of its own to the app's stores, for a few questions. A context manager."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._open = ExitStack()
        self.broker = app.stores.open_broker()
        self._open.callback(self.broker.close)
        self.results = app.stores.open_results_if_on()
        if self.results is not None:
            self._open.callback(self.results.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    # -- records ------------------------------------------------------------------------------------------------------

    def record(self, id_: str) -> WorkflowRecord | None:
        """The record of the workflow with this id, or else of the newest one that a call or group of this id is a part of."""
        found = self.broker.workflow(id_)
        if found is None:
            found = next((data for _, data in self.records(_MOST_RECORDS) if holds(data, id_)), None)
        return None if found is None else read_record(found)

    def records(self, most: int) -> Iterator[tuple[str, bytes]]:
        for skip in range(0, most, _PAGE):
            page = self.broker.workflows(limit=min(_PAGE, most - skip), skip=skip)
            yield from page
            if len(page) < _PAGE:
                return

    # -- calls --------------------------------------------------------------------------------------------------------

    def known(self, ids: Iterable[str], *, errors: bool = True) -> dict[str, Known]:
        """What the results say of these calls; those of which they say nothing are left out."""
        found: dict[str, Known] = {}
        if self.results is None:
            return found
        wanted = list(dict.fromkeys(ids))
        for start in range(0, len(wanted), AT_ONCE):
            some = wanted[start : start + AT_ONCE]
            for id_, payload in zip(some, self.results.fetch(some), strict=True):
                if payload is not None:
                    found[id_] = self._read(payload, errors=errors)
        return found

    def _read(self, payload: bytes, *, errors: bool) -> Known:
        try:
            meta = _meta_decoder.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError):  # another serializer, or compressed
            meta = msgspec.convert({name: value for name, value in self._whole(payload).items() if name != "result"}, _Meta)
        error = ""
        if errors and meta.status in states.EXCEPTION_STATES:
            error = saferepr(self._whole(payload).get("result"), _ERROR_LENGTH)
        children = tuple(meta.children) if isinstance(meta.children, list | tuple) else ()
        return Known(meta.status, meta.date_done or "", error, children, meta.parent_id or "", meta.name or "")

    def _whole(self, payload: bytes) -> dict[str, Any]:
        return results.decode_meta(payload, self._app.conf.typed("result_serializer"), None)

    def counted(self, outline: Outline) -> dict[str, str]:
        """The states of header tasks that chords have counted and that are not over: also of those that store no result."""
        found: dict[str, str] = {}
        stack = [outline]
        while stack and self.results is not None:
            one = stack.pop()
            stack += one.parts
            if one.kind != "chord":
                continue
            for payload in self.results.chord_parts(one.id):
                try:
                    _, task_id, state, _ = _part_decoder.decode(payload)
                except (msgspec.DecodeError, UnicodeDecodeError):
                    continue
                found[task_id] = state
        return found

    def places(self, ids: Collection[str]) -> tuple[dict[str, Place], bool]:
        """Where the messages of these calls are; whether everything was looked at."""
        if not ids:
            return {}, True
        queues = sorted({*self._app.amqp.queues, *self.broker.queues()})
        return self.broker.locate(ids, queues, most=_MOST_MESSAGES)

    def facts(self, outline: Outline, *, extra: Mapping[str, Known] | None = None) -> dict[str, Fact]:
        """What is known of every call of the outline."""
        ids = [call.id for call in outline.calls()]
        known = {**self.known(ids), **(extra or {})}
        silent = [id_ for id_ in ids if id_ not in known]
        if silent:
            counted = self.counted(outline)
            known |= {id_: Known(counted[id_]) for id_ in silent if id_ in counted}
        open_ids = {id_ for id_ in ids if id_ not in known or known[id_].state not in (states.SUCCESS, states.REVOKED)}
        places, _ = self.places(open_ids)
        return {id_: self._fact(known.get(id_), places.get(id_)) for id_ in ids}

    def _fact(self, known: Known | None, place: Place | None) -> Fact:
        message = "" if place is None else self._shown(place)
        if known is None:
            return Fact(message=message)
        sent = tuple(id_of(child) for child in known.children)
        error = known.error
        if known.state == states.FAILURE and place is not None and place.where is Where.DEAD:
            error = f"{error}; kept as a dead letter"
        return Fact(known.state, self._time(known.done), error, message, sent)

    def _shown(self, place: Place) -> str:
        due = "" if place.due is None else self._clock(datetime.fromtimestamp(place.due, self._app.timezone))
        return {
            Where.READY: f"queued in {place.queue}",
            Where.DELAYED: f"delayed until {due}, then queued in {place.queue}",
            Where.PARKED: f"parked until {due}: no worker of {place.queue} knows its task",
            Where.RESERVED: f"reserved by {place.node}, not begun",
            Where.BEGUN: f"running on {place.node}",
            Where.TAKEN: "taken by a Celery worker, which runs it or will",
            Where.DEAD: f"dead letter of {place.queue}: {place.detail}",
        }[place.where]

    def _time(self, text: str) -> str:
        try:
            return self._clock(datetime.fromisoformat(text))
        except ValueError:
            return text

    def _clock(self, moment: datetime) -> str:
        """As a time of today, or a date and a time; in the app's time zone."""
        zone = self._app.timezone
        local = moment.astimezone(zone) if moment.tzinfo is not None else moment
        is_today = local.date() == self._app.now().astimezone(zone).date()
        return local.strftime("%H:%M:%S" if is_today else "%Y-%m-%d %H:%M:%S")


def id_of(child: Any) -> str:
    """The id in a result tuple `[[id, parent], members]`; "" for what is none."""
    try:
        return str(child[0][0])
    except (TypeError, IndexError):
        return ""


def outline_of_child(child: Any, names: Mapping[str, Known]) -> Outline:
    """The outline of what a call has sent: a call, or a group of its members."""
    members: Sequence[Any] | None = child[1] if len(child) > 1 else None
    id_ = id_of(child)
    if members is None:
        known = names.get(id_)
        return Outline("call", id_, (known.name if known is not None else "") or "call")
    return Outline("group", id_, parts=[outline_of_child(member, names) for member in members])
