"""Queues as an operator wants to see them: what waits, for how long, who takes from them, which are paused.

A store counts messages and knows the pauses. Who consumes is asked of the nodes: Celery's workers answer in the same way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from sedano.contracts.broker import LeaseRecord
from sedano.contracts.queues import Depth, Pause


class QueueState(msgspec.Struct, frozen=True):
    """One queue. `running` are begun calls. `oldest_s` is how long the first of the ready calls has waited, None when none
    waits or nobody knows; `consumers` the names of the nodes that take from it, None when they were not asked."""

    queue: str
    ready: int
    delayed: int
    reserved: int
    running: int
    dead: int
    parked: int
    oldest_s: float | None = None
    consumers: list[str] | None = None
    paused: Pause | None = None


class Consumers(msgspec.Struct, frozen=True):
    """Who takes from which queue, as far as the nodes said: `by_queue` names of nodes. `silent` nodes hold leases in the store
    and gave no answer (they hear no commands, are stopped, or just died). `celery` are those that answered and hold none:
    workers of Celery, which know no pauses; `ours` are the others that answered."""

    by_queue: Mapping[str, list[str]] = {}
    silent: Sequence[str] = ()
    celery: frozenset[str] = frozenset()
    ours: frozenset[str] = frozenset()


def consumers_of(answers: Iterable[Mapping[str, Any]], leases: Iterable[LeaseRecord]) -> Consumers:
    """`answers` to `active_queues`, whatever these are: what has not the form that Celery's have says nothing. Our nodes hold a
    lease, or say of a queue whether it is paused: of RabbitMQ nobody can be asked for leases."""
    by_queue: dict[str, list[str]] = {}
    heard: set[str] = set()
    ours = {record.node for record in leases}
    for answer in answers:
        for node, queues in answer.items():
            heard.add(node)
            for queue in queues if isinstance(queues, list) else ():
                name = queue.get("name") if isinstance(queue, dict) else None
                if isinstance(name, str):
                    by_queue.setdefault(name, []).append(node)
                    if "paused" in queue:
                        ours.add(node)
    named = {name: sorted(set(nodes)) for name, nodes in by_queue.items()}
    return Consumers(named, sorted(ours - heard), frozenset(heard - ours), frozenset(heard & ours))


def state_of(depth: Depth, pauses: Mapping[str, Pause], consumers: Consumers | None, now: float) -> QueueState:
    """`now` is wall seconds; `consumers` None: they were not asked."""
    return QueueState(
        depth.queue,
        depth.ready,
        depth.delayed,
        depth.reserved,
        depth.begun,
        depth.dead,
        depth.parked,
        oldest_s=None if depth.since is None else max(0.0, round(now - depth.since, 3)),
        consumers=None if consumers is None else list(consumers.by_queue.get(depth.queue, ())),
        paused=pauses.get(depth.queue),
    )


def describe(pause: Pause) -> str:
    """ "2026-11-21T18:40:00+00:00 by alice@web1 (the mail server is down)"."""
    by = f" by {pause.by}" if pause.by else ""
    reason = f" ({pause.reason})" if pause.reason else ""
    return f"{datetime.fromtimestamp(pause.since, UTC).isoformat(timespec='seconds')}{by}{reason}"
