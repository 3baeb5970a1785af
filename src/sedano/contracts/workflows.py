"""What a broker keeps of workflows, and where the calls of one are now. `Broker` has these methods besides its own.

A record is bytes here (`canvas/outline.py` writes and reads them). It is stored by the step that publishes the first calls of
its workflow (`Outgoing.workflow`), and nothing is written to it afterwards: how far a workflow is follows from the results of
its calls and from where their messages are.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

import msgspec


class WorkflowNote(msgspec.Struct, frozen=True):
    """The record of the workflow `id`, kept until `ends_at` (Unix seconds).

    When all records of the store together hold more than `max_bytes`, those that end first are dropped; the newest always
    stays.
    """

    id: str
    record: bytes
    ends_at: float
    max_bytes: int


class Where(enum.StrEnum):
    """Where the message of a call is."""

    READY = "ready"  # in its queue
    DELAYED = "delayed"  # in the schedule
    PARKED = "parked"  # no worker knew its task
    RESERVED = "reserved"  # in a worker's hands, not begun
    BEGUN = "begun"
    TAKEN = "taken"  # a worker of another kind has it, begun or not
    DEAD = "dead"  # a dead letter


class Place(msgspec.Struct, frozen=True):
    """Where a call is. `node` has it; `due` (Unix seconds) is when a delayed one is to run or a parked one fails; `detail`
    says why it is a dead letter, which is its cause and a line for people."""

    where: Where
    queue: str
    node: str = ""
    due: float | None = None
    detail: str = ""


class Found(msgspec.Struct, frozen=True):
    """The message of a call, where it is, and how many of its queue are to be taken before it (None unless it is READY)."""

    place: Place
    raw: bytes
    ahead: int | None = None


class WorkflowStore(Protocol):
    """The part of a broker that knows workflows. Every method may raise `BrokerUnavailable`."""

    def workflow(self, workflow_id: str) -> bytes | None:
        """The record of a workflow, None when there is none (any more)."""
        ...

    def workflows(self, *, limit: int = 100, skip: int = 0) -> list[tuple[str, bytes]]:
        """(id, record) of those that are kept, the one that ends last first, after the first `skip` of them."""
        ...

    def locate(self, task_ids: Collection[str], queues: Sequence[str], *, most: int) -> tuple[dict[str, Place], bool]:
        """Where the messages of these calls are, by id, and whether everything was looked at.

        Looks through `queues` and all that anybody holds, reading up to `most` messages of each kind: for people's questions,
        not for work. It takes no lock: what moves meanwhile may be missed, and what was moved has its last place.
        """
        ...

    def find(self, task_id: str, queues: Sequence[str], *, most: int) -> tuple[Found | None, bool]:
        """As `locate`, of one call, with its message."""
        ...


_ORDER = "workflow\n"  # no id of a task has a line break


def order_of(workflow_id: str) -> str:
    """The name under which a cancelled workflow stands among the revoked ids."""
    return _ORDER + workflow_id


def cancelled_ids(revoked: Iterable[str]) -> frozenset[str]:
    """The workflows among the revoked ids."""
    return frozenset(name.removeprefix(_ORDER) for name in revoked if name.startswith(_ORDER))
