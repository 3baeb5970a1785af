"""The calls of an entry of a schedule, made and not sent: the store writes them and the entry's tick in one step."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sedano.app.batches import Collected, collected
from sedano.contracts import Outgoing

if TYPE_CHECKING:
    from sedano.app.base import Celery

_SPACE = uuid.UUID("6a1c3a5e-54f5-5c43-8d0b-6f5d1f3c2b7a")


def call_id(space: str, name: str, moment: float) -> str:
    """The id of the call that an entry sends for a moment: whoever sends it, it is one call."""
    return str(uuid.uuid5(_SPACE, f"{space}\n{name}\n{moment!r}"))


def space_of(app: Celery) -> str:
    """Under which name the store keeps the app's entries: the app's own."""
    return str(app.main or "default")


def calls_of(
    app: Celery, task: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any], task_id: str
) -> list[Collected]:
    """What `apply_async` of the task would send, one of the user's own included. Raises what it raises."""
    given = {**options, "task_id": task_id}
    given["headers"] = {**(options.get("headers") or {}), "celery_beat_task": True}
    known = app.tasks.get(task)
    with collected(app) as calls:
        if known is None:
            app.send_task(task, list(args), dict(kwargs), **given)
        else:
            known.apply_async(list(args), dict(kwargs), **given)
    return calls


def messages_of(calls: Sequence[Collected]) -> list[Outgoing]:
    return [call.made.outgoing() for call in calls]
