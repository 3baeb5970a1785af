"""A dead letter as a message that can be sent again, and what would become of it now."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from sedano.contracts import DeadLetter, Outgoing
from sedano.exceptions import UnreadableMessage
from sedano.protocol import envelope
from sedano.protocol.call import Call, read, read_body
from sedano.protocol.message import Message
from sedano.protocol.serializers import accept_types

if TYPE_CHECKING:
    from sedano.app.base import Celery

REPLAY_HEADER = "x-sedano-replay-of"
"""On a replayed message: {"dead": id of the letter, "id": task id of the call that died}."""

_OF_OTHER_DELIVERIES = ("redelivered", envelope.DELIVERIES_HEADER, envelope.PARKED_HEADER)


def replay(letter: DeadLetter, *, new_id: bool = False) -> Outgoing:
    """The exact message for its queue, with a link to where it comes from, and without what earlier deliveries left on it.

    With `new_id` it is a call of its own. Raises UnreadableMessage for bytes that are no message, and for a call of protocol
    1 that is to get a new id.
    """
    message = envelope.decode(letter.raw)
    origin = message.headers.get("id", letter.note.task_id)
    headers = {name: value for name, value in message.headers.items() if name not in _OF_OTHER_DELIVERIES}
    headers[REPLAY_HEADER] = {"dead": letter.id, "id": origin}
    properties = {**message.properties, "delivery_tag": str(uuid.uuid4())}
    info = properties.get("delivery_info")
    if isinstance(info, dict):
        properties["delivery_info"] = {name: value for name, value in info.items() if name != "redelivered"}
    if new_id:
        if "id" not in headers:
            raise UnreadableMessage("a call of message protocol 1 has its id in its body: it cannot get a new one")
        headers["id"] = properties["correlation_id"] = str(uuid.uuid4())
        if headers.get("root_id") == origin:
            headers["root_id"] = headers["id"]
    priority = properties.get("priority")
    sent = Message(message.body, message.content_type, message.content_encoding, headers, properties)
    return Outgoing(sent, letter.queue, priority=priority if type(priority) is int else 0)


def call_of(app: Celery, message: Message) -> Call:
    """Raises UnreadableMessage."""
    return read(message, tz=app.timezone, accept=accept_types(app.conf.typed("accept_content")))


def objection(app: Celery, message: Message, now: float) -> str:
    """Why the call of `message` would not run in this app at `now` (Unix seconds), "" when it would."""
    try:
        call = call_of(app, message)
        task = app.tasks.get(call.task)
        if task is None:
            return f"this app has no task {call.task!r}"
        if call.expires is not None and call.expires < now:
            return "it has expired"
        body = read_body(message, accept_types(app.conf.typed("accept_content")))
    except UnreadableMessage as exc:
        return str(exc)
    check = getattr(task, "__header__", None)
    if task.typing and check is not None:
        try:
            check(*body.args, **body.kwargs)
        except TypeError as exc:
            return str(exc)
    return ""
