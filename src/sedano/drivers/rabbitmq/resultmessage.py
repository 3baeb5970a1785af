"""A result on its way to whoever made the call (rpc://): a message to the queue that the call names in `reply_to`. Pure."""

from __future__ import annotations

import functools

from sedano.contracts import AmqpOptions, ResultWrite
from sedano.drivers.rabbitmq.properties import encode_properties
from sedano.drivers.rabbitmq.publishing import Ready
from sedano.exceptions import EncodeError
from sedano.protocol.results import decompressed
from sedano.protocol.serializers import dumps

PERSISTENT, TRANSIENT = 2, 1
_LONGEST = 255  # bytes of a short string


def result_message(write: ResultWrite, options: AmqpOptions) -> Ready | None:
    """Every state is a message, as Celery writes it: task id as correlation id, the task meta as body, no headers.

    None when nobody is to be told. A queue that is gone is no error: who made the call is gone too, or does not want it.
    """
    correlation_id, reply_to = write.task_id.encode(), write.reply_to.encode()
    if not reply_to or len(reply_to) > _LONGEST or len(correlation_id) > _LONGEST:
        return None
    head = _head(options.result_serializer, persistent=options.result_persistent)
    header = b"%b%c%b" % (head, len(correlation_id), correlation_id)
    return Ready("", write.reply_to, header, decompressed(write.payload), mandatory=False)


@functools.lru_cache(maxsize=16)
def _head(serializer: str, *, persistent: bool) -> bytes:
    """The content header up to the correlation id, which comes last. Raises EncodeError for an unknown serializer."""
    try:
        content_type, content_encoding, _ = dumps(None, serializer)
    except Exception as exc:
        raise EncodeError(f"result_serializer is {serializer!r}, which writes nothing: {exc}") from exc
    properties = {
        "content_type": content_type,
        "content_encoding": content_encoding,
        "headers": {},
        "delivery_mode": PERSISTENT if persistent else TRANSIENT,
        "priority": 0,
        "correlation_id": "",
    }
    return encode_properties(properties)[:-1]
