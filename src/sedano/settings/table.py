"""The table of all settings, and what can be asked of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from sedano.settings.option import WORKS, Option
from sedano.settings.rows import beat, broker, cluster, general, own, read, redis, result, stores, task, worker

GROUPS: Mapping[str, tuple[Option, ...]] = {
    "General": general.ROWS,
    "Broker": broker.ROWS,
    "Tasks": task.ROWS,
    "Worker": worker.ROWS,
    "Results": result.ROWS,
    "Results in Redis": redis.ROWS,
    "Beat": beat.ROWS,
    "Events, remote control, signed messages": cluster.ROWS,
    "Results elsewhere": stores.ROWS,
    "Read or documented by Celery, but not declared": read.ROWS,
    "Sedano's own": own.ROWS,
}

OPTIONS: Mapping[str, Option] = {option.name: option for rows in GROUPS.values() for option in rows}

# Upper-case name in Celery's own map -> name.
OLD_NAMES: Mapping[str, str] = {old: option.name for option in OPTIONS.values() for old in option.old_names}
# Upper-case name that is only documented somewhere -> name.
DOCUMENTED_NAMES: Mapping[str, str] = {name: option.name for option in OPTIONS.values() for name in option.documented_names}

# In Celery's order, which decides what `find` answers for a key that several of them have.
NAMESPACES = (
    "beat",
    "broker",
    "cache",
    "cassandra",
    "s3",
    "azureblockblob",
    "gcs",
    "control",
    "couchbase",
    "arangodb",
    "mongodb",
    "cosmosdbsql",
    "event",
    "redis",
    "result",
    "elasticsearch",
    "security",
    "database",
    "task",
    "worker",
    "events",
)
# Names that begin like a namespace and stand in none.
_BARE = ("result_accept_content",)


class Found(NamedTuple):
    """Where `find` found a setting: `namespace` and `key` joined by `_` are its name. `type` is its row."""

    namespace: str | None
    key: str
    type: Option


def accepted_without_effect() -> list[Option]:
    """The settings that are accepted and do nothing, in the order of the table; each row's `effect` says why."""
    return [option for option in OPTIONS.values() if option.effect != WORKS]


def find(name: str, namespace: str = "celery") -> Found:
    """The setting called `name`, which may lack its namespace; that of `namespace` is preferred. Raises KeyError."""
    wanted, preferred = name.lower(), namespace.lower()
    if wanted in _KEYS.get(preferred, {}):
        return Found(preferred, wanted, _KEYS[preferred][wanted])
    if wanted in _KEYS[None]:
        return Found(None, wanted, _KEYS[None][wanted])
    for space in NAMESPACES:
        if wanted in _KEYS[space]:
            return Found(space, wanted, _KEYS[space][wanted])
    return Found(None, wanted, OPTIONS[wanted])


def _keys_by_namespace() -> dict[str | None, dict[str, Option]]:
    keys: dict[str | None, dict[str, Option]] = {None: {}, **{space: {} for space in NAMESPACES}}
    for option in OPTIONS.values():
        space, _, key = option.name.partition("_")
        if key and space in keys and option.name not in _BARE:
            keys[space][key] = option
        else:
            keys[None][option.name] = option
    return keys


_KEYS = _keys_by_namespace()
