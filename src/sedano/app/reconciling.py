"""What `beat_schedule` says against what the store keeps: which entries are new, changed, gone. Entries made at run time are
left alone; so is what an operator paused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from sedano.app.entries import CODE, Definition, read
from sedano.contracts.schedules import Entry

_WHEN = ("when", "start", "end", "jitter", "paused", "max_runs")


class Difference(msgspec.Struct, frozen=True):
    """By name. `taken`: entries of code whose names are those of entries that were made at run time; these stay.
    `unreadable`: what the store keeps and nobody can read, with the reason."""

    new: Mapping[str, Definition]
    changed: Mapping[str, tuple[Definition, Definition]]
    gone: Mapping[str, Definition]
    same: Mapping[str, Definition]
    taken: Mapping[str, Definition]
    unreadable: Mapping[str, str]

    def __bool__(self) -> bool:
        return bool(self.new or self.changed or self.gone or self.taken or self.unreadable)


def compare(code: Mapping[str, Definition], stored: Iterable[Entry]) -> Difference:
    """`code` is what the app's settings define; in `changed` the stored one comes first, and the new one is as paused as it."""
    new = dict(code)
    changed: dict[str, tuple[Definition, Definition]] = {}
    gone: dict[str, Definition] = {}
    same: dict[str, Definition] = {}
    taken: dict[str, Definition] = {}
    unreadable: dict[str, str] = {}
    for entry in stored:
        wanted = new.get(entry.name)
        try:
            known = read(entry.definition)
        except ValueError as exc:
            unreadable[entry.name] = str(exc)
            continue  # an entry of code is written anew over it
        new.pop(entry.name, None)
        if known.source != CODE:
            if wanted is not None:
                taken[entry.name] = wanted
        elif wanted is None:
            gone[entry.name] = known
        elif (wanted := msgspec.structs.replace(wanted, paused=known.paused)) == known:
            same[entry.name] = known
        else:
            changed[entry.name] = (known, wanted)
    return Difference(new, changed, gone, same, taken, unreadable)


def moves(before: Definition, after: Definition) -> bool:
    """Whether the change is one of when it is due: the next moment must be worked out anew."""
    return any(getattr(before, key) != getattr(after, key) for key in _WHEN)


def changed_keys(before: Definition, after: Definition) -> list[str]:
    """What of an entry differs, by the names of `Definition`."""
    return [key for key in Definition.__struct_fields__ if getattr(before, key) != getattr(after, key)]
