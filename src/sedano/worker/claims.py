"""What a chord's claim holds: everything that is needed to finish it, beside the parts themselves."""

from __future__ import annotations

from typing import Any

import msgspec

from sedano.exceptions import EncodeError
from sedano.protocol import serializers


class Claim(msgspec.Struct, array_like=True):
    """What is to be done when a chord's parts are all there: send `body` (a signature, serialized), as a child of
    `task_id` and a part of the workflow `workflow_id`."""

    content_type: str
    content_encoding: str
    body: bytes
    task_id: str
    root_id: str | None
    workflow_id: str | None = None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Claim)


def encode_claim(body: Any, task_id: str, root_id: str | None, workflow_id: str | None) -> bytes:
    """As JSON, so that anybody may open it; what JSON cannot carry came as a pickle, and goes as one."""
    try:
        content_type, encoding, data = serializers.dumps(body, "json")
    except EncodeError:
        content_type, encoding, data = serializers.dumps(body, "pickle")
    return _encoder.encode(Claim(content_type, encoding, data, task_id, root_id, workflow_id))


def decode_claim(claim: bytes) -> Claim:
    """Raises msgspec.DecodeError when the bytes are no claim."""
    return _decoder.decode(claim)
