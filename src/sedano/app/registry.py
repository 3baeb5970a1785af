"""The tasks of an app by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sedano.exceptions import NotRegistered


class TaskRegistry(dict[str, Any]):
    """name -> task. A missing name raises NotRegistered, which is a KeyError."""

    NotRegistered = NotRegistered

    def __missing__(self, key: str) -> Any:
        raise NotRegistered(key)

    def register(self, task: Any) -> None:
        """Add a task (or an instance of a task class) under its name."""
        if task.name is None:
            raise ValueError(f"task {type(task).__name__} has no name: give it one, or use app.register_task()")
        self[task.name] = task() if isinstance(task, type) else task

    def unregister(self, name: Any) -> None:
        """Remove a task, given itself or its name. Raises NotRegistered."""
        key = getattr(name, "name", name)
        if key not in self:
            raise NotRegistered(key)
        del self[key]

    def regular(self) -> Iterator[tuple[str, Any]]:
        return self.filter_types("regular")

    def periodic(self) -> Iterator[tuple[str, Any]]:
        return self.filter_types("periodic")

    def filter_types(self, type: str) -> Iterator[tuple[str, Any]]:  # noqa: A002 - Celery's name
        return ((name, task) for name, task in self.items() if getattr(task, "type", "regular") == type)
