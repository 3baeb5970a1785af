"""`celery.utils.abstract`: what counts as a task and as a signature, by what it can do."""

from __future__ import annotations

from abc import ABC
from typing import Any, ClassVar


class _ByNames(ABC):  # noqa: B024 - what it asks for stands in `_names`
    _names: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def __subclasshook__(cls, other: type) -> Any:
        if "_names" not in vars(cls):
            return NotImplemented
        return all(any(name in vars(base) for base in other.__mro__) for name in cls._names)


class CallableTask(_ByNames):
    """Has what a task has."""

    _names = frozenset(("__call__", "apply", "apply_async", "delay"))


class CallableSignature(_ByNames):
    """Has what a signature has: a task's part of it, links, and its place in a workflow."""

    _names = CallableTask._names | {
        *("name", "type", "app", "id", "task", "args", "kwargs", "options", "subtask_type", "immutable"),
        *("clone", "freeze", "set", "link", "link_error", "__or__"),
    }


__all__ = ["CallableSignature", "CallableTask"]
