"""The names of settings: which one a spelling means, and which one an unknown spelling may have meant."""

from __future__ import annotations

from typing import Final, NamedTuple

from sedano.exceptions import CeleryWarning
from sedano.nearest import nearest as similar
from sedano.settings.table import DOCUMENTED_NAMES, OLD_NAMES, OPTIONS

# Which spelling of one setting wins when a source holds several, best first.
PREFIXED: Final = 0
NEW: Final = 1
OLD: Final = 2
DOCUMENTED: Final = 3

_OLD_PREFIXES = ("CELERY_", "CELERYD_", "CELERYBEAT_", "BROKER_")
_ALL_OLD = sorted({**OLD_NAMES, **DOCUMENTED_NAMES})
_NEW = sorted(OPTIONS)
# An unknown name is taken for a misspelt setting from this likeness on: `task_serialiser` has 0.93, `redbeat_url` 0.67.
_NEAR = 0.84


class UnknownSettingWarning(CeleryWarning):
    """A name that is no setting but looks like one; it is kept as a setting of the user's own."""


class Spelling(NamedTuple):
    """A known setting's name and by which kind of spelling it was found."""

    name: str
    rank: int


def prefix_of(namespace: str | None) -> str:
    """What the keys of a source begin with: `CELERY_` for the namespace `CELERY`, nothing without one."""
    return f"{namespace.rstrip('_')}_" if namespace else ""


def spelling(key: str, prefix: str = "") -> Spelling | None:
    """The setting that `key` means in a source with this prefix, or None when it is no setting.

    The rest of a prefixed key is written in the case of the prefix: CELERY_TASK_SERIALIZER, celery_task_serializer.
    """
    if prefix and key.startswith(prefix):
        rest = key[len(prefix) :]
        name = rest.lower()
        if name in OPTIONS and rest == (name.upper() if prefix.isupper() else name):
            return Spelling(name, PREFIXED)
    if key in OPTIONS:
        return Spelling(key, NEW)
    if key in OLD_NAMES:
        return Spelling(OLD_NAMES[key], OLD)
    if key in DOCUMENTED_NAMES:
        return Spelling(DOCUMENTED_NAMES[key], DOCUMENTED)
    return None


def canonical(key: str, prefix: str = "") -> str:
    """The name of the setting that `key` means; `key` itself when it is none."""
    found = spelling(key, prefix)
    return key if found is None else found.name


def advice(key: str, prefix: str = "") -> str | None:
    """What to tell somebody who used the unknown name `key`; None when it looks like a name of their own."""
    if prefix and key.startswith(prefix):
        near = nearest(key[len(prefix) :].lower())
        return near and f"did you mean {prefix}{near.upper() if prefix.isupper() else near}?"
    if key.startswith(_OLD_PREFIXES):
        if prefix and not key.startswith(("CELERYD_", "CELERYBEAT_")):
            return None  # beside a namespace, other upper-case names are somebody else's
        name = without_celery(key)
        if name is not None:
            return f"it takes effect with namespace='CELERY' only; here the name is {name}."
        near_old = _close(key, _ALL_OLD)
        return near_old and f"did you mean {near_old}, today {canonical(near_old)}?"
    if key != key.lower():
        return None
    near = nearest(key)
    return near and f"did you mean {near}?"


def without_celery(key: str) -> str | None:
    """The setting that `key` would mean with the namespace CELERY, as in CELERY_BROKER_URL."""
    name = key.removeprefix("CELERY_").lower()
    return name if key.startswith("CELERY_") and name in OPTIONS else None


def nearest(name: str) -> str | None:
    """The known (new) name that is most like `name`, if one is like it at all."""
    close = _close(name, _NEW)
    if close is not None:
        return close
    # `acks_late`, `prefetch_multiplier`: the namespace was forgotten.
    lacking = [f"{space}_{name}" for space in ("task", "worker", "broker", "result", "beat") if f"{space}_{name}" in OPTIONS]
    return lacking[0] if len(lacking) == 1 else None


def _close(name: str, known: list[str]) -> str | None:
    return similar(name, known, cutoff=_NEAR)
