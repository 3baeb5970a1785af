"""What a message asks for: reading task messages of protocol 2 and 1 (wire-protocol 1.1 and 1.3). `build.py` writes them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Annotated, Any

import msgspec

from sedano.exceptions import UnreadableMessage
from sedano.protocol.body import decode_body
from sedano.protocol.build import build
from sedano.protocol.envelope import DELIVERIES_HEADER, PARKED_HEADER
from sedano.protocol.message import Message
from sedano.protocol.saferepr import saferepr

__all__ = [
    "BROKER_HEADERS", "PROTOCOL_HEADERS", "WORKFLOW_HEADER", "Body", "Call", "Embed", "build", "custom_headers", "read",
    "read_body",
]  # fmt: skip

WORKFLOW_HEADER = "x-sedano-workflow"
"""The id of the workflow that a call is a part of; whatever the call sends is a part of it, too."""

# Written by brokers and transports about one delivery; a new message (a retry) must not carry them on.
BROKER_HEADERS = frozenset(
    {
        "x-death", "x-first-death-exchange", "x-first-death-queue", "x-first-death-reason", "x-last-death-exchange",
        "x-last-death-queue", "x-last-death-reason", "x-delivery-count", "redelivered", DELIVERIES_HEADER,
        PARKED_HEADER,
    }
)  # fmt: skip


# Numbers and names of a call are written down in other forms than JSON (the slot's table, keys of stores): what these cannot
# hold is refused here, where it is one message's trouble and not its slot's.
_Int = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_NAMES = ("task", "id", "root_id", "parent_id", "group")


class _Headers(msgspec.Struct):
    """The headers of protocol 2 by their wire types; also the fields of a protocol 1 body."""

    task: str
    id: str
    root_id: str | None = None
    parent_id: str | None = None
    group: str | None = None
    group_index: _Int | None = None
    retries: _Int | None = None
    eta: Any = None
    expires: Any = None
    timelimit: tuple[_Int | float | None, _Int | float | None] | None = None  # a whole number stays one
    shadow: str | None = None
    argsrepr: str | None = None
    kwargsrepr: str | None = None
    origin: str | None = None
    lang: str | None = None
    ignore_result: bool | None = None
    replaced_task_nesting: _Int | None = None
    stamped_headers: list[str] | None = None
    stamps: dict[str, Any] | None = None


PROTOCOL_HEADERS = frozenset({*_Headers.__struct_fields__, "compression", "taskset", "meth", "utc"})
# Told to people only: a wrong type there is no reason to refuse a call.
_TEXTS = ("shadow", "argsrepr", "kwargsrepr", "origin", "lang")
_LISTS = (list, tuple)
_MAP_OR_NONE = (dict, type(None))
_NOTHING_FOLLOWS = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
_JSON = "application/json"


class Call(msgspec.Struct, gc=False):
    """One request to run a task. Times are Unix seconds; `timelimit` is (hard, soft) in seconds.

    `headers` are all headers of the message, known or not, without `BROKER_HEADERS`; `properties` as they came. Both may be
    shared with the message: do not change them.

    The fields that stand in headers have the names and types of the wire, so that a plain call is read in one step (`_fast`).
    """

    task: str
    id: str
    root_id: str | None = None
    parent_id: str | None = None
    group: str | None = None
    group_index: _Int | None = None
    retries: _Int = 0
    eta: float | None = None
    expires: float | None = None
    timelimit: tuple[_Int | float | None, _Int | float | None] = (None, None)
    shadow: str | None = None
    argsrepr: str | None = None
    kwargsrepr: str | None = None
    origin: str | None = None
    lang: str | None = None
    ignore_result: bool | None = None
    replaced_task_nesting: _Int = 0
    stamped_headers: list[str] | None = None
    stamps: dict[str, Any] = {}
    reply_to: str | None = None
    correlation_id: str | None = None
    priority: int = 0
    delivery_info: dict[str, Any] = {}
    protocol: int = 2
    utc: bool = True
    headers: dict[str, Any] = {}
    properties: dict[str, Any] = {}


class Embed(msgspec.Struct, gc=False):
    """What is to be sent after the call; signature maps. `chain` is reversed: its last item is the next step."""

    callbacks: Sequence[Any] | None = None
    errbacks: Sequence[Any] | None = None
    chain: Sequence[Any] | None = None
    chord: dict[str, Any] | None = None


class Body(msgspec.Struct, gc=False):
    """The decoded body of a call."""

    args: Sequence[Any]
    kwargs: dict[str, Any]
    embed: Embed


def read(message: Message, *, tz: tzinfo = UTC, accept: Collection[str] | None = None) -> Call:
    """What `message` asks for. `tz` is the app's time zone, in which naive times are meant.

    Protocol 2 is read from the headers alone; protocol 1 decodes the body, for which `accept` names the content types
    (as in `serializers.loads`). Raises `UnreadableMessage` (or `ContentDisallowed`, `DecodeError`) saying what is wrong.
    """
    return _fast(message) or plain_read(message, tz=tz, accept=accept)


def _fast(message: Message) -> Call | None:
    """The call of a message whose headers are just as they are in nearly every call; None where a longer look is needed."""
    headers = message.headers
    if headers.get("eta") is not None or headers.get("expires") is not None or not headers.keys().isdisjoint(BROKER_HEADERS):
        return None
    try:
        call = msgspec.convert(headers, Call)
    except (msgspec.ValidationError, UnicodeError):
        return None
    if not (call.id and call.task and _is_ascii(call)):
        return None
    _take_properties(call, message.properties)
    call.headers = headers
    call.protocol, call.utc = 2, True  # whatever a sender's own header of that name says
    return call


def plain_read(message: Message, *, tz: tzinfo = UTC, accept: Collection[str] | None = None) -> Call:
    """As `read`, by the long road."""
    headers = message.headers
    protocol, utc = 2, True
    fields = headers
    if headers.get("task") is None:
        fields = _protocol_1_fields(message, accept)
        protocol, utc = 1, bool(fields.get("utc", True))
    try:
        known = msgspec.convert(fields, _Headers)
    except (msgspec.ValidationError, UnicodeError):
        known = _read_tolerantly(fields)
    if not known.task or not known.id:
        raise UnreadableMessage(f"{'header' if protocol == 2 else 'body field'} {'id' if known.task else 'task'!r} is empty")
    if not _is_ascii(known):
        _check_names(known)
    if not BROKER_HEADERS.isdisjoint(headers):
        headers = {name: value for name, value in headers.items() if name not in BROKER_HEADERS}
    call = Call(
        task=known.task,
        id=known.id,
        root_id=known.root_id,
        parent_id=known.parent_id,
        group=known.group,
        group_index=known.group_index,
        retries=known.retries or 0,
        eta=None if known.eta is None else _unix_time("eta", known.eta, tz),
        expires=None if known.expires is None else _unix_time("expires", known.expires, tz),
        timelimit=known.timelimit or (None, None),
        shadow=known.shadow,
        argsrepr=known.argsrepr,
        kwargsrepr=known.kwargsrepr,
        origin=known.origin,
        lang=known.lang,
        ignore_result=known.ignore_result,
        replaced_task_nesting=known.replaced_task_nesting or 0,
        stamped_headers=known.stamped_headers,
        stamps=known.stamps or {},
        protocol=protocol,
        utc=utc,
        headers=headers,
    )
    _take_properties(call, message.properties)
    return call


def _take_properties(call: Call, properties: dict[str, Any]) -> None:
    delivery_info, priority = properties.get("delivery_info"), properties.get("priority")
    reply_to, correlation_id = properties.get("reply_to"), properties.get("correlation_id")
    call.reply_to = reply_to if type(reply_to) is str else None
    call.correlation_id = correlation_id if type(correlation_id) is str else None
    call.priority = priority if type(priority) is int else 0
    call.delivery_info = delivery_info if type(delivery_info) is dict else {}
    call.properties = properties


def _is_ascii(call: Call | _Headers) -> bool:
    """Whether the names of the call are surely text."""
    for name in (call.task, call.id, call.root_id, call.parent_id, call.group):
        if name is not None and not name.isascii():
            return False
    return True


def read_body(message: Message, accept: Collection[str] | None = None) -> Body:
    """The arguments. Raises `DecodeError`, `ContentDisallowed` or another `UnreadableMessage`."""
    value = decode_body(message, accept)
    if type(value) is list and len(value) == 3:
        args, kwargs, embed = value
        # The usual body; in JSON every name is text.
        if embed == _NOTHING_FOLLOWS and type(args) is list and type(kwargs) is dict and message.content_type == _JSON:
            return Body(args, kwargs, Embed())
    return _body_of(value, message)


def _body_of(value: Any, message: Message) -> Body:
    if isinstance(value, dict):  # protocol 1, or its map under protocol 2 headers
        return Body(
            _args(value.get("args")),
            _kwargs(value.get("kwargs")),
            _embed({name: value.get(name) for name in ("callbacks", "errbacks", "chord")}),
        )
    if not isinstance(value, _LISTS):
        signed = message.content_type == "application/data"
        hint = " (a signed message, serializer 'auth', is read once app.setup_security() was called here)" if signed else ""
        raise UnreadableMessage(f"the body is a {type(value).__name__}, not a list of args, kwargs and embed{hint}")
    if len(value) != 3:
        raise UnreadableMessage(f"the body has {len(value)} elements; it must have three: args, kwargs and embed")
    return Body(_args(value[0]), _kwargs(value[1]), _embed(value[2]))


def custom_headers(call: Call) -> dict[str, Any]:
    """The headers that the sender added: all that protocol 2 does not define."""
    return {name: value for name, value in call.headers.items() if name not in PROTOCOL_HEADERS}


def _protocol_1_fields(message: Message, accept: Collection[str] | None) -> dict[str, Any]:
    value = decode_body(message, accept)
    if not isinstance(value, dict) or "task" not in value:
        raise UnreadableMessage("there is no header 'task', and the body is no protocol 1 map with a 'task' either")
    fields = dict(value)
    if "taskset" in fields:
        fields["group"] = fields["taskset"]
    for name in ("args", "kwargs"):
        fields.setdefault(f"{name}repr", saferepr(fields.pop(name, () if name == "args" else {})))
    return fields


def _read_tolerantly(fields: dict[str, Any]) -> _Headers:
    for name in ("task", "id"):
        if not isinstance(fields.get(name), str):
            problem = f"is a {type(fields[name]).__name__}, not text" if fields.get(name) is not None else "is missing"
            raise UnreadableMessage(f"{name!r} of the call {problem}")
    mended = dict(fields)
    for name in _TEXTS:
        if not isinstance(mended.get(name), str | None):
            mended[name] = saferepr(mended[name])
    try:
        return msgspec.convert(mended, _Headers)
    except (msgspec.ValidationError, UnicodeError) as exc:
        raise UnreadableMessage(f"the headers of call {fields['id']} are wrong: {exc}") from exc


def _check_names(known: _Headers) -> None:
    for name in _NAMES:
        text: str = getattr(known, name) or ""
        try:
            text.encode()
        except UnicodeEncodeError as exc:
            raise UnreadableMessage(f"{name!r} of the call is no text: {text[:100]!a} holds half a character") from exc


def _unix_time(name: str, value: Any, tz: tzinfo) -> float:
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=tz)).timestamp()
    except (TypeError, ValueError, OverflowError) as exc:
        raise UnreadableMessage(f"{name!r} is {saferepr(value, 100)}, not an ISO 8601 time: {exc}") from exc


def _args(value: Any) -> Sequence[Any]:
    if isinstance(value, _LISTS):
        return value
    if value is None:
        return ()
    raise UnreadableMessage(f"args of the body are a {type(value).__name__}, not a list")


def _kwargs(value: Any) -> dict[str, Any]:
    if not value and isinstance(value, _MAP_OR_NONE):
        return {}
    if not isinstance(value, dict):
        raise UnreadableMessage(f"kwargs of the body are a {type(value).__name__}, not a map")
    if not all(isinstance(name, str) for name in value):
        raise UnreadableMessage("kwargs of the body have a name that is no text")
    return value


def _embed(value: Any) -> Embed:
    if not value and isinstance(value, _MAP_OR_NONE):
        return Embed()
    if not isinstance(value, dict):
        raise UnreadableMessage(f"embed of the body is a {type(value).__name__}, not a map")
    chord = value.get("chord")
    if chord is not None and not isinstance(chord, dict):
        raise UnreadableMessage(f"'chord' of the body is a {type(chord).__name__}, not a signature map")
    return Embed(_signatures(value, "callbacks"), _signatures(value, "errbacks"), _signatures(value, "chain"), chord)


def _signatures(embed: dict[str, Any], name: str) -> Sequence[Any] | None:
    found = embed.get(name)
    if found is not None and not isinstance(found, _LISTS):
        raise UnreadableMessage(f"{name!r} of the body are a {type(found).__name__}, not a list")
    for one in found or ():
        if not (isinstance(one, dict) and isinstance(one.get("task"), str)):
            raise UnreadableMessage(f"{name!r} of the body hold {saferepr(one, 100)}, which is no signature map with a 'task'")
    return found
