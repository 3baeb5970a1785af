"""Which name a class has on the wire: Celery's own classes keep Celery's module names there, ours live elsewhere.

Used wherever a class travels by name: exception maps (`exc_module`, `exc_type`) and pickles. The modules are those that
Celery 5.7, Kombu 5.7 and Billiard 4.3 write. A room above that owns such a class adds it with `declare`.
"""

from __future__ import annotations

from types import FunctionType
from typing import Any

from sedano import exceptions

_BILLIARD = ("SoftTimeLimitExceeded", "TimeLimitExceeded", "WorkerLostError", "Terminated")
_KOMBU = ("OperationalError", "EncodeError", "DecodeError", "ContentDisallowed")
_CELERY = (
    "AlreadyRegistered", "AlwaysEagerIgnored", "BackendError", "BackendGetMetaError", "BackendStoreError",
    "CDeprecationWarning", "CPendingDeprecationWarning", "CeleryError", "CeleryWarning", "ChordError",
    "DuplicateNodenameWarning", "DuplicateTaskNameWarning", "FixupWarning", "Ignore", "ImproperlyConfigured",
    "IncompleteStream", "InvalidTaskError", "MaxRetriesExceededError", "NotConfigured", "NotRegistered", "QueueNotFound",
    "Reject", "Retry", "SecurityError", "SecurityWarning", "TaskError", "TaskPredicate", "TaskRevokedError", "TimeoutError",
    "WorkerShutdown", "WorkerTerminate",
)  # fmt: skip

_names: dict[Any, tuple[str, str]] = {}
_objects: dict[tuple[str, str], Any] = {}


def declare(thing: type | FunctionType, module: str, name: str, *, write: bool = True) -> None:
    """Read `module.name` as `thing`, and write `thing` under that name unless `write` is False."""
    _objects[module, name] = thing
    if write:
        _names[thing] = (module, name)


def wire_name(thing: Any) -> tuple[str, str] | None:
    """(module, name) that a class or function is written under when that differs from its own."""
    return _names.get(thing) if isinstance(thing, type | FunctionType) else None


def is_unknown_to_celery(kind: type) -> bool:
    """Whether `kind` is an exception class of ours for which Celery has no name."""
    return kind.__module__ == exceptions.__name__ and kind not in _names


def wire_object(module: str, name: str) -> Any | None:
    """Our class or function for a name on the wire, or None."""
    return _objects.get((module, name))


def _declare_exceptions() -> None:
    for module, names in (
        ("celery.exceptions", (*_CELERY, *_BILLIARD, "OperationalError")),
        ("billiard.exceptions", _BILLIARD),
        ("kombu.exceptions", _KOMBU),
        ("celery.utils.serialization", ("UnpickleableExceptionWrapper",)),
    ):
        # celery.exceptions also exports what is defined elsewhere: those names are read there, but written where they are
        # defined, which comes later in this list and wins.
        for name in names:
            declare(getattr(exceptions, name), module, name)


_declare_exceptions()
# Ours, but a reader that runs Celery must be able to catch them.
for _kind in (exceptions.BrokerUnavailable, exceptions.ResultsUnavailable):
    _names[_kind] = ("kombu.exceptions", "OperationalError")
# Celery pickles every signature as a call of this function with the signature's map; a plain map says the same.
declare(dict, "celery.canvas", "signature", write=False)
