"""The task message as data. See also `envelope.py` (Kombu's JSON form) and `call.py` (what a message asks for).

A `Message` is what travels: body bytes, what they are, headers, properties. It says nothing about a queue or a store.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Message(msgspec.Struct, gc=False):
    """One message: `body` is the serialized (and perhaps compressed) body, not base64.

    `headers` and `properties` are JSON-like maps as in wire-protocol 1.1; `properties` holds `correlation_id`,
    `reply_to`, `delivery_mode`, `priority`, `delivery_info`, `delivery_tag`, and `expiration` where it is set.
    Treat both as read-only: drivers and tests share them. Messages are many and in no circles: the collector need not look.
    """

    body: bytes
    content_type: str
    content_encoding: str
    headers: dict[str, Any]
    properties: dict[str, Any]


class VettedMessage(Message, gc=False):
    """A message whose maker knows that headers and properties are plain JSON (`serializers/json.py`, `is_plain`)."""
