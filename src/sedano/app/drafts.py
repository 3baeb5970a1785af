"""Messages that are ready to go, and stencils: what all calls of one task with the same options have in common.

A stencil is taken from the first draft that `messages.py` made, so there is one place that knows what a message holds; later
calls copy it and fill in what is theirs alone.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from sedano import signals
from sedano.app.context import worker_call
from sedano.app.terms import SendingTerms
from sedano.contracts.queues import QueueSpec
from sedano.contracts.settlement import Outgoing
from sedano.contracts.workflows import WorkflowNote
from sedano.protocol import serializers
from sedano.protocol.call import WORKFLOW_HEADER
from sedano.protocol.ids import new_id, new_ids
from sedano.protocol.message import Message, VettedMessage
from sedano.protocol.results import writes_own_json
from sedano.protocol.saferepr import saferepr
from sedano.protocol.serializers import json

if TYPE_CHECKING:
    from sedano.app.base import Celery

LONGEST_REPR = 1024
_MOST_STENCILS = 512  # queues named after customers must not fill the memory

# Options that mean the same for every call, so that calls with the same ones differ only in what `fill` writes.
_STEADY = frozenset(
    {
        "queue", "routing_key", "exchange", "exchange_type", "priority", "serializer", "delivery_mode", "time_limit",
        "soft_time_limit", "ignore_result", "retry", "add_to_parent", "mandatory", "immediate",
    }
)  # fmt: skip
_PLAIN = frozenset({str, int, float, bool, type(None)})
# Options that say where a call of a workflow stands and what comes after it: its own, and no other call's.
_PLACE = frozenset({"group_id", "group_index", "root_id", "parent_id", "reply_to", "chain", "chord"})
_PLACE_TYPES = {"group_index": int, "chain": list, "chord": dict}
_NO_PLACE: Mapping[str, Any] = {}

_origin = (0, "")


class Address(msgspec.Struct, frozen=True):
    """Where a message is published, as plain values, and what the broker must know before."""

    exchange: str
    exchange_type: str
    routing_key: str
    queue: str | None
    delivery_mode: int
    declare: tuple[QueueSpec, ...]


class Draft(msgspec.Struct, gc=False):
    """A message that is ready to go, and what signals and results need to know about it.

    `body` is what was serialized: `(args, kwargs, embed)`, or protocol 1's map. `eta_s` is when it is to start (Unix
    seconds), None for now. `workflow` is the record of the workflow that begins with it.
    """

    task_id: str
    task: str
    message: Message
    address: Address
    body: Any
    eta_s: float | None
    ignore_result: bool | None
    serializer: str
    retry: bool
    retry_policy: dict[str, Any]
    workflow: WorkflowNote | None = None

    def outgoing(self, *, due: float | None = None) -> Outgoing:
        """The message for the broker; with `due` it goes to the store's schedule."""
        where = self.address
        return Outgoing(
            self.message,
            where.routing_key,
            where.exchange,
            where.exchange_type,
            self.message.properties.get("priority") or 0,
            due,
            workflow=self.workflow,
        )


class Stencil(msgspec.Struct, frozen=True):
    """`first` is the draft that it was taken from."""

    terms: SendingTerms
    first: Draft

    def fill(self, app: Celery, task_id: str | None, args: Any, kwargs: Any, place: Mapping[str, Any], running: Any) -> Draft:
        """The message of one call; `place` as in `_PLACE`. `running` is the (task, request) that sends it, or None."""
        first, tag = self.first, ""
        if task_id is None:
            task_id, tag = new_ids()
        chord = place.get("chord")
        embed = {"callbacks": None, "errbacks": None, "chain": place.get("chain"), "chord": chord}
        body = (args, kwargs, embed)
        if chord is not None and first.serializer == "json":
            to_write = (args, kwargs, {**embed, "chord": app.amqp.stencils.written(chord)})
        else:
            to_write = body
        content_type, content_encoding, data = serializers.dumps(to_write, first.serializer)
        depth = self.terms.repr_depth
        headers = first.message.headers.copy()
        headers["id"] = headers["root_id"] = task_id
        headers["argsrepr"] = saferepr(args, LONGEST_REPR, depth)
        headers["kwargsrepr"] = saferepr(kwargs, LONGEST_REPR, depth) if kwargs else "{}"
        headers["origin"] = origin()
        if running is not None:
            request = running[1]
            headers["root_id"] = request.root_id or request.id or task_id
            headers["parent_id"] = request.id
            if request.sedano_workflow is not None:
                headers[WORKFLOW_HEADER] = request.sedano_workflow
        properties = first.message.properties.copy()
        properties["correlation_id"] = task_id
        if place:
            headers["group"], headers["group_index"] = place.get("group_id"), place.get("group_index")
            headers["root_id"] = place.get("root_id") or headers["root_id"]
            headers["parent_id"] = place.get("parent_id") or headers["parent_id"]
        properties["reply_to"] = place.get("reply_to") or app.thread_oid
        properties["delivery_tag"] = tag or new_id()
        if signals.after_task_publish.receivers:  # whoever is shown them may change them
            headers, properties = copy.deepcopy(headers), copy.deepcopy(properties)
        return Draft(
            task_id,
            first.task,
            VettedMessage(data, content_type, content_encoding, headers, properties),
            first.address,
            body,
            None,
            first.ignore_result,
            first.serializer,
            first.retry,
            first.retry_policy,
        )


class Stencils:
    """An app's stencils, by task and options."""

    def __init__(self) -> None:
        self._known: dict[Any, Stencil] = {}
        self._chord: tuple[Any, Any] = (None, None)

    def clear(self) -> None:
        self._known.clear()

    def written(self, chord: Any) -> Any:
        """The body of a chord, which all its header tasks take along, written once. Nobody changes it meanwhile: the map was
        made when the chord was frozen."""
        known, found = self._chord
        if known is not chord:
            found = json.written(chord) if writes_own_json() else chord
            self._chord = (chord, found)
        return found

    def over(self) -> None:
        """A workflow has gone out: its body is not kept."""
        self._chord = (None, None)

    def draft(
        self,
        app: Celery,
        name: str,
        task_id: str | None,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        options: Mapping[str, Any],
    ) -> Draft | None:
        """A draft by the stencil for these options; None when there is none."""
        place = _NO_PLACE
        if not _PLACE.isdisjoint(options):
            place, options = _place_of(options)
        try:
            stencil = self._known.get(_key(name, options))
        except TypeError:  # a value without a hash: no such options are kept
            return None
        if stencil is None or type(kwargs) is not dict or not isinstance(args, tuple | list):
            return None
        terms = app.terms
        if stencil.terms is not terms or signals.before_task_publish.receivers:
            return None
        running = worker_call()
        if running is not None and terms.inherit_priority:
            return None
        if place and not _is_ordinary(place):
            return None
        return stencil.fill(app, task_id, args, kwargs, place, running)

    def keep(self, app: Celery, given: Mapping[str, Any], routed: Mapping[str, Any], made: Draft) -> None:
        """Remember `made` for calls with the options `given`, unless they, or what a route added, vary from call to call."""
        amqp, terms = app.amqp, app.terms
        given, routed = _place_of(given)[1], _place_of(routed)[1]
        if terms.protocol != 2 or terms.compression or not amqp.routes_by_name:
            return
        # A route's queue is an object of the queue table by now.
        if not (_is_steady(given) and (routed == given or _is_steady({**routed, "queue": None}))):
            return
        if terms.inherit_priority and worker_call() is not None:
            return
        if len(self._known) >= _MOST_STENCILS:
            self._known.clear()
        # Receivers of signals may change the message that goes out.
        message: Message = copy.deepcopy(msgspec.structs.replace(made.message, body=b""))
        message.headers["group"] = message.headers["group_index"] = message.headers["parent_id"] = None
        message.headers.pop(WORKFLOW_HEADER, None)
        self._known[_key(made.task, given)] = Stencil(terms, msgspec.structs.replace(made, message=message, body=None))


def _place_of(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(the options that say where a call stands, the others)."""
    place, others = dict[str, Any](), dict[str, Any]()
    for name, value in options.items():
        (place if name in _PLACE else others)[name] = value
    return place, others


def _is_ordinary(place: Mapping[str, Any]) -> bool:
    """Whether `place` can be written as it is: signatures as plain maps."""
    for name, value in place.items():
        if value is not None and type(value) is not _PLACE_TYPES.get(name, str):
            return False
    return all(type(step) is dict for step in place.get("chain") or ())


def _is_steady(options: Mapping[str, Any]) -> bool:
    return _STEADY.issuperset(options) and all(type(value) in _PLAIN for value in options.values())


def _key(name: str, options: Mapping[str, Any]) -> Any:
    """What tells these options from others, their types included: 1, 1.0 and True are written differently."""
    values = tuple(options.values())
    return name, tuple(options), values, tuple(map(type, values))


def origin() -> str:
    """`gen<pid>@<host>` of this process."""
    global _origin
    pid = os.getpid()
    if _origin[0] != pid:
        _origin = (pid, f"gen{pid}@{hostname()}")
    return _origin[1]


def hostname() -> str:
    """This machine's name."""
    return os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "localhost")
