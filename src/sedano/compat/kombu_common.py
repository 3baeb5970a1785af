"""`kombu.common`: broadcast queues, and declaring what may be there already."""

from __future__ import annotations

from typing import Any

from sedano.protocol.ids import new_id as uuid
from sedano.protocol.queues import Broadcast


def maybe_declare(entity: Any, channel: Any = None, retry: bool = False, **retry_policy: Any) -> bool:
    """Declare an exchange or a queue on `channel`, or on the one that it is bound to; declaring again changes nothing."""
    del retry, retry_policy
    if not entity.is_bound:
        entity = entity.bind(channel)
    entity.declare()
    return True


__all__ = ["Broadcast", "maybe_declare", "uuid"]
