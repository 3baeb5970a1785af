"""Messages, settlements and notes for the suites, with everything set that the wire asks for."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from sedano.contracts import (
    ChordPart,
    DeadNote,
    Delivery,
    Fate,
    Outcome,
    Outgoing,
    QueueSpec,
    ResultWrite,
    Settlement,
)
from sedano.protocol.message import Message

BODY = b'[[2, 3], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'


def message(
    task_id: str, *, queue: str = "q", exchange: str = "", body: bytes = BODY, priority: int = 0, **headers: Any
) -> Message:
    """A protocol 2 message as a producer writes it."""
    return Message(
        body=body,
        content_type="application/json",
        content_encoding="utf-8",
        headers={
            "lang": "py",
            "task": "tests.add",
            "id": task_id,
            "root_id": task_id,
            "parent_id": None,
            "group": None,
            "group_index": None,
            "retries": 0,
            "eta": None,
            "expires": None,
            "timelimit": [None, None],
            "shadow": None,
            "argsrepr": "(2, 3)",
            "kwargsrepr": "{}",
            "origin": "gen1@test",
            "ignore_result": None,
            "replaced_task_nesting": 0,
            "stamped_headers": None,
            "stamps": {},
            **headers,
        },
        properties={
            "correlation_id": task_id,
            "reply_to": "4a4d9f0c-6a5c-3f6c-8bd5-0d8f5d1cbb1a",
            "delivery_mode": 2,
            "delivery_info": {"exchange": exchange, "routing_key": queue},
            "priority": priority,
            "delivery_tag": str(uuid.uuid4()),
            "body_encoding": "base64",
        },
    )


def outgoing(
    queue: str, task_id: str, *, priority: int = 0, due: float | None = None, body: bytes = BODY, **headers: Any
) -> Outgoing:
    """To the queue named `queue`."""
    return Outgoing(message(task_id, queue=queue, body=body, priority=priority, **headers), queue, priority=priority, due=due)


def batch(queue: str, task_ids: Iterable[str], **options: Any) -> list[Outgoing]:
    return [outgoing(queue, task_id, **options) for task_id in task_ids]


def routed(exchange: str, kind: str, routing_key: str, task_id: str, *, priority: int = 0) -> Outgoing:
    """To whatever queues are bound to `exchange`."""
    sent = message(task_id, queue=routing_key, exchange=exchange, priority=priority)
    return Outgoing(sent, routing_key, exchange=exchange, exchange_type=kind, priority=priority)


def bound(queue: str, exchange: str, kind: str, routing_key: str) -> QueueSpec:
    return QueueSpec(queue, exchange=exchange, exchange_type=kind, routing_key=routing_key)


def task_ids(deliveries: Iterable[Delivery]) -> list[str]:
    """The calls in the order given; "?" for what is unreadable."""
    return [task_id_of(delivery) for delivery in deliveries]


def task_id_of(delivery: Delivery) -> str:
    return "?" if delivery.message is None else str(delivery.message.headers["id"])


def settlement(delivery: Delivery, **fields: Any) -> Settlement:
    """SUCCESS and ACK unless `fields` say otherwise."""
    given: dict[str, Any] = {"outcome": Outcome.SUCCESS, "task_id": task_id_of(delivery), **fields}
    return Settlement(delivery.tag, **given)


def requeue(delivery: Delivery) -> Settlement:
    return settlement(delivery, outcome=Outcome.REJECTED, fate=Fate.REQUEUE)


def dead(delivery: Delivery, died_at: float, *, keep_s: float = 3600.0, max_bytes: int = 1 << 30) -> Settlement:
    note = DeadNote(
        cause="failure",
        detail="ValueError: nothing to add",
        task_id=task_id_of(delivery),
        task="tests.add",
        died_at=died_at,
        keep_s=keep_s,
        max_bytes=max_bytes,
    )
    return settlement(delivery, outcome=Outcome.FAILURE, fate=Fate.DEAD, dead=note)


def result(
    task_id: str, payload: bytes = b'{"status": "SUCCESS", "result": 5}', *, ttl_s: float | None = 3600.0
) -> ResultWrite:
    return ResultWrite(task_id, payload, ttl_s, ready=True)


def chord_part(
    group_id: str, index: int, *, task_id: str | None = None, ttl_s: float = 3600.0, claim: bytes = b""
) -> ChordPart:
    name = task_id or f"{group_id}-{index}"
    return ChordPart(group_id, name, index, f'[1, "{name}", "SUCCESS", {index}]'.encode(), ttl_s, claim)
