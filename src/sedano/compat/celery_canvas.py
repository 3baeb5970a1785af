"""What `celery.canvas` gives while the alias is on: the workflows, and the names beside them that programs import."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sedano.canvas import (
    Signature,
    StampingVisitor,
    chain,
    chord,
    chunks,
    group,
    maybe_signature,
    maybe_subtask,
    signature,
    subtask,
    xmap,
    xstarmap,
)
from sedano.canvas.maps import Basemap

_chord, _basemap = chord, Basemap


class _AnyChain(type):
    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, chain)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, chain)


class _chain(metaclass=_AnyChain):  # noqa: N801 - Celery's name
    """A chain of just these steps, whatever they are: where `chain` makes a chord of a group and what follows it, this does not
    until it is applied. Every chain is an instance of it."""

    def __new__(cls, *tasks: Any, **options: Any) -> Any:
        return chain.unfolded(*tasks, **options)


def maybe_unroll_group(group: Any) -> Any:
    """The only member of a group that has one; else the group."""
    return group.tasks[0] if len(group.tasks) == 1 else group


def task_name_from(task: Any) -> Any:
    """The name of a task, or the name itself."""
    return task.get("task") if isinstance(task, Mapping) else getattr(task, "name", task)


__all__ = [
    "Signature",
    "StampingVisitor",
    "_basemap",
    "_chain",
    "_chord",
    "chain",
    "chord",
    "chunks",
    "group",
    "maybe_signature",
    "maybe_subtask",
    "maybe_unroll_group",
    "signature",
    "subtask",
    "task_name_from",
    "xmap",
    "xstarmap",
]
