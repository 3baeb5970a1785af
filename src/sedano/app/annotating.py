"""`task_annotations`: settings that rewrite the attributes of tasks, in every form that Celery takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sedano.app.finding import symbol_by_name


def prepare(setting: Any) -> tuple[Any, ...]:
    """`task_annotations` as a tuple of maps and objects: it may be None, one of them, a dotted path, or a list of all these."""
    if setting is None:
        return ()
    entries = setting if isinstance(setting, list | tuple) else (setting,)
    prepared: list[Any] = []
    for entry in entries:
        resolved = symbol_by_name(entry) if isinstance(entry, str) else entry
        prepared.append(resolved() if isinstance(resolved, type) else resolved)
    return tuple(prepared)


def annotate(kind: type, annotations: tuple[Any, ...]) -> None:
    """Apply to the task class `kind`: from each entry first what is meant for all tasks, then what names this one."""
    for entry in annotations:
        for attributes in _meant_for(kind, entry):
            for name, value in attributes.items():
                if name.startswith("@"):
                    add_around(kind, name[1:], value)
                else:
                    setattr(kind, name, value)


def add_around(kind: Any, name: str, around: Callable[[Any], Any]) -> None:
    """Replace the method `name` of the class by `around(method)`; a second time it wraps the original again."""
    is_static = any(isinstance(vars(base).get(name), staticmethod) for base in kind.__mro__[:1])
    original = getattr(kind, name)
    original = getattr(original, "__annotated__", original)
    wrapped = around(original)
    wrapped.__annotated__ = original
    setattr(kind, name, staticmethod(wrapped) if is_static else wrapped)


def _meant_for(kind: Any, entry: Any) -> list[Mapping[str, Any]]:
    if isinstance(entry, Mapping):
        found = (entry.get("*"), entry.get(kind.name))
    else:
        for_any = getattr(entry, "annotate_any", None)
        found = (for_any() if for_any is not None else None, entry.annotate(kind))
    return [attributes for attributes in found if attributes]
