"""What a task may be declared with, what a call may be sent with, and what to say about other options and values."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sedano.nearest import hint, nearest

# fmt: off
DECORATOR_OPTIONS = frozenset({
    "name", "base", "bind", "shared", "lazy", "filter",
    "pydantic", "pydantic_strict", "pydantic_context", "pydantic_dump_kwargs",
})

TASK_ATTRIBUTES = frozenset({
    "max_retries", "default_retry_delay", "rate_limit", "time_limit", "soft_time_limit", "ignore_result",
    "store_errors_even_if_ignored", "store_eager_result", "track_started", "acks_late", "acks_on_failure_or_timeout",
    "acks_on_failure", "acks_on_timeout", "reject_on_worker_lost", "retry_on_worker_lost", "serializer", "priority", "queue",
    "exchange", "exchange_type", "routing_key", "delivery_mode", "compression", "immediate", "mandatory", "expires",
    "send_events", "trail", "throws", "typing", "resultrepr_maxsize", "backend", "Strategy", "Request", "autoretry_for",
    "dont_autoretry_for", "retry_kwargs", "retry_backoff", "retry_backoff_max", "retry_jitter", "shadow_name", "abstract",
})

# Attributes of a task that are options of each of its calls.
EXEC_OPTIONS = (
    "queue", "routing_key", "exchange", "exchange_type", "priority", "expires", "serializer", "delivery_mode", "compression",
    "time_limit", "soft_time_limit", "immediate", "mandatory",
)

CALL_OPTIONS = frozenset({
    "countdown", "eta", "expires", "task_id", "link", "link_error", "add_to_parent", "group_id", "group_index", "retries",
    "chord", "reply_to", "time_limit", "soft_time_limit", "root_id", "parent_id", "route_name", "shadow", "chain", "task_type",
    "replaced_task_nesting", "ignore_result", "queue", "exchange", "exchange_type", "routing_key", "priority", "serializer",
    "compression", "headers", "retry", "retry_policy", "delivery_mode", "stamped_headers", "result_cls", "router", "origin",
    "argsrepr", "kwargsrepr",
})

# Passed to Kombu's publish by Celery: message properties, which go into the message ...
PROPERTY_OPTIONS = frozenset({
    "correlation_id", "content_type", "content_encoding", "message_id", "user_id", "app_id", "cluster_id", "type", "timestamp",
    "expiration", "mandatory", "immediate",
})

# ... and what only means something to Kombu's objects, is what a broker noted on an earlier delivery, or is for `apply` when
# the call runs here (`task_always_eager`).
IGNORED_OPTIONS = frozenset({
    "producer", "publisher", "connection", "declare", "timeout", "confirm_timeout", "event_dispatcher", "redelivered",
    "consumer_tag", "delivery_tag", "is_eager", "chord_size", "throw", "logfile", "loglevel",
})
# fmt: on

KNOWN_CALL_OPTIONS = CALL_OPTIONS | PROPERTY_OPTIONS | IGNORED_OPTIONS


def check_call_options(names: Iterable[str], stamps: Collection[str] = ()) -> None:
    """Raise TypeError for an option of `apply_async` that nobody knows. `stamps` are names of stamps, which are the user's."""
    for name in names:
        if name not in KNOWN_CALL_OPTIONS and name not in stamps:
            raise TypeError(
                f"apply_async() got an unknown option {name!r}.{hint(name, CALL_OPTIONS | PROPERTY_OPTIONS)}"
                " Arguments of the task go into args=(...) and kwargs={...}."
            )


def check_call_values(options: Mapping[str, Any]) -> None:
    """Raise TypeError or ValueError for values that every worker would refuse, here where the mistake is."""
    task_id = options.get("task_id")
    if task_id is not None:
        if not isinstance(task_id, str):
            raise TypeError(f"task_id must be text, not {task_id!r}: write task_id=str(...)")
        if not task_id.isascii():
            _check_text(task_id)
    queue = options.get("queue")
    if queue is not None and not (isinstance(queue, str) or hasattr(queue, "name")):
        raise TypeError(f"queue must be a name or a Queue, not {queue!r}")
    retries = options.get("retries")
    if retries is not None and not isinstance(retries, int):
        raise TypeError(f"retries must be a whole number, not {retries!r}")
    for name in ("time_limit", "soft_time_limit"):
        seconds = options.get(name)
        if seconds is not None and not isinstance(seconds, int | float):
            raise TypeError(f"{name} must be a number of seconds, not {seconds!r}")
        if seconds is not None and not seconds >= 0:
            raise ValueError(f"{name} must be 0 (no limit) or more seconds, not {seconds!r}")
    for name in ("link", "link_error"):
        linked = options.get(name)
        for one in linked if isinstance(linked, list | tuple) else () if linked is None else (linked,):
            if not isinstance(one, Mapping):
                raise TypeError(f"{name} must be a signature or a list of them, not {one!r}: write task.s(...)")


def _check_text(task_id: str) -> None:
    try:
        task_id.encode()
    except UnicodeEncodeError as exc:
        raise ValueError(f"task_id {task_id!a} is no text: it holds half a character") from exc


def check_task_options(task: str, names: Iterable[str], base: type) -> None:
    """Raise TypeError for an option of a task that looks like a misspelt one.

    Other unknown names become attributes of the task's class, as in Celery: base classes read their own options that way.
    """
    known = DECORATOR_OPTIONS | TASK_ATTRIBUTES
    for name in names:
        if name in known or hasattr(base, name):
            continue
        near = nearest(name, known, cutoff=0.8)
        if near is not None:
            raise TypeError(
                f"task {task!r} got an unknown option {name!r}. Did you mean {near!r}?"
                f" (To keep {name!r} as an attribute of your own, declare it on the task's base class.)"
            )
